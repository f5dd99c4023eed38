"""What a stretch of time came to, in numbers that merge: of two stretches comes what both together had come to."""

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from monitoring.histogram import LARGEST, Distribution, Explicit, Histogram, bounded, from_json, merged, summed

# Beyond this a square overflows: the sum of squares is then the largest number.
HUGE = 1e145


@dataclass(frozen=True, slots=True)
class Sampled:
    """One sample as it is kept: with a histogram the value is its mean (None when it holds no observation)."""

    time: datetime
    value: float | None
    histogram: Distribution | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Samples of one series in one stretch of time.

    `squares` is the sum of squared distances from the mean, which merges exactly (Chan, Golub, LeVeque 1979); the
    plain sum of squares, squares + total² / count, loses every digit where values lie far from zero.
    """

    samples: int
    count: float  # observations: a plain sample is one, a distribution as many as it holds
    total: float
    squares: float
    low: float | None
    high: float | None
    first: float | None
    last: float | None
    first_time: datetime
    last_time: datetime
    # The counter's growth, the step from the sample before the stretch included; None where no step was seen.
    increase: float | None = None
    distribution: Distribution | None = None

    @property
    def mean(self) -> float | None:
        return self.total / self.count if self.count else None

    def value(self, aggregation: str, seconds: float) -> float | None:
        """The aggregation's value over a stretch so long. A percentile ("p95") needs the distribution."""
        match aggregation:
            case "mean":
                return self.mean
            case "sum":
                return self.total
            case "count":
                return self.count
            case "min":
                return self.low
            case "max":
                return self.high
            case "last":
                return self.last
            case "increase":
                return self.increase
            case "rate":
                return None if self.increase is None else self.increase / seconds
            case "stddev":
                return self.deviation()
            case _:
                return None if self.distribution is None else self.distribution.percentile(float(aggregation[1:]))

    def deviation(self) -> float | None:
        """The standard deviation of the population."""
        return bounded(math.sqrt(self.squares / self.count)) if self.count else None


def step(before: float | None, value: float) -> float | None:
    """A counter's growth from one sample to the next: after a reset, all of the new value."""
    if before is None:
        return None
    return bounded(value - before) if value >= before else max(value, 0.0)


def of(samples: Iterable[Sampled], *, base: float | None = None) -> Summary | None:
    """Sums samples, oldest first; `base` is the value of the one before them. None where there are none."""
    ordered = list(samples)
    if not ordered:
        return None
    values = [one.value for one in ordered if one.value is not None and one.histogram is None]
    kept = [one.histogram for one in ordered if one.histogram is not None]
    single = Histogram.of(values)
    whole: Distribution = merged([*kept, *([single] if values else [])]) if kept else single
    count = float(whole.count)
    total = bounded(summed(values) if not kept else whole.sum)
    if kept:
        deviation = whole.deviation() or 0.0
        squares = bounded(deviation * deviation * count) if deviation < HUGE else LARGEST
        low, high = _range(whole)
    else:
        low, high = whole.low, whole.high
        mean = total / count
        far = max(abs(value) for value in values) >= HUGE
        squares = LARGEST if far else math.fsum((value - mean) ** 2 for value in values)
    steps: list[float] = [float(one.count) for one in kept]
    for value in values:
        grown = 1.0 if kept else step(base, value)
        base = value
        if grown is not None:
            steps.append(grown)
    named = [one.value for one in ordered if one.value is not None]
    return Summary(
        samples=len(ordered),
        count=count,
        total=total,
        squares=squares,
        low=low,
        high=high,
        first=named[0] if named else None,
        last=named[-1] if named else None,
        first_time=ordered[0].time,
        last_time=ordered[-1].time,
        increase=summed(steps) if steps else None,
        distribution=whole,
    )


def _range(whole: Distribution) -> tuple[float | None, float | None]:
    if isinstance(whole, Explicit) and (whole.low is None or whole.high is None):
        whole = whole.as_histogram()
    return whole.low, whole.high


def merge(parts: Iterable[Summary]) -> Summary | None:
    """All together, whatever their order. A distribution only where each part that counted something has one."""
    ordered = sorted(parts, key=lambda one: one.first_time)
    if len(ordered) < 2:
        return ordered[0] if ordered else None
    count = math.fsum(one.count for one in ordered)
    total = summed(one.total for one in ordered)
    increases = [one.increase for one in ordered if one.increase is not None]
    firsts = [one.first for one in ordered if one.first is not None]
    lasts = [one.last for one in ordered if one.last is not None]
    distributions = [one.distribution for one in ordered if one.distribution is not None]
    complete = all(one.distribution is not None or not one.count for one in ordered)
    return Summary(
        samples=sum(one.samples for one in ordered),
        count=count,
        total=total,
        squares=_squares(ordered, total / count if count else 0.0),
        low=min((one.low for one in ordered if one.low is not None), default=None),
        high=max((one.high for one in ordered if one.high is not None), default=None),
        first=firsts[0] if firsts else None,
        last=lasts[-1] if lasts else None,
        first_time=ordered[0].first_time,
        last_time=max(one.last_time for one in ordered),
        increase=summed(increases) if increases else None,
        distribution=merged(distributions) if distributions and complete else None,
    )


def _squares(parts: Iterable[Summary], mean: float) -> float:
    squares = []
    for one in parts:
        if one.mean is None:
            continue
        away = one.mean - mean
        if abs(away) >= HUGE or one.squares >= HUGE * HUGE:
            return LARGEST
        squares.append(one.squares + one.count * away * away)
    return summed(squares)


def kept(summary: Summary) -> dict[str, Any] | None:
    """The distribution as a rollup row keeps it: its buckets; count, sum and range are columns of the row."""
    if summary.distribution is None:
        return None
    made = summary.distribution.to_json()
    return {name: made[name] for name in ("zero", "positive", "negative", "bounds", "counts") if name in made}


def distribution(
    row: dict[str, Any] | None, *, count: float, total: float, low: float | None, high: float | None
) -> Distribution | None:
    """What `kept` made, again."""
    if row is None:
        return None
    found = from_json({**row, "count": int(count), "sum": total, "min": low, "max": high})
    return replace(found, low=low, high=high)
