"""Flags: deciding one in process, many in memory, and OFREP beside a bare ASGI POST on the same server."""

import asyncio
import gc
import json
import os
import socket
import subprocess
import sys
import time
from typing import Any

import psutil

from bench.machine import percentile

CONNECTIONS = 32
SECONDS = 4.0
RUNS = 3
SERVED = {
    "bare": ("bare", "/"),
    "single": ("application", "/ofrep/v1/evaluate/flags/flag-1"),
    "bulk": ("application", "/ofrep/v1/evaluate/flags"),
    "bulk_of_unlike_flags": ("unlike", "/ofrep/v1/evaluate/flags"),
}
CONTEXT = {"targetingKey": "user-1", "country": "DE", "plan": "pro", "age": 30}


def run() -> dict[str, Any]:
    """In process in a process of its own, so that its memory is that of the flags; then over HTTP."""
    inside = subprocess.run(
        [sys.executable, "-m", "bench.flags", "inside"], capture_output=True, check=True, text=True, timeout=600
    )
    return {"in_process": json.loads(inside.stdout), "http": over_http()}


def inside() -> dict[str, Any]:
    # Here, so that the parent of the measuring process stays without Django.
    from bench.ofrep_app import snapshot  # noqa: PLC0415
    from rollouts.engine.evaluate import evaluate  # noqa: PLC0415

    found: dict[str, Any] = {}
    for flags in (1, 100, 10_000):
        shot = snapshot(flags)
        keys = [f"flag-{number % flags}" for number in range(20_000)]
        contexts = [CONTEXT | {"targetingKey": f"user-{number % 1000}"} for number in range(20_000)]
        best = min(_spent(evaluate, shot, keys, contexts) for _ in range(5))
        found[f"us_cpu_an_evaluation_of_{flags}_flags"] = round(best / len(keys) * 1e6, 2)
        del shot
    gc.collect()
    process = psutil.Process()
    before, began = process.memory_info().rss, time.perf_counter()
    gc.disable()
    shot = snapshot(10_000, rules=20)
    gc.freeze()
    gc.enable()
    found["compile_10000_flags_of_20_rules_s"] = round(time.perf_counter() - began, 1)
    found["memory_10000_flags_of_20_rules_mb"] = round((process.memory_info().rss - before) / 1e6)
    keys = [f"flag-{number % 10_000}" for number in range(10_000)]
    best = min(_spent(evaluate, shot, keys, [CONTEXT] * len(keys)) for _ in range(3))
    found["us_cpu_an_evaluation_of_20_rules"] = round(best / len(keys) * 1e6, 2)
    return found


def _spent(evaluate: Any, shot: Any, keys: list[str], contexts: list[dict[str, Any]]) -> float:
    began = time.process_time()
    for key, context in zip(keys, contexts, strict=True):
        evaluate(shot, key, context, now=0.0)
    return time.process_time() - began


# --- Over HTTP ----------------------------------------------------------------------------------
def over_http() -> dict[str, Any]:
    """The median of some runs each, in turn: bare, single, bulk; bulk where no two flags ask the same."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in SERVED}
    for _ in range(RUNS):
        for name, (application, path) in SERVED.items():
            runs[name].append(_served(f"bench.ofrep_app:{application}", port, path))
    found: dict[str, Any] = {
        name: sorted(measured, key=lambda one: one["requests_a_second"])[RUNS // 2] for name, measured in runs.items()
    }
    for name in [name for name in SERVED if name != "bare"]:
        found[f"{name}_share_of_bare"] = round(found[name]["requests_a_second"] / found["bare"]["requests_a_second"], 3)
    found["load_1min"] = round(psutil.getloadavg()[0], 2)
    return found


def _served(application: str, port: int, path: str) -> dict[str, float]:
    quiet = ["--log-level", "warning", "--lifespan", "off"]
    server = subprocess.Popen([sys.executable, "-m", "uvicorn", application, "--port", str(port), *quiet])
    try:
        _wait(port)
        before = psutil.Process(server.pid).cpu_times()
        found = asyncio.run(_load(port, path))
        after = psutil.Process(server.pid).cpu_times()
        spent = after.user + after.system - before.user - before.system
        # Beside other work the rate says less than what the server itself spent.
        return found | {"server_us_cpu": round(spent / (found["requests_a_second"] * SECONDS) * 1e6, 1)}
    finally:
        server.terminate()
        server.wait(20)


async def _load(port: int, path: str) -> dict[str, float]:
    """So many connections, each sending its next request when the last is answered."""
    body = json.dumps({"context": CONTEXT}).encode()
    request = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer fd_bench\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body
    latencies: list[float] = []
    until = time.perf_counter() + SECONDS

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        while (began := time.perf_counter()) < until:
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200"), head
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await reader.readexactly(length)
            latencies.append(time.perf_counter() - began)
        writer.close()

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    return {
        "requests_a_second": round(len(latencies) / SECONDS),
        "p50_ms": round(percentile(latencies, 0.5) * 1000, 1),
        "p99_ms": round(percentile(latencies, 0.99) * 1000, 1),
    }


def _wait(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"nothing listens on {port}")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    print(json.dumps(inside() if sys.argv[1:] == ["inside"] else run(), indent=2))
