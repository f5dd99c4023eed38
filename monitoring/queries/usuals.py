"""What is usual for this hour, from the hours of the weeks before: for all thresholds that ask in two queries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from monitoring import summaries
from monitoring.judging import Measurement
from monitoring.models import Threshold
from monitoring.queries import matched, rollups
from monitoring.queries.matched import Asked
from monitoring.summaries import Summary
from monitoring.usual import needed, usual

DAY, WEEK = timedelta(days=1), timedelta(days=7)
HOUR = 3600  # seconds
# Over an hour there is more of these than over a window of minutes.
GROWING = ("sum", "count", "increase")


@dataclass(frozen=True, slots=True)
class Habit:
    """What a threshold's value is held against, and whom that stands for in words."""

    measurement: Measurement
    words: str
    needed: int


def measure(thresholds: Sequence[Threshold], *, now: datetime) -> dict[int, Habit]:
    """The usual of each, by id. An hour of which nothing is known counts for nothing."""
    if not thresholds:
        return {}
    asked = [Asked((one.pk, metric), metric, one.matchers) for one in thresholds for metric in _metrics(one)]
    series = matched.series(asked)
    times = {one.pk: _hours(one, now) for one in thresholds}
    ids = {id_ for some in series.values() for id_ in some}
    whole = rollups.at_hours(ids, sorted({time for some in times.values() for time in some}))
    found = {}
    for one in thresholds:
        values = [value for time in times[one.pk] if (value := _value(one, series, whole, time)) is not None]
        middle = usual(values)
        made = Measurement(middle.middle, middle.count, spread=middle.spread) if middle else Measurement(None)
        found[one.pk] = Habit(made, _words(one, now), needed(len(times[one.pk])))
    return found


def _metrics(threshold: Threshold) -> list[str]:
    return [name for name in (threshold.metric, threshold.denominator) if name]


def _hours(threshold: Threshold, now: datetime) -> list[datetime]:
    """The same hour on each of the days or weeks before."""
    this, back = rollups.floor(now, HOUR), timedelta(seconds=threshold.baseline_seconds or 0)
    step = DAY if threshold.baseline_season == Threshold.Season.HOUR_OF_DAY else WEEK
    return [this - n * step for n in range(1, back // step + 1)]


def _words(threshold: Threshold, now: datetime) -> str:
    if threshold.baseline_season == Threshold.Season.HOUR_OF_DAY:
        return f"the usual for {now:%H}:00 UTC"
    return f"the usual for {now:%A} {now:%H}:00 UTC"


def _value(
    threshold: Threshold,
    series: Mapping[tuple[int, str], Sequence[int]],
    whole: Mapping[tuple[int, datetime], Summary],
    time: datetime,
) -> float | None:
    parts: dict[str, list[Summary]] = defaultdict(list)
    for metric in _metrics(threshold):
        parts[metric] = [whole[id_, time] for id_ in series.get((threshold.pk, metric), ()) if (id_, time) in whole]
    main = summaries.merge(parts[threshold.metric])
    if main is None:
        return None
    if threshold.denominator:
        other = summaries.merge(parts[threshold.denominator])
        if other is None or not other.increase or main.increase is None:
            return None
        return main.increase / other.increase
    value = main.value(threshold.aggregation, HOUR)
    if value is not None and threshold.aggregation in GROWING:
        value *= threshold.window / HOUR
    return value
