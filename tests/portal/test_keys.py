"""Keys: made once, bound, ended; and the ring that finds them without the database."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from portal import keys, versions
from portal.audit import Automaton
from portal.errors import Invalid
from portal.models import ApiKey, AuditEntry, Environment

pytestmark = pytest.mark.django_db
BY = Automaton("test")


@pytest.mark.parametrize(
    ("scope", "carries"), [("read", {"read"}), ("write", {"read", "write"}), ("admin", {"read", "write", "evaluate"})]
)
def test_write_implies_read_and_admin_all(scope: str, carries: set[str]) -> None:
    _, raw = keys.create("one", scopes=[scope], by=BY)
    ring = keys.Ring()
    ring.load()
    found = ring.find(raw, now=timezone.now())
    assert found
    assert {one for one in ("read", "write", "evaluate") if found.may(one)} == carries


def test_the_ring_finds_a_key_and_forgets_a_revoked_one(django_assert_num_queries: object) -> None:
    production = Environment.objects.create(key="production")
    key, raw = keys.create("shop", scopes=["evaluate"], environments=[production], by=BY)
    ring = keys.Ring()
    ring.load()
    found = ring.find(raw, now=timezone.now())
    assert found
    assert found.environments == frozenset({"production"})
    assert found.may("evaluate")
    assert not found.may("ingest")
    assert ring.find(raw + "x", now=timezone.now()) is None
    keys.revoke(key, by=BY, because="leaked")
    ring.load()
    assert ring.find(raw, now=timezone.now()) is None


def test_an_expired_key_opens_nothing() -> None:
    _, raw = keys.create("old", scopes=["read"], expires_at=timezone.now() + timedelta(days=1), by=BY)
    ring = keys.Ring()
    ring.load()
    assert ring.find(raw, now=timezone.now())
    assert ring.find(raw, now=timezone.now() + timedelta(days=2)) is None


def test_making_and_revoking_tells_every_process_and_is_audited() -> None:
    before = versions.current().get("keys", 0)
    key, _ = keys.create("ci", scopes=["read"], by=BY)
    assert keys.revoke(key, by=BY, because="rotated")
    assert not keys.revoke(key, by=BY)
    assert versions.current()["keys"] == before + 2
    assert list(AuditEntry.objects.order_by("id").values_list("verb", flat=True)) == ["key.created", "key.revoked"]


@pytest.mark.parametrize("bound", [[], ["production", "staging"]])
def test_a_key_that_evaluates_belongs_to_exactly_one_environment(bound: list[str]) -> None:
    environments = [Environment.objects.create(key=key) for key in bound]
    with pytest.raises(Invalid, match="exactly one environment"):
        keys.create("shop", scopes=["evaluate"], environments=environments or None, by=BY)


def test_the_command_prints_the_key_alone() -> None:
    Environment.objects.create(key="production")
    out = StringIO()
    call_command("create_api_key", "shop", "--scope", "evaluate", "--environment", "production", stdout=out)
    raw = out.getvalue()
    assert raw.startswith("fd_")
    assert raw.count("\n") == 1
    assert ApiKey.objects.get().digest == keys.digest(raw.strip())


def test_the_command_names_an_environment_that_is_not_there() -> None:
    with pytest.raises(CommandError, match="no environment named 'prod'"):
        call_command("create_api_key", "shop", "--scope", "read", "--environment", "prod")


@pytest.mark.parametrize(
    ("authorization", "header", "raw"),
    [
        ("Bearer abc", "", "abc"),
        ("bearer  abc ", "", "abc"),
        ("", "abc", "abc"),
        ("Basic abc", "", ""),
        ("Bearer", "k", "k"),
    ],
)
def test_where_a_key_is_looked_for(authorization: str, header: str, raw: str) -> None:
    assert keys.presented(authorization, header) == raw
