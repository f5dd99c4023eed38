"""A whole portal as a user starts it, with keys, clients, and further web processes beside it."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

import httpx
import psutil
import psycopg

from portal.supervise import ports
from tests import migrated
from tests.running import LONG, ROOT, Running, wait_for

# Sessions of this database, ours aside, that are in the middle of something.
TRANSACTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
    "AND backend_type = 'client backend' AND state <> 'idle'"
)


class Journey(Running):
    """Context manager: `up` on its own servers, with its data in a new folder that is gone afterwards."""

    def __init__(self, **environment: str) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="flightdeck-journey-")
        self._beside: list[subprocess.Popen[bytes]] = []
        super().__init__(migrated.into(Path(self._folder.name) / "data"), "--port", "0", env=environment)

    def __enter__(self) -> Self:
        try:
            self.wait_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._beside:
            process.kill()
            process.wait()
        with suppress(FileNotFoundError):
            for child in self.children.values():
                # A suspended child cannot be told to end.
                with suppress(ProcessLookupError):
                    os.kill(child, signal.SIGCONT)
        self.end()
        self._folder.cleanup()

    @property
    def address(self) -> str:
        assert self.url is not None
        return self.url

    def child(self, name: str) -> psutil.Process:
        return psutil.Process(self.children[name])

    @contextmanager
    def worker_standing_still(self) -> Iterator[None]:
        """No sweep and no task runs inside, and none of them holds a lock."""
        parent = self.child("worker")
        worker = [parent, *parent.children(recursive=True)]
        with psycopg.connect(self.runtime["database_url"], autocommit=True) as database:
            deadline = time.monotonic() + LONG
            while True:
                for process in worker:
                    process.suspend()
                if database.execute(TRANSACTIONS).fetchone() == (0,):
                    break
                for process in worker:
                    process.resume()
                assert time.monotonic() < deadline, "somebody is in a transaction all the time"
                time.sleep(0.01)
        try:
            yield
        finally:
            for process in worker:
                with suppress(psutil.NoSuchProcess):  # it was killed meanwhile
                    process.resume()

    def web_beside(self, port: int = 0) -> str:
        """Start one more web process on the same servers, at this port or a free one; its address."""
        with ports.listen("127.0.0.1", port) as probe:
            port = probe.getsockname()[1]
        found = self.runtime
        servers = {"DATABASE_URL": found["database_url"], "REDIS_URL": found["redis_url"]}
        web = ["uvicorn", "portal.asgi:application", "--port", str(port), "--log-level", "warning"]
        environment = self.env | servers | {"PORTAL_DATA_DIR": str(self.data_dir)}
        self._beside.append(subprocess.Popen([sys.executable, "-m", *web], cwd=ROOT, env=environment))
        address = f"http://127.0.0.1:{port}"
        wait_for(lambda: answers(f"{address}/health/evaluate"), "a second web process")
        return address

    def kill_beside(self) -> None:
        """Those that were started so: nothing answers at their addresses any more."""
        while self._beside:
            process = self._beside.pop()
            process.kill()
            process.wait(30)

    @property
    def beside(self) -> list[int]:
        return [process.pid for process in self._beside]

    def command(self, *arguments: str) -> str:
        """What a management command beside the running portal prints."""
        done = self.manage(*arguments)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def key(self, *scopes: str, environment: str | None = None) -> str:
        named = [part for scope in scopes for part in ("--scope", scope)]
        bound = ["--environment", environment] if environment else []
        return self.command("create_api_key", "journey", *named, *bound)

    def client(self, key: str, address: str | None = None) -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"}
        return httpx.Client(base_url=address or self.address, headers=headers, timeout=20, trust_env=False)


def answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=2, trust_env=False).status_code == 200
    except httpx.HTTPError:
        return False


def until(true: Any, *, within: float = LONG) -> None:
    """Wait for it, looking often, or say that it did not come."""
    deadline = time.monotonic() + within
    while not true():
        assert time.monotonic() < deadline, f"it did not come true within {within} s"
        time.sleep(0.02)


def made(answer: httpx.Response, status: int = 201) -> Any:
    """The body of an answer that had to succeed."""
    assert answer.status_code == status, f"{answer.status_code}: {answer.text}"
    return answer.json()
