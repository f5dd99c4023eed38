"""A changed flag on its way: to every web process, to clients that listen, and what it costs those that ask meanwhile.

The portal as it is, on real servers, with 10 000 flags of 20 rules. Every figure is end to end: from the moment when
the write has returned to the moment when a client sees it.
"""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import httpx
import psutil
from django.db import connection

from bench.machine import percentile
from portal import keys, versions
from portal.audit import Automaton
from portal.models import Environment
from rollouts.actions import flags, segments
from rollouts.models import Flag, FlagConfig

FLAGS, RULES = 10_000, 20
LISTENERS = 300
CHANGES, CHANGES_DEAF = 20, 5
PAUSE = 0.5  # seconds between two changes
USERS_OF_A_SEGMENT = 1_000  # flags that one change of a segment compiles anew
BY = Automaton("bench")
SINGLE = "/ofrep/v1/evaluate/flags/flag-1"


def run() -> dict[str, Any]:
    place, _ = Environment.objects.get_or_create(key="production", defaults={"approval_policy": "not_required"})
    flag = flags.create("switch", by=BY)
    flags.configure(flag, place, {"enabled": True, "fallthrough": {"variant": "on"}}, by=BY)
    key = keys.create("bench", scopes=["evaluate"], environments=[place], by=BY)[1]
    found: dict[str, Any] = {"flags": FLAGS, "rules_of_each": RULES, "listeners": LISTENERS}
    with Process() as idle:
        before = idle.memory()
    populate(place)
    with Process() as one, Process() as other:
        one.asks(key)
        found["memory_above_idle_mb"] = round((one.memory() - before) / 1e6)
        found["to_every_process_ms"] = arrivals(flag, place, key, [one, other], CHANGES)
        found["to_listeners_ms"] = listening(flag, place, key, one)
        found["one_client_ms"] = {
            "nothing_changes": probed(one, key, lambda: time.sleep(5)),
            "one_flag_changes": probed(one, key, lambda: toggle(flag, place, CHANGES)),
            f"a_segment_of_{USERS_OF_A_SEGMENT}_flags_changes": probed(one, key, lambda: resegment(3)),
        }
    with Process(REDIS_URL="redis://127.0.0.1:1/0") as deaf:
        found["to_a_process_without_valkey_ms"] = arrivals(flag, place, key, [deaf], CHANGES_DEAF)
    found["load_1min"] = round(psutil.getloadavg()[0], 2)
    return found


def populate(place: Environment) -> None:
    """Ten thousand flags, written as rows: by the verbs it would take minutes."""
    segments.create("staff", by=BY, included=["u-0"])
    variants = [{"key": "on", "value": True}, {"key": "off", "value": False}]
    version = versions.bump("flags")
    made = Flag.objects.bulk_create(
        [Flag(key=f"flag-{number}", variants=variants, revision=1, changed_in=version) for number in range(FLAGS)],
        batch_size=1000,
    )
    FlagConfig.objects.bulk_create(
        [
            FlagConfig(
                flag=flag,
                environment=place,
                enabled=True,
                off_variant="off",
                fallthrough={"variant": "off"},
                revision=1,
                changed_in=version,
            )
            for flag in made
        ],
        batch_size=1000,
    )
    with connection.cursor() as cursor:
        for segment, which in (("staff", made[:USERS_OF_A_SEGMENT]), ("", made[USERS_OF_A_SEGMENT:])):
            cursor.execute(
                "UPDATE rollouts_flagconfig SET rules = replace(%s, '@', flag_id::text)::jsonb WHERE flag_id = ANY(%s)",
                [json.dumps(_rules(segment)), [flag.pk for flag in which]],
            )


def _rules(segment: str) -> list[dict[str, Any]]:
    """Rules of three conditions each, of which the second is each flag's own: @ stands for its number."""
    rules: list[dict[str, Any]] = [
        {
            "id": f"rule-{rule}",
            "all": [
                {"attr": "country", "op": "in", "values": ["DE", "FR", "PL"]},
                {"attr": "plan", "op": "equals", "values": [f"plan@-{rule}"]},
                {"attr": "age", "op": "gte", "values": [18]},
            ],
            "serve": {"variant": "on", "rollout": 25_000},
        }
        for rule in range(RULES)
    ]
    if segment:
        rules[0]["segments"] = [segment]
    return rules


class Process:
    """One web process of the portal."""

    def __init__(self, **environment: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = os.environ | {"PORTAL_DATABASE_POOL": "4", "PORTAL_LOG_LEVEL": "ERROR", **environment}

    def __enter__(self) -> "Process":
        quiet = ["--log-level", "error", "--timeout-graceful-shutdown", "3"]
        command = [sys.executable, "-m", "uvicorn", "portal.asgi:application", "--port", str(self.port), *quiet]
        self.child = subprocess.Popen(command, env=self.environment, stderr=subprocess.DEVNULL)
        self._wait(lambda: httpx.get(f"{self.url}/health/evaluate", timeout=2, trust_env=False).status_code == 200)
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.child.terminate()
        try:
            self.child.wait(60)
        except subprocess.TimeoutExpired:
            self.child.kill()
            self.child.wait()

    def _wait(self, ready: Callable[[], bool]) -> None:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                if ready():
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        raise TimeoutError(f"{self.url} does not answer")

    def asks(self, key: str) -> None:
        self._wait(lambda: self.ask(key).status_code == 200)

    def ask(self, key: str, path: str = "/ofrep/v1/evaluate/flags/switch") -> httpx.Response:
        headers = {"Authorization": f"Bearer {key}"}
        return self.client.post(path, json={"context": {"targetingKey": "u"}}, headers=headers)

    def memory(self) -> int:
        return int(psutil.Process(self.child.pid).memory_info().rss)


def arrivals(flag: Flag, place: Environment, key: str, processes: list[Process], changes: int) -> dict[str, float]:
    """From the end of the write until the last of these processes serves it."""
    for process in processes:
        process.asks(key)
    late = []
    for change in range(changes):
        time.sleep(PAUSE + 0.137 * change % 1)
        variant = "off" if change % 2 == 0 else "on"
        flags.configure(flag, place, {"fallthrough": {"variant": variant}}, by=BY)
        written = time.perf_counter()
        for process in processes:
            while process.ask(key).json()["variant"] != variant:
                time.sleep(0.001)
        late.append((time.perf_counter() - written) * 1000)
    flags.configure(flag, place, {"fallthrough": {"variant": "on"}}, by=BY)
    return _told(late)


def listening(flag: Flag, place: Environment, key: str, process: Process) -> dict[str, float]:
    """From the end of the write until each of the clients was told."""
    address = process.ask(key, "/ofrep/v1/evaluate/flags").json()["eventStreams"][0]["endpoint"]["requestUri"]
    seconds = CHANGES * (PAUSE + 0.1) + 3
    command = [sys.executable, "-m", "bench.listeners", str(process.port), address, str(LISTENERS), str(seconds)]
    clients = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert clients.stdout is not None
    clients.stdout.readline()
    written: dict[int, float] = {}
    for change in range(CHANGES):
        time.sleep(PAUSE)
        flags.configure(flag, place, {"fallthrough": {"variant": "off" if change % 2 == 0 else "on"}}, by=BY)
        written[versions.current()["flags"]] = time.time()
    told = json.loads(clients.communicate(timeout=seconds * 4)[0])
    late = [(at - written[int(etag.partition(".")[0])]) * 1000 for at, etag in told]
    return _told(late) | {"told": len(late), "of": LISTENERS * CHANGES}


def probed(process: Process, key: str, act: Callable[[], None]) -> dict[str, float]:
    """How long answers took while something went on."""
    command = [sys.executable, "-m", "bench.prober", str(process.port), key, SINGLE]
    client = subprocess.Popen([*command, "15"], stdout=subprocess.PIPE)
    assert client.stdout is not None
    client.stdout.readline()
    began = time.time()
    act()
    until = time.time() + 1
    asked = json.loads(client.communicate(timeout=120)[0])
    return _told([took * 1000 for at, took in asked if began <= at < until])


def toggle(flag: Flag, place: Environment, changes: int) -> None:
    for change in range(changes):
        time.sleep(PAUSE)
        flags.configure(flag, place, {"fallthrough": {"variant": "off" if change % 2 == 0 else "on"}}, by=BY)


def resegment(changes: int) -> None:
    staff = segments.Segment.objects.get(key="staff")
    for change in range(changes):
        segments.change(staff, {"included": [f"u-{change + 1}"]}, by=BY)
        time.sleep(3)


def _told(late: list[float]) -> dict[str, float]:
    return {
        "p50": round(percentile(late, 0.5), 1),
        "p99": round(percentile(late, 0.99), 1),
        "most": round(max(late), 1),
    }
