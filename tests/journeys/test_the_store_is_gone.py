"""PostgreSQL hangs, then dies; Valkey dies: evaluation answers, ingest says 503, all recover by themselves."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil
import pytest

from tests.journeys.running import Journey, made, until


@pytest.fixture(scope="module")
def portal() -> Iterator[Journey]:
    # Long enough for a busy machine, short enough to be waited for some times.
    with Journey(PORTAL_REQUEST_TIMEOUT="5") as running:
        yield running


@pytest.fixture(scope="module")
def evaluating(portal: Journey) -> Iterator[httpx.Client]:
    # Its first answers may take longer than the five seconds that a request has here.
    until(portal.is_well)
    with portal.client(portal.key("admin")) as admin:
        made(admin.post("/api/v1/environments/", json={"key": "production", "approval_policy": "not_required"}))
        flag = {"key": "lamp", "type": "boolean", "value_type": "bool", "purpose": "ops", "owner": "dana"}
        made(admin.post("/api/v1/flags/", json=flag))
        config = {"enabled": True, "off_variant": "off", "rules": [], "fallthrough": {"variant": "on"}}
        made(admin.put("/api/v1/flags/lamp/environments/production/", json=config), 200)
    with portal.client(portal.key("evaluate", environment="production")) as client:
        until(lambda: _lamp(client) == "on")
        yield client


@pytest.fixture(scope="module")
def ingesting(portal: Journey, evaluating: httpx.Client) -> Iterator[httpx.Client]:
    with portal.client(portal.key("ingest", environment="production")) as client:
        made(_sample(client, 1.0), 200)
        yield client


def _lamp(client: httpx.Client) -> str:
    answer = client.post("/ofrep/v1/evaluate/flags/lamp", json={"context": {"targetingKey": "u"}})
    return str(answer.json()["variant"]) if answer.status_code == 200 else ""


def _sample(client: httpx.Client, value: float) -> httpx.Response:
    return client.post("/api/v1/samples/", json={"samples": [{"metric": "depth", "value": value, "time": time.time()}]})


def _says_503(answer: httpx.Response) -> None:
    assert answer.status_code == 503, answer.text
    assert int(answer.headers["Retry-After"]) >= 1
    assert answer.headers["Content-Type"] == "application/problem+json"


def test_postgresql_hangs(portal: Journey, evaluating: httpx.Client, ingesting: httpx.Client) -> None:
    reading = portal.key("read")
    with portal.client(reading) as client:
        until(lambda: client.get("/metrics").status_code == 200)
    postmaster = portal.child("postgres")
    # First: it starts no further backend, so all that there are stand still.
    postmaster.suspend()
    backends = [postmaster, *postmaster.children(recursive=True)]
    for process in backends[1:]:
        with suppress(psutil.NoSuchProcess):  # a backend may end of itself meanwhile
            process.suspend()
    try:
        _says_503(_sample(ingesting, 2.0))
        assert _lamp(evaluating) == "on"
        ready = httpx.get(f"{portal.address}/health/ready", timeout=20, trust_env=False)
        assert ready.status_code == 503
        assert [one["ok"] for one in ready.json()["checks"]] == [False, True]
        with portal.client(reading) as client:
            own = client.get("/metrics")
        assert own.status_code == 200
        assert 'flightdeck_up{dependency="store"} 0.0' in own.text
        assert 'flightdeck_up{dependency="broker"} 1.0' in own.text
        assert "flightdeck_snapshot_version{" in own.text
        assert httpx.get(f"{portal.address}/health/evaluate", timeout=20, trust_env=False).status_code == 200
        # Whoever goes on asking is told no as well, at once or after the same time, and nothing piles up for ever.
        for _ in range(3):
            _says_503(_sample(ingesting, 3.0))
        assert _lamp(evaluating) == "on"
    finally:
        for process in backends:
            with suppress(psutil.NoSuchProcess):
                process.resume()
    until(lambda: _sample(ingesting, 4.0).status_code == 200)
    until(portal.is_well)


def test_postgresql_is_killed(portal: Journey, evaluating: httpx.Client, ingesting: httpx.Client) -> None:
    before = portal.child("postgres").pid
    os.kill(before, signal.SIGKILL)
    answers = {_sample(ingesting, 5.0).status_code for _ in range(3)}
    assert answers <= {200, 503}
    assert _lamp(evaluating) == "on"
    # A backend of the killed one may answer for a moment yet.
    until(lambda: portal.children["postgres"] != before)
    until(lambda: _sample(ingesting, 6.0).status_code == 200)
    until(portal.is_well)


def test_a_change_after_the_recovery_reaches_evaluation(portal: Journey, evaluating: httpx.Client) -> None:
    with portal.client(portal.key("admin")) as admin:
        made(admin.post("/api/v1/flags/lamp/environments/production/kill/", json={"because": "tried"}), 200)
    until(lambda: _lamp(evaluating) == "off")


def test_valkey_is_killed(portal: Journey, evaluating: httpx.Client, ingesting: httpx.Client) -> None:
    before = portal.child("valkey").pid
    os.kill(before, signal.SIGKILL)
    assert _lamp(evaluating) == "off"
    assert _sample(ingesting, 7.0).status_code == 200
    # A new one is noted just after it has been started.
    until(lambda: portal.children["valkey"] != before)
    until(portal.is_well)
