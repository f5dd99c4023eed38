"""What is usual: the middle of what was measured at the same hour before, and how far that strays by itself."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

# The factors that make both a standard deviation where values are normally distributed. Source: Iglewicz and Hoaglin,
# How to Detect and Handle Outliers (1993); (x - median) / (1.4826 * MAD) is their modified z-score.
OF_THE_MEDIAN = 1.4826
OF_THE_MEAN = 1.253314
LEAST = 3  # a median of fewer is no habit


@dataclass(frozen=True, slots=True)
class Usual:
    """In the unit of the values. `spread` 0: it has never been anything else."""

    middle: float
    spread: float
    count: int


def usual(values: Sequence[float]) -> Usual | None:
    """By median and median absolute deviation, which a few bad days do not move. None where there is nothing.

    Where more than half are the same, the MAD is 0 and the mean absolute deviation takes its place.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    middle = statistics.median(finite)
    away = [abs(value - middle) for value in finite]
    spread = OF_THE_MEDIAN * statistics.median(away) or OF_THE_MEAN * math.fsum(away) / len(away)
    return Usual(middle, spread, len(finite))


def deviations(value: float, usual: Usual) -> float:
    """How many standard deviations above (below: negative) the usual; infinitely many where it never strayed."""
    away = value - usual.middle
    if not usual.spread:
        return math.copysign(math.inf, away) if away else 0.0
    return away / usual.spread


def needed(asked: int) -> int:
    """How many of the hours asked for must be known: half of them, and never fewer than three."""
    return max(LEAST, math.ceil(asked / 2))
