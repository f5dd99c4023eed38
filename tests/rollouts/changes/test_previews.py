"""What an edit would do, before it is saved; and who uses what is edited."""

from typing import Any

import pytest

from portal.models import Environment
from rollouts.actions import change_requests, segments
from rollouts.models import ContextSample, Flag
from tests import make
from tests.rollouts.changes.calling import Caller, named

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> Environment:
    return make.environment("staging")


@pytest.fixture
def key(place: Environment) -> Caller:
    return Caller(make.key("write"))


def seen(place: Environment, *contexts: dict[str, Any]) -> None:
    """Contexts that were sampled there."""
    for context in contexts:
        unit = str(context["targetingKey"])
        ContextSample.objects.create(environment=place, unit=unit, identity=unit, context=context)


def units(count: int, **attributes: Any) -> list[dict[str, Any]]:
    return [{"targetingKey": f"u{n}", **attributes} for n in range(count)]


def test_which_share_moves_from_which_variant_to_which(key: Caller, place: Environment) -> None:
    make.flag("lamp", on_in=[place])
    seen(place, *units(200))
    at = "flags/lamp/environments/staging/preview/"
    half = key("POST", at, {"fallthrough": {"variant": "on", "rollout": 50}}).json()
    assert half["sampled"] == 200
    assert 70 < half["changed"] < 130
    count = half["changed"]
    assert half["moves"] == [{"from": "off", "to": "on", "count": count, "share": count / 2}]
    assert half["share"] == count / 2
    assert half["words"] == f"{count} of the last 200 contexts change: off → on {count}"
    everyone = key("POST", at, {"fallthrough": {"variant": "on"}}).json()
    assert (everyone["changed"], everyone["share"]) == (200, 100.0)
    nothing = key("POST", at, {}).json()
    assert (nothing["changed"], nothing["share"], nothing["moves"]) == (0, 0.0, [])
    assert Flag.objects.get().configs.get().revision == 1, "nothing is saved"


def test_it_is_what_then_happens(key: Caller, place: Environment) -> None:
    flag = make.flag("lamp", on_in=[place])
    seen(place, *units(100, country="PL"), {"targetingKey": "x", "country": "DE"})
    document = {"rules": [{"all": [{"attr": "country", "op": "equals", "values": ["DE"]}], "serve": {"variant": "on"}}]}
    told = key("POST", "flags/lamp/environments/staging/preview/", document).json()
    assert (told["sampled"], told["changed"]) == (101, 1)
    make.configure(flag, place, document)
    assert key("POST", "flags/lamp/environments/staging/preview/", document).json()["changed"] == 0


def test_without_contexts_it_says_so_and_never_0_percent(key: Caller, place: Environment) -> None:
    make.flag("lamp", on_in=[place])
    told = key("POST", "flags/lamp/environments/staging/preview/", {"fallthrough": {"variant": "on"}}).json()
    assert (told["sampled"], told["share"], told["words"]) == (0, None, "no contexts seen yet")


def test_flags_that_wait_for_it_move_too(key: Caller, place: Environment) -> None:
    make.flag("lamp", on_in=[place])
    child, grandchild = make.flag("child"), make.flag("grandchild")
    for flag, needed in ((child, "lamp"), (grandchild, "child")):
        needs = [{"flag": needed, "variants": ["on"]}]
        make.configure(flag, place, {"enabled": True, "prerequisites": needs, "fallthrough": {"variant": "on"}})
    seen(place, *units(10))
    told = key("POST", "flags/lamp/environments/staging/preview/", {"fallthrough": {"variant": "on"}}).json()
    assert [(one["flag"], one["changed"], one["share"]) for one in told["also"]] == [
        ("child", 10, 100.0), ("grandchild", 10, 100.0),
    ]  # fmt: skip


def test_what_is_wrong_in_a_preview_is_named(key: Caller, place: Environment) -> None:
    make.flag("lamp", on_in=[place])
    at = "flags/lamp/environments/staging/preview/"
    assert named(key("POST", at, {"fallthrough": {"variant": "on", "rollout": 101}})) == {"fallthrough.rollout"}
    assert named(key("POST", at, {"rules": [{"segments": ["no"], "serve": {"variant": "on"}}]})) == {
        "rules[0].segments[0]"
    }
    assert key("POST", at, [1]).status_code == 400
    assert key("POST", "flags/lamp/environments/mars/preview/", {}).status_code == 404


def test_a_segments_edit_or_end_is_previewed_wherever_it_reaches(key: Caller, place: Environment) -> None:
    inner = segments.create("staff", by=make.BY, included=["u1"])
    segments.create("insiders", by=make.BY, conditions=[{"op": "segment", "values": ["staff"]}])
    flag, other = make.flag("lamp", on_in=[place]), make.flag("bell", on_in=[make.environment("lab")])
    make.configure(flag, place, {"rules": [{"segments": ["insiders"], "serve": {"variant": "on"}}]})
    make.configure(other, make.environment("lab"), {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    seen(place, *units(10))
    told = key("POST", f"segments/{inner}/preview/", {"included": ["u1", "u2", "u3"]}).json()["environments"]
    by_place = {one["environment"]: one for one in told}
    assert by_place["staging"]["changed"] == 2
    assert by_place["staging"]["flags"] == [
        {
            "flag": "lamp",
            "changed": 2,
            "share": 20.0,
            "moves": [{"from": "off", "to": "on", "count": 2, "share": 20.0}],
        }
    ]
    assert by_place["lab"]["words"] == "no contexts seen yet"
    gone = key("POST", f"segments/{inner}/preview/", {"deleted": True}).json()["environments"]
    assert {one["environment"]: one["changed"] for one in gone} == {"staging": 1, "lab": 0}
    assert named(key("POST", f"segments/{inner}/preview/", {"excluded": ["u1"]})) == {"excluded"}


def test_a_change_request_is_previewed(key: Caller) -> None:
    place = make.production()
    flag = make.flag("lamp", on_in=[place])
    seen(place, *units(4))
    request = change_requests.open(flag, place, {"fallthrough": {"variant": "on"}}, by=make.BY)
    told = key("GET", f"change-requests/{request.pk}/preview/").json()["environments"]
    assert [(one["environment"], one["changed"], one["words"]) for one in told] == [
        ("production", 4, "4 of the last 4 contexts change: off → on 4")
    ]
    swapped = {"variants": [{"key": "on", "value": False}, {"key": "off", "value": True}]}
    request = change_requests.open_variants(flag, swapped, by=make.BY)
    (told,) = key("GET", f"change-requests/{request.pk}/preview/").json()["environments"]
    assert told["flags"][0]["moves"] == [{"from": "off", "to": "off", "count": 4, "share": 100.0}]


# --- Uses ----------------------------------------------------------------------------------------
def test_where_a_segment_is_used(key: Caller, place: Environment) -> None:
    segments.create("staff", by=make.BY, included=["u1"])
    segments.create("insiders", by=make.BY, conditions=[{"op": "segment", "values": ["staff"]}])
    for name, segment in (("lamp", "staff"), ("bell", "insiders")):
        make.configure(make.flag(name), place, {"rules": [{"segments": [segment], "serve": {"variant": "on"}}]})
    request = change_requests.open_segment(
        segments.Segment.objects.get(key="staff"), {"included": ["u2"]}, by=make.BY, title="another"
    )
    found = key("GET", "segments/staff/uses/").json()
    assert found == {
        "segment": "staff",
        "flags": [{"flag": "lamp", "environment": "staging", "enabled": False}],
        "flags_through": [{"flag": "bell", "environment": "staging", "enabled": False}],
        "segments": ["insiders"],
        "change_requests": [{"id": request.pk, "title": "another", "status": "open"}],
    }
    assert key("GET", "segments/nobody/uses/").status_code == 404


def test_where_a_flag_is_used(key: Caller, place: Environment) -> None:
    run = make.progressing(environment=place, dwell=600)
    flag = run.flags.get().flag
    child = make.flag("child")
    make.configure(child, place, {"prerequisites": [{"flag": flag.key, "variants": ["on"]}]})
    found = key("GET", f"flags/{flag.key}/uses/").json()
    assert found["needed_by"] == [{"flag": "child", "environment": "staging", "enabled": False}]
    assert [(one["id"], one["live"], one["variant"]) for one in found["deployments"]] == [(run.pk, True, "on")]
    assert key("GET", "flags/child/uses/").json()["needs"] == [{"flag": flag.key, "environment": "staging"}]


def test_uses_elsewhere_are_not_told_to_whom_may_not_see_them(place: Environment) -> None:
    segments.create("staff", by=make.BY, included=["u1"])
    make.configure(make.flag("lamp"), place, {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    eve = Caller(make.person("eve", "viewer", environment=make.environment("lab")))
    assert eve("GET", "segments/staff/uses/").json()["flags"] == []
    assert eve("POST", "segments/staff/preview/", {"included": []}).json() == {"environments": []}
