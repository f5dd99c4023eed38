"""An unmodified Sentry SDK in a process of its own: its exceptions become groups, ten of them an incident.

And what becomes of them while the portal is down: the SDK loses them, and says how many.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import pytest

from tests.journeys.running import Journey, made, until

PROGRAM = """
import sys
import sentry_sdk

sentry_sdk.init(dsn=sys.argv[1], release="shop@1.2.0", environment="production", shutdown_timeout=60)


def total(name):
    prices = {"apple": 1}
    return prices[name]


def capture(name):
    try:
        total(name)
    except KeyError:
        sentry_sdk.capture_exception()


sentry_sdk.set_user({"id": "user-17", "email": "bob@example.com"})
sentry_sdk.set_tag("team", "web")
for line in sys.stdin:
    verb, _, many = line.strip().partition(" ")
    with sentry_sdk.new_scope() as scope:
        if verb == "fatal":
            scope.set_level("fatal")
        if verb == "die":
            raise RuntimeError("nobody caught this")
        for n in range(int(many)):
            capture(f"plum {n}")
    if verb != "unheard":
        sentry_sdk.flush(timeout=10)
    else:
        # They have been tried, and are lost. A flush would send the count of them after them.
        sentry_sdk.get_client().transport._worker.flush(timeout=60)
    print("done", flush=True)
"""
WITHIN = 60.0  # seconds for whatever the program is told


class Application:
    """A program that raises exceptions when it is told to."""

    def __init__(self, process: "subprocess.Popen[str]", inlet: IO[str], outlet: IO[str]) -> None:
        self.process, self.inlet, self.outlet = process, inlet, outlet

    def __call__(self, line: str) -> None:
        self.inlet.write(f"{line}\n")
        self.inlet.flush()
        assert self.outlet.readline() == "done\n"

    def die(self) -> None:
        self.inlet.write("die\n")
        self.inlet.close()
        assert self.process.wait(WITHIN) == 1


@contextmanager
def application(folder: Path, dsn: str) -> Iterator[Application]:
    program = folder / "shop.py"
    program.write_text(PROGRAM)
    environment = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    process = subprocess.Popen(
        [sys.executable, str(program), dsn], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    )
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        yield Application(process, process.stdin, process.stdout)
    finally:
        process.kill()
        process.wait(WITHIN)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()


@pytest.mark.timeout(400)
def test_an_sdk_that_nobody_changed_reports_here(tmp_path: Path) -> None:
    with Journey() as journey, journey.client(journey.key("admin")) as admin:
        made(admin.post("/api/v1/services/", json={"key": "shop"}))
        for place in ("staging", "production"):
            made(admin.post("/api/v1/environments/", json={"key": place, "approval_policy": "not_required"}))
        where = {"service": "shop", "environment": "staging", "keys": ["critical-errors"]}
        made(admin.post("/api/v1/library/take/", json=where), 200)
        # The portal's own web process is started again when it ends: this one stays down until the test starts it.
        address = journey.web_beside()
        dsn = journey.command("sentry_dsn", "shop", "--environment", "staging")
        dsn = dsn.replace(urlsplit(journey.address).netloc, urlsplit(address).netloc)

        def groups() -> list[dict[str, Any]]:
            found: list[dict[str, Any]] = admin.get("/api/v1/errors/").json()["results"]
            return found

        with application(tmp_path, dsn) as tell:
            tell("capture 2")
            until(lambda: [one["count"] for one in groups()] == [2])
            _is_all_there(admin.get(f"/api/v1/errors/{groups()[0]['id']}/").json())

            tell("fatal 9")
            tell("fatal 1")
            until(lambda: admin.get("/api/v1/incidents/").json()["count"] == 1)
            incident = admin.get("/api/v1/incidents/").json()["results"][0]
            assert (incident["service"], incident["environment"]) == ("shop", "staging")
            # The ten are enough for the incident: what follows them may be on its way.
            until(lambda: groups()[0]["count"] == 12)

            journey.kill_beside()
            tell("unheard 3")
            journey.web_beside(int(address.rpartition(":")[2]))
            tell("capture 4")
            until(lambda: groups()[0]["count"] >= 16)
            # Lost for good, for the SDK keeps nothing; but it says so, and it is shown where people look.
            lost = "the SDK lost errors before they came here: network_error"
            until(lambda: _counted(admin, lost) == 3)
            assert groups()[0]["count"] == 16

            tell.die()
            until(lambda: {one["type"] for one in groups()} == {"KeyError", "RuntimeError"})
            uncaught = next(one for one in groups() if one["type"] == "RuntimeError")
            assert admin.get(f"/api/v1/errors/{uncaught['id']}/").json()["occurrences"][0]["labels"]["handled"] == "no"


def _is_all_there(group: dict[str, Any]) -> None:
    assert (group["type"], group["message"], group["culprit"]) == ("KeyError", "'plum 1'", "total in __main__")
    assert (group["severity"], group["users"], group["last_release"]) == ("error", 1, "shop@1.2.0")
    last = group["occurrences"][0]
    assert (last["unit"], last["labels"]["team"], last["labels"]["sdk_environment"]) == ("user-17", "web", "production")
    assert "    return prices[name]\n" in last["stack"]
    assert "bob@example.com" not in str(group)


def _counted(admin: Any, reason: str) -> int:
    rows = admin.get("/api/v1/rejections/").json()["results"]
    return sum(row["count"] for row in rows if row["reason"] == reason)
