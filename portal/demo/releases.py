"""The service's own release train: follows the run that is under way, and starts the next one after a pause."""

import hashlib
import re
import threading
import time
from typing import Any

from portal.demo import scene
from portal.demo.doors import Away, Door, Patience, Refused
from portal.demo.trouble import Trouble

LOOK_EVERY = 2.0  # seconds
AFTER_A_REFUSAL = 20.0  # seconds
UNDER_WAY = ("draft", "awaiting_approval", "scheduled", "progressing", "paused", "rolling_back")
NOTES = (
    "Address form with suggestions; fewer fields.",
    "Payment page loads in one request instead of four.",
    "Parcel lockers on a map.",
    "Voucher shows what it takes off before paying.",
    "Delivery date already in the cart.",
    "New queue for order confirmations.",
    "Session store moved; carts survive a login.",
    "Currency from the country of delivery.",
)


class Releases:
    """One thread. What the others read of it are single attributes, replaced whole."""

    def __init__(self, door: Door, trouble: Trouble, pause: float) -> None:
        self._door, self._trouble, self._pause = door, trouble, pause
        self._runs: list[dict[str, Any]] = []
        self._versions: dict[str, str] = {}
        self._current: dict[str, Any] = {}
        self._ended_at: float | None = None  # monotonic, when the last run was first seen ended
        self._tidied: set[int] = set()
        self.variant = ""  # the build that the live run brings to its users; empty when there is none
        self.next_in: float | None = None

    def version_of(self, build: str) -> str:
        return self._versions.get(build, "")

    def shown(self) -> dict[str, Any]:
        found = {name: self._current.get(name) for name in ("id", "status", "version", "live")}
        return {"deployment": found, "variant": self.variant, "next_in": self.next_in}

    def run(self, stopping: threading.Event) -> None:
        patience = Patience(stopping)
        while not stopping.wait(LOOK_EVERY):
            try:
                self._look()
            except Away as away:
                if patience.failed(away.after):
                    print(f"the portal does not answer: {away}")
            except Refused as refused:
                print(f"the portal refused: {refused}")
                stopping.wait(AFTER_A_REFUSAL)
            else:
                patience.succeeded()

    def _look(self) -> None:
        runs = self._newest_runs()
        if not runs:
            self._next(runs)
            return
        newest = runs[0]
        self._follow(newest, runs)
        if newest["status"] in UNDER_WAY:
            self._ended_at, self.next_in = None, None
            if newest["status"] == "draft":
                self._start(newest["id"])
            return
        if newest["status"] == "succeeded":
            self._tidy(newest)
        if self._ended_at is None:
            self._ended_at = time.monotonic()
        self.next_in = max(0.0, self._ended_at + self._pause - time.monotonic())
        if self.next_in == 0:
            self._next(runs)

    def _newest_runs(self) -> list[dict[str, Any]]:
        """The runs of our flag, newest first; all but the newest are asked for only when there is a new one."""
        newest = self._list(1)
        if not newest or not self._runs or newest[0]["id"] != self._runs[0]["id"]:
            self._runs = [run for run in self._list(20) if any(one["flag"] == scene.FLAG for one in run["serves"])]
        else:
            self._runs[0] = newest[0]
        return self._runs

    def _list(self, how_many: int) -> list[dict[str, Any]]:
        found = self._door.get(
            "/api/v1/deployments/", service=scene.SERVICE, environment=scene.ENVIRONMENT, page_size=how_many
        )
        return list(found["results"])

    def _follow(self, newest: dict[str, Any], runs: list[dict[str, Any]]) -> None:
        served = _served(newest)
        self._current = newest
        self.variant = served["variant"] if newest["live"] else ""
        versions = {served["variant"]: newest["version"]}
        before = next((run["version"] for run in runs[1:] if _serves_all(run, served["baseline"])), "")
        self._versions = {**versions, served["baseline"]: before} if before else versions

    def _next(self, runs: list[dict[str, Any]]) -> None:
        """Release to the build that is idle."""
        baseline = self._baseline(runs)
        variant = scene.other(baseline)
        version = self._next_version()
        if self._trouble.calm_if_before(self._ended_at or time.monotonic()):
            print(f"what was injected into the last release is not in {version}")
        release = self._door.post(
            "/api/v1/releases/",
            {
                "service": scene.SERVICE,
                "version": version,
                "commit": hashlib.sha1(f"{scene.SERVICE} {version}".encode()).hexdigest(),
                "type": "canary",
                "risk": "medium",
                "notes": NOTES[int(version.rpartition(".")[2]) % len(NOTES)],
                "captain": scene.CAPTAIN,
            },
            once=f"demo-release-{version}",
        )
        deployment = self._door.post(
            "/api/v1/deployments/",
            {
                "release": release["id"],
                "environment": scene.ENVIRONMENT,
                "plan": scene.PLANS[variant],
                "serves": [{"flag": scene.FLAG, "variant": variant, "baseline": baseline}],
            },
            once=f"demo-deployment-{version}",
        )
        self._start(deployment["id"])
        self._ended_at, self.next_in = None, None
        print(f"release {version} goes to {variant}")

    def _start(self, deployment: int) -> None:
        self._door.post(f"/api/v1/deployments/{deployment}/start/", {"because": "the release train leaves"})

    def _baseline(self, runs: list[dict[str, Any]]) -> str:
        """The build that everybody has when the next run begins."""
        if runs and runs[0]["status"] == "succeeded" and runs[0]["live"]:
            return str(_served(runs[0])["variant"])
        config = self._door.get(f"/api/v1/flags/{scene.FLAG}/environments/{scene.ENVIRONMENT}/")
        return str(config["fallthrough"].get("variant", scene.BUILDS[0]))

    def _next_version(self) -> str:
        found = self._door.get("/api/v1/releases/", service=scene.SERVICE, page_size=100)["results"]
        numbers = [int(match[1]) for one in found if (match := re.fullmatch(r"2026\.(\d{1,6})", one["version"]))]
        return f"2026.{max(numbers, default=int(scene.FIRST_LIVE_VERSION[5:]) - 1) + 1}"

    def _tidy(self, succeeded: dict[str, Any]) -> None:
        """The fixed release has reached everybody: what its rolled-back forerunners left open is over."""
        if succeeded["id"] in self._tidied:
            return
        found = self._door.get(
            "/api/v1/incidents/", service=scene.SERVICE, environment=scene.ENVIRONMENT, open=True, page_size=50
        )["results"]
        for incident in found:
            kind, _, number = incident["target"].partition(":")
            if kind == "deployment" and number.isdigit() and int(number) < succeeded["id"]:
                because = f"{succeeded['version']}, without the fault, has reached everybody"
                self._door.post(
                    f"/api/v1/incidents/{incident['id']}/resolve/", {"because": because, "despite_alerts": True}
                )
        self._tidied.add(succeeded["id"])


def _served(run: dict[str, Any]) -> dict[str, Any]:
    return next(served for served in run["serves"] if served["flag"] == scene.FLAG)


def _serves_all(run: dict[str, Any], build: str) -> bool:
    return run["status"] in ("succeeded", "superseded") and _served(run)["variant"] == build
