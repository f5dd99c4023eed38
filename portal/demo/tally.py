"""What the service counts of itself: counters that only grow, and how long requests took since the last report."""

import threading
import time
from bisect import bisect_left
from collections import defaultdict, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from portal.demo import scene

Labels = tuple[tuple[str, str], ...]
# Half an hour of reports is kept for a portal that is away; beyond it the oldest two become one.
KEPT = 900


@dataclass(slots=True)
class Spread:
    """How long requests took, in the buckets that are sent."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(scene.LATENCY_BOUNDS) + 1))
    count: int = 0
    sum: float = 0.0

    def add(self, seconds: float) -> None:
        self.counts[bisect_left(scene.LATENCY_BOUNDS, seconds)] += 1
        self.count += 1
        self.sum += seconds

    def merge(self, other: "Spread") -> None:
        self.counts = [mine + its for mine, its in zip(self.counts, other.counts, strict=True)]
        self.count += other.count
        self.sum += other.sum

    def to_json(self) -> dict[str, Any]:
        buckets = [list(pair) for pair in zip(scene.LATENCY_BOUNDS, self.counts, strict=False)]
        return {"count": self.count, "sum": round(self.sum, 6), "buckets": buckets}


@dataclass(slots=True)
class Report:
    """How everything stood at one moment."""

    at: float  # Unix seconds
    counters: dict[tuple[str, Labels], float]
    spreads: dict[Labels, Spread]
    gauges: dict[str, float] = field(default_factory=dict)

    def samples(self) -> list[dict[str, Any]]:
        time_ = round(self.at, 3)
        counted = [
            {"metric": metric, "value": value, "time": time_, "labels": dict(labels)}
            for (metric, labels), value in self.counters.items()
        ]
        place = {"service": scene.SERVICE, "environment": scene.ENVIRONMENT}
        counted += [
            {"metric": metric, "value": value, "time": time_, "labels": place} for metric, value in self.gauges.items()
        ]
        return counted + [
            {"metric": scene.LATENCY, "value": spread.to_json(), "time": time_, "labels": dict(labels)}
            for labels, spread in self.spreads.items()
        ]


class Tally:
    """Counted by the visitors, reported by another thread. Nothing is lost while nobody listens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counters: dict[tuple[str, Labels], float] = defaultdict(float)
        self._spreads: dict[Labels, Spread] = defaultdict(Spread)
        self._waiting: deque[Report] = deque()
        self._minute = 0

    def count(self, labels: Labels, *, requests: int, errors: int, seconds: list[float]) -> None:
        with self._lock:
            self._counters[scene.REQUESTS, labels] += requests
            self._counters[scene.ERRORS, labels] += errors
            spread = self._spreads[labels]
            for one in seconds:
                spread.add(one)

    def close(self) -> None:
        """Make a report of what was counted since the last one."""
        with self._lock:
            at = time.time()
            # The machines are asked once a minute, however often it is reported.
            is_due, self._minute = at // 60 != self._minute, int(at // 60)
            gauges = scene.machines(datetime.fromtimestamp(at, UTC)) if is_due else {}
            self._waiting.append(Report(at, dict(self._counters), dict(self._spreads), gauges))
            self._spreads.clear()
            if len(self._waiting) > KEPT:
                oldest, following = self._waiting.popleft(), self._waiting[0]
                for labels, spread in oldest.spreads.items():
                    following.spreads.setdefault(labels, Spread()).merge(spread)

    def oldest(self, how_many: int) -> list[Report]:
        with self._lock:
            return [self._waiting[place] for place in range(min(how_many, len(self._waiting)))]

    def forget(self, reports: list[Report]) -> None:
        """These have arrived."""
        with self._lock:
            for report in reports:
                if self._waiting and self._waiting[0] is report:
                    self._waiting.popleft()

    @property
    def backlog(self) -> int:
        return len(self._waiting)
