"""A portal that really runs: `manage.py up` as a person would start it, and what a test may do to it."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import httpx
import psutil

ROOT = Path(__file__).resolve().parent.parent
# Far beyond what it takes: a test that waits this long has found something that will not happen.
LONG = 120.0


class Running:
    """One `up`. Its output is read all the time and kept in `lines`."""

    def __init__(
        self,
        data_dir: Path,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        wrapper: Sequence[str] = (),
        root: Path = ROOT,
        demo: Sequence[str] = ("--no-demo",),
    ) -> None:
        self.data_dir = data_dir
        self.env = {**clean_environment(), **(env or {})}
        self.root = root
        self.lines: list[str] = []
        self.started = time.monotonic()
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, "manage.py", "up", "--data-dir", str(data_dir), *demo, *arguments],
            cwd=root,
            env=self.env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # As from a terminal: signals to the portal are not signals to the tests.
            start_new_session=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as output:
            for line in output:
                self.lines.append(line.rstrip("\n"))

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def wait_ready(self) -> "Running":
        wait_for(lambda: self.url is not None or self.process.poll() is not None, "ready")
        assert self.url is not None, self.text
        self.seconds_to_ready = time.monotonic() - self.started
        return self

    @property
    def url(self) -> str | None:
        return next((line.removeprefix("ready ") for line in self.lines if line.startswith("ready http")), None)

    @property
    def runtime(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.data_dir / "runtime.json").read_text())
        return found

    @property
    def children(self) -> dict[str, int]:
        found: dict[str, int] = self.runtime["children"]
        return found

    def descendants(self) -> list[psutil.Process]:
        return psutil.Process(self.runtime["pid"]).children(recursive=True)

    def get(self, path: str, **options: Any) -> httpx.Response:
        assert self.url is not None
        return httpx.get(self.url + path, timeout=20, **options)

    def is_well(self) -> bool:
        """Store and broker answer, every sweep has lately completed a cycle."""
        try:
            return self.get("/health/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def manage(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """A command beside it, in another terminal: it finds the portal by its data directory alone."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=self.root,
            env={**self.env, "PORTAL_DATA_DIR": str(self.data_dir)},
            capture_output=True,
            text=True,
            timeout=LONG,
            check=False,
        )

    def interrupt(self) -> int:
        """Ctrl-C, and its exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.wait_ended()

    def wait_ended(self) -> int:
        code = self.process.wait(LONG)
        self._reader.join(LONG)
        return code

    def end(self) -> None:
        """Whatever happened: nothing of it is left."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def clean_environment() -> dict[str, str]:
    """The shell of somebody who has set nothing: no address of the tests' own servers in it."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DATABASE_URL", "REDIS_URL", "PORTAL_", "DJANGO_", "PYTEST_"))
    }


def wait_for(happened: Callable[[], bool], what: str, within: float = LONG) -> None:
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.05)


def alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    """Those that still run: not ended, and not merely waiting to be buried by whoever adopted them."""
    return [process for process in processes if _runs(process)]


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
