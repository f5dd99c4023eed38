"""What the children print, one line each under its child's name, on our standard output."""

import os
import queue
import threading
from typing import IO

# When nobody reads our output the children go on and the newest lines are dropped: a full pipe stops no portal.
KEPT_LINES = 10_000
LONGEST_LINE = 64 * 1024


class Output:
    """Threads only read and write here; children are started and ended by the main thread alone."""

    def __init__(self, fd: int = 1) -> None:
        self._fd = fd
        self._lines: queue.Queue[bytes | None] = queue.Queue(KEPT_LINES)
        self._dropped = 0
        self._writer = threading.Thread(target=self._write, daemon=True)
        self._writer.start()

    def say(self, line: str) -> None:
        self._put(line.encode(errors="replace") + b"\n")

    def follow(self, name: str, stream: IO[bytes]) -> None:
        """Pass on each line of `stream` until it ends."""
        threading.Thread(target=self._read, args=(f"{name:<8} | ".encode(), stream), daemon=True).start()

    def finish(self, timeout: float = 2.0) -> None:
        """Let what was said be written, if somebody reads it."""
        try:
            self._lines.put(None, timeout=timeout)
        except queue.Full:
            return
        self._writer.join(timeout)

    def _read(self, prefix: bytes, stream: IO[bytes]) -> None:
        with stream:
            while line := stream.readline(LONGEST_LINE):
                self._put(prefix + line.rstrip(b"\r\n") + b"\n")

    def _put(self, line: bytes) -> None:
        try:
            self._lines.put_nowait(line)
        except queue.Full:
            self._dropped += 1

    def _write(self) -> None:
        while (line := self._lines.get()) is not None:
            if self._dropped:
                line = f"(… {self._dropped} lines were not shown)\n".encode() + line
                self._dropped = 0
            try:
                while line:
                    line = line[os.write(self._fd, line) :]
            except OSError:
                continue  # the terminal is gone; the portal is not
