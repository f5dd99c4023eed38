"""Signals as something to wait for: a child that ended, somebody who wants us to stop."""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# Seconds after the first request to stop from which another one means impatience: a terminal, a shell and a
# supervisor above us may all pass on the same one.
PATIENCE = 1.0
STOP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(Exception):
    """Somebody asked us to stop."""


class Signals:
    def __init__(self) -> None:
        self._stops: list[float] = []
        self._wake, self._woken = os.pipe()
        os.set_blocking(self._wake, False)
        os.set_blocking(self._woken, False)

    def wait(self, seconds: float) -> None:
        """Until a signal arrives, or `seconds` are over."""
        if select.select([self._wake], [], [], max(seconds, 0))[0]:
            os.read(self._wake, 4096)

    def check(self) -> None:
        if self._stops:
            raise Stopped

    def hurried(self) -> bool:
        """Whether somebody asked again, having waited."""
        return bool(self._stops) and self._stops[-1] - self._stops[0] > PATIENCE

    def close(self) -> None:
        os.close(self._wake)
        os.close(self._woken)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._stops.append(time.monotonic())

    @staticmethod
    def _noticed(number: int, frame: FrameType | None) -> None:
        """A child ended: being woken is all that is needed."""


@contextmanager
def heard() -> Iterator[Signals]:
    """Signals wake us instead of ending us."""
    signals = Signals()
    # nohup's wish is heard: a hangup that is ignored stays so.
    hung_up = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set()
    before = {number: signal.signal(number, signals._stop) for number in STOP if number not in hung_up}
    before[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, signals._noticed)
    previous = signal.set_wakeup_fd(signals._woken, warn_on_full_buffer=False)
    try:
        yield signals
    finally:
        signal.set_wakeup_fd(previous)
        for number, handler in before.items():
            signal.signal(number, handler)
        signals.close()
