"""What a distribution that counts from its start on has counted since the last look, in buckets that merge."""

import math

from monitoring.histogram import LARGEST, LOG_GAMMA, Explicit, Histogram, bounded

# A bucket wider than so many of ours is spread over as many places.
MOST_PLACES = 64

Counts = dict[int, int]


def since(before: Explicit, now: Explicit) -> Explicit | None:
    """What `now` holds beyond `before`; None when it began anew: other bounds, or a bucket that holds less."""
    if before.bounds != now.bounds or any(mine < its for mine, its in zip(now.counts, before.counts, strict=True)):
        return None
    counts = tuple(mine - its for mine, its in zip(now.counts, before.counts, strict=True))
    return Explicit(now.bounds, counts, bounded(now.sum - before.sum))


def counts_since(before: Counts, now: Counts) -> Counts | None:
    """The same of numbered buckets."""
    if any(now.get(bucket, 0) < times for bucket, times in before.items()):
        return None
    return {bucket: more for bucket, times in now.items() if (more := times - before.get(bucket, 0))}


def coarser(counts: Counts, by: int) -> Counts:
    """Exponential buckets at a scale that is lower by so much: two become one at each step."""
    made: Counts = {}
    for bucket, times in counts.items():
        made[bucket >> by] = made.get(bucket >> by, 0) + times
    return made


def logarithmic(
    scale: int, zero: int, positive: Counts, negative: Counts, sum_: float, low: float | None, high: float | None
) -> Histogram:
    """Exponential buckets as ours. Inside a bucket the observations are spread evenly by their logarithm."""
    made = Histogram()
    made.add(0.0, zero)
    for sign, side in ((1.0, positive), (-1.0, negative)):
        for bucket, times in side.items():
            for value, many in _spread(scale, bucket, times):
                made.add(sign * value, many)
    made.sum = sum_
    if low is not None and high is not None and made.count:
        made.low, made.high = low, high
    return made


def _spread(scale: int, bucket: int, times: int) -> list[tuple[float, int]]:
    width = math.ldexp(math.log(2), -scale)
    places = max(1, min(MOST_PLACES, times, math.ceil(width / LOG_GAMMA)))
    found = []
    given = 0
    for place in range(places):
        upto = round(times * (place + 1) / places)
        if upto > given:
            found.append((_power(bucket * width + (place + 0.5) / places * width), upto - given))
            given = upto
    return found


def _power(exponent: float) -> float:
    """e to the power, within what a bucket of ours can hold."""
    if exponent >= math.log(LARGEST):
        return LARGEST
    return max(math.exp(exponent), 1e-300)
