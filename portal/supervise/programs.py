"""How each program of ours is called: the web, the worker, the beat, the demo's shop, and commands that end."""

import os
import sys
from dataclasses import dataclass
from pathlib import Path

from portal.supervise.children import Child
from portal.supervise.output import Output

LOCAL_HOSTS = "localhost,127.0.0.1,[::1]"
CELERY = ("-m", "celery", "--quiet", "-A", "portal.celery")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the command line asked for; without a port it is 8000 or a free one."""

    base_dir: Path
    data_dir: Path
    host: str
    port: int | None
    demo: bool | None = None  # None: where the portal is still empty, or has the demo already
    seats_password: str = ""  # of the demo, to be said with its seats


class Programs:
    def __init__(
        self, wanted: Wanted, output: Output, database_url: str, redis_url: str, listener: int, lock: int
    ) -> None:
        self.wanted = wanted
        self.output = output
        self.listener = listener
        self.lock = lock
        self.environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "PORTAL_DATA_DIR": str(wanted.data_dir),
            "DJANGO_SETTINGS_MODULE": "portal.settings",
            "PYTHONUNBUFFERED": "1",
            # Django's checks belong to tests: at each start worker and beat would spend a second on them.
            "CELERY_SKIP_CHECKS": "1",
        }
        if not self.environment.get("PORTAL_ALLOWED_HOSTS"):
            host = f"[{wanted.host}]" if ":" in wanted.host else wanted.host
            self.environment["PORTAL_ALLOWED_HOSTS"] = f"{LOCAL_HOSTS},{host}"

    def web(self) -> Child:
        # It is handed our socket: while it is started anew its callers wait instead of being refused.
        arguments = ["-m", "uvicorn", "portal.asgi:application", "--fd", str(self.listener), "--lifespan", "on"]
        arguments += ["--timeout-graceful-shutdown", "3", "--no-access-log", "--log-level", "warning"]
        # A frame is encoded once for all sockets; compressed, it would be anew for each of them. Pages say little.
        arguments += ["--ws-per-message-deflate", "false", "--ws-max-size", "65536"]
        if not self.environment.get("FORWARDED_ALLOW_IPS"):
            # Nobody may say who they are by a header, unless the proxy that may was named.
            arguments.append("--no-proxy-headers")
        return self._child("web", *arguments, inherits=(self.lock, self.listener))

    def worker(self) -> Child:
        pool = ("--pool", "prefork", "--concurrency", "2", "--hostname", "portal@%h")
        # There is one worker: it has nobody to talk with.
        alone = ("--without-gossip", "--without-mingle", "--without-heartbeat")
        return self._child("worker", *CELERY, "worker", *pool, *alone, inherits=(self.lock,))

    def beat(self) -> Child:
        schedule = str(self.wanted.data_dir / "beat-schedule")
        return self._child("beat", *CELERY, "beat", "--schedule", schedule, "--pidfile", "", inherits=(self.lock,))

    def shop(self, address: str) -> Child:
        """The demo's simulated service. It knows the portal's address and its own keys, no server of ours."""
        shop = self._child("demo", "-m", "portal.demo", inherits=(self.lock,))
        known = {name: value for name, value in self.environment.items() if name not in ("DATABASE_URL", "REDIS_URL")}
        shop.env = known | {"PORTAL_DEMO_URL": address}
        return shop

    def command(self, name: str, *arguments: str) -> Child:
        """A command of manage.py, to be run to its end."""
        return self._child(name, "manage.py", name, *arguments)

    def _child(self, name: str, *arguments: str, inherits: tuple[int, ...] = ()) -> Child:
        argv = [sys.executable, *arguments]
        return Child(name, argv, self.environment, self.wanted.base_dir, self.output, inherits=inherits)
