"""1 000 sockets on one page of one web process, beside a bare ASGI broadcast of the same frames."""

import json
import os
import socket
import statistics
import subprocess
import sys
import time
from typing import Any

import django
import httpx
import psutil

from bench.machine import percentile

SECONDS = 10.0
SETTLES = 1.0  # seconds at both ends of a round that are not counted
ROUNDS = 3
APPLICATIONS = {"bare": "bench.broadcast:application", "portal": "bench.portal_app:application"}


def run(sockets: int = 1000) -> dict[str, Any]:
    """In turn, so that both meet the same machine; DATABASE_URL and REDIS_URL name real servers."""
    cookie = _sign_in()
    rounds = [
        {name: _measure(application, cookie, sockets) for name, application in APPLICATIONS.items()}
        for _ in range(ROUNDS)
    ]
    ratios = [one["portal"]["cpu_us_a_delivery"] / one["bare"]["cpu_us_a_delivery"] for one in rounds]
    return {
        "sockets": sockets,
        "rounds": rounds,
        "cpu_ratio": round(statistics.median(ratios), 2),
        "p99_ms": {name: statistics.median(one[name]["p99_ms"] for one in rounds) for name in APPLICATIONS},
    }


def _sign_in() -> str:
    """The cookie of a person's session, made in the database that the web process will ask."""
    django.setup()
    from django.contrib.sessions.backends.db import SessionStore  # noqa: PLC0415  (after setup)

    from portal.models import User  # noqa: PLC0415

    person, _ = User.objects.get_or_create(username="bench", defaults={"is_superuser": True})
    session = SessionStore()
    session["_auth_user_id"] = str(person.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = person.get_session_auth_hash()
    session.save()
    return f"sessionid={session.session_key}"


def _measure(application: str, cookie: str, sockets: int) -> dict[str, Any]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    quiet = ["--log-level", "warning", "--ws-per-message-deflate", "false"]
    server = subprocess.Popen([sys.executable, "-m", "uvicorn", application, "--port", str(port), *quiet])
    try:
        _wait(f"http://127.0.0.1:{port}/health/live")
        clients = subprocess.Popen(
            [sys.executable, "-m", "bench.socket_clients", f"ws://127.0.0.1:{port}/live/", cookie]
            + [str(sockets), str(SECONDS + 2 * SETTLES)],
            stdout=subprocess.PIPE,
        )
        assert clients.stdout is not None
        if not clients.stdout.readline():  # all have joined: what follows is deliveries alone
            raise ConnectionError("not all sockets could join")
        time.sleep(SETTLES)
        process = psutil.Process(server.pid)
        before, began = _spent(process), time.time()
        time.sleep(SECONDS)
        spent, ended = _spent(process) - before, time.time()
        output, _ = clients.communicate(timeout=SECONDS * 4)
        late = [seconds * 1000 for arrived, seconds in json.loads(output) if began <= arrived < ended]
        return {
            "deliveries": len(late),
            "p50_ms": round(percentile(late, 0.5), 1),
            "p99_ms": round(percentile(late, 0.99), 1),
            "cpu_us_a_delivery": round(spent / len(late) * 1e6, 1),
            "load_1min": round(psutil.getloadavg()[0], 2),
        }
    finally:
        server.terminate()
        server.wait(20)


def _spent(process: psutil.Process) -> float:
    return float(sum(process.cpu_times()[:2]))


def _wait(url: str) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            httpx.get(url, timeout=1, trust_env=False)
        except httpx.HTTPError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError(f"{url} does not answer")


if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1000), indent=2))
