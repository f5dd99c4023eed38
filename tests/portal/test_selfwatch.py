"""What the portal says of itself: figures of every web process, and a call outside as long as all is well."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import httpx
import pytest
from django.utils import timezone

from portal import jobs, keys, tasks
from portal.audit import Automaton
from portal.figures import door_of
from portal.models import Environment, Heartbeat
from portal.tasks import TELL_ALIVE, tell_alive
from tests.monitoring import receiver
from tests.web import Web

BY = Automaton("test")
LONG = 60.0  # seconds; what is asserted is that it comes, not when


def _get(web: Web, path: str, key: str = "") -> httpx.Response:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.get(web.url + path, headers=headers, timeout=60, trust_env=False)


def _known(web: Web, key: str) -> None:
    """Wait until this process has heard of the key."""
    deadline = time.monotonic() + LONG
    while _get(web, "/metrics", key).status_code == 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def _all_beat(*, but: str = "") -> None:
    for name in jobs.SWEEPS:
        jobs.beat(name, cycle_ms=12, backlog=3)
    # An hour from the bound on either side: a test that takes long makes none of them late.
    Heartbeat.objects.update(at=timezone.now() + timedelta(hours=1))
    Heartbeat.objects.filter(name=but).update(at=timezone.now() - timedelta(hours=1))


@pytest.mark.django_db(transaction=True)
def test_every_process_shows_the_figures_of_all_and_promtool_finds_no_fault() -> None:
    production = Environment.objects.create(key="production")
    reading = keys.create("prometheus", scopes=["read"], by=BY)[1]
    bound = keys.create("team", scopes=["read"], environments=[production], by=BY)[1]
    ingesting = keys.create("agent", scopes=["ingest"], by=BY)[1]
    evaluating = keys.create("app", scopes=["evaluate"], environments=[production], by=BY)[1]
    _all_beat(but="portal.seal_audit")
    with Web() as one, Web() as other:
        for web in (one, other):
            _known(web, reading)
        assert _get(one, "/metrics").status_code == 401
        assert _get(one, "/metrics", bound).status_code == 403
        assert _get(one, "/health/metrics", ingesting).status_code == 403
        assert other.ofrep(evaluating, "none").status_code == 404
        sent = {"samples": [{"metric": "depth", "value": 1.0}, {"metric": "depth", "value": "much"}]}
        httpx.post(
            f"{other.url}/api/v1/samples/", json=sent, headers={"X-API-Key": ingesting}, timeout=60, trust_env=False
        )
        shown = _until(one, reading, "flightdeck_ingest_rejected_total")
        taken = [row["value"] for row in shown["flightdeck_ingest_samples_total"] if row["outcome"] == "accepted"]
        assert sum(taken) == 1
        assert [row["value"] for row in shown["flightdeck_ingest_rejected_total"]] == [1]
        assert len({row["process"] for row in shown["process_cpu_seconds_total"]}) == 2
        assert {row["dependency"]: row["value"] for row in shown["flightdeck_up"]} == {"store": 1, "broker": 1}
        stale = {row["sweep"]: row["value"] for row in shown["flightdeck_sweep_stale"]}
        assert stale["portal.seal_audit"] == 1
        assert set(stale) >= {"monitoring.judge", "rollouts.reconcile", "portal.tell_alive"}
        assert [row["value"] for row in shown["flightdeck_outbox_messages"]] == [0, 0]
        assert {row["table"] for row in shown["flightdeck_partition_default_rows"]} >= {"monitoring_sample"}
        answer = _scraped(one, reading, 'flightdeck_request_duration_seconds_bucket{door="ofrep",le="+Inf",')
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        promtool = shutil.which("promtool")
        assert promtool, "Debian's package prometheus has it"
        told = subprocess.run([promtool, "check", "metrics"], input=answer.content, capture_output=True, check=False)
        assert told.returncode == 0, told.stderr.decode()


def _until(web: Web, key: str, name: str) -> dict[str, Any]:
    """The figures, once this one is among them: other processes tell theirs each second.

    A store that does not answer in time is left out, and on a busy machine that may happen to any one answer.
    """
    deadline = time.monotonic() + LONG
    while True:
        shown: dict[str, Any] = _get(web, "/health/metrics", key).json()
        processes = {row["process"] for row in shown["process_cpu_seconds_total"]}
        if name in shown and len(processes) == 2 and all(row["value"] for row in shown["flightdeck_up"]):
            return shown
        assert time.monotonic() < deadline, sorted(shown)
        time.sleep(0.1)


def _scraped(web: Web, key: str, line: str) -> httpx.Response:
    """Prometheus' text, once it has this line: it is of another process, as above."""
    deadline = time.monotonic() + LONG
    while line not in (answer := _get(web, "/metrics", key)).text:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)
    return answer


@pytest.mark.parametrize(
    ("path", "door"),
    [
        ("/ofrep/v1/evaluate/flags", "ofrep"), ("/api/v1/samples/", "ingest"), ("/api/v1/flags/", "api"),
        ("/metrics", "metrics"), ("/whatever", "pages"),
    ],
)  # fmt: skip
def test_a_request_is_counted_by_its_door(path: str, door: str) -> None:
    assert door_of(path) == door


@pytest.fixture
def outside(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[receiver.Receiver]:
    monkeypatch.setattr(tasks, "TOLD_WITHIN", LONG)
    with receiver.running() as running:
        settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
        settings.PORTAL_ALIVE_URL = running.url
        yield running


@pytest.mark.django_db
def test_outside_is_told_while_every_other_sweep_is_well(outside: receiver.Receiver) -> None:
    _all_beat(but=TELL_ALIVE)
    assert tell_alive() == 1
    assert len(outside.calls) == 1


@pytest.mark.django_db
def test_outside_hears_nothing_when_a_sweep_has_stopped(outside: receiver.Receiver) -> None:
    _all_beat(but="monitoring.judge")
    assert tell_alive() == 0
    assert outside.calls == []


@pytest.mark.django_db
def test_an_address_inside_is_not_called(outside: receiver.Receiver, settings: Any) -> None:
    settings.PORTAL_OUTGOING_ALLOW = []
    _all_beat()
    assert tell_alive() == 0
    assert outside.calls == []


@pytest.mark.django_db
def test_a_receiver_that_refuses_was_not_told(outside: receiver.Receiver) -> None:
    outside.answer = lambda call: receiver.Reply(500)
    _all_beat()
    assert tell_alive() == 0
