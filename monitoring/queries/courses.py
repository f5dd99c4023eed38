"""How a threshold's value went, and how often it would have fired: from rollups, whatever the history."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring.judging import Event, Measurement, State, judge, step
from monitoring.models import Threshold
from monitoring.queries import matched, rollups
from monitoring.queries.matched import Asked
from monitoring.queries.measurements import condition_of, units_of
from monitoring.queries.windows import PERCENTILE
from monitoring.summaries import Summary

DAY = timedelta(days=1)
MINUTE = 60  # seconds
# More rows than this a preview does not read: it looks back less far, and says so.
MOST_ROWS = 200_000


@dataclass(frozen=True, slots=True)
class Step:
    """What the value was over the step that ends at this time."""

    at: datetime
    value: float | None
    count: float


@dataclass(frozen=True, slots=True)
class Preview:
    """What a condition would have done."""

    fired: int
    firing: timedelta  # how long in all
    looked: timedelta  # how far back
    known: int  # steps of which anything is known
    why_not: str = ""  # it cannot be said


def course(threshold: Threshold, *, since: datetime, until: datetime, every: timedelta, now: datetime) -> list[Step]:
    """The value over each step of which anything is known; of a comparison the value itself, without its baseline."""
    series = _series(threshold)
    if not series[threshold.metric]:
        return []
    needs = threshold.aggregation == "stddev" or PERCENTILE.match(threshold.aggregation) is not None
    found = {
        metric: rollups.bins(ids, since=since, until=until, step=every, now=now, distributions=needs) if ids else {}
        for metric, ids in series.items()
    }
    other = found.get(threshold.denominator) if threshold.denominator else None
    return [
        _step(threshold, time + every, summary, other, time, every) for time, summary in found[threshold.metric].items()
    ]


def preview(threshold: Threshold, *, now: datetime, days: int = 7) -> Preview:
    """How often this one, saved or not, would have fired. Steps as long as its window, which stand side by side."""
    nothing = timedelta(0)
    if threshold.members or threshold.slo_id or threshold.baseline_kind:
        why = "a combination" if threshold.members else "a burn rate" if threshold.slo_id else "a comparison"
        return Preview(0, nothing, nothing, 0, f"of {why} it cannot be said beforehand")
    every = timedelta(seconds=-(-threshold.window // MINUTE) * MINUTE)
    lines = sum(len(ids) for ids in _series(threshold).values())
    looked = min(days * DAY, max(timedelta(hours=1), MOST_ROWS // max(lines, 1) * timedelta(minutes=1)))
    steps = course(threshold, since=now - looked, until=now, every=every, now=now)
    condition = condition_of(threshold, "", units_of([threshold]))
    state, fired, firing = State(), 0, nothing
    for one in steps:
        before = state.level
        moved = step(condition, state, judge(condition, Measurement(one.value, int(one.count))), now=one.at)
        state = moved.state
        fired += moved.event is Event.FIRED
        firing += every if before is not None else nothing
    return Preview(fired, firing, looked, len(steps))


def _series(threshold: Threshold) -> dict[str, list[int]]:
    metrics = [name for name in (threshold.metric, threshold.denominator) if name]
    found = matched.series([Asked(name, name, threshold.matchers) for name in metrics])
    return {name: found.get(name, []) for name in metrics}


def _step(
    threshold: Threshold,
    at: datetime,
    summary: Summary,
    other: Mapping[datetime, Summary] | None,
    time: datetime,
    every: timedelta,
) -> Step:
    if other is None:
        return Step(at, summary.value(threshold.aggregation, every.total_seconds()), summary.count)
    below = other.get(time)
    if below is None or not below.increase or summary.increase is None:
        return Step(at, None, 0)
    return Step(at, summary.increase / below.increase, below.increase)
