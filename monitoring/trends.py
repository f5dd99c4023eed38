"""Whether a metric rises, falls or stays as it is: by rank, so that a few wild values decide nothing.

The test is Mann-Kendall's (Mann 1945, Kendall 1975) with the correction for ties, its variance corrected for
autocorrelation after Hamed and Rao (1998): neighbouring hours resemble each other, and without it every slow wave would
be a trend. The slope is Theil's and Sen's (Sen 1968), the median of the slopes of all pairs, with the interval that
belongs to the same variance. What repeats with the hour of the day or of the week is taken out before.

Nothing is stable because nothing is known of it: too few values, or an interval that leaves room for a large change, is
unknown.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)
LEAST = 12  # values: below that the test's normal approximation is poor
COVERED = 0.5  # share of the window's steps that must be known
MOST = 1000  # values: every pair of them is looked at
SIGNIFICANT = 0.05
CONFIDENCE = 0.95
# What is called a change at the least, over the whole window, as a share of the level.
RELEVANT = 0.05
# An interval that reaches so many relevant changes away from nought says too little to be called stable.
TOO_WIDE = 5.0
# So many whole periods make a season.
PERIODS = 3
# Lags of the autocorrelation, as a share of the number of values.
LAGS = 0.25
# What is as large was not measured: it counts as not known, and its square would overflow.
HUGE = 1e150
# A coefficient of 1 would be a walk without any level: nothing could be said of its trend.
MEMORY = 0.98

Array = npt.NDArray[np.float64]


class Direction(StrEnum):
    RISING = "rising"
    FALLING = "falling"
    STABLE = "stable"
    UNKNOWN = "unknown"


class Effect(StrEnum):
    """What that means for whoever uses the service."""

    BETTER = "better"
    WORSE = "worse"
    NEUTRAL = "neutral"


@dataclass(frozen=True, slots=True)
class Line:
    """A robust line through values: the slope is in the values' unit a day."""

    slope: float
    low: float
    high: float
    level: float  # where the line stands at the last time


@dataclass(frozen=True, slots=True)
class Test:
    """The figures of the test. `effective`: how many independent values the series is worth."""

    s: float
    z: float
    p: float
    effective: float


@dataclass(frozen=True, slots=True)
class Trend:
    """A direction with its reason. `change`: over the window, as a share of the level, with its interval."""

    direction: Direction
    reason: str
    count: int
    expected: int
    method: str = ""
    season: str = ""
    line: Line | None = None
    test: Test | None = None
    change: float | None = None
    change_low: float | None = None
    change_high: float | None = None
    level: float | None = None

    def effect(self, better: str) -> Effect:
        """By the metric's direction: "higher_is_better", "lower_is_better", or anything else."""
        good = {"higher_is_better": Direction.RISING, "lower_is_better": Direction.FALLING}.get(better)
        if good is None or self.direction not in (Direction.RISING, Direction.FALLING):
            return Effect.NEUTRAL
        return Effect.BETTER if self.direction is good else Effect.WORSE


def trend(
    points: Sequence[tuple[datetime, float]], *, window: timedelta, step: timedelta, relevant: float = RELEVANT
) -> Trend:
    """How the values of a window went; one value a step, the oldest first, steps of which nothing is known left out.

    `relevant`: the change over the window that matters, as a share of the level. A smaller one is stable, however
    certain it is.
    """
    expected = max(int(window / step), 1)
    known = [(at, value) for at, value in points if abs(value) < HUGE]
    count = len(known)
    if count < LEAST:
        return Trend(Direction.UNKNOWN, f"{count} values are known, {LEAST} are needed", count, expected)
    if count < COVERED * expected:
        reason = f"{count} of {expected} steps are known, half of them are needed"
        return Trend(Direction.UNKNOWN, reason, count, expected)
    if count > MOST:
        raise ValueError(f"more than {MOST} values: choose a longer step")
    times, values = arrays(known)
    level = scale(values)
    if level == 0:
        return Trend(Direction.STABLE, "it is 0 throughout", count, expected, level=0.0)
    season, name = seasonal(times, values, [at for at, _ in known], step)
    test, line = judge(times, values - season)
    span = window / DAY
    change, low, high = (one * span / level for one in (line.slope, line.low, line.high))
    method = "Mann-Kendall with Hamed and Rao's variance, Theil-Sen slope"
    direction, reason = _said(test, change, low, high, relevant)
    return Trend(
        direction, reason, count, expected, method, name, line, test, change, low, high, float(np.median(values))
    )


def _said(test: Test, change: float, low: float, high: float, relevant: float) -> tuple[Direction, str]:
    moved = f"{change:+.1%} over the window ({low:+.1%} to {high:+.1%}), p = {test.p:.3f}"
    if test.p < SIGNIFICANT and abs(change) >= relevant:
        return (Direction.RISING if change > 0 else Direction.FALLING), moved
    if max(abs(low), abs(high)) > TOO_WIDE * relevant:
        return Direction.UNKNOWN, f"too uncertain: {moved}"
    if test.p < SIGNIFICANT:
        return Direction.STABLE, f"{moved}: less than {relevant:.0%} matters to nobody"
    return Direction.STABLE, moved


def arrays(points: Sequence[tuple[datetime, float]]) -> tuple[Array, Array]:
    """Days since the first time, and the values."""
    first = points[0][0]
    return (
        np.array([(at - first) / DAY for at, _ in points], dtype=np.float64),
        np.array([value for _, value in points], dtype=np.float64),
    )


def scale(values: Array) -> float:
    """What a change is a share of: the middle of the absolute values, their mean where more than half are 0."""
    return float(np.median(np.abs(values))) or float(np.mean(np.abs(values)))


def seasonal(times: Array, values: Array, moments: Sequence[datetime], step: timedelta) -> tuple[Array, str]:
    """What repeats, for each value: the median of its hour of the week or the day, around the line through all."""
    found = season_of(times, values, moments, step)
    if found is None:
        return np.zeros(len(values)), ""
    return np.array([found.at(moment) for moment in moments]), found.name


@dataclass(frozen=True, slots=True)
class Season:
    """How far each phase of a period lies from the line, in the middle."""

    name: str
    period: timedelta
    step: timedelta
    origin: datetime
    away: tuple[float, ...]

    def at(self, moment: datetime) -> float:
        return self.away[int((moment - self.origin) % self.period / self.step)]


def season_of(times: Array, values: Array, moments: Sequence[datetime], step: timedelta) -> Season | None:
    """The longest period of which three are there whole, each of its phases known at least twice."""
    if len(values) < LEAST:
        return None
    spanned = moments[-1] - moments[0] + step
    # Fitted by day where there are days: a line through a part of a wave would follow the wave.
    away = values - _through(times, values)
    for name, period in (("hour of the week", 7 * DAY), ("hour of the day", DAY)):
        if spanned < PERIODS * period or period % step or period // step < 2:
            continue
        origin = moments[0] - timedelta(hours=moments[0].hour, minutes=moments[0].minute, seconds=moments[0].second)
        origin -= timedelta(days=moments[0].weekday(), microseconds=moments[0].microsecond)
        phases = np.array([int((moment - origin) % period / step) for moment in moments])
        size = period // step
        counts = np.bincount(phases, minlength=size)
        if counts.min() < 2:
            continue
        middles = np.array([np.median(away[phases == phase]) for phase in range(size)])
        if name == "hour of the week" and step >= DAY:
            name = "day of the week"
        return Season(name, period, step, origin, tuple(float(one) for one in middles - np.median(middles)))
    return None


def _through(times: Array, values: Array) -> Array:
    """A first line: through the middles of whole days where there are three, else through the values."""
    days = np.floor(times).astype(int)
    present = np.unique(days)
    if len(present) >= PERIODS and len(present) < len(values) / 2:
        at = present + 0.5
        middles = np.array([np.mean(values[days == day]) for day in present])
        slope = slope_of(at, middles)
        return slope * times + float(np.median(middles - slope * at))
    slope = slope_of(times, values)
    return slope * times + float(np.median(values - slope * times))


def judge(times: Array, values: Array) -> tuple[Test, Line]:
    """Mann-Kendall's test and Theil's and Sen's line; the interval is of 95 %."""
    n = len(values)
    upper = np.triu_indices(n, 1)
    rises = values[upper[1]] - values[upper[0]]
    s = float(np.sign(rises).sum())
    _, ties = np.unique(values, return_counts=True)
    variance = (n * (n - 1) * (2 * n + 5) - float((ties * (ties - 1) * (2 * ties + 5)).sum())) / 18
    slopes = np.sort(rises / (times[upper[1]] - times[upper[0]]))
    slope = float(np.median(slopes))
    inflation = correction(values - slope * times)
    variance *= inflation
    z = 0.0 if variance <= 0 or s == 0 else (s - math.copysign(1, s)) / math.sqrt(variance)
    p = 2 * (1 - NormalDist().cdf(abs(z)))
    reach = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) * math.sqrt(max(variance, 0.0))
    pairs = len(slopes)
    low = slopes[max(math.floor((pairs - reach) / 2), 0)]
    high = slopes[min(math.ceil((pairs + reach) / 2), pairs - 1)]
    level = slope * float(times[-1]) + float(np.median(values - slope * times))
    return Test(s, z, p, n / inflation), Line(slope, float(low), float(high), level)


def slope_of(times: Array, values: Array) -> float:
    """The median of the slopes of all pairs."""
    if len(values) < 2:
        return 0.0
    upper = np.triu_indices(len(values), 1)
    return float(np.median((values[upper[1]] - values[upper[0]]) / (times[upper[1]] - times[upper[0]])))


def correction(residuals: Array) -> float:
    """By how much autocorrelation raises the variance of S: n over the effective number of values, never below 1.

    Hamed and Rao's equation 15, over the ranks of what is left beside the line. The lags are those up to the first
    that is not significant: further ones are noise, which summed up would be larger than what is looked for. Short
    series hide their memory (the line was fitted to the same values), so it is at the least that of a first-order
    process whose coefficient is the first lag's, set right for that bias, (2 + 4 r) / n (Kendall 1954).
    """
    n = len(residuals)
    order = _ranks(residuals)
    order -= order.mean()
    total = float(order @ order)
    if total == 0 or n < LEAST or np.ptp(residuals) == 0:
        return 1.0
    lags = np.arange(1, max(int(LAGS * n), 1) + 1)
    weights = (n - lags) * (n - lags - 1) * (n - lags - 2)
    similar = np.array([float(order[lag:] @ order[:-lag]) / total for lag in lags])
    bound = NormalDist().inv_cdf((1 + CONFIDENCE) / 2) / math.sqrt(n)
    weak = np.flatnonzero(similar < bound)
    upto = int(weak[0]) if len(weak) else len(lags)
    seen = float((weights[:upto] * similar[:upto]).sum())
    first = float(similar[0])
    first = min(first + (2 + 4 * first) / n, MEMORY)
    far = np.arange(1, n - 2)
    process = float(((n - far) * (n - far - 1) * (n - far - 2) * first**far).sum()) if first > bound else 0.0
    return 1.0 + 2.0 * max(seen, process) / (n * (n - 1) * (n - 2))


def _ranks(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """From 1; equal values share the mean of their ranks. By numpy alone: SciPy takes a second of every start."""
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: npt.NDArray[np.float64] = (np.cumsum(counts) - (counts - 1) / 2)[place]
    return ranks
