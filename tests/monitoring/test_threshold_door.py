"""Thresholds and alerts by REST: exactly the contract's fields, and every fault named."""

from typing import Any

import pytest

from monitoring.actions import thresholds
from monitoring.models import Threshold
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller, fields
from tests.monitoring.watching import BY, Clock

pytestmark = pytest.mark.django_db

LEAST: dict[str, Any] = {"name": "x", "metric": "m", "aggregation": "mean", "operator": ">", "error": 1}
WHOLE: dict[str, Any] = {
    "name": "error rate",
    "metric": "http_errors_total",
    "denominator": "http_requests_total",
    "matchers": {"flag": "new-checkout", "variant": "on", "service": "checkout"},
    "aggregation": "increase",
    "operator": ">=",
    "warning": 0.01,
    "error": 0.02,
    "critical": 0.5,
    "clear": 0.005,
    "window": 120,
    "interval": 5,
    "for": 30,
    "keep_firing_for": 60,
    "min_count": 50,
    "baseline": {"kind": "arm", "change": "difference", "flag": "new-checkout", "variant": "off"},
    "no_data": "alert",
    "response": "take_back",
    "target": "deployment:42",
}


@pytest.fixture
def call(db: None) -> Caller:
    make.service("checkout")
    watching.deeds()
    return Caller("write")


def test_what_is_written_is_read_back_to_the_letter(call: Caller) -> None:
    status, made = call.post("thresholds/", WHOLE)
    assert status == 201, made
    assert {name: made[name] for name in WHOLE} == WHOLE
    assert call.headers["ETag"] == '"1"'
    assert call.get(f"thresholds/{made['id']}/") == made
    assert call.get("thresholds/")["results"] == [made]


def test_the_defaults_are_sensible(call: Caller) -> None:
    status, made = call.post("thresholds/", LEAST)
    assert status == 201
    assert {name: value for name, value in made.items() if name not in (*LEAST, "id", "created_at", "created_by")} == {
        "denominator": None,
        "matchers": {},
        "warning": None,
        "critical": None,
        "clear": None,
        "window": 300,
        "interval": 10,
        "for": 0,
        "keep_firing_for": 0,
        "min_count": 1,
        "baseline": None,
        "no_data": "keep",
        "on_error": None,
        "flapping": {"transitions": 6, "window": 1800},
        "alerts_had": 0,
        "alerts_false": 0,
        "false_share": None,
        "response": None,
        "target": None,
        "combine": None,
        "runbook": None,
        "library": None,
        "condition": "mean(m) > 1",
        "owner": None,
        "version": 1,
        "state": None,
    }


def test_what_was_read_can_be_put_back(call: Caller) -> None:
    made = call.post("thresholds/", WHOLE)[1]
    status, put = call("PUT", f"thresholds/{made['id']}/", {**made, "error": 0.03})
    text = made["condition"].replace("2% error", "3% error")
    assert (status, put) == (200, {**made, "error": 0.03, "condition": text, "version": 2})
    back = made["condition"].replace("2% error", "4% error")
    status, put = call("PUT", f"thresholds/{made['id']}/", {**put, "condition": back})
    assert (status, put["error"], put["window"]) == (200, 0.04, 120)


def test_a_patch_changes_what_it_names_and_a_put_resets_the_rest(call: Caller) -> None:
    made = call.post("thresholds/", WHOLE)[1]
    status, patched = call("PATCH", f"thresholds/{made['id']}/", {"clear": None, "for": 1, "baseline": None})
    assert status == 200
    assert "vs arm" not in patched["condition"]
    assert patched == {**made, "clear": None, "for": 1, "baseline": None, "version": 2} | {
        "condition": patched["condition"]
    }
    status, put = call("PUT", f"thresholds/{made['id']}/", LEAST)
    assert (put["for"], put["matchers"], put["response"], put["min_count"]) == (0, {}, None, 1)


def test_a_change_that_changes_nothing_is_no_version(call: Caller) -> None:
    made = call.post("thresholds/", WHOLE)[1]
    assert call("PATCH", f"thresholds/{made['id']}/", {"for": 30})[1]["version"] == 1


@pytest.mark.parametrize(("tag", "status"), [('"1"', 200), ("*", 200), ('W/"1"', 200), ('"2"', 412), ('"x"', 412)])
def test_if_match_is_compared(call: Caller, tag: str, status: int) -> None:
    made = call.post("thresholds/", LEAST)[1]
    headers = {"If-Match": tag}
    assert call("PATCH", f"thresholds/{made['id']}/", {"error": 2}, **headers)[0] == status
    assert call("PUT", f"thresholds/{made['id']}/", LEAST, **headers)[0] in (status, 412)


def test_a_deleted_threshold_is_gone_and_its_alerts_are_not(call: Caller) -> None:
    clock = Clock()
    threshold = watching.threshold()
    clock.look(1, 500)
    assert call("DELETE", f"thresholds/{threshold.pk}/") == (204, None)
    assert call("GET", f"thresholds/{threshold.pk}/")[0] == 404
    assert call("PATCH", f"thresholds/{threshold.pk}/", {"error": 2})[0] == 404
    assert call.get("thresholds/")["count"] == 0
    alert = call.get("alerts/")["results"][0]
    assert (alert["status"], alert["resolved_because"]) == ("resolved", "threshold removed")


BAD: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "name"),
    ({"name": 7}, "name"),
    ({"name": "x" * 201}, "name"),
    ({"name": None}, "name"),
    ({"metric": None}, "metric"),
    ({"metric": "9lives"}, "metric"),
    ({"metric": ["m"]}, "metric"),
    ({"denominator": "a b"}, "denominator"),
    ({"aggregation": "median"}, "aggregation"),
    ({"aggregation": "p101"}, "aggregation"),
    ({"aggregation": "p"}, "aggregation"),
    ({"aggregation": None}, "aggregation"),
    ({"operator": "="}, "operator"),
    ({"operator": None}, "operator"),
    ({"operator": [">"]}, "operator"),
    ({"error": None}, "error"),
    ({"error": "1"}, "error"),
    ({"error": True}, "error"),
    ({"error": 1e308}, "error"),
    ({"warning": 2}, "error"),
    ({"critical": 0.5}, "critical"),
    ({"clear": 2}, "clear"),
    ({"operator": "<", "clear": 0.5}, "clear"),
    ({"operator": "<", "critical": 2}, "critical"),
    ({"window": 0}, "window"),
    ({"window": -5}, "window"),
    ({"window": 1.5}, "window"),
    ({"window": "60"}, "window"),
    ({"window": 48 * 3600 + 1}, "window"),
    ({"interval": 0}, "interval"),
    ({"interval": 10**20}, "interval"),
    ({"for": -1}, "for"),
    ({"keep_firing_for": 10**9}, "keep_firing_for"),
    ({"min_count": -1}, "min_count"),
    ({"min_count": 2**31}, "min_count"),
    ({"no_data": "zero"}, "no_data"),
    ({"matchers": []}, "matchers"),
    ({"matchers": "x"}, "matchers"),
    ({"matchers": {"9": "x"}}, "matchers.9"),
    ({"matchers": {"a": 1}}, "matchers.a"),
    ({"matchers": {"a": ""}}, "matchers.a"),
    ({"matchers": {"a": "x" * 201}}, "matchers.a"),
    ({"matchers": {"service": "nobody"}}, "matchers.service"),
    ({"matchers": {"environment": "nowhere"}}, "matchers.environment"),
    ({"matchers": {f"l{n}": "x" for n in range(33)}}, "matchers"),
    ({"baseline": "arm"}, "baseline"),
    ({"baseline": {}}, "baseline.kind"),
    ({"baseline": {"kind": "yesterday"}}, "baseline.kind"),
    ({"baseline": {"kind": "arm", "change": "sum"}}, "baseline.change"),
    ({"baseline": {"kind": "arm", "variant": 7}}, "baseline.variant"),
    ({"baseline": {"kind": "arm", "seconds": 7}}, "baseline.seconds"),
    ({"baseline": {"kind": "offset", "seconds": 0}}, "baseline.seconds"),
    ({"baseline": {"kind": "offset", "seconds": 48 * 3600}}, "baseline.seconds"),
    ({"baseline": {"kind": "offset", "colour": 1}}, "baseline.colour"),
    ({"response": "teleport"}, "response"),
    ({"response": 7}, "response"),
    ({"response": "take_back", "error": None, "warning": 1}, "response"),
    ({"target": "42"}, "target"),
    ({"target": "deployment:"}, "target"),
    ({"target": {"deployment": 42}}, "target"),
    ({"owner_": "deployment:1"}, "owner_"),
    ({"colour": "red"}, "colour"),
]


@pytest.mark.parametrize(("change", "field"), BAD, ids=lambda value: str(value)[:60])
def test_a_fault_is_400_and_names_its_field(call: Caller, change: dict[str, Any], field: str) -> None:
    status, problem = call.post("thresholds/", {**LEAST, **change})
    assert status == 400, problem
    assert field in fields(problem)
    assert not Threshold.objects.exists()


@pytest.mark.parametrize(
    "body",
    [b"[]", b"7", b'"x"', b"null", b"{", b"\xff", b'{"name":"\\u0000"}', b"NaN", b'{"error": 1' + b"0" * 400 + b"}"],
)
def test_a_body_that_is_no_object_is_400(call: Caller, body: bytes) -> None:
    assert call.post("thresholds/", body)[0] == 400


def test_all_faults_are_named_at_once(call: Caller) -> None:
    problem = call.post("thresholds/", {"name": 1, "window": 0, "baseline": {"kind": "x"}})[1]
    assert fields(problem) == {"name", "metric", "aggregation", "operator", "error", "window", "baseline.kind"}


@pytest.mark.parametrize(
    "change",
    [
        {"aggregation": "p95"},
        {"aggregation": "p99.9"},
        {"aggregation": "p100"},
        {"aggregation": "last"},
        {"error": None, "critical": 5},
        {"error": 0},
        {"error": -3.5, "warning": -4},
        {"operator": "<", "error": 1, "critical": 0.5, "clear": 2},
        {"warning": 1, "error": 1},
        {"aggregation": None, "denominator": "requests_total"},
        {"baseline": {"kind": "arm"}},
        {"baseline": {"kind": "previous_release", "change": "difference"}},
        {"baseline": {"kind": "offset"}},
        {"min_count": 0},
        {"window": 60.0},
        {"response": "take_back"},
        {"response": "take_back", "target": "service:checkout@staging"},
        {"matchers": {"path": "/a b/ü"}},
    ],
)
def test_what_makes_sense_is_taken(call: Caller, change: dict[str, Any]) -> None:
    status, made = call.post("thresholds/", {**LEAST, **change})
    assert status == 201, made


def test_what_a_deployment_made_is_not_edited_by_hand(call: Caller) -> None:
    threshold = thresholds.create(LEAST, by=BY, owner="deployment:42")
    for method in ("PUT", "PATCH", "DELETE"):
        status, problem = call(method, f"thresholds/{threshold.pk}/", LEAST if method != "DELETE" else None)
        assert (status, problem["detail"]) == (409, "x belongs to deployment:42, which alone changes it")
    assert call.get("thresholds/?owner=deployment:42")["count"] == 1


def test_a_key_stays_in_its_environment(call: Caller) -> None:
    staging, production = make.environment("staging"), make.production()
    bound = Caller("write", environments=[staging])
    assert bound.post("thresholds/", {**LEAST, "matchers": {"environment": "staging"}})[0] == 201
    assert bound.post("thresholds/", {**LEAST, "matchers": {"environment": "production"}})[0] == 403
    assert bound.post("thresholds/", LEAST)[0] == 403
    mine = bound.get("thresholds/")["results"][0]
    assert bound("PATCH", f"thresholds/{mine['id']}/", {"matchers": {"environment": "production"}})[0] == 403
    theirs = call.post("thresholds/", {**LEAST, "matchers": {"environment": production.key}})[1]
    for method in ("GET", "PATCH", "DELETE"):
        assert bound(method, f"thresholds/{theirs['id']}/")[0] == 404
    assert bound.get("thresholds/")["count"] == 1


@pytest.mark.parametrize("scope", ["read", "ingest", "evaluate"])
def test_a_key_that_may_not_write_does_not(db: None, scope: str) -> None:
    where = {"environments": [make.environment()]} if scope == "evaluate" else {}
    assert Caller(scope, **where).post("thresholds/", LEAST)[0] == 403


def test_the_state_says_where_the_judge_stands(call: Caller) -> None:
    clock = Clock()
    threshold = watching.threshold()
    clock.look(1, 500)
    assert call.get(f"thresholds/{threshold.pk}/")["state"] | {"changed_at": ""} == {
        "phase": "firing",
        "level": "error",
        "outcome": "failed",
        "reason": "latency 500 > 300 over the last 1 min (n=1)",
        "value": 500.0,
        "changed_at": "",
    }


def test_alerts_are_listed_chosen_and_shown(call: Caller) -> None:
    clock = Clock()
    threshold = watching.threshold()
    clock.look(1, 500)
    alert = call.get("alerts/")["results"][0]
    assert call.get(f"alerts/{alert['id']}/") == alert
    assert {name: alert[name] for name in ("threshold", "name", "metric", "status", "level", "value", "service")} == {
        "threshold": threshold.pk,
        "name": "latency",
        "metric": "latency_ms",
        "status": "firing",
        "level": "error",
        "value": 500.0,
        "service": "checkout",
    }
    for query, count in (
        ("status=firing", 1),
        ("status=resolved", 0),
        ("level=error", 1),
        ("service=checkout&environment=staging", 1),
        ("environment=production", 0),
        (f"threshold={threshold.pk}", 1),
        (f"incident={alert['incident']}", 1),
    ):
        assert call.get(f"alerts/?{query}")["count"] == count, query
    assert call.get(f"incidents/{alert['incident']}/")["alerts"][0]["id"] == alert["id"]
    assert call("GET", f"alerts/{alert['id'] + 1}/")[0] == 404


@pytest.mark.parametrize(
    "query", ["status=odd", "threshold=x", "threshold=99999999999999999999", "threshold=-1", "status=%00", "page=0"]
)
def test_a_query_that_makes_no_sense_is_a_4xx(call: Caller, query: str) -> None:
    assert call("GET", f"alerts/?{query}")[0] in (400, 404)


@pytest.mark.parametrize("path", ["thresholds/99999999999999999999999/", "alerts/99999999999999999999999/"])
def test_a_number_beyond_all_rows_is_404(call: Caller, path: str) -> None:
    assert call("GET", path)[0] == 404


def test_a_retried_write_makes_one_threshold(call: Caller) -> None:
    headers = {"Idempotency-Key": "a"}
    first = call.post("thresholds/", LEAST, **headers)
    assert call.post("thresholds/", LEAST, **headers) == first
    assert Threshold.objects.count() == 1


def test_a_list_costs_the_same_for_two_and_for_twelve(call: Caller, django_assert_num_queries: Any) -> None:
    clock = Clock()
    for number in range(12):
        watching.threshold(f"t{number}")
    clock.look(1, 500)
    call.get("thresholds/?page_size=2")
    for path, most in (("thresholds/", 6), ("alerts/", 5), ("incidents/", 5)):
        counts = []
        for size in (2, 12):
            with django_assert_num_queries(most, exact=False) as queries:
                call.get(f"{path}?page_size={size}")
            counts.append(len(queries))
        assert counts[0] == counts[1], path
