"""Change requests by REST."""

from datetime import timedelta
from typing import Any

import pytest

from portal import jobs
from portal.models import Environment
from rollouts.actions import flags, segments
from rollouts.models import ChangeRequest, Flag, FlagConfig
from tests import make
from tests.rollouts.changes.calling import Caller, named

pytestmark = pytest.mark.django_db
ON = {"fallthrough": {"variant": "on", "rollout": 12.5}}


@pytest.fixture
def production() -> Environment:
    return make.production()


@pytest.fixture
def flag(production: Environment) -> Flag:
    return make.flag("lamp", on_in=[production])


@pytest.fixture
def key(flag: Flag) -> Caller:
    return Caller(make.key("write"))


@pytest.fixture
def ines() -> Caller:
    return Caller(make.person("ines", "approver"))


def opened(key: Caller, **more: Any) -> dict[str, Any]:
    body = {"flag": "lamp", "environment": "production", "document": ON, "because": "ready"} | more
    answer = key("POST", "change-requests/", body)
    assert answer.status_code == 201, answer.content
    return dict(answer.json())


def test_a_hand_edit_is_answered_with_the_address_to_ask_at(key: Caller) -> None:
    at = "flags/lamp/environments/production/"
    for answer in (
        key("PUT", at, ON),
        key("PATCH", at, {"overrides": {"on": ["me"]}}),
    ):
        assert answer.status_code == 409
        assert "POST /api/v1/change-requests/" in answer.json()["detail"]
    assert key("POST", f"{at}kill/", {"because": "errors"}).status_code == 200
    assert key("POST", f"{at}switch_on/", {}).status_code == 409
    assert key("POST", f"{at}restore/", {"revision": 1}).status_code == 409
    assert FlagConfig.objects.get().revision == 2


def test_asked_approved_applied(key: Caller, ines: Caller) -> None:
    made = opened(key)
    address = f"change-requests/{made['id']}/"
    assert made["diff"] == {"fallthrough": [{"variant": "off"}, {"variant": "on", "rollout": 12.5}]}
    assert (made["status"], made["base_revision"], made["current_revision"], made["stale"]) == ("open", 1, 1, False)
    assert key("POST", f"{address}apply/").status_code == 409
    assert key("POST", f"{address}approve/", {}).status_code == 403
    assert ines("POST", f"{address}approve/", {"expected_hash": "0" * 64}).status_code == 412
    approved = ines("POST", f"{address}approve/", {"comment": "fine", "expected_hash": made["hash"]})
    assert approved.json()["approvals"] == [
        {"person": "ines", "value": "approve", "comment": "fine", "hash": made["hash"], "counts": True}
        | {"at": approved.json()["approvals"][0]["at"]}
    ]
    assert ines("POST", f"{address}apply/").status_code == 403, "an approver is no operator"
    done = key("POST", f"{address}apply/", {"because": "now"})
    assert (done.json()["status"], done.json()["applied_revision"]) == ("applied", 2)
    shown = key("GET", "flags/lamp/environments/production/").json()
    assert shown["fallthrough"] == {"variant": "on", "rollout": 12.5}
    assert key("POST", f"{address}apply/").status_code == 200, "a retry changes nothing"
    assert FlagConfig.objects.get().revision == 2


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "document"),
        ({"document": ON}, "flag"),
        ({"flag": "nolamp", "environment": "production", "document": ON}, "flag"),
        ({"flag": "lamp", "environment": "mars", "document": ON}, "environment"),
        ({"flag": "lamp", "environment": "production"}, "document"),
        ({"flag": "lamp", "environment": "production", "document": [1]}, "document"),
        ({"flag": "lamp", "environment": "production", "document": ON, "revision": 1}, "document"),
        ({"flag": "lamp", "environment": "production", "revision": 77}, "revision"),
        ({"flag": "lamp", "environment": "production", "document": {"rules": [{"all": 3}]}}, "document.rules[0].all"),
        ({"flag": "lamp", "environment": "production", "document": ON, "colour": 1}, "colour"),
        ({"flag": "lamp", "environment": "production", "document": ON, "apply_at": "soon"}, "apply_at"),
        ({"flag": "lamp", "environment": "production", "document": ON, "apply_at": "2020-01-01T00:00:00Z"}, "apply_at"),
        ({"flag": "lamp", "environment": "production", "document": ON, "title": "x" * 201}, "title"),
        ({"flag": "lamp", "document": {"fallthrough": {"variant": "on"}}}, "document.fallthrough"),
        ({"segment": "nobody", "document": {}}, "segment"),
        ({"segment": "nobody", "flag": "lamp", "document": {}}, "flag"),
    ],
)
def test_what_is_wrong_is_named(key: Caller, body: dict[str, Any], field: str) -> None:
    assert field in named(key("POST", "change-requests/", body))
    assert ChangeRequest.objects.filter(status="open").count() == 0


def test_an_edit_voids_approval_and_if_match_guards_it(key: Caller, ines: Caller) -> None:
    made = opened(key)
    address = f"change-requests/{made['id']}/"
    tag = key("GET", address).headers["ETag"]
    ines("POST", f"{address}approve/", {})
    assert key("POST", f"{address}edit/", {"title": "other"}, If_Match='"nonsense"').status_code == 412
    edited = key("POST", f"{address}edit/", {"document": {"overrides": {"on": ["u1"]}}}, If_Match=tag).json()
    assert (edited["status"], edited["approvals"][0]["counts"]) == ("open", False)
    assert set(edited["diff"]) == {"fallthrough", "overrides"}
    assert key("PATCH", address, {"title": "again"}, If_Match=tag).status_code == 412
    assert key("POST", f"{address}apply/").status_code == 409
    assert ines("POST", f"{address}approve/", {}, If_Match=tag).status_code == 412


def test_scheduled_and_its_time_changed(key: Caller, ines: Caller) -> None:
    soon = (jobs.database_now() + timedelta(hours=1)).isoformat()
    later = (jobs.database_now() + timedelta(hours=2)).isoformat()
    made = opened(key, apply_at=soon)
    address = f"change-requests/{made['id']}/"
    assert ines("POST", f"{address}approve/", {}).json()["status"] == "scheduled"
    for wrong in ({}, {"apply_at": "2020-01-01T00:00:00Z"}, {"apply_at": 7}, {"apply_at": None}):
        assert named(key("POST", f"{address}schedule/", wrong)) == {"apply_at"}
    again = key("POST", f"{address}schedule/", {"apply_at": later, "because": "the shop is busy"})
    assert again.json()["apply_at"][:19] == later[:19]
    assert ChangeRequest.objects.get(pk=made["id"]).due_at == ChangeRequest.objects.get(pk=made["id"]).apply_at
    assert key("POST", f"{address}unschedule/").json()["status"] == "approved"


def test_made_on_an_older_revision_412_until_rebased(key: Caller, ines: Caller) -> None:
    address = f"change-requests/{opened(key)['id']}/"
    ines("POST", f"{address}approve/", {})
    key("POST", "flags/lamp/environments/production/kill/", {"because": "errors"})
    assert key("GET", address).json()["stale"] is True
    answer = key("POST", f"{address}apply/")
    assert answer.status_code == 412
    assert "made on revision 1" in answer.json()["detail"]
    assert "it is 2 now" in answer.json()["detail"]
    rebased = key("POST", f"{address}rebase/").json()
    assert (rebased["status"], rebased["base_revision"], rebased["overlapping"]) == ("open", 2, [])
    assert rebased["document"]["enabled"] is False


def test_going_back_is_asked_for_by_the_revisions_number(key: Caller, ines: Caller, flag: Flag) -> None:
    make.configure(flag, make.production(), ON)
    body = {"flag": "lamp", "environment": "production", "revision": 1}
    made = key("POST", "change-requests/", body).json()
    assert made["diff"] == {"fallthrough": [{"variant": "on", "rollout": 12.5}, {"variant": "off"}]}


def test_variants_and_segments_are_asked_for_by_the_same_door(key: Caller, ines: Caller, flag: Flag) -> None:
    segments.create("staff", by=make.BY, included=["u1"])
    make.configure(flag, make.production(), {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]})
    refused = key("PATCH", "segments/staff/", {"included": ["u2"]})
    assert refused.status_code == 409
    assert "/api/v1/change-requests/" in refused.json()["detail"]
    swapped = [{"key": "on", "value": False}, {"key": "off", "value": True}]
    refused = key("PATCH", "flags/lamp/", {"variants": swapped})
    assert refused.status_code == 409
    assert "/api/v1/change-requests/" in refused.json()["detail"]
    for body in (
        {"segment": "staff", "document": {"included": ["u2"]}},
        {"flag": "lamp", "document": {"variants": swapped}},
    ):
        address = f"change-requests/{key('POST', 'change-requests/', body).json()['id']}/"
        ines("POST", f"{address}approve/", {})
        assert key("POST", f"{address}apply/").json()["status"] == "applied"
    assert key("GET", "segments/staff/").json()["included"] == ["u2"]
    assert key("GET", "flags/lamp/").json()["variants"] == swapped


def test_listed_by_status_flag_and_environment(key: Caller, ines: Caller, flag: Flag) -> None:
    one = opened(key)["id"]
    other = opened(key, title="other")["id"]
    ines("POST", f"change-requests/{other}/reject/", {"because": "no"})
    done = ChangeRequest.objects.filter(status="applied").count()

    def listed(query: str) -> list[int]:
        return [row["id"] for row in key("GET", f"change-requests/?{query}").json()["results"]]

    assert listed("status=open") == listed("pending=true&flag=lamp") == [one]
    assert listed("status=rejected&environment=production") == [other]
    assert len(listed("pending=false")) == 1 + done
    assert listed("flag=other") == listed("environment=staging") == listed("segment=staff") == []
    assert named(key("GET", "change-requests/?status=lost")) == {"status"}
    assert named(ines("POST", f"change-requests/{one}/reject/", {})) == {"because"}


def test_who_does_not_see_the_place_does_not_see_the_request(key: Caller, flag: Flag) -> None:
    made = opened(key)
    eve = Caller(make.person("eve", "operator", "approver", environment=make.environment("lab")))
    assert eve("GET", f"change-requests/{made['id']}/").status_code == 404
    assert eve("POST", f"change-requests/{made['id']}/approve/", {}).status_code == 404
    assert eve("GET", "change-requests/").json()["count"] == 0
    viewer = Caller(make.person("vic", "viewer"))
    for verb, body in (("apply", {}), ("withdraw", {}), ("rebase", None), ("edit", {"title": "x"}), ("approve", {})):
        assert viewer("POST", f"change-requests/{made['id']}/{verb}/", body).status_code == 403, verb
    assert (
        viewer("POST", "change-requests/", {"flag": "lamp", "environment": "production", "document": ON}).status_code
        == 403
    )


def test_an_idempotent_retry_asks_once(key: Caller) -> None:
    body = {"flag": "lamp", "environment": "production", "document": ON}
    answers = [key("POST", "change-requests/", body, Idempotency_Key="k1") for _ in range(2)]
    assert answers[0].json()["id"] == answers[1].json()["id"]


def test_in_the_archive_nothing_is_asked_for(key: Caller, flag: Flag) -> None:
    made = opened(key)
    flags.kill(flag, make.production(), by=make.BY)
    flags.archive(flag, by=make.BY)
    answer = key("POST", "change-requests/", {"flag": "lamp", "environment": "production", "document": ON})
    assert answer.status_code == 409
    assert key("GET", f"change-requests/{made['id']}/").status_code == 200
    assert key("GET", f"change-requests/{made['id']}/preview/").status_code == 409
