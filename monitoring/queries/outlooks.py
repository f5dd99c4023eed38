"""What a metric will be, from its rollups: the history that fits the horizon, and the forecast of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring import forecasting
from monitoring.forecasting import Forecast
from monitoring.queries import histories, rollups
from monitoring.queries.histories import Measured, Points

LONGEST = 365  # days ahead
# Up to so far ahead, the history that is read and the step of its values.
SPANS: Sequence[tuple[timedelta, timedelta, timedelta]] = (
    (timedelta(days=14), timedelta(days=28), timedelta(hours=1)),
    (timedelta(days=60), timedelta(days=90), timedelta(hours=6)),
    (timedelta(days=LONGEST), timedelta(days=365), timedelta(days=1)),
)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What was measured, and what is expected from there on."""

    points: Points
    step: timedelta
    until: datetime
    forecast: Forecast

    @property
    def value(self) -> float | None:
        return self.points[-1][1] if self.points else None


def outlook(
    measured: Measured, *, until: datetime, now: datetime, least: float | None = None, finest: timedelta | None = None
) -> Outlook:
    """Of one value. Where a coarse step leaves too few values, a finer one is tried: a young metric has hours only.

    `finest`: the step, whatever the horizon.
    """
    made = Outlook([], timedelta(hours=1), until, Forecast("", "nothing is measured"))
    for window, step in _histories(until - now, finest):
        points = histories.of([measured], window=window, step=step, now=now)[0]
        if not points:
            continue
        begin = rollups.floor(now, int(step.total_seconds()))
        if begin - points[-1][0] > 3 * step:
            reason = f"the newest value is of {points[-1][0]:%d %b %H:%M} UTC"
            return Outlook(points, step, until, Forecast("", reason, count=len(points)))
        made = Outlook(points, step, until, forecasting.forecast(points, step=step, until=until, least=least))
        if made.forecast.known:
            return made
    return made


def _histories(ahead: timedelta, finest: timedelta | None) -> list[tuple[timedelta, timedelta]]:
    if finest is not None:
        return [(672 * finest, finest)]
    fitting = next((n for n, (most, _, _) in enumerate(SPANS) if ahead <= most), len(SPANS) - 1)
    return [(window, step) for _, window, step in reversed(SPANS[: fitting + 1])]


def matchers_of(service: str, environment: str) -> Mapping[str, str]:
    """The labels that both are known by."""
    return {name: value for name, value in (("service", service), ("environment", environment)) if value}
