"""The API keeps to its own OpenAPI document and to OFREP's, whatever a client sends.

A walk gives every operation of the document at least one answer of 2xx that fits its schema; then schemathesis
attacks them all: no 5xx, no status that is not documented.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from schemathesis.core.result import Ok

from tests.journeys.running import ROOT, Journey, made
from tests.journeys.running import until as until_within
from tests.monitoring import receiver
from tests.running import LONG

SUITES = Path(os.environ.get("PORTAL_SUITES", ROOT.parent / "shared" / "suites"))
# PORTAL_TEST_ATTACK makes it longer: an hour's attack finds what every run need not look for.
ATTACK = os.environ.get("PORTAL_TEST_ATTACK", "30")  # seconds
OFREP_ATTACK = str(int(ATTACK) // 3)  # two addresses, beside a hundred
DOCUMENT = "/api/v1/schema/?format=json"
MAKE_PEOPLE = """
from portal.models import Grant, User
person = User.objects.create_user("ines", password="walk-walk-walk")
Grant.objects.create(user=person, role="approver")
called, _ = User.objects.get_or_create(username="root")
Grant.objects.get_or_create(user=called, role="owner")
"""


ADVISE = """
from monitoring.models import Recommendation
for n in (1, 2):
    Recommendation.objects.create(key=f"noisy_threshold:{n}", rule="noisy_threshold", title="t", advice="a",
        evidence={"threshold": n}, unit="false alerts", expected=3.0)
"""


def until(true: Any) -> None:
    """What a worker does on a busy machine: that it comes is asserted, not when."""
    until_within(true, within=LONG)


@pytest.fixture(scope="module")
def portal() -> Iterator[Journey]:
    with Journey(PORTAL_OUTGOING_ALLOW="127.0.0.0/8") as running:
        yield running


@pytest.fixture(scope="module")
def admin(portal: Journey) -> Iterator[httpx.Client]:
    with portal.client(portal.key("admin")) as client:
        yield client


@pytest.fixture(scope="module")
def refuser() -> Iterator[str]:
    """A webhook's receiver that takes nothing."""
    with receiver.running() as refusing:
        refusing.answer = lambda call: receiver.Reply(400)
        yield refusing.url


class Walk:
    """Requests that must succeed, each checked against the document."""

    def __init__(self, client: httpx.Client, address: str) -> None:
        self.client = client
        self.schema = schemathesis.openapi.from_url(f"{address}{DOCUMENT}", timeout=60)
        self.left = {
            (operation.method.upper(), operation.path)
            for result in self.schema.get_all_operations()
            if isinstance(result, Ok)
            for operation in [result.ok()]
        }

    def __call__(self, method: str, template: str, body: Any = None, *, by: Any = None, **params: Any) -> Any:
        """`params` fill the braces of the template; the others are the query."""
        template = f"/api/v1/{template}"
        path = template.format(**params)
        query = {name: value for name, value in params.items() if f"{{{name}}}" not in template}
        client = by or self.client
        answer = client.request(method, path, json=body, params=query)
        assert 200 <= answer.status_code < 300, f"{method} {path}: {answer.status_code} {answer.text}"
        self.schema[template][method].validate_response(answer)
        self.left.discard((method, template))
        return answer.json() if answer.headers.get("content-type", "").endswith("json") else None


@pytest.fixture(scope="module")
def walk(portal: Journey, admin: httpx.Client) -> Walk:
    return Walk(admin, portal.address)


def test_every_operation_answers_as_documented(portal: Journey, walk: Walk, refuser: str) -> None:
    portal.command("shell", "-c", MAKE_PEOPLE)
    _places(walk)
    _flags(walk)
    _imports(walk)
    _monitoring(walk)
    _errors(walk)
    _silences(walk)
    _escalation(walk)
    _slos(walk)
    _advice(walk)
    _recommendations(portal, walk)
    _library(walk)
    _sources(walk)
    _watchdogs(walk)
    _coverage(walk)
    _incidents(walk, refuser)
    _deployments(portal, walk)
    _feedback(walk)
    assert not walk.left, f"never seen to succeed: {sorted(walk.left)}"


def _places(walk: Walk) -> None:
    walk("POST", "services/", {"key": "shop", "name": "The shop"})
    walk("GET", "services/")
    walk("GET", "services/{key}/", key="shop")
    walk("PATCH", "services/{key}/", {"description": "sells"}, key="shop")
    walk("POST", "environments/", {"key": "staging", "rank": 1, "approval_policy": "not_required"})
    walk("POST", "environments/", {"key": "production", "rank": 2, "approval_policy": "four_eyes", "protected": True})
    walk("GET", "environments/")
    walk("GET", "environments/{key}/", key="staging")
    walk("PATCH", "environments/{key}/", {"name": "Staging"}, key="staging")
    walk("POST", "config/apply/", {"document": "services: {bank: {name: The bank}}", "dry_run": True})
    walk("GET", "config/export/", environment="staging")
    walk("GET", "audit/")


def _flags(walk: Walk) -> None:
    walk("POST", "segments/", {"key": "staff", "name": "Staff", "included": ["u1"]})
    walk("GET", "segments/")
    walk("GET", "segments/{key}/", key="staff")
    walk("PATCH", "segments/{key}/", {"name": "Our staff"}, key="staff")
    walk("PUT", "segments/{key}/", {"name": "Staff", "included": ["u1", "u2"]}, key="staff")
    flag = {"key": "lamp", "type": "boolean", "value_type": "bool", "purpose": "release", "owner": "dana"}
    walk("POST", "flags/", flag)
    walk("GET", "flags/")
    walk("GET", "flags/{key}/", key="lamp")
    walk("PATCH", "flags/{key}/", {"owner": "sam", "tags": ["beta"], "expires_at": "2030-06-01"}, key="lamp")
    walk("PUT", "flags/{key}/", {"owner": "dana"}, key="lamp")
    at = {"key": "lamp", "environment": "staging"}
    serve = {"split": {"on": 50, "off": 50}, "rollout": 33.333}
    rule = {"all": [{"attr": "country", "op": "in", "values": ["PL", "DE"]}], "segments": ["staff"], "serve": serve}
    config = {"enabled": True, "off_variant": "off", "rules": [rule], "fallthrough": {"variant": "off"}}
    walk("PUT", "flags/{key}/environments/{environment}/", config, **at)
    walk("PATCH", "flags/{key}/environments/{environment}/", {"overrides": {"on": ["u9"]}}, **at)
    ramp = {"kind": "linear", "zone": "Europe/Warsaw", "points": [
        {"at": "2026-01-01T00:00:00", "rollout": 0}, {"at": "2100-01-01T00:00:00Z", "rollout": 100},
    ]}  # fmt: skip
    grows = {"fallthrough": {"variant": "on", "by": ["device", "targetingKey"], "schedule": ramp}}
    walk("PATCH", "flags/{key}/environments/{environment}/", grows, **at)
    walk("GET", "flags/{key}/environments/{environment}/", **at)
    walk("GET", "flags/{key}/environments/{environment}/explain/", **at, targetingKey="u1")
    walk("POST", "flags/{key}/environments/{environment}/explain/", {"context": {"targetingKey": "u1"}}, **at)
    walk("GET", "flags/{key}/environments/{environment}/exposures/", **at)
    walk("GET", "flags/{key}/environments/{environment}/why/", **at, unit="u1")
    walk("POST", "playground/", {"environment": "staging", "context": {"targetingKey": "u1"}})
    walk("POST", "flags/{key}/environments/{environment}/kill/", {"because": "tried"}, **at)
    walk("POST", "flags/{key}/environments/{environment}/switch_on/", {"because": "tried"}, **at)
    walk("PUT", "environments/{key}/dotenv/names/", {"prefix": "FLAG_", "names": {"lamp": "LAMP"}}, key="staging")
    walk("GET", "environments/{key}/dotenv/names/", key="staging")
    walk("GET", "environments/{key}/dotenv", key="staging", targetingKey="u1")
    walk("GET", "environments/{key}/dotenv/", key="staging")
    _audiences(walk)
    revisions = walk("GET", "flags/{key}/revisions/", key="lamp")["results"]
    oldest = min(row["revision"] for row in revisions if row["environment"] == "staging")
    walk("POST", "flags/{key}/environments/{environment}/restore/", {"revision": oldest, "because": "tried"}, **at)
    walk("POST", "flags/", flag | {"key": "old"})
    walk("POST", "flags/{key}/archive/", {"because": "unused"}, key="old")
    walk("POST", "flags/{key}/unarchive/", {"because": "used after all"}, key="old")
    walk("POST", "segments/", {"key": "gone", "name": "Gone"})
    walk("DELETE", "segments/{key}/", key="gone")


def _imports(walk: Walk) -> None:
    strategy = {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "g"}}
    state = {"features": [{"name": "brought", "enabled": True, "strategies": [strategy]}]}
    walk("POST", "imports/", {"format": "unleash", "document": state, "environment": "staging", "dry_run": False})
    at = {"key": "brought", "environment": "staging"}
    walk("GET", "flags/{key}/environments/{environment}/rebucket/", **at)
    walk("POST", "flags/{key}/environments/{environment}/rebucket/", {"because": "tried"}, **at)


def _audiences(walk: Walk) -> None:
    walk("POST", "audiences/", {"key": "beta", "name": "The beta"})
    walk("GET", "audiences/")
    walk("GET", "audiences/{key}/", key="beta")
    walk("PATCH", "audiences/{key}/", {"capacity": 1000}, key="beta")
    walk("POST", "audiences/{key}/members/", {"units": ["u1", "u2"]}, key="beta")
    walk("POST", "audiences/{key}/members/", {"unit": "u2", "action": "leave"}, key="beta")
    walk("GET", "audiences/{key}/members/", key="beta", joined=True)
    walk("POST", "audiences/{key}/links/", {"unit": "u3", "expires_in": 3600}, key="beta")
    walk("POST", "audiences/{key}/revoke_links/", {}, key="beta")
    walk("POST", "audiences/", {"key": "passed"})
    walk("DELETE", "audiences/{key}/", key="passed")


def _monitoring(walk: Walk) -> None:
    walk("POST", "metrics/", {"name": "depth", "type": "gauge", "unit": "jobs", "direction": "lower_is_better"})
    walk("GET", "metrics/")
    walk("GET", "metrics/{name}/", name="depth")
    walk("PATCH", "metrics/{name}/", {"description": "waiting jobs"}, name="depth")
    labels = {"service": "shop", "environment": "staging"}
    walk("POST", "samples/", {"samples": [{"metric": "depth", "value": 3, "time": time.time(), "labels": labels}]})
    walk("GET", "samples/", metric="depth")
    walk("GET", "metrics/{name}/points/", name="depth")
    seen = {"metric": "wait_seconds", "key": "o1", "value": 0.5, "labels": labels}
    walk("GET", "trends/", metric="depth")
    walk("GET", "forecasts/", metric="depth", days=7)
    walk("POST", "observations/", {"observations": [seen]})
    shown = {"name": "exposure", "unit": "u1", "flag": "lamp", "variant": "on", "id": "x1", **labels}
    walk("GET", "rejections/")
    walk("GET", "web-vitals/", service="shop", hours=24)
    walk("GET", "health-scores/", service="shop")
    walk("POST", "events/", {"events": [shown, {"name": "order_placed", "unit": "u1", "value": 4.5, "id": "o1"}]})
    walk("GET", "events/", unit="u1")
    threshold: dict[str, Any] = {"name": "deep", "metric": "depth", "matchers": labels, "aggregation": "max"}
    threshold |= {
        "operator": ">",
        "error": 10,
        "window": 60,
        "interval": 10,
        "for": 0,
        "min_count": 1,
        "no_data": "keep",
    }
    made_ = walk("POST", "thresholds/", threshold)
    walk("GET", "thresholds/")
    walk("GET", "thresholds/{id}/", id=made_["id"])
    walk("PUT", "thresholds/{id}/", threshold | {"error": 9}, id=made_["id"])
    walk("PATCH", "thresholds/{id}/", {"error": 8}, id=made_["id"])
    gone = walk("POST", "thresholds/", threshold | {"name": "gone"})
    walk("POST", "thresholds/", {"name": "worded", "condition": "p95(latency) > 3 for 5m"})
    walk("POST", "thresholds/", {"name": "both", "combine": {"of": [made_["id"], gone["id"]], "need": 2}})
    walk("DELETE", "thresholds/{id}/", id=gone["id"])


def _errors(walk: Walk) -> None:
    failed = {
        "type": "KeyError",
        "service": "shop",
        "environment": "staging",
        "release": "1.0",
        "unit": "u1",
        "key": "e1",
    }
    walk("POST", "errors/", {"errors": [failed]})
    group = walk("GET", "errors/")["results"][0]["id"]
    walk("GET", "errors/{id}/", id=group)
    walk("POST", "errors/{id}/resolve/", {}, id=group)
    walk("POST", "errors/{id}/ignore/", {"because": "a drill"}, id=group)
    walk("POST", "errors/{id}/reopen/", {}, id=group)
    walk("POST", "errors/{id}/assign/", {"person": "ines"}, id=group)


def _slos(walk: Walk) -> None:
    slo = {
        "key": "availability", "name": "availability", "kind": "availability", "metric": "requests_total",
        "bad": "errors_total", "objective": 99.9,
    }  # fmt: skip
    walk("POST", "slos/", slo)
    walk("GET", "slos/")
    walk("GET", "slos/{key}/", key="availability")
    walk("PATCH", "slos/{key}/", {"objective": 99.5}, key="availability")
    walk("GET", "slos/{key}/budget/", key="availability")
    walk("POST", "slos/", slo | {"key": "gone"})
    walk("DELETE", "slos/{key}/", key="gone")


def _advice(walk: Walk) -> None:
    disk = {"key": "disk", "name": "disk", "metric": "depth", "limit": 100, "matchers": {"service": "shop"}}
    walk("POST", "capacities/", disk)
    walk("GET", "capacities/", kind="capacity")
    walk("GET", "capacities/{key}/", key="disk")
    walk("PATCH", "capacities/{key}/", {"limit": 200}, key="disk")
    walk("GET", "capacities/{key}/outlook/", key="disk")
    walk("DELETE", "capacities/{key}/", key="disk")
    policy = {"key": "shop", "name": "shop", "service": "shop", "environment": "staging", "metric": "depth"}
    walk("POST", "scaling-policies/", {**policy, "target": 0.1, "instances": 2, "up_cool_down": 0, "window": 3600})
    walk("GET", "scaling-policies/")
    walk("GET", "scaling-policies/{key}/", key="shop")
    until(lambda: walk("GET", "scaling-decisions/", status="advised")["count"])
    decided = walk("GET", "scaling-decisions/", status="advised")["results"][0]["id"]
    walk("GET", "scaling-decisions/{id}/", id=decided)
    walk("POST", "scaling-decisions/{id}/decline/", {"because": "tried"}, id=decided)
    walk("PATCH", "scaling-policies/{key}/", {"maximum": 20, "interval": 10}, key="shop")
    until(lambda: walk("GET", "scaling-decisions/", status="advised")["count"])
    walk("POST", "scaling-decisions/{id}/accept/", {}, id=walk("GET", "scaling-decisions/")["results"][0]["id"])
    walk("DELETE", "scaling-policies/{key}/", key="shop")
    cost = walk("POST", "unit-costs/", {"service": "shop", "environment": "staging", "instance_price": 40})
    walk("GET", "unit-costs/")
    walk("GET", "unit-costs/{id}/", id=cost["id"])
    walk("DELETE", "unit-costs/{id}/", id=cost["id"])
    wanted = walk("POST", "report-subscriptions/", {"person": "ines", "period": "daily", "zone": "Europe/Warsaw"})["id"]
    walk("GET", "report-subscriptions/")
    walk("GET", "report-subscriptions/{id}/", id=wanted)
    walk("PATCH", "report-subscriptions/{id}/", {"period": "weekly", "services": ["shop"]}, id=wanted)
    report = walk("POST", "report-subscriptions/{id}/make/", id=wanted)
    walk("GET", "reports/")
    walk("GET", "reports/{id}/", id=report["id"])
    walk("DELETE", "report-subscriptions/{id}/", id=wanted)


def _recommendations(portal: Journey, walk: Walk) -> None:
    portal.command("shell", "-c", ADVISE)
    made = walk("GET", "recommendations/", status="open")["results"]
    walk("GET", "recommendations/{id}/", id=made[0]["id"])
    walk("POST", "recommendations/{id}/accept/", {}, id=made[0]["id"])
    walk("POST", "recommendations/{id}/apply/", {"because": "tried"}, id=made[0]["id"])
    walk("POST", "recommendations/{id}/dismiss/", {"because": "tried"}, id=made[1]["id"])
    walk("GET", "recommendations/savings/")


def _library(walk: Walk) -> None:
    place = {"service": "shop", "environment": "staging"}
    walk("GET", "library/", service="shop", environment="staging")
    walk("POST", "library/take/", place | {"keys": ["cpu", "error-rate"]})


def _sources(walk: Walk) -> None:
    here = {"name": "this machine", "kind": "host", "interval": 60}
    walk("POST", "sources/try/", here)
    made_ = walk("POST", "sources/", here)
    walk("GET", "sources/")
    walk("GET", "sources/{id}/", id=made_["id"])
    walk("PUT", "sources/{id}/", here, id=made_["id"])
    walk("PATCH", "sources/{id}/", {"interval": 30}, id=made_["id"])
    walk("POST", "sources/{id}/try/", id=made_["id"])
    walk("POST", "sources/{id}/pull/", id=made_["id"])
    walk("DELETE", "sources/{id}/", id=made_["id"])


def _watchdogs(walk: Walk) -> None:
    walk("POST", "watchdogs/", {"key": "backup", "every": 86_400, "grace": 3600})
    walk("GET", "watchdogs/")
    walk("GET", "watchdogs/{key}/", key="backup")
    walk("PATCH", "watchdogs/{key}/", {"level": "error"}, key="backup")
    walk("POST", "watchdogs/{key}/beat/", {"status": "ok", "message": "3 GB"}, key="backup")
    walk("DELETE", "watchdogs/{key}/", key="backup")


def _coverage(walk: Walk) -> None:
    walk("GET", "coverage/", service="shop")
    waived = walk("POST", "coverage/waivers/", {"service": "shop", "signal": "traffic", "because": "a nightly job"})
    walk("GET", "coverage/waivers/")
    walk("DELETE", "coverage/waivers/{id}/", id=waived["id"])


def _silences(walk: Walk) -> None:
    shop = [{"name": "service", "value": "shop"}]
    made_ = walk("POST", "silences/", {"matchers": shop, "ends_at": "2100-01-01T00:00:00Z", "comment": "moving"})
    walk("GET", "silences/")
    walk("GET", "silences/{id}/", id=made_["id"])
    walk("DELETE", "silences/{id}/", id=made_["id"])
    weekly = {"name": "backup", "matchers": shop, "days": ["sun"], "opens": "02:00", "closes": "03:30"}
    made_ = walk("POST", "maintenance/", weekly | {"zone": "Europe/Warsaw"})
    walk("GET", "maintenance/")
    walk("GET", "maintenance/{id}/", id=made_["id"])
    walk("DELETE", "maintenance/{id}/", id=made_["id"])
    down = {
        "name": "down",
        "source": [{"name": "alertname", "value": "down"}],
        "target": shop,
        "equal": ["environment"],
    }
    made_ = walk("POST", "inhibitions/", down)
    walk("GET", "inhibitions/")
    walk("GET", "inhibitions/{id}/", id=made_["id"])
    walk("DELETE", "inhibitions/{id}/", id=made_["id"])


def _escalation(walk: Walk) -> None:
    layer = {"people": ["ines"], "every": "week", "handover": "09:00", "starts_on": "2026-01-05"}
    hours = {"days": ["mon"], "opens": "09:00", "closes": "17:00"}
    walk("POST", "rotas/", {"key": "first", "zone": "Europe/Warsaw", "layers": [layer | {"hours": [hours]}, layer]})
    walk("GET", "rotas/")
    walk("GET", "rotas/{key}/", key="first")
    walk("PATCH", "rotas/{key}/", {"name": "First"}, key="first")
    walk("GET", "rotas/{key}/shifts/", key="first")
    stand_in = {"person": "ines", "ends_at": "2099-01-01T00:00:00Z", "comment": "swap"}
    made_ = walk("POST", "rotas/{key}/overrides/", stand_in, key="first")
    walk("GET", "rotas/{key}/overrides/", key="first")
    walk("DELETE", "rotas/{key}/overrides/{id}/", key="first", id=made_["id"])
    steps = [{"delay": 900, "people": ["ines"]}, {"rotas": ["first"]}]
    walk("POST", "escalation-policies/", {"key": "standard", "steps": steps, "remind_after": 1800})
    walk("GET", "escalation-policies/")
    walk("GET", "escalation-policies/{key}/", key="standard")
    walk("PATCH", "escalation-policies/{key}/", {"repeat": 1}, key="standard")
    walk("DELETE", "escalation-policies/{key}/", key="standard")
    walk("DELETE", "rotas/{key}/", key="first")
    quiet = {"zone": "Europe/Warsaw", "quiet_from": "22:00", "quiet_until": "07:00", "info": "never"}
    walk("PATCH", "notification-preferences/{username}/", quiet, username="ines")
    walk("GET", "notification-preferences/{username}/", username="ines")
    walk("DELETE", "notification-preferences/{username}/", username="ines")


def _incidents(walk: Walk, refuser: str) -> None:
    def dead() -> list[int]:
        return [one["id"] for one in walk("GET", "outbox/")["results"] if one["state"] == "dead"]

    channel = {"name": "hook", "kind": "webhook", "config": {"url": refuser}, "secret": "s"}
    hook = walk("POST", "channels/", channel)
    walk("GET", "channels/")
    walk("GET", "channels/{id}/", id=hook["id"])
    walk("PUT", "channels/{id}/", channel, id=hook["id"])
    walk("PATCH", "channels/{id}/", {"active": True}, id=hook["id"])
    walk("POST", "channels/{id}/test/", id=hook["id"])
    spare = walk("POST", "channels/", channel | {"name": "spare"})
    walk("DELETE", "channels/{id}/", id=spare["id"])
    _status_page(walk)
    definition = {"key": "depth", "name": "Deep queue", "rank": 1, "min_level": "error", "channels": ["hook"]}
    definition["responses"] = ["propose_capture_diagnostics"]
    walk("POST", "incident-definitions/", definition)
    walk("GET", "incident-definitions/")
    walk("GET", "incident-definitions/{key}/", key="depth")
    walk("PATCH", "incident-definitions/{key}/", {"name": "Too deep"}, key="depth")
    walk("POST", "incident-definitions/", definition | {"key": "gone"})
    walk("DELETE", "incident-definitions/{key}/", key="gone")
    labels = {"service": "shop", "environment": "staging"}
    walk("POST", "samples/", {"samples": [{"metric": "depth", "value": 30, "time": time.time(), "labels": labels}]})
    until(lambda: walk("GET", "alerts/")["count"] and walk("GET", "outbox/")["count"])
    alert = walk("GET", "alerts/")["results"][0]["id"]
    crossed = walk("GET", "incidents/")["results"][0]["id"]
    run = walk("GET", "incidents/{id}/", id=crossed)["responses"][0]["id"]
    walk("POST", "incidents/{id}/responses/{run}/confirm/", {}, id=crossed, run=run)
    walk("GET", "incidents/{id}/attachments/", id=crossed)
    walk("GET", "alerts/{id}/", id=alert)
    walk("POST", "alerts/{id}/mark_false/", {"because": "tried"}, id=alert)
    walk("POST", "alerts/{id}/unmark_false/", {}, id=alert)
    # The receiver will never take it, so it is dead at once, and a person may send it again.
    until(dead)
    message = dead()[0]
    walk("GET", "outbox/{id}/", id=message)
    walk("POST", "outbox/{id}/resend/", {}, id=message)
    by_hand = {"title": "it burns", "severity": "SEV2", "service": "shop", "environment": "staging"}
    fire = walk("POST", "incidents/", by_hand)["id"]
    walk("GET", "incidents/")
    walk("GET", "incidents/{id}/", id=fire)
    walk("POST", "incidents/{id}/acknowledge/", {}, id=fire)
    walk("POST", "incidents/{id}/escalate/", {"because": "spreading"}, id=fire)
    walk("POST", "incidents/{id}/note/", {"text": "water is coming"}, id=fire)
    walk("POST", "incidents/{id}/assign/", {"role": "scribe", "person": "ines"}, id=fire)
    walk("POST", "incidents/{id}/severity/", {"severity": "SEV1", "because": "all of it"}, id=fire)
    walk("GET", "incidents/figures/")
    walk("POST", "incidents/{id}/mitigate/", {}, id=fire)
    walk("POST", "incidents/{id}/resolve/", {}, id=fire)
    walk("GET", "incidents/{id}/post-mortem/", id=fire)
    text = {"content": {"root_cause": "a match"}, "expected_version": 0}
    walk("PATCH", "incidents/{id}/post-mortem/", text, id=fire)
    walk("GET", "incidents/{id}/post-mortem/versions/", id=fire)
    walk("POST", "incidents/{id}/post-mortem/waive/", {"because": "a drill"}, id=fire)
    walk("POST", "incidents/{id}/post-mortem/publish/", {}, id=fire)
    item = walk("POST", "action-items/", {"incident": fire, "title": "no matches", "due_on": "2030-01-01"})["id"]
    walk("GET", "action-items/")
    walk("GET", "action-items/{id}/", id=item)
    walk("PATCH", "action-items/{id}/", {"owner": "ines"}, id=item)
    walk("POST", "action-items/{id}/end/", {"status": "done"}, id=item)
    walk("POST", "incidents/{id}/close/", {}, id=fire)


def _status_page(walk: Walk) -> None:
    shop = walk("POST", "status/components/", {"name": "The shop", "service": "shop"})["id"]
    walk("GET", "status/components/")
    walk("GET", "status/components/{code}/", code=shop)
    walk("PATCH", "status/components/{code}/", {"status": "operational"}, code=shop)
    told = {"name": "Slow", "body": "We look into it.", "impact": "minor", "components": [shop]}
    code = walk("POST", "status/incidents/", told)["id"]
    walk("GET", "status/incidents/")
    walk("GET", "status/incidents/{code}/", code=code)
    walk("POST", "status/incidents/{code}/updates/", {"status": "resolved", "body": "It is over."}, code=code)
    walk("DELETE", "status/components/{code}/", code=shop)


def _deployments(portal: Journey, walk: Walk) -> None:
    release = {"service": "shop", "version": "1.0", "commit": "a1b2c3d", "type": "canary", "risk": "low"}
    first = walk("POST", "releases/", release | {"notes": "", "captain": "", "zone": "Europe/Warsaw"})["id"]
    walk("GET", "releases/")
    walk("GET", "releases/{id}/", id=first)
    walk("PATCH", "releases/{id}/", {"notes": "faster"}, id=first)
    stages: list[dict[str, Any]] = [{"name": "all", "weight": 100, "dwell": 3600}]
    steps = [{"name": "canary", "weight": 5, "dwell": 0}, *stages]
    plan = walk("POST", "plans/", {"name": "steps", "stages": steps})
    walk("GET", "plans/")
    walk("GET", "plans/{key}/", key=plan["id"])
    walk("POST", "flags/", {"key": "fresh", "type": "boolean", "value_type": "bool"})
    serves = [{"flag": "fresh", "variant": "on", "baseline": "off"}]
    body = {"release": first, "environment": "staging", "plan": plan["id"], "serves": serves}
    run = walk("POST", "deployments/", body)["id"]
    walk("GET", "deployments/")
    walk("GET", "deployments/{id}/", id=run)
    walk("POST", "deployments/{id}/start/", {}, id=run)
    walk("POST", "deployments/{id}/pause/", {"because": "lunch"}, id=run)
    walk("POST", "deployments/{id}/resume/", {}, id=run)
    walk("POST", "deployments/{id}/roll_back/", {"because": "tried"}, id=run)
    _advance(portal, walk, run)
    walk("POST", "deployments/{id}/roll_back/", {"because": "tried"}, id=run)
    walk("POST", "deployments/{id}/retry/", {}, id=run)
    walk("POST", "deployments/{id}/cancel/", {"because": "tried"}, id=run)
    guarded = walk("POST", "deployments/", body | {"environment": "production"})
    walk("POST", "deployments/{id}/start/", {}, id=guarded["id"])
    with closing(_signed_in(portal.address, "ines", "walk-walk-walk")) as ines:
        vote = {"rule": "four_eyes", "value": "go", "expected_plan_hash": plan["hash"]}
        walk("POST", "deployments/{id}/votes/", vote, id=guarded["id"], by=ines)
        _change_requests(walk, ines)
    until(lambda: walk("GET", "deployments/{id}/", id=guarded["id"])["status"] == "progressing")


def _change_requests(walk: Walk, ines: httpx.Client) -> None:
    at = {"key": "lamp", "environment": "production"}
    on = {"enabled": True, "fallthrough": {"variant": "on"}}
    preview = walk("POST", "flags/{key}/environments/{environment}/preview/", on, **at)
    assert preview["words"] == "no contexts seen yet"
    wish = {"flag": "lamp", "environment": "production", "document": on, "title": "light", "because": "dark"}
    one = walk("POST", "change-requests/", wish)["id"]
    walk("GET", "change-requests/", status="open", flag="lamp")
    walk("GET", "change-requests/{id}/", id=one)
    walk("GET", "change-requests/{id}/preview/", id=one)
    walk("POST", "change-requests/{id}/edit/", {"document": {"overrides": {"on": ["u1"]}}}, id=one)
    walk("PATCH", "change-requests/{id}/", {"title": "more light"}, id=one)
    walk("POST", "change-requests/{id}/approve/", {"comment": "yes"}, id=one, by=ines)
    walk("POST", "change-requests/{id}/schedule/", {"apply_at": "2100-01-01T00:00:00Z"}, id=one)
    walk("POST", "change-requests/{id}/unschedule/", {}, id=one)
    walk("POST", "change-requests/{id}/apply/", {}, id=one)
    two = walk("POST", "change-requests/", wish | {"document": {"enabled": False}})["id"]
    walk("POST", "flags/{key}/environments/{environment}/kill/", {"because": "tried"}, **at)
    walk("POST", "change-requests/{id}/reject/", {"because": "done"}, id=two, by=ines)
    three = walk("POST", "change-requests/", wish)["id"]
    walk("POST", "change-requests/{id}/rebase/", id=three)
    walk("POST", "change-requests/{id}/withdraw/", {}, id=three)
    walk("GET", "flags/{key}/uses/", key="lamp")
    walk("GET", "segments/{key}/uses/", key="staff")
    walk("POST", "segments/{key}/preview/", {"included": ["u3"]}, key="staff")
    walk("GET", "segments/{key}/revisions/", key="staff")
    walk("POST", "segments/{key}/restore/", {"revision": 1}, key="staff")
    walk("POST", "flags/{key}/restore/", {"revision": 1}, key="lamp")
    walk("GET", "flags/{key}/environments/{environment}/", **at, at="2100-01-01T00:00:00Z")


def _advance(portal: Journey, walk: Walk, run: int) -> None:
    """By hand, while the worker stands still: its sweep wants the same, and is mostly quicker."""
    with portal.worker_standing_still():
        walk("POST", "deployments/{id}/retry/", {}, id=run)
        walk("POST", "deployments/{id}/start/", {}, id=run)
        walk("POST", "deployments/{id}/advance/", {}, id=run)


def _signed_in(address: str, username: str, password: str) -> httpx.Client:
    client = httpx.Client(base_url=address, timeout=60, trust_env=False, follow_redirects=True)
    client.get("/login/")
    form = {"username": username, "password": password, "csrfmiddlewaretoken": client.cookies["csrftoken"]}
    assert client.post("/login/", data=form, headers={"Referer": address}).status_code == 200
    client.headers.update({"X-CSRFToken": client.cookies["csrftoken"], "Referer": address})
    return client


def _feedback(walk: Walk) -> None:
    entry = {"service": "shop", "environment": "staging", "rating": 4, "text": "Nice and fast", "language": "en"}
    made_ = walk("POST", "feedback/", entry)
    walk("GET", "feedback/")
    walk("GET", "feedback/{id}/", id=made_["id"])


def _attack(location: str, key: str, *options: str) -> None:
    """schemathesis as its users run it."""
    done = subprocess.run(
        [
            *(str(Path(sys.executable).with_name("schemathesis")), "run", location),
            *("--header", f"Authorization: Bearer {key}", "--checks", "not_a_server_error,status_code_conformance"),
            *(
                "--phases",
                "examples,coverage,fuzzing",
                "--max-examples",
                "2",
                "--no-shrink",
                "--no-color",
            ),
            *("--warnings", "off", "--generation-deterministic", *options),
        ],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def test_nothing_that_a_client_sends_breaks_the_api(portal: Journey, walk: Walk) -> None:
    key = portal.key("write", "ingest", "feedback")
    _attack(f"{portal.address}{DOCUMENT}", key, "--max-time", ATTACK)


@pytest.mark.skipif(not SUITES.exists(), reason=f"the reference suites are not here: {SUITES}")
def test_ofrep_answers_as_its_own_document_says(portal: Journey, admin: httpx.Client) -> None:
    made(admin.post("/api/v1/environments/", json={"key": "ofrep", "approval_policy": "not_required"}))
    made(admin.post("/api/v1/flags/", json={"key": "sun", "type": "boolean", "value_type": "bool"}))
    config = {"enabled": True, "off_variant": "off", "rules": [], "fallthrough": {"variant": "on"}}
    made(admin.put("/api/v1/flags/sun/environments/ofrep/", json=config), 200)
    key = portal.key("evaluate", environment="ofrep")
    context = {"context": {"targetingKey": "u1"}}
    # The document's schema of a success contradicts itself (a value fits `codeDefaultFlag` too, under a oneOf), so no
    # answer can pass it: what a success holds is said here, everything else by the attack.
    with portal.client(key) as client:
        single, bulk = "/ofrep/v1/evaluate/flags/sun", "/ofrep/v1/evaluate/flags"
        until(lambda: client.post(single, json=context).status_code == 200)
        found = made(client.post(single, json=context), 200)
        assert (found["key"], found["value"], found["variant"], found["reason"]) == ("sun", True, "on", "STATIC")
        answer = client.post(bulk, json=context)
        assert found in made(answer, 200)["flags"]
        again = client.post(bulk, json=context, headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
    _attack(str(SUITES / "ofrep" / "openapi.yaml"), key, "--url", portal.address, "--max-time", OFREP_ATTACK)
