"""How a metric stands against its limit: a capacity that it may reach, or a budget that a month may cost.

What is not known is `unknown`, never within: a metric without data has not kept its budget.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from monitoring import forecasting
from monitoring.forecasting import Forecast

# Of a month's hours so far, the share that must be known.
KNOWN = 0.5


class State(StrEnum):
    WITHIN = "within"
    AT_RISK = "at_risk"
    OVER = "over"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Standing:
    """Where it stands. `value`: now, of a budget what is spent; `expected`: at the horizon, the month's end.

    at, earliest, latest: when the level that matters is reached, by the forecast and its interval (None: not by then).
    """

    state: State
    reason: str
    value: float | None = None
    expected: float | None = None
    low: float | None = None
    high: float | None = None
    at: datetime | None = None
    earliest: datetime | None = None
    latest: datetime | None = None
    method: str = ""


def capacity(found: Forecast, *, limit: float, share: float, value: float | None, until: datetime) -> Standing:
    """Against a share of what there is. At risk as soon as the interval's bound gets there before `until`."""
    if value is None:
        return Standing(State.UNKNOWN, found.reason)
    what = f"{share:.0%} of {limit:g}"
    level = share * limit
    if value >= level:
        return Standing(State.OVER, f"{what} is reached already: it is {value:.4g}", value, method=found.method)
    if not found.known:
        return Standing(State.UNKNOWN, found.reason, value)
    met = forecasting.reach(found, level)
    last = found.steps[-1]
    state = State.WITHIN if met.earliest is None else State.AT_RISK
    reason = f"{met.words(what, until)} ({found.reason})"
    return Standing(
        state, reason, value, last.value, last.low, last.high, met.at, met.earliest, met.latest, found.method
    )


def budget(
    found: Forecast,
    *,
    limit: float,
    spent: float,
    known: float,
    since: datetime,
    until: datetime,
    step: float,
) -> Standing:
    """A month's spending against its limit. known: the share of its hours so far; step: of the forecast, seconds."""
    if spent > limit:
        return Standing(State.OVER, f"{spent:.4g} is spent of {limit:g}, {known:.0%} of the hours known", spent)
    if known < KNOWN:
        return Standing(State.UNKNOWN, f"{known:.0%} of the month's hours so far are known, half are needed", spent)
    if not found.known:
        return Standing(State.UNKNOWN, found.reason, spent)
    whole = forecasting.total(spent, found, since=since, until=until, step=step)
    state = State.AT_RISK if whole.high > limit else State.WITHIN
    verb = "exceeds" if whole.value > limit else "may exceed" if whole.high > limit else "stays below"
    reason = (
        f"{spent:.4g} is spent, {whole.value:.4g} is expected by the month's end "
        f"({whole.low:.4g} to {whole.high:.4g}): it {verb} {limit:g} ({found.reason})"
    )
    if known < 0.995:
        reason += f"; {known:.0%} of the hours so far are known"
    return Standing(state, reason, spent, whole.value, whole.low, whole.high, method=found.method)
