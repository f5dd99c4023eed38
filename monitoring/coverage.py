"""How much of what matters of a service is watched.

What matters are the four golden signals (latency, traffic, errors, saturation; Site Reliability Engineering, ch. 6) and
availability as probed from outside. A metric carries its signal: the shipped names have one, others are given one.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum


class Signal(StrEnum):
    LATENCY = "latency"
    TRAFFIC = "traffic"
    ERRORS = "errors"
    SATURATION = "saturation"
    AVAILABILITY = "availability"


SIGNALS = [(one.value, one.value) for one in Signal]


class Standing(StrEnum):
    WATCHED = "watched"
    BLIND = "blind"  # a bound, but no data
    UNWATCHED = "unwatched"  # data, but no bound
    MISSING = "missing"  # neither
    WAIVED = "waived"


WORDS = {
    Standing.WATCHED: "watched, with data",
    Standing.BLIND: "has a threshold, but no data",
    Standing.UNWATCHED: "is measured, but has no threshold",
    Standing.MISSING: "nothing that is measured tells of it",
}


@dataclass(frozen=True, slots=True)
class Item:
    """One critical metric of a place; no metric where the signal has none at all."""

    signal: Signal
    metric: str
    standing: Standing
    reason: str


@dataclass(frozen=True, slots=True)
class Coverage:
    """Of one service in one environment."""

    items: tuple[Item, ...]

    @property
    def watched(self) -> int:
        return sum(item.standing is Standing.WATCHED for item in self.items)

    @property
    def total(self) -> int:
        """Without what was waived."""
        return sum(item.standing is not Standing.WAIVED for item in self.items)

    @property
    def gaps(self) -> tuple[Item, ...]:
        return tuple(item for item in self.items if item.standing not in (Standing.WATCHED, Standing.WAIVED))

    @property
    def share(self) -> float | None:
        """0 to 1; None where nothing is to be watched."""
        return self.watched / self.total if self.total else None


def coverage(
    signals: Mapping[str, Signal],
    *,
    measured: Collection[str],
    bounded: Mapping[str, bool],
    waived: Mapping[Signal, str],
) -> Coverage:
    """What stands behind each signal of a place.

    signals: of each metric that has one; measured: metrics with data of late; bounded: metrics with a bound (a
    threshold or an objective), and whether any of them had data to judge by; waived: signals that do not concern it,
    with the reason.
    """
    items: list[Item] = []
    for signal in Signal:
        if signal in waived:
            items.append(Item(signal, "", Standing.WAIVED, waived[signal]))
            continue
        names = sorted({name for name in (*measured, *bounded) if signals.get(name) is signal})
        if not names:
            items.append(Item(signal, "", Standing.MISSING, WORDS[Standing.MISSING]))
        for name in names:
            standing = Standing.UNWATCHED
            if name in bounded:
                standing = Standing.WATCHED if bounded[name] else Standing.BLIND
            items.append(Item(signal, name, standing, WORDS[standing]))
    return Coverage(tuple(items))
