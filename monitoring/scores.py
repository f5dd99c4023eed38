"""The health score of a service in an environment: 100, less what stands against it, each with its reason.

A score is a summary for people who look after many services; alerts, not scores, page anybody. What is not seen is not
well: a threshold without data takes a little, and where nothing at all is seen there is no score.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from monitoring.judging import Level

# Two critical alerts and an error leave nothing.
TAKES = {Level.CRITICAL: 40, Level.ERROR: 20, Level.WARNING: 10}
SPENT_BUDGET = 20  # points, for a budget that is spent; in proportion for a part of it
UNSEEN = 2  # points, for each threshold without data
UNSEEN_AT_MOST = 20


@dataclass(frozen=True, slots=True)
class Firing:
    name: str
    level: Level
    reason: str


@dataclass(frozen=True, slots=True)
class Budget:
    """What is left of an objective's error budget, as a share; None: not known."""

    name: str
    remaining: float | None


@dataclass(frozen=True, slots=True)
class Factor:
    """What lowers a score, by how many points, and why."""

    points: int
    reason: str


@dataclass(frozen=True, slots=True)
class Score:
    """0 to 100; None: unknown."""

    value: int | None
    reason: str
    factors: tuple[Factor, ...] = ()


def score(firing: Sequence[Firing], budgets: Sequence[Budget], *, seen: int, unseen: Sequence[str]) -> Score:
    """The score by the alerts that fire and the budgets.

    seen: thresholds that were judged by data; unseen: the names of those that lack it.
    """
    known = [one for one in budgets if one.remaining is not None]
    if not (firing or known or seen):
        return Score(None, "no threshold has data" if unseen else "nothing is watched")
    factors = [Factor(TAKES[one.level], f"{one.level.value}: {one.name}: {one.reason}") for one in firing]
    for one in known:
        assert one.remaining is not None
        points = round(SPENT_BUDGET * min(max(1 - one.remaining, 0.0), 1.0))
        if points:
            factors.append(Factor(points, f"{max(one.remaining, 0.0):.0%} of the budget of {one.name} is left"))
    if unseen:
        named = ", ".join(sorted(unseen)[:3]) + (f" and {len(unseen) - 3} more" if len(unseen) > 3 else "")
        factors.append(Factor(min(UNSEEN * len(unseen), UNSEEN_AT_MOST), f"without data: {named}"))
    factors.sort(key=lambda one: (-one.points, one.reason))
    value = max(100 - sum(one.points for one in factors), 0)
    return Score(value, factors[0].reason if factors else "nothing stands against it", tuple(factors))
