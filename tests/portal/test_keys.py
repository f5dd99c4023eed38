"""Keys: made once, bound, ended; and the ring that finds them without the database."""

from datetime import timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.db import IntegrityError
from django.utils import timezone

from portal import keys, origins, versions
from portal.audit import Automaton
from portal.errors import Invalid
from portal.models import ApiKey, AuditEntry, Environment, Service

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


# --- Keys that stand in public pages ------------------------------------------------------------
ORIGIN = "https://shop.example.com"


@pytest.mark.parametrize(
    ("scopes", "where", "origins", "field"),
    [
        (["browser", "read"], ["staging"], [ORIGIN], "scopes"),
        (["browser", "admin"], ["staging"], [ORIGIN], "scopes"),
        (["browser"], [], [ORIGIN], "environments"),
        (["browser"], ["staging", "production"], [ORIGIN], "environments"),
        (["browser"], ["staging"], [], "origins"),
        (["ingest"], ["staging"], [ORIGIN], "origins"),
    ],
)
def test_a_public_key_is_bound_in_every_way(
    scopes: list[str], where: list[str], origins: list[str], field: str
) -> None:
    places = [Environment.objects.create(key=key) for key in where]
    with pytest.raises(Invalid) as refused:
        keys.create("page", scopes=scopes, environments=places or None, from_origins=origins, by=BY)
    assert list(refused.value.errors) == [field]
    assert not ApiKey.objects.exists()


def test_the_table_keeps_a_public_key_from_being_more_than_that() -> None:
    place = Environment.objects.create(key="staging")
    key, _ = keys.create("page", scopes=["browser"], environments=[place], from_origins=[ORIGIN], by=BY)
    with pytest.raises(IntegrityError, match="browser_key_may_do_nothing_else"):
        ApiKey.objects.filter(pk=key.pk).update(scopes=["browser", "admin"])


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Shop.Example.com/", "https://shop.example.com"),
        ("https://shop.example.com:443", "https://shop.example.com"),
        ("http://shop.example.com:443", "http://shop.example.com:443"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:3000", "http://[::1]:3000"),
        ("https://*.example.com", "https://*.example.com"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(given: str, kept: str) -> None:
    assert origins.clean([given, given]) == [kept]


@pytest.mark.parametrize(
    "given",
    [
        "*", "null", "shop.example.com", "ftp://shop.example.com", "https://shop.example.com/cart", "https://*.com",
        "https://*", "https://a b.com", "https://zażółć.pl", "https://shop.example.com:0", "https://shop.*.com", "",
        "https://" + "a" * 400,
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(given: str) -> None:
    with pytest.raises(Invalid, match="is no origin"):
        origins.clean([given])


def test_the_command_makes_a_public_key_of_a_service() -> None:
    Environment.objects.create(key="production")
    Service.objects.create(key="shop")
    out = StringIO()
    given = ("--scope", "browser", "--environment", "production", "--service", "shop", "--origin", ORIGIN)
    call_command("create_api_key", "pages", *given, stdout=out)
    made = ApiKey.objects.get()
    assert (made.digest, made.origins) == (keys.digest(out.getvalue().strip()), [ORIGIN])
    assert [one.key for one in made.services.all()] == ["shop"]
    assert AuditEntry.objects.get().after["origins"] == [ORIGIN]  # type: ignore[index]
    with pytest.raises(CommandError, match="no service named 'bank'"):
        call_command("create_api_key", "pages", *given, "--service", "bank", stdout=out)
