"""A child process: started in a group of its own, stopped politely and then surely."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from portal.supervise import launching
from portal.supervise.identity import OURSELVES, Identity
from portal.supervise.output import Output

STEP = 0.02  # seconds between two looks at something that is about to happen


@dataclass(eq=False)
class Child:
    """One program that shall run. `start` may be called again after it ended."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    output: Output
    identity: Identity = OURSELVES
    stop_by: signal.Signals = signal.SIGTERM
    # What the kernel sends it when we are killed.
    dies_by: signal.Signals = signal.SIGKILL
    stop_within: float = 8.0
    inherits: tuple[int, ...] = ()
    before_start: Callable[[], None] | None = None
    process: "subprocess.Popen[bytes] | None" = field(default=None, init=False)
    _ready: int | None = field(default=None, init=False)
    _told: bool = field(default=False, init=False)

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process else None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    def start(self) -> None:
        if self.before_start:
            self.before_start()
        self._forget_ready()
        self._ready, tell = os.pipe()
        try:
            self.process = subprocess.Popen(
                launching.command(self.argv, asdict(self.identity), dies_by=self.dies_by),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env={**self.env, "PORTAL_READY_FD": str(tell)},
                cwd=self.cwd,
                pass_fds=(tell, *self.inherits),
                process_group=0,
            )
        finally:
            os.close(tell)
        assert self.process.stdout is not None
        self.output.follow(self.name, self.process.stdout)

    def has_told(self) -> bool:
        """Whether the child itself has said that it is ready (see `readiness`)."""
        if self._ready is not None and not self._told:
            os.set_blocking(self._ready, False)
            try:
                self._told = os.read(self._ready, 1) != b""
            except BlockingIOError:
                pass
        return self._told

    def signal(self, what: signal.Signals) -> None:
        if self.process and self.running:
            self.process.send_signal(what)

    def sweep_group(self) -> None:
        """End what an ended child left behind in its group."""
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)

    def stop(self) -> None:
        self.signal(self.stop_by)
        self.wait_stopped()

    def wait_stopped(self, hurried: Callable[[], bool] = lambda: False) -> None:
        """Wait until it has ended; when it takes too long, or we are hurried, make it end."""
        if not self.process:
            return
        deadline = time.monotonic() + self.stop_within
        while self.running and time.monotonic() < deadline and not hurried():
            time.sleep(STEP)
        if self.running and self.dies_by != signal.SIGKILL:
            self.signal(self.dies_by)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(3)
        if self.running:
            self.signal(signal.SIGKILL)
            self.process.wait()
        self.sweep_group()
        self._forget_ready()

    def _forget_ready(self) -> None:
        self._told = False
        if self._ready is not None:
            os.close(self._ready)
            self._ready = None
