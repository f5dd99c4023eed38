"""Web processes on the tests' own servers: `with Web() as web: web.url`."""

import os
import subprocess
import sys
import time
from typing import Self

import httpx
from django.conf import settings
from django.db import connection

from portal.supervise import ports
from tests.running import ROOT

STARTS_WITHIN = 180.0  # seconds


class Web:
    """One uvicorn with the portal, on the test database as it is: a test that starts one must be transactional."""

    def __init__(self, **environment: str) -> None:
        self.port = ports.free()
        self.url = f"http://127.0.0.1:{self.port}"
        given = connection.settings_dict
        login = f"{given['USER']}:{given['PASSWORD']}" if given["PASSWORD"] else given["USER"]
        self.environment = os.environ | {
            "DATABASE_URL": f"postgres://{login}@{given['HOST']}:{given['PORT']}/{given['NAME']}",
            "REDIS_URL": settings.REDIS_URL,
            "PORTAL_REDIS_PREFIX": settings.PORTAL_REDIS_PREFIX,
            "PORTAL_DATABASE_POOL": "4",
            **environment,
        }
        self.process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        # Handed on as `up` does: while it starts, nobody else can take the port.
        with ports.listen("127.0.0.1", self.port) as listener:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "uvicorn", "portal.asgi:application", "--fd", str(listener.fileno()),
                    "--log-level", "warning", "--timeout-graceful-shutdown", "3",
                ],
                cwd=ROOT,
                env=self.environment,
                pass_fds=[listener.fileno()],
            )  # fmt: skip
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _wait(self) -> None:
        assert self.process is not None
        deadline = time.monotonic() + STARTS_WITHIN
        while not self.evaluates():
            assert self.process.poll() is None, f"the web process ended with {self.process.returncode}"
            assert time.monotonic() < deadline, "the web process does not answer"
            time.sleep(0.1)

    def __exit__(self, *_: object) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def evaluates(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health/evaluate", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def ofrep(self, key: str, flag: str | None = None, unit: str = "u1") -> httpx.Response:
        """One flag for a unit, or all."""
        path = "/ofrep/v1/evaluate/flags" + (f"/{flag}" if flag else "")
        return httpx.post(
            self.url + path,
            json={"context": {"targetingKey": unit}},
            headers={"Authorization": f"Bearer {key}"},
            timeout=60,
            trust_env=False,
        )
