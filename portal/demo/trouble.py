"""What somebody has injected: errors, latency, anger; for the release that is on its way, or for both arms."""

import threading
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

ARMS = ("variant", "both")
MOST_LATENCY = 10_000  # milliseconds
# What is wrong with the whole environment shows in the bulk of the traffic first. Without a head start the small arm
# could cross its bound a moment before the large one, and the release would be blamed for what it did not do.
HEAD_START = 8.0  # seconds


class Wrong(Exception):
    """What was asked for makes no sense, in words."""


@dataclass(frozen=True, slots=True)
class Injected:
    errors: float = 0.0  # the share of requests that fail
    latency: float = 0.0  # milliseconds that each request takes longer
    angry: bool = False
    arm: str = "variant"

    @property
    def any(self) -> bool:
        return bool(self.errors or self.latency or self.angry)


class Trouble:
    """Read by every visit, written by the control server and by whoever starts releases."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._now = Injected()
        self._since = 0.0

    def inject(self, asked: Mapping[str, Any]) -> Injected:
        """Change what is named; the rest stays as it is."""
        with self._lock:
            self._now = replace(self._now, **_checked(asked))
            self._since = time.monotonic()
            return self._now

    def calm(self) -> None:
        with self._lock:
            self._now = Injected()

    def calm_if_before(self, moment: float) -> bool:
        """The fault of an earlier release is not in the next one. Whether there was any to forget."""
        with self._lock:
            old = self._now.any and self._since < moment
            if old:
                self._now = Injected()
            return old

    def of(self, *, is_variant: bool) -> Injected:
        """What a user of this arm meets now."""
        now, since = self._now, self._since
        if not now.any:
            return now
        if now.arm == "variant":
            return now if is_variant else Injected()
        return Injected() if is_variant and time.monotonic() - since < HEAD_START else now

    def shown(self) -> dict[str, Any]:
        with self._lock:
            since = time.monotonic() - self._since if self._now.any else None
            return {**asdict(self._now), "seconds": since}


def _checked(asked: Mapping[str, Any]) -> dict[str, Any]:
    for name in asked:
        if name not in ("errors", "latency", "angry", "arm"):
            raise Wrong(f"{name}: unknown field")
    checked = dict(asked)
    for name, most in (("errors", 1), ("latency", MOST_LATENCY)):
        value = checked.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= most:
            raise Wrong(f"{name}: must be a number from 0 to {most}")
    if not isinstance(checked.get("angry", False), bool):
        raise Wrong("angry: must be true or false")
    if checked.get("arm", "variant") not in ARMS:
        raise Wrong(f"arm: must be one of {', '.join(ARMS)}")
    return checked
