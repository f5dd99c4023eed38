"""Error budgets: how much of what an objective allows is spent, and how fast.

An objective of 99.9 % allows one bad event in a thousand; a burn rate of 1 spends that just in the objective's window.
The alerts are the multi-window, multi-burn-rate ones of the Site Reliability Workbook (Beyer et al., 2018), chapter 5.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.judging import Level, duration
from portal.verdicts import Outcome, Verdict

HOUR = timedelta(hours=1)
# Of less than half of the window nothing can be said, unless the budget is spent already.
KNOWN = 0.5


@dataclass(frozen=True, slots=True)
class Tier:
    """Alert while the burn rate is above `factor` over the long window and still is over the short one (seconds)."""

    factor: float
    long: int
    short: int
    level: Level

    @property
    def words(self) -> str:
        return f"{self.factor:g} × over {duration(self.long)} and {duration(self.short)}"


# The two fast ones page, the slow ones are tickets: 2, 5, 10 and 10 % of a budget of 30 days are spent when they fire.
TIERS = (
    Tier(14.4, 3_600, 300, Level.CRITICAL),
    Tier(6, 21_600, 1_800, Level.CRITICAL),
    Tier(3, 86_400, 7_200, Level.WARNING),
    Tier(1, 259_200, 21_600, Level.WARNING),
)


@dataclass(frozen=True, slots=True)
class Tally:
    """Events in some time. `total` 0: nothing is known of it, which is not the same as nothing bad."""

    good: float = 0.0
    total: float = 0.0

    @property
    def bad(self) -> float:
        return max(self.total - self.good, 0.0)

    def __add__(self, other: "Tally") -> "Tally":
        return Tally(self.good + other.good, self.total + other.total)


@dataclass(frozen=True, slots=True)
class Hour:
    at: datetime
    tally: Tally


@dataclass(frozen=True, slots=True)
class Budget:
    """Where an objective stands. `remaining` is of the whole budget: 1 is untouched, below 0 overspent."""

    verdict: Verdict
    remaining: float | None
    coverage: float  # the share of the window's hours of which anything is known
    tally: Tally = Tally()
    left: timedelta | None = None  # until it is spent, should the last day go on; None: it does not end


def allowed(objective: float) -> float:
    """The share of events that may be bad; the objective is in percent."""
    return max(1 - objective / 100, 0.0)


def burn(tally: Tally, objective: float) -> float | None:
    """How many times faster than allowed. None without events: what is not known burns nothing and keeps nothing."""
    if tally.total <= 0:
        return None
    return (tally.bad / tally.total) / allowed(objective)


def budget(name: str, hours: Sequence[Hour], *, objective: float, window: int, now: datetime) -> Budget:
    """From the window's hours, those without events left out; the window in seconds."""
    known = [hour for hour in hours if hour.tally.total > 0]
    expected = max(window // 3600, 1)
    coverage = min(len(known) / expected, 1.0)
    over = f"over the last {duration(window)}"
    if not known:
        return Budget(Verdict(Outcome.INCONCLUSIVE, f"{name}: no data {over}"), None, 0.0)
    tally = sum((hour.tally for hour in known), Tally())
    share = tally.good / tally.total * 100
    # The window's budget, were the hours that are not known like those that are: one bad hour of a new service is
    # one hour's worth of it, not all.
    may = tally.total / coverage * allowed(objective)
    remaining = 1 - tally.bad / may if may else (1.0 if not tally.bad else -math.inf)
    words = f"{name}: {_percent(share)} good against {objective:g} % {over}"
    details = {"remaining": remaining if math.isfinite(remaining) else None, "coverage": coverage}
    if remaining <= 0:
        verdict = Verdict(Outcome.FAILED, f"{words}: the budget is spent", details)
    elif coverage < KNOWN:
        known_of = f"{len(known)} of {expected} h are known"
        verdict = Verdict(Outcome.INCONCLUSIVE, f"{words}, but only {known_of}", details)
    else:
        verdict = Verdict(Outcome.PASSED, f"{words}: {remaining * 100:.3g} % of the budget is left", details)
    return Budget(verdict, remaining, coverage, tally, _left(known, may - tally.bad, now))


def course(hours: Sequence[Hour], *, objective: float, window: int) -> list[tuple[datetime, float]]:
    """What was left of the budget at the end of each known hour, of what the window allows as it is known now."""
    known = sorted((hour for hour in hours if hour.tally.total > 0), key=lambda hour: hour.at)
    coverage = min(len(known) / max(window // 3600, 1), 1.0)
    may = sum(hour.tally.total for hour in known) / coverage * allowed(objective) if known else 0.0
    found, bad = [], 0.0
    for hour in known:
        bad += hour.tally.bad
        found.append((hour.at + HOUR, 1 - bad / may if may else 1.0))
    return found


def _left(known: Sequence[Hour], bad_left: float, now: datetime) -> timedelta | None:
    of_late = [hour.tally.bad for hour in known if hour.at >= now - timedelta(days=1)]
    rate = math.fsum(of_late) / 24
    if rate <= 0:
        return None
    return min(max(bad_left, 0.0) / rate, 24 * 3650) * HOUR


def _percent(share: float) -> str:
    """With as many digits as it takes to tell it from 100 %."""
    for digits in range(2, 8):
        text = f"{share:.{digits}f}"
        if share == 100 or float(text) != 100:
            return f"{text.rstrip('0').rstrip('.')} %"
    return f"{share!r} %"
