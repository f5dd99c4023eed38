"""Distributions that merge exactly: logarithmic buckets of our own, and the explicit bounds that others send."""

import math
import sys
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import accumulate
from typing import Any, Self

# Every value is known to 1 %: the mapping of DDSketch with a fixed accuracy, so that any two histograms merge.
ACCURACY = 0.01
GAMMA = (1 + ACCURACY) / (1 - ACCURACY)
LOG_GAMMA = math.log(GAMMA)
LARGEST = sys.float_info.max


def bucket_of(magnitude: float) -> int:
    """The bucket of a positive value: bucket n holds GAMMA**(n-1) < value <= GAMMA**n."""
    return math.ceil(math.log(magnitude) / LOG_GAMMA)


def value_of(bucket: int) -> float:
    """The value that stands for a bucket: at most 1 % from every value in it."""
    exponent = bucket * LOG_GAMMA
    if exponent >= math.log(LARGEST):
        return LARGEST
    return 2 * math.exp(exponent) / (GAMMA + 1)


def bounded(number: float) -> float:
    """Sums that overflow stay at the largest number: JSON knows no infinity."""
    return max(-LARGEST, min(LARGEST, number))


def summed(numbers: Iterable[float]) -> float:
    """The exact sum of finite numbers, rounded once; one that overflows stays at the largest number."""
    known = list(numbers)
    try:
        return math.fsum(known)
    except OverflowError:
        # Halved so often none of their sums overflows.
        down = -len(known).bit_length()
        return bounded(math.fsum(math.ldexp(one, down) for one in known) * 2.0**-down)


@dataclass(slots=True)
class Histogram:
    """How often values fell into logarithmic buckets; negative values in buckets of their own."""

    count: int = 0
    sum: float = 0.0
    low: float | None = None
    high: float | None = None
    zero: int = 0
    positive: dict[int, int] = field(default_factory=dict)
    negative: dict[int, int] = field(default_factory=dict)

    @classmethod
    def of(cls, values: Iterable[float]) -> Self:
        made = cls()
        for value in values:
            made.add(value)
        return made

    def add(self, value: float, times: int = 1) -> None:
        """Count one value (finite: NaN and the infinities have no bucket)."""
        if not math.isfinite(value):
            raise ValueError(f"a histogram counts finite values, not {value}")
        if times <= 0:
            return
        self._widen(value, value)
        self.count += times
        self.sum = bounded(self.sum + value * times)
        if value == 0:
            self.zero += times
            return
        side = self.positive if value > 0 else self.negative
        bucket = bucket_of(abs(value))
        side[bucket] = side.get(bucket, 0) + times

    def merge(self, other: "Distribution") -> None:
        """Count all that the other counted. Exact for a Histogram; explicit bounds come in at their middles."""
        if isinstance(other, Explicit):
            other = other.as_histogram()
        for side, others in ((self.positive, other.positive), (self.negative, other.negative)):
            for bucket, times in others.items():
                side[bucket] = side.get(bucket, 0) + times
        self.zero += other.zero
        self.count += other.count
        self.sum = bounded(self.sum + other.sum)
        if other.low is not None and other.high is not None:
            self._widen(other.low, other.high)

    def _widen(self, low: float, high: float) -> None:
        self.low = low if self.low is None else min(self.low, low)
        self.high = high if self.high is None else max(self.high, high)

    def steps(self) -> list[tuple[float, int]]:
        """(value, how often), by rising value."""
        below = [(-value_of(bucket), times) for bucket, times in sorted(self.negative.items(), reverse=True)]
        above = [(value_of(bucket), times) for bucket, times in sorted(self.positive.items())]
        return [*below, *([(0.0, self.zero)] if self.zero else []), *above]

    def percentile(self, percent: float) -> float | None:
        """A value within 1 % of the one that has `percent` of all below it. None when nothing was counted."""
        if not self.count or self.low is None or self.high is None:
            return None
        rank = percent / 100 * (self.count - 1)
        seen = 0
        found = self.high
        for value, times in self.steps():
            seen += times
            if seen > rank:
                found = value
                break
        return max(self.low, min(self.high, found))

    def deviation(self) -> float | None:
        """The standard deviation of the population, from the buckets."""
        return _deviation(self.steps())

    def to_json(self) -> dict[str, Any]:
        """What a sample keeps; buckets by their number, as text."""
        made: dict[str, Any] = {"count": self.count, "sum": self.sum}
        if self.low is not None:
            made |= {"min": self.low, "max": self.high}
        if self.zero:
            made["zero"] = self.zero
        for name, side in (("positive", self.positive), ("negative", self.negative)):
            if side:
                made[name] = {str(bucket): times for bucket, times in sorted(side.items())}
        return made


@dataclass(frozen=True, slots=True)
class Explicit:
    """How often values fell between bounds that the sender chose; `counts` has one more: above the last bound."""

    bounds: tuple[float, ...]
    counts: tuple[int, ...]
    sum: float
    low: float | None = None
    high: float | None = None

    def __post_init__(self) -> None:
        if len(self.counts) != len(self.bounds) + 1:
            raise ValueError("one count for each bound, and one above the last")

    @property
    def count(self) -> int:
        return sum(self.counts)

    def merged(self, other: "Explicit") -> "Explicit":
        """Both together, exactly; only for equal bounds."""
        if self.bounds != other.bounds:
            raise ValueError("these histograms have different bounds")
        lows = [one for one in (self.low, other.low) if one is not None]
        highs = [one for one in (self.high, other.high) if one is not None]
        return replace(
            self,
            counts=tuple(mine + its for mine, its in zip(self.counts, other.counts, strict=True)),
            sum=bounded(self.sum + other.sum),
            low=min(lows, default=None),
            high=max(highs, default=None),
        )

    def percentile(self, percent: float) -> float | None:
        """As Prometheus' histogram_quantile: linear within the bucket, the last bound for all above it."""
        total = self.count
        if not total or not self.bounds:
            return None
        rank = percent / 100 * total
        upto = list(accumulate(self.counts))
        found = bisect_left(upto, rank, hi=len(self.bounds))
        if found == len(self.bounds):
            return self.bounds[-1]
        if found == 0 and self.bounds[0] <= 0:
            return self.bounds[0]
        start = self.bounds[found - 1] if found else 0.0
        inside = rank - (upto[found - 1] if found else 0)
        if not self.counts[found]:
            return start
        return start + (self.bounds[found] - start) * (inside / self.counts[found])

    def steps(self) -> list[tuple[float, int]]:
        """(the middle of the bucket, how often), by rising value."""
        if not self.bounds:
            middle = bounded(self.sum / self.count) if self.count else 0.0
            return [(middle, self.count)] if self.count else []
        first = min(0.0, self.bounds[0]) if self.low is None else min(self.low, self.bounds[0])
        last = self.bounds[-1] if self.high is None else max(self.high, self.bounds[-1])
        edges = [first, *self.bounds, last]
        middles = [left / 2 + right / 2 for left, right in zip(edges, edges[1:], strict=False)]
        return [(middle, times) for middle, times in zip(middles, self.counts, strict=True) if times]

    def as_histogram(self) -> Histogram:
        made = Histogram()
        for middle, times in self.steps():
            made.add(middle, times)
        made.sum = self.sum
        made.low = self.low if self.low is not None else made.low
        made.high = self.high if self.high is not None else made.high
        return made

    def deviation(self) -> float | None:
        return _deviation(self.steps())

    def to_json(self) -> dict[str, Any]:
        made: dict[str, Any] = {"count": self.count, "sum": self.sum}
        if self.low is not None:
            made["min"] = self.low
        if self.high is not None:
            made["max"] = self.high
        return made | {"bounds": list(self.bounds), "counts": list(self.counts)}


Distribution = Histogram | Explicit


def from_json(kept: Mapping[str, Any]) -> Distribution:
    """What `to_json` made, again."""
    if "bounds" in kept:
        return Explicit(
            bounds=tuple(float(bound) for bound in kept["bounds"]),
            counts=tuple(kept["counts"]),
            sum=float(kept["sum"]),
            low=kept.get("min"),
            high=kept.get("max"),
        )
    return Histogram(
        count=kept["count"],
        sum=float(kept["sum"]),
        low=kept.get("min"),
        high=kept.get("max"),
        zero=kept.get("zero", 0),
        positive={int(bucket): times for bucket, times in kept.get("positive", {}).items()},
        negative={int(bucket): times for bucket, times in kept.get("negative", {}).items()},
    )


def merged(parts: Iterable[Distribution]) -> Distribution:
    """All parts together: explicit while all have the same bounds, else logarithmic."""
    whole: Distribution | None = None
    for part in parts:
        if isinstance(part, Explicit) and (
            whole is None or (isinstance(whole, Explicit) and whole.bounds == part.bounds)
        ):
            whole = part if whole is None else whole.merged(part)
            continue
        if not isinstance(whole, Histogram):
            wider = Histogram()
            if whole is not None:
                wider.merge(whole)
            whole = wider
        whole.merge(part)
    return Histogram() if whole is None else whole


def _deviation(steps: Sequence[tuple[float, int]]) -> float | None:
    total = sum(times for _, times in steps)
    largest = max((abs(value) for value, _ in steps), default=0.0)
    if not total:
        return None
    if not largest:
        return 0.0
    # Scaled to at most 1, so that no square overflows.
    scaled = [(value / largest, times) for value, times in steps]
    mean = math.fsum(value * times for value, times in scaled) / total
    return bounded(math.sqrt(math.fsum(times * (value - mean) ** 2 for value, times in scaled) / total) * largest)


def share_up_to(distribution: Distribution, bound: float) -> float:
    """The share of all observations that are not above the bound; 0 of none.

    Exact where the sender's bounds have it; linear within a bucket, as Prometheus has it; within 1 % of the bound else.
    """
    if not distribution.count:
        return 0.0
    if isinstance(distribution, Explicit) and distribution.bounds:
        place = bisect_left(distribution.bounds, bound)
        below = float(sum(distribution.counts[:place]))
        if place < len(distribution.bounds):
            start = distribution.bounds[place - 1] if place else min(0.0, distribution.bounds[0])
            end = distribution.bounds[place]
            inside = (bound - start) / (end - start) if end > start else 1.0
            below += distribution.counts[place] * min(max(inside, 0.0), 1.0)
        return below / distribution.count
    return sum(times for value, times in distribution.steps() if value <= bound) / distribution.count
