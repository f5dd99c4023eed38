"""Incidents, definitions, channels and the outbox by REST."""

from typing import Any

import pytest
from pytest_django.fixtures import Settings

from monitoring.models import Channel, OutboxMessage
from portal.models import User
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller, fields
from tests.monitoring.watching import Clock

pytestmark = pytest.mark.django_db
VERBS = ("acknowledge", "escalate", "mitigate", "resolve", "close", "note")
HOOK = {"name": "ops", "kind": "webhook", "config": {"url": "https://example.com/hook"}}


@pytest.fixture
def call(db: None) -> Caller:
    return Caller("write")


def opened(call: Caller, **more: Any) -> dict[str, Any]:
    status, incident = call.post("incidents/", {"title": "Nobody can pay", **more})
    assert status == 201, incident
    return dict(incident)


def test_an_incident_from_an_alert_shows_all_that_happened(call: Caller) -> None:
    clock = Clock()
    watching.deeds()
    watching.threshold(response="take_back", target="deployment:42")
    clock.look(1, 500)
    listed = call.get("incidents/?open=true")["results"][0]
    shown = call.get(f"incidents/{listed['id']}/")
    assert listed.items() <= shown.items()
    assert (shown["status"], shown["severity"], shown["service"], shown["environment"], shown["target"]) == (
        "mitigated",
        "SEV2",
        "checkout",
        "staging",
        "deployment:42",
    )
    assert [entry["kind"] for entry in shown["timeline"]] == ["opened", "response.queued", "response.done", "mitigated"]
    assert [entry["seq"] for entry in shown["timeline"]] == [1, 2, 3, 4]
    assert shown["responses"][0] | {"id": 0, "created_at": "", "ended_at": ""} == {
        "id": 0,
        "name": "take_back",
        "target": "deployment:42",
        "status": "done",
        "attempts": 0,
        "because": "latency 500 > 300 over the last 1 min (n=1)",
        "outcome": "took deployment:42 back",
        "created_at": "",
        "ended_at": "",
    }
    assert shown["opened_at"].endswith("Z")


def test_an_incident_goes_its_way(call: Caller) -> None:
    pk = opened(call, severity="SEV3")["id"]
    for verb, status, severity in (
        ("acknowledge", "acknowledged", "SEV3"),
        ("escalate", "acknowledged", "SEV2"),
        ("mitigate", "mitigated", "SEV2"),
        ("resolve", "resolved", "SEV2"),
        ("close", "closed", "SEV2"),
    ):
        if verb == "close":
            assert call.post(f"incidents/{pk}/close/")[0] == 409
            call.post(f"incidents/{pk}/post-mortem/waive/", {"because": "a drill"})
        code, incident = call.post(f"incidents/{pk}/{verb}/", {"because": "so it is"})
        assert (code, incident["status"], incident["severity"]) == (200, status, severity), incident
        assert incident["timeline"][-1]["text"].endswith(": so it is")


@pytest.mark.parametrize("body", [None, {}, {"because": ""}, {"because": "x"}])
@pytest.mark.parametrize("verb", ["acknowledge", "escalate", "mitigate", "resolve"])
def test_a_reason_may_be_given_or_not(call: Caller, verb: str, body: Any) -> None:
    pk = opened(call)["id"]
    assert call.post(f"incidents/{pk}/{verb}/", body)[0] == 200


def test_what_a_rule_forbids_is_409_in_words(call: Caller) -> None:
    pk = opened(call)["id"]
    call.post(f"incidents/{pk}/resolve/")
    status, problem = call.post(f"incidents/{pk}/mitigate/")
    assert (status, problem["detail"]) == (409, f"incident {pk} is resolved: it cannot become mitigated")


def test_a_note_is_text_at_any_time(call: Caller) -> None:
    pk = opened(call)["id"]
    call.post(f"incidents/{pk}/resolve/")
    for body in ({"text": "cache was cold"}, {"because": "cache was cold"}):
        status, incident = call.post(f"incidents/{pk}/note/", body)
        assert (status, incident["timeline"][-1]["text"]) == (200, "cache was cold")
    wrong: list[dict[str, Any]] = [{}, {"text": ""}, {"text": 7.5, "x": 1}, {"text": "x" * 10_001}]
    for body in wrong:
        assert call.post(f"incidents/{pk}/note/", body)[0] == 400


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "title"),
        ({"title": ""}, "title"),
        ({"title": "x" * 301}, "title"),
        ({"title": "x", "severity": "SEV9"}, "severity"),
        ({"title": "x", "service": "nobody"}, "service"),
        ({"title": "x", "environment": "nowhere"}, "environment"),
        ({"title": "x", "definition": "none"}, "definition"),
        ({"title": "x", "service": ["checkout"]}, "service"),
        ({"title": "x", "status": "closed"}, "status"),
    ],
)
def test_a_fault_names_its_field(call: Caller, body: dict[str, Any], field: str) -> None:
    status, problem = call.post("incidents/", body)
    assert (status, fields(problem)) == (400, {field})


@pytest.mark.parametrize("verb", VERBS)
def test_verbs_refuse_what_they_do_not_know(call: Caller, verb: str) -> None:
    pk = opened(call)["id"]
    status, problem = call.post(f"incidents/{pk}/{verb}/", {"colour": "red"})
    assert (status, fields(problem)) == (400, {"colour"})
    assert call.post("incidents/999999999999999999999/acknowledge/")[0] == 404
    assert call("GET", f"incidents/{pk}/{verb}/")[0] == 405


def test_who_may_not_see_an_incident_gets_404_and_who_may_only_see_gets_403(call: Caller) -> None:
    staging, production = make.environment("staging"), make.production()
    pk = opened(call, environment="production")["id"]
    bound = Caller("write", environments=[staging])
    assert bound("GET", f"incidents/{pk}/")[0] == 404
    assert bound.get("incidents/")["count"] == 0
    for verb in VERBS:
        assert bound.post(f"incidents/{pk}/{verb}/", {"because": "x"})[0] == 404
        assert Caller("read", environments=[production]).post(f"incidents/{pk}/{verb}/", {"because": "x"})[0] == 403
    assert bound.post("incidents/", {"title": "x", "environment": "production"})[0] == 403


def test_incidents_are_chosen(call: Caller) -> None:
    make.service("checkout")
    first = opened(call, service="checkout", severity="SEV1")["id"]
    opened(call)
    call.post(f"incidents/{first}/resolve/")
    for query, count in (
        ("status=resolved", 1),
        ("open=true", 1),
        ("open=false", 1),
        ("severity=SEV1", 1),
        ("service=checkout", 1),
        ("definition=none", 0),
    ):
        assert call.get(f"incidents/?{query}")["count"] == count, query
    assert call("GET", "incidents/?status=odd")[0] == 400


# --- Definitions --------------------------------------------------------------------------------


def test_a_definition_is_made_changed_and_deleted(call: Caller) -> None:
    threshold = watching.threshold()
    call.post("channels/", HOOK)
    body = {
        "key": "checkout",
        "name": "Checkout is hurt",
        "rank": 5,
        "min_level": "critical",
        "matchers": {"service": "checkout"},
        "thresholds": [threshold.pk],
        "group_by": ["service"],
        "severity": "SEV1",
        "responses": ["roll_back"],
        "cool_down": 0,
        "channels": ["ops"],
        "runbook": "https://example.com/runbook",
        "escalation": None,
        "active": True,
    }
    assert call.post("incident-definitions/", body) == (201, body)
    assert call.get("incident-definitions/checkout/") == body
    status, changed = call("PATCH", "incident-definitions/checkout/", {"severity": "", "channels": []})
    assert (status, changed) == (200, {**body, "severity": "", "channels": []})
    assert call.post("incident-definitions/", body)[0] == 409
    assert call("DELETE", "incident-definitions/checkout/") == (204, None)
    assert call("GET", "incident-definitions/checkout/")[0] == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"key": "a b"}, "key"),
        ({"responses": ["teleport"]}, "responses[0]"),
        ({"channels": ["none"]}, "channels"),
        ({"thresholds": [10**30]}, "thresholds"),
        ({"thresholds": [-1]}, "thresholds"),
        ({"thresholds": ["x"]}, "thresholds"),
        ({"rank": 40_000}, "rank"),
        ({"min_level": "warning"}, "min_level"),
        ({"matchers": {"a": 7, "b c": "x"}}, "matchers.b c"),
        ({"group_by": "service"}, "group_by"),
        ({"nonsense": 1}, "nonsense"),
    ],
)
def test_a_definition_with_a_fault_names_it(call: Caller, change: dict[str, Any], field: str) -> None:
    status, problem = call.post("incident-definitions/", {"key": "x", "name": "x", **change})
    assert status == 400, problem
    assert any(name.startswith(field) for name in fields(problem)), problem


def test_the_built_in_definition_is_kept(call: Caller) -> None:
    clock = Clock()
    watching.threshold()
    clock.look(1, 500)
    assert call("DELETE", "incident-definitions/threshold/")[0] == 409
    assert call("PATCH", "incident-definitions/threshold/", {"active": False})[0] == 409
    assert call("PATCH", "incident-definitions/threshold/", {"severity": "SEV3"})[0] == 200


# --- Channels and the outbox --------------------------------------------------------------------


def test_a_channels_secret_goes_in_and_never_comes_out(call: Caller) -> None:
    status, made = call.post("channels/", {**HOOK, "secret": "sesame"})
    assert (status, made["has_secret"], made["active"]) == (201, True, True)
    for answer in (made, call.get(f"channels/{made['id']}/"), call.get("channels/"), call.get("audit/")):
        assert "sesame" not in str(answer)
    assert Channel.objects.get().secret == "sesame"
    assert call("PUT", f"channels/{made['id']}/", HOOK)[1]["has_secret"] is True
    assert call("PATCH", f"channels/{made['id']}/", {"secret": ""})[1]["has_secret"] is False
    assert call("PATCH", f"channels/{made['id']}/", {"active": False})[1]["active"] is False
    assert call("DELETE", f"channels/{made['id']}/") == (204, None)
    assert call("GET", f"channels/{made['id']}/")[0] == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"kind": "pigeon"}, "kind"),
        ({"config": {}}, "config.url"),
        ({"config": {"url": "http://127.0.0.1/"}}, "config.url"),
        ({"config": {"url": "https://example.com/", "x": 1}}, "config.x"),
        ({"config": "https://example.com/"}, "config"),
        ({"name": ""}, "name"),
        ({"secret": 1.5, "name": None}, "name"),
        ({"has_secret": True, "url": "x"}, "url"),
    ],
)
def test_a_channel_with_a_fault_names_it(call: Caller, settings: Settings, change: dict[str, Any], field: str) -> None:
    settings.PORTAL_OUTGOING_ALLOW = []
    status, problem = call.post("channels/", {**HOOK, **change})
    assert status == 400, problem
    assert field in fields(problem)


def test_a_name_is_used_once(call: Caller) -> None:
    assert call.post("channels/", HOOK)[0] == 201
    assert call.post("channels/", HOOK)[0] == 409


def test_only_who_may_configure_sees_where_messages_go(call: Caller) -> None:
    made = call.post("channels/", HOOK)[1]
    reader = Caller("read")
    for path in ("channels/", f"channels/{made['id']}/", "outbox/"):
        assert reader("GET", path)[0] == 403
    assert Caller("write", environments=[make.environment()]).post("channels/", {**HOOK, "name": "b"})[0] == 403


def test_a_dead_letter_is_seen_and_sent_again(call: Caller) -> None:
    channel = Channel.objects.get(pk=call.post("channels/", HOOK)[1]["id"])
    call.post("incident-definitions/", {"key": "told", "name": "Told", "channels": ["ops"]})
    opened(call, definition="told")
    message = call.get("outbox/?state=pending&channel=ops")["results"][0]
    assert (message["kind"], message["channel"]) == ("incident.opened", channel.name)
    assert call.post(f"outbox/{message['id']}/resend/")[0] == 409
    OutboxMessage.objects.update(state="dead", attempts=7, last_error="HTTP 404")
    dead = call.get("outbox/?state=dead")["results"][0]
    assert (dead["attempts"], dead["last_error"]) == (7, "HTTP 404")
    status, again = call.post(f"outbox/{message['id']}/resend/", {"because": "address corrected"})
    assert (status, again["state"], again["attempts"]) == (200, "pending", 0)


def test_no_rights_no_doors(db: None) -> None:
    nobody = User.objects.create_user("nobody")
    from_client = Caller("feedback")
    assert not nobody.is_staff
    for path in ("thresholds/", "alerts/", "incidents/", "incident-definitions/", "channels/", "outbox/"):
        assert from_client("GET", path)[0] == 403
