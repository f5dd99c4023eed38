"""One `up` for each data directory: a lock that holds until its last child has gone."""

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from portal.supervise.errors import Unstartable

CHILDREN_GO_WITHIN = 5.0  # seconds after their supervisor was killed, by the kernel's hand
THEN_ENDED_WITHIN = 10.0  # seconds, by ours


@contextlib.contextmanager
def only(data_dir: Path) -> Iterator["Lock"]:
    """The lock of this data directory, or a refusal that names who has it."""
    lock = Lock(data_dir)
    try:
        lock.take()
        yield lock
    finally:
        lock.close()


class Lock:
    """Its descriptor is inherited by every child, so that what a killed supervisor left behind still holds it."""

    def __init__(self, data_dir: Path) -> None:
        self.data_dir = data_dir
        path = data_dir / "up.lock"
        try:
            data_dir.mkdir(parents=True, exist_ok=True)
            self.fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unstartable(
                f"the data directory {data_dir} cannot be used: {error.strerror} ({error.filename}). "
                "Make it writable, or choose another with --data-dir"
            ) from error

    def take(self) -> None:
        began = time.monotonic()
        while True:
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                self._wait_for_leftovers(time.monotonic() - began)
        self.tell("")

    def tell(self, url: str) -> None:
        """Say who holds the lock, for whoever comes second."""
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps({"pid": os.getpid(), "url": url}).encode(), 0)

    def close(self) -> None:
        os.close(self.fd)

    def _wait_for_leftovers(self, waited: float) -> None:
        """Refuse if the holder lives; otherwise only its children are left, and they are on their way out."""
        pid = _refuse_if_alive(self.fd)
        if waited > CHILDREN_GO_WITHIN:
            end_leftovers(self.data_dir)
        if waited > CHILDREN_GO_WITHIN + THEN_ENDED_WITHIN:
            raise Unstartable(
                f"processes of an up that was killed (pid {pid}) still use {self.data_dir}: end them first"
            )
        time.sleep(0.1)


def _refuse_if_alive(fd: int) -> int:
    """The pid of whoever holds this lock file, who is dead; refused by name if he lives."""
    holder = _json(os.pread(fd, 4096, 0))
    pid = int(holder.get("pid", 0))
    if pid and _is_same(pid, os.fstat(fd).st_mtime):
        raise Unstartable(f"already running: pid {pid}, {holder.get('url') or 'still starting'}")
    return pid


def end_leftovers(data_dir: Path) -> None:
    """End the children that a killed supervisor named in its runtime.json, where no kernel did it for us."""
    path = data_dir / "runtime.json"
    try:
        named, written = _json(path.read_bytes()), path.stat().st_mtime
    except OSError:
        return
    for pid in named.get("children", {}).values():
        if _is_same(pid, written):
            with contextlib.suppress(OSError):
                os.killpg(pid, signal.SIGKILL)


def _is_same(pid: int, known_at: float) -> bool:
    """Whether `pid` is the process that it was at `known_at`, and no later one of the same number."""
    try:
        process = psutil.Process(pid)
        # Seconds of slack: the kernel counts from boot, in ticks.
        return process.status() != psutil.STATUS_ZOMBIE and process.create_time() <= known_at + 2
    except psutil.NoSuchProcess:
        return False


def _json(raw: bytes) -> dict[str, Any]:
    try:
        found = json.loads(raw)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
