"""From tags and expiry to the archive and back: how long a flag is meant to live."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.test import Client

from portal.errors import Forbidden, Invalid, Refused
from portal.models import AuditEntry, User
from rollouts import snapshots
from rollouts.actions import flags, segments
from rollouts.models import Flag, FlagRevision
from tests import make
from tests.rollouts.flags.test_flag_doors import Caller

pytestmark = pytest.mark.django_db
BY = make.BY


@pytest.fixture
def call() -> Caller:
    make.environment("production")
    return Caller(make.key("write"))


def test_tags_expiry_and_permanence_are_part_of_the_definition_and_its_history() -> None:
    flag = flags.create("flag", by=BY, tags=["beta", "team: pay"], expires_at="2030-06-01")
    flag.refresh_from_db()
    assert (flag.tags, flag.expires_at) == (["beta", "team: pay"], datetime(2030, 6, 1, tzinfo=UTC))
    for same in ("2030-06-01T02:00:00+02:00", date(2030, 6, 1), datetime(2030, 6, 1, tzinfo=UTC)):
        assert flags.change(flag, {"expires_at": same}, by=BY) is False
    assert flags.change(flag, {"expires_at": None, "permanent": True, "tags": []}, by=BY) is True
    kept = FlagRevision.objects.get(flag=flag, number=2)
    assert kept.diff == {
        "tags": [["beta", "team: pay"], []],
        "expires_at": ["2030-06-01T00:00:00+00:00", None],
        "permanent": [False, True],
    }


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"tags": "beta"}, "tags"),
        ({"tags": ["a", "a"]}, "tags[1]"),
        ({"tags": ["a,b"]}, "tags[0]"),
        ({"tags": [" a"]}, "tags[0]"),
        ({"tags": [""]}, "tags[0]"),
        ({"tags": ["\0"]}, "tags[0]"),
        ({"tags": ["a" * 51]}, "tags[0]"),
        ({"tags": [1]}, "tags[0]"),
        ({"tags": [str(n) for n in range(21)]}, "tags"),
        ({"expires_at": "soon"}, "expires_at"),
        ({"expires_at": 5}, "expires_at"),
        ({"expires_at": "2030-01-01", "permanent": True}, "expires_at"),
        ({"permanent": "yes"}, "permanent"),
    ],
)
def test_what_is_wrong_is_named(call: Caller, given: dict[str, Any], field: str) -> None:
    with pytest.raises(Invalid) as caught:
        flags.create("flag", by=BY, **given)
    assert field in caught.value.errors
    answer = call("POST", "flags/", {"key": "flag", **given})
    # Over REST a number is a text, spaces around it are taken off, and yes is true.
    lenient = given in ({"tags": [" a"]}, {"tags": [1]}, {"permanent": "yes"})
    assert answer.status_code == (201 if lenient else 400)


def test_flags_are_found_by_tag_expiry_and_permanence(call: Caller) -> None:
    flags.create("old", by=BY, tags=["beta", "pay"], expires_at="2020-01-01")
    flags.create("new", by=BY, tags=["beta"], expires_at="2999-01-01")
    flags.create("kept", by=BY, permanent=True)

    def keys(query: str) -> list[str]:
        return [one["key"] for one in call("GET", f"flags/?{query}").json()["results"]]

    assert keys("tag=beta") == ["new", "old"]
    assert keys("tag=beta,pay") == ["old"]
    assert keys("tag=be") == []
    assert keys("expired=true") == ["old"]
    assert keys("expired=false") == ["kept", "new"]
    assert keys("permanent=true") == ["kept"]
    assert call("GET", "flags/?tag=%00").status_code == 400
    shown = call("GET", "flags/old/").json()
    assert (shown["tags"], shown["expires_at"], shown["permanent"]) == (["beta", "pay"], "2020-01-01T00:00:00Z", False)


def test_an_expired_flag_goes_on_serving(call: Caller) -> None:
    place = make.environment("production")
    flag = flags.create("flag", by=BY, expires_at="2020-01-01")
    flags.configure(flag, place, {"enabled": True, "fallthrough": {"variant": "on"}}, by=BY)
    assert call("GET", "flags/flag/environments/production/explain/?targetingKey=u").json()["variant"] == "on"


# --- The archive --------------------------------------------------------------------------------
def test_an_archived_flag_comes_back_as_it_was(call: Caller) -> None:
    place = make.environment("production")
    flag = make.flag("flag", on_in=[place], serving="on")
    assert call("POST", "flags/flag/archive/", {"because": "done"}).json()["archived"] is True
    assert "flag" not in snapshots.fresh(place, "flag").flags
    back = call("POST", "flags/flag/unarchive/", {"because": "not yet"})
    assert (back.status_code, back.json()["archived"]) == (200, False)
    assert snapshots.fresh(place, "flag").flags["flag"].enabled
    assert flags.unarchive(flag, by=BY) is False
    entry = AuditEntry.objects.get(verb="flag.unarchived")
    assert (entry.because, entry.before, entry.after) == ("not yet", {"archived": True}, {"archived": False})
    assert call("POST", "flags/ghost/unarchive/", {}).status_code == 404


def test_it_stays_archived_while_what_it_refers_to_is_gone(call: Caller) -> None:
    place = make.environment("production")
    parent, child = make.flag("parent"), make.flag("child")
    staff = segments.create("staff", by=BY, included=["ann"])
    needs = [{"flag": "parent", "variants": ["on"]}]
    rules = [{"segments": ["staff"], "serve": {"variant": "on"}}]
    flags.configure(child, place, {"prerequisites": needs, "rules": rules}, by=BY)
    flags.archive(child, by=BY)
    segments.delete(staff, by=BY)
    flags.archive(parent, by=BY)
    refused = call("POST", "flags/child/unarchive/", {})
    assert refused.status_code == 409
    assert "there is no segment staff" in refused.json()["detail"]
    assert "there is no flag parent" in refused.json()["detail"]
    assert Flag.objects.get(key="child").archived_at is not None


def test_who_may_not_configure_brings_nothing_back() -> None:
    flag = make.flag("flag")
    flags.archive(flag, by=BY)
    with pytest.raises(Forbidden):
        flags.unarchive(flag, by=make.person("vera", "viewer"))
    with pytest.raises(Refused, match="archived"):
        flags.change(flag, {"tags": ["x"]}, by=BY)


# --- The admin ----------------------------------------------------------------------------------
def test_the_admin_edits_filters_archives_and_brings_back(client: Client) -> None:
    client.force_login(User.objects.create_superuser("boss", password="x", is_staff=True))
    flags.create("other", by=BY, permanent=True)
    form = {
        "key": "flag", "type": "boolean", "value_type": "bool", "variants": "", "purpose": "release", "owner": "",
        "service": "", "risk": "low", "description": "", "tags": "beta, pay", "expires_at_0": "2020-01-01",
        "expires_at_1": "00:00",
    }  # fmt: skip
    assert client.post("/admin/rollouts/flag/add/", form).status_code == 302
    flag = Flag.objects.get(key="flag")
    assert flag.tags == ["beta", "pay"]
    wrong = client.post("/admin/rollouts/flag/add/", form | {"key": "x", "permanent": "on"})
    assert b"a permanent flag has no expiry date" in wrong.content
    for query, found in (
        ("tag=beta", {"flag"}), ("expiry=expired", {"flag"}), ("expiry=permanent", {"other"}), ("expiry=open", set()),
        ("expiry=nonsense", {"flag", "other"}),
    ):  # fmt: skip
        page = client.get(f"/admin/rollouts/flag/?{query}")
        assert {one.key for one in page.context["cl"].queryset} == found
    for button, archived in (("archive", True), ("unarchive", False)):
        client.post(f"/admin/rollouts/flag/{flag.pk}/press/{button}/", {"because": "tried"})
        flag.refresh_from_db()
        assert (flag.archived_at is not None) is archived
