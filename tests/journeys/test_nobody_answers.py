"""An incident calls its next step once, after worker, beat and broker were down when it was due."""

import json
from collections.abc import Iterator

import psycopg
import pytest

from tests.journeys.running import Journey, made, until
from tests.monitoring import receiver
from tests.monitoring.receiver import Receiver

DOWN = ("worker", "beat", "valkey")
UNCONFIRMED = "SELECT count(*) FROM monitoring_outboxmessage WHERE state <> 'sent'"


@pytest.fixture(scope="module")
def pager() -> Iterator[Receiver]:
    with receiver.running() as running:
        yield running


@pytest.fixture(scope="module")
def portal(pager: Receiver) -> Iterator[Journey]:
    with Journey(PORTAL_OUTGOING_ALLOW="127.0.0.0/8") as running:
        yield running


def _steps(pager: Receiver) -> list[str]:
    return [call.headers["Idempotency-Key"] for call in pager.calls if b"escalation.step" in call.body]


def test_the_step_that_was_due_meanwhile_is_taken_once(portal: Journey, pager: Receiver) -> None:
    with portal.client(portal.key("admin")) as admin:
        channel = {"name": "pager", "kind": "webhook", "config": {"url": pager.url}}
        made(admin.post("/api/v1/channels/", json=channel))
        steps = [{"delay": 900, "channels": ["pager"]}] * 2
        policy = {"key": "standard", "is_default": True, "steps": steps, "repeat": 1}
        made(admin.post("/api/v1/escalation-policies/", json=policy))
        incident = made(admin.post("/api/v1/incidents/", json={"title": "cards are declined"}))["id"]
        until(lambda: len(_steps(pager)) == 1)
        with psycopg.connect(portal.runtime["database_url"], autocommit=True) as database:
            # A worker that dies between the receiver's answer and its confirmation sends it again, under the same key:
            # that is another test's. This one is about the step.
            until(lambda: database.execute(UNCONFIRMED).fetchone() == (0,))
            before = {name: portal.child(name).pid for name in DOWN}
            # With its own children, who do the work: none of them sees that a quarter of an hour has passed.
            with portal.worker_standing_still():
                late = (
                    "UPDATE monitoring_incident SET next_page_at = next_page_at - interval '901 seconds' WHERE id = %s"
                )
                assert database.execute(late, [incident]).rowcount == 1
                for process in (*portal.child("worker").children(recursive=True), *map(portal.child, DOWN)):
                    process.kill()
        until(lambda: all(portal.children.get(name, before[name]) != before[name] for name in DOWN))
        until(lambda: len(_steps(pager)) == 2)
        until(portal.is_well)
        found = made(admin.get(f"/api/v1/incidents/{incident}/"), 200)
        assert [entry["kind"] for entry in found["timeline"]].count("escalation.step") == found["pages"] == 2
        assert found["next_page_at"] is not None
        assert len(set(_steps(pager))) == len(_steps(pager)) == 2
        assert json.loads(pager.calls[-1].body)["incident"]["id"] == incident
        made(admin.post(f"/api/v1/incidents/{incident}/acknowledge/"), 200)
        assert made(admin.get(f"/api/v1/incidents/{incident}/"), 200)["next_page_at"] is None
