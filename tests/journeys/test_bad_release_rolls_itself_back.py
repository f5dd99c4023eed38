"""The heart of the product: a canary's errors rise, and a moment later its users have the old variant again.

Real PostgreSQL, Valkey, Celery worker and beat, two web processes, real HTTP.
"""

import statistics
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from tests.journeys.running import Journey, made, until
from tests.running import LONG

RUNS = 20
USERS = [f"user-{number}" for number in range(40)]


@pytest.fixture(scope="module")
def portal() -> Iterator[Journey]:
    with Journey() as running:
        yield running


@pytest.fixture(scope="module")
def keys(portal: Journey) -> dict[str, str]:
    admin = portal.key("admin")
    with portal.client(admin) as client:
        made(client.post("/api/v1/environments/", json={"key": "production", "approval_policy": "not_required"}))
    evaluate = portal.key("evaluate", environment="production")
    return {"admin": admin, "evaluate": evaluate, "ingest": portal.key("ingest", environment="production")}


@pytest.fixture(scope="module")
def second_web(portal: Journey) -> str:
    return portal.web_beside()


def _guarded_canary(admin: httpx.Client, name: str) -> int:
    """A flag, a release and a started canary at 50 %, guarded by the error rate of its own arm."""
    made(admin.post("/api/v1/services/", json={"key": name}))
    flag = {"key": name, "type": "boolean", "value_type": "bool", "purpose": "release", "owner": "dana"}
    made(admin.post("/api/v1/flags/", json=flag))
    guardrail = {
        "kind": "threshold",
        "name": f"errors of {name}",
        "metric": "http_errors_total",
        "denominator": "http_requests_total",
        "matchers": {"service": name, "flag": name, "variant": "on"},
        "aggregation": "increase",
        "operator": ">",
        "error": 0.05,
        "window": 300,
        "interval": 10,
        "for": 0,
        "keep_firing_for": 0,
        "min_count": 100,
        "no_data": "keep",
    }
    stages = [
        {"name": "canary", "weight": 50, "dwell": 3600, "gates": []},
        {"name": "everybody", "weight": 100, "dwell": 3600, "gates": []},
    ]
    plan = {"name": f"plan-of-{name}", "stages": stages, "guardrails": [guardrail], "checklists": []}
    plan = made(admin.post("/api/v1/plans/", json=plan))
    release = {"service": name, "version": "2.0.0", "commit": "a1b2c3d", "type": "canary", "risk": "medium"}
    release = made(admin.post("/api/v1/releases/", json=release | {"notes": "faster", "captain": "", "zone": "UTC"}))
    serves = [{"flag": name, "variant": "on", "baseline": "off"}]
    body = {"release": release["id"], "environment": "production", "plan": plan["id"], "serves": serves}
    deployment = made(admin.post("/api/v1/deployments/", json=body))
    started = made(admin.post(f"/api/v1/deployments/{deployment['id']}/start/", json={}), 200)
    assert started["status"] == "progressing"
    return int(deployment["id"])


def _variant(client: httpx.Client, flag: str, user: str) -> str:
    answer = made(client.post(f"/ofrep/v1/evaluate/flags/{flag}", json={"context": {"targetingKey": user}}), 200)
    return str(answer["variant"])


def _report(client: httpx.Client, name: str, *, requests: int, errors: int, at: float) -> httpx.Response:
    samples: list[dict[str, Any]] = []
    for variant in ("on", "off"):
        labels = {"service": name, "flag": name, "variant": variant}
        failed = errors if variant == "on" else 0
        samples += [
            {"metric": "http_requests_total", "value": requests, "time": at, "labels": labels},
            {"metric": "http_errors_total", "value": failed, "time": at, "labels": labels},
        ]
    return client.post("/api/v1/samples/", json={"samples": samples})


def _when_old(client: httpx.Client, flag: str, user: str, seen: list[float]) -> None:
    deadline = time.monotonic() + LONG
    while time.monotonic() < deadline:
        if _variant(client, flag, user) == "off":
            seen.append(time.monotonic())
            return
        time.sleep(0.005)


@pytest.mark.timeout(600)
def test_a_bad_release_rolls_itself_back(
    portal: Journey, keys: dict[str, str], second_web: str, capsys: pytest.CaptureFixture[str]
) -> None:
    processes = {name: portal.child(name).pid for name in ("postgres", "valkey", "web", "worker", "beat")}
    assert len(set(processes.values()) | set(portal.beside)) == 6
    assert all(psutil.pid_exists(pid) for pid in processes.values())
    took: list[float] = []
    with (
        portal.client(keys["admin"]) as admin,
        portal.client(keys["ingest"]) as ingest,
        portal.client(keys["evaluate"]) as first,
        portal.client(keys["evaluate"], second_web) as second,
    ):
        for run in range(RUNS):
            name = f"shop-{run}"
            deployment = _guarded_canary(admin, name)
            webs = (first, second)
            until(lambda webs=webs, name=name: all(_sees_both(web, name) for web in webs))
            user = next(user for user in USERS if _variant(first, name, user) == "on")
            assert _variant(second, name, user) == "on"

            began = time.time()
            made(_report(ingest, name, requests=1000, errors=2, at=began - 30), 200)
            assert _variant(first, name, user) == "on"
            made(_report(ingest, name, requests=2000, errors=152, at=began), 200)
            accepted = time.monotonic()
            seen: list[float] = []
            watching = [threading.Thread(target=_when_old, args=(web, name, user, seen)) for web in webs]
            for thread in watching:
                thread.start()
            for thread in watching:
                thread.join()
            assert len(seen) == 2, f"run {run}: {made(admin.get(f'/api/v1/deployments/{deployment}/'), 200)}"
            took.append(max(seen) - accepted)
            _reason_is_on_record(admin, deployment, name)
    with capsys.disabled():
        print(
            f"\nfrom the accepted batch to both web processes serving the old variant, {RUNS} runs: "
            f"median {statistics.median(took):.3f} s, worst {max(took):.3f} s"
        )


def _sees_both(web: httpx.Client, flag: str) -> bool:
    answer = web.post(f"/ofrep/v1/evaluate/flags/{flag}", json={"context": {"targetingKey": USERS[0]}})
    if answer.status_code != 200:
        return False
    first = answer.json()["variant"]
    return any(_variant(web, flag, user) != first for user in USERS)


def _reason_is_on_record(admin: httpx.Client, deployment: int, name: str) -> None:
    found = made(admin.get(f"/api/v1/deployments/{deployment}/"), 200)
    assert (found["status"], found["weight"]) == ("rolled_back", 0)
    asked: dict[str, str | int] = {"verb": "deployment.rolling_back", "object_id": deployment}
    (entry,) = made(admin.get("/api/v1/audit/", params=asked), 200)["results"]
    assert entry["actor_kind"] == "automaton"
    assert "5" in entry["because"]
    target = f"deployment:{deployment}"
    (incident,) = made(admin.get("/api/v1/incidents/", params={"target": target}), 200)["results"]
    incident = made(admin.get(f"/api/v1/incidents/{incident['id']}/"), 200)
    said = " ".join(line["text"] for line in incident["timeline"])
    assert "roll" in said, said
    alerts = made(admin.get("/api/v1/alerts/", params={"page_size": 500}), 200)["results"]
    assert any(name in str(alert) for alert in alerts)


def test_the_audit_trail_of_it_all_proves(portal: Journey) -> None:
    assert "chain whole" in portal.command("verify_audit")
