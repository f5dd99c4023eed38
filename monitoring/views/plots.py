"""A line and its bounds as a drawing: where everything lies in a box, for a template that only prints it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

WIDTH, HEIGHT = 800, 200
Point = tuple[datetime, float | None]


@dataclass(frozen=True, slots=True)
class Bound:
    """A level line, with the tone of what lies beyond it."""

    y: float
    tone: str
    words: str
    # What is beyond it, shaded: from the line to the top, or to the bottom.
    top: float
    depth: float


@dataclass(frozen=True, slots=True)
class Plot:
    """In a box of WIDTH by HEIGHT."""

    lines: list[str]  # points of each stretch without a hole
    dots: list[tuple[float, float]]  # of stretches that are one point long
    bounds: list[Bound]
    top: str
    bottom: str
    since: datetime
    until: datetime
    rows: list[tuple[datetime, str]]  # the newest first, for those who read
    ahead: str = ""  # points of what is expected
    band: str = ""  # the outline of its interval


def plot(
    points: Sequence[Point],
    *,
    since: datetime,
    until: datetime,
    every: timedelta,
    words: Callable[[float], str],
    bounds: Sequence[tuple[str, float]] = (),
    upward: bool = True,
    highest: float | None = None,
    ahead: Sequence[tuple[datetime, float, float, float]] = (),
) -> Plot | None:
    """None where there is nothing to draw. `upward`: beyond a bound is above it; `highest`: more there cannot be.

    `ahead`: what is expected, with the bounds of its interval.
    """
    known = [value for _, value in points if value is not None]
    if not known:
        return None
    expected = [value for _, *some in ahead for value in some]
    low, high = _range([*known, *expected, *(value for _, value in bounds)])
    high = high if highest is None else highest

    def y(value: float) -> float:
        return round(HEIGHT - (value - low) / (high - low) * HEIGHT, 1)

    def x(at: datetime) -> float:
        return round((at - since) / (until - since) * WIDTH, 1)

    lines, dots = [], []
    for stretch in _stretches(points, 2 * every):
        spots = [(x(at), y(value)) for at, value in stretch]
        if len(spots) > 1:
            lines.append(" ".join(f"{left},{top}" for left, top in spots))
        else:
            dots += spots
    drawn = [
        Bound(y(value), tone, words(value), 0.0 if upward else y(value), y(value) if upward else HEIGHT - y(value))
        for tone, value in bounds
    ]
    rows = [(at, words(value)) for at, value in reversed(points) if value is not None][:24]
    outline = [(at, top) for at, _, _, top in ahead] + [(at, bottom) for at, _, bottom, _ in reversed(ahead)]
    return Plot(
        lines,
        dots,
        drawn,
        words(high),
        words(low),
        since,
        until,
        rows,
        " ".join(f"{x(at)},{y(value)}" for at, value, _, _ in ahead),
        " ".join(f"{x(at)},{y(value)}" for at, value in outline),
    )


@dataclass(frozen=True, slots=True)
class Together:
    """Several lines in one box, each with its name."""

    lines: list[tuple[str, list[str]]]  # points of each stretch; of one that is a point long the point twice
    top: str
    bottom: str
    since: datetime
    until: datetime


def together(
    lines: Sequence[tuple[str, Sequence[Point]]],
    *,
    since: datetime,
    until: datetime,
    every: timedelta,
    words: Callable[[float], str],
) -> Together | None:
    """None where there is nothing to draw."""
    known = [value for _, points in lines for _, value in points if value is not None]
    if not known:
        return None
    low, high = _range(known)
    drawn = []
    for name, points in lines:
        stretches = []
        for stretch in _stretches(points, 2 * every):
            spots = [_spot(at, value, since, until, low, high) for at, value in stretch]
            stretches.append(" ".join(f"{left},{top}" for left, top in (spots if len(spots) > 1 else spots * 2)))
        drawn.append((name, stretches))
    return Together(drawn, words(high), words(low), since, until)


def _spot(at: datetime, value: float, since: datetime, until: datetime, low: float, high: float) -> tuple[float, float]:
    left = round((at - since) / (until - since) * WIDTH, 1)
    return left, round(HEIGHT - (value - low) / (high - low) * HEIGHT, 1)


def _range(values: Sequence[float]) -> tuple[float, float]:
    """From nought, or from below it, to a little above the highest."""
    low, high = min(*values, 0.0), max(*values, 0.0)
    room = (high - low or 1.0) * 0.08
    return (low - room if low < 0 else 0.0), (high + room if high > 0 else 0.0) or room


def _stretches(points: Sequence[Point], gap: timedelta) -> list[list[tuple[datetime, float]]]:
    """A hole is a hole, not a zero."""
    found: list[list[tuple[datetime, float]]] = []
    before: datetime | None = None
    for at, value in points:
        if value is None:
            before = None
            continue
        if before is None or at - before > gap:
            found.append([])
        found[-1].append((at, value))
        before = at
    return found
