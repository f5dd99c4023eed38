"""What series came to over any stretch of time: read from hours and minutes, and from samples what is newer."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

import orjson
from django.conf import settings
from django.db import connection

from monitoring import summaries
from monitoring.histogram import bounded, from_json
from monitoring.models import DirtyBucket
from monitoring.queries import statements
from monitoring.queries.points import Point, Points
from monitoring.queries.windows import PERCENTILE
from monitoring.summaries import Sampled, Summary

MINUTE = DirtyBucket.Resolution.MINUTE
HOUR = DirtyBucket.Resolution.HOUR
TABLES: dict[int, str] = {MINUTE: "monitoring_minuterollup", HOUR: "monitoring_hourrollup"}
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
K = TypeVar("K")


# The index scan goes by series; the literal bounds leave out the partitions of other times.
ROWS = """
SELECT w.id, r.samples, r.count, r.total, r.squares, r.low, r.high, r.first, r.last, r.first_time, r.last_time,
    r.increase, {histogram}, r.time
FROM unnest(%(ids)s::int8[]) AS w(id) CROSS JOIN LATERAL (
    SELECT * FROM {table} r WHERE r.series_id = w.id AND r.time >= %(since)s AND r.time < %(until)s
    ORDER BY r.time OFFSET 0
) r"""
AT_HOURS = """
SELECT w.id, r.samples, r.count, r.total, r.squares, r.low, r.high, r.first, r.last, r.first_time, r.last_time,
    r.increase, r.histogram, r.time
FROM unnest(%(ids)s::int8[]) AS w(id) CROSS JOIN LATERAL (
    SELECT * FROM monitoring_hourrollup r WHERE r.series_id = w.id AND r.time = ANY(%(times)s::timestamptz[])
    AND r.time >= %(since)s AND r.time <= %(until)s OFFSET 0
) r"""
# Each step's rows merged; without squares and histograms, which few ask for.
BINNED = f"""
SELECT w.id, x.* FROM unnest(%(ids)s::int8[]) AS w(id) CROSS JOIN LATERAL (
    SELECT sum(r.samples)::int AS samples, sum(r.count) AS count, sum(r.total * {statements.DOWN}) AS total,
        min(r.low) AS low, max(r.high) AS high, (array_agg(r.first ORDER BY r.time))[1] AS first,
        (array_agg(r.last ORDER BY r.time DESC))[1] AS last, min(r.first_time) AS first_time,
        max(r.last_time) AS last_time, sum(r.increase * {statements.DOWN}) AS increase,
        date_bin(%(step)s::interval, r.time, %(origin)s) AS bin
    FROM {{table}} r WHERE r.series_id = w.id AND r.time >= %(since)s AND r.time < %(until)s GROUP BY bin
) x"""
# The same of samples. A step's growth begins at the sample before it, wherever that lies.
SAMPLED = f"""
SELECT w.id, x.* FROM unnest(%(ids)s::int8[], %(distributed)s::bool[]) AS w(id, distributed) CROSS JOIN LATERAL (
    SELECT count(*)::int AS samples, sum({statements.COUNT}) AS count,
        sum(CASE WHEN s.histogram IS NULL THEN s.value ELSE (s.histogram->>'sum')::float8 END * {statements.DOWN})
            AS total,
        min(coalesce((s.histogram->>'min')::float8, s.value)) AS low,
        max(coalesce((s.histogram->>'max')::float8, s.value)) AS high,
        (array_agg(s.value ORDER BY s.time))[1] AS first, (array_agg(s.value ORDER BY s.time DESC))[1] AS last,
        min(s.time) AS first_time, max(s.time) AS last_time,
        sum(CASE
            WHEN s.histogram IS NOT NULL THEN (s.histogram->>'count')::float8 * {statements.DOWN}
            WHEN w.distributed THEN {statements.DOWN}
            WHEN s.value >= s.before THEN s.value * {statements.DOWN} - s.before * {statements.DOWN}
            WHEN s.value < s.before THEN greatest(s.value, 0) * {statements.DOWN}
        END) AS increase,
        date_bin(%(step)s::interval, s.time, %(origin)s) AS bin
    FROM (
        SELECT u.*, lag(u.value) OVER (ORDER BY u.time) AS before FROM (
            (SELECT p.time, p.value, p.histogram FROM monitoring_sample p
             WHERE p.series_id = w.id AND p.time < %(since)s AND p.value IS NOT NULL ORDER BY p.time DESC LIMIT 1)
            UNION ALL
            (SELECT p.time, p.value, p.histogram FROM monitoring_sample p
             WHERE p.series_id = w.id AND p.time >= %(since)s AND p.time < %(until)s)
        ) u
    ) s WHERE s.time >= %(since)s GROUP BY bin
) x"""
RAW = """
SELECT w.id, s.time, s.value, s.histogram, (
    SELECT p.value FROM monitoring_sample p WHERE p.series_id = w.id AND p.time < %(since)s AND p.value IS NOT NULL
    ORDER BY p.time DESC LIMIT 1
) FROM unnest(%(ids)s::int8[]) AS w(id) CROSS JOIN LATERAL (
    SELECT p.time, p.value, p.histogram FROM monitoring_sample p
    WHERE p.series_id = w.id AND p.time >= %(since)s AND p.time < %(until)s ORDER BY p.time OFFSET 0
) s"""
FRONTIER = """
SELECT (SELECT min(time) FROM monitoring_dirtybucket WHERE resolution = 60),
    (SELECT min(time) FROM monitoring_dirtybucket WHERE resolution = 3600)"""


@dataclass(frozen=True, slots=True)
class Stretch:
    """A part of a question, and where it is read: 0 is samples, else the seconds of a rollup."""

    resolution: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Chart:
    """The lines of a chart, and what a point of it stands for."""

    lines: list[Points]
    since: datetime
    step: timedelta
    resolution: int  # the coarsest that was read, in seconds; 0: samples alone


def chart(
    series: Collection[int],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    now: datetime,
    aggregation: str = "mean",
) -> Chart:
    """Each series over [since, until), a point a step, from the coarsest rollup that fits the step.

    Where a rollup is read, the step is raised to a multiple of its resolution and `since` lowered to its grid. The
    value is the aggregation (mean, min, max, sum, count, last, stddev, rate a second, increase, p0…p100); a step
    in which it says nothing (no sample; a counter's first) is left out. Percentiles are within 1 % of a value seen;
    those of a counter come of samples alone.
    """
    resolution = _fitting(since, step, now)
    grid = timedelta(seconds=resolution or 1)
    if resolution:
        step = max(1, -(-step // grid)) * grid
        since = floor(since, resolution)
    found: dict[int, dict[datetime, list[Summary]]] = {id_: defaultdict(list) for id_ in series}
    for stretch in _stretches(resolution, since, until, now):
        parts = _whole(stretch, series) if _needs_distribution(aggregation) else _binned(stretch, series, step, since)
        for id_, time, summary in parts:
            found[id_][since + (time - since) // step * step].append(summary)
    seconds = step.total_seconds()
    lines = [Points(id_, list(_points(bins, aggregation, seconds))) for id_, bins in found.items()]
    return Chart(lines, since, step, resolution)


def bins(
    series: Collection[int],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    now: datetime,
    distributions: bool = False,
) -> dict[datetime, Summary]:
    """What all series together came to in each step of [since, until), from minutes or hours; the step's start first.

    A step is a whole number of minutes. One without a sample is left out.
    """
    one = bins_of({None: series}, since=since, until=until, step=step, now=now, distributions=distributions)
    return one.get(None, {})


def bins_of(
    groups: Mapping[K, Collection[int]],
    *,
    since: datetime,
    until: datetime,
    step: timedelta,
    now: datetime,
    distributions: bool = False,
) -> dict[K, dict[datetime, Summary]]:
    """The same of several groups of series, as many queries as for one; a group without a sample has no entry."""
    resolution = _fitting(since, step, now)
    since = floor(since, resolution or MINUTE)
    owners: dict[int, list[K]] = defaultdict(list)
    for name, ids in groups.items():
        for id_ in ids:
            owners[id_].append(name)
    parts: dict[K, dict[datetime, list[Summary]]] = defaultdict(lambda: defaultdict(list))
    for stretch in _stretches(resolution, since, until, now):
        some = _whole(stretch, owners) if distributions else _binned(stretch, owners, step, since)
        for id_, time, summary in some:
            for name in owners[id_]:
                parts[name][since + (time - since) // step * step].append(summary)
    return {
        name: {time: made for time, some in sorted(times.items()) if (made := summaries.merge(some)) is not None}
        for name, times in parts.items()
    }


def whole(series: Collection[int], *, since: datetime, until: datetime, now: datetime) -> dict[int, Summary]:
    """What each series came to over [since, until): hours, minutes at the edges, samples for what is newest.

    For windows of hours and days: `since` is lowered to the minute, before the minutes' retention to the hour. A
    series without a sample in it is left out.
    """
    found: dict[int, list[Summary]] = defaultdict(list)
    for stretch in edges(since, until, now):
        for id_, _, summary in _whole(stretch, series):
            found[id_].append(summary)
    return {id_: made for id_, parts in found.items() if (made := summaries.merge(parts)) is not None}


def read(
    resolution: int, series: Collection[int], *, since: datetime, until: datetime, distributions: bool = False
) -> dict[int, list[Summary]]:
    """The rollups of a resolution whose buckets begin in [since, until), oldest first."""
    found: dict[int, list[Summary]] = defaultdict(list)
    for id_, _, summary in _rows(Stretch(resolution, since, until), series, distributions=distributions):
        found[id_].append(summary)
    return found


def at_hours(series: Collection[int], times: Sequence[datetime]) -> dict[tuple[int, datetime], Summary]:
    """The hours of these series that begin at these times; one that is not there is left out."""
    if not series or not times:
        return {}
    asked: dict[str, Any] = {"ids": list(series), "times": list(times), "since": min(times), "until": max(times)}
    with connection.cursor() as cursor:
        cursor.execute(AT_HOURS, asked)
        return {(row[0], row[-1]): _summary(row) for row in cursor.fetchall()}


def floor(time: datetime, seconds: int) -> datetime:
    """The start of the bucket that the time lies in."""
    return time - (time - EPOCH) % timedelta(seconds=seconds)


def _needs_distribution(aggregation: str) -> bool:
    return aggregation == "stddev" or PERCENTILE.match(aggregation) is not None


def _fitting(since: datetime, step: timedelta, now: datetime) -> int:
    """The coarsest resolution that the step is a multiple of; a coarser one where nothing else is kept."""
    seconds = int(step.total_seconds())
    if seconds >= HOUR and seconds % HOUR == 0:
        return HOUR
    if since < now - timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS, minutes=2):
        return HOUR
    if seconds >= MINUTE or since < now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS, minutes=2):
        return MINUTE
    return 0


def _frontiers(now: datetime) -> tuple[datetime, datetime]:
    """Up to where minutes and hours are complete: from there on what is finer is read."""
    with connection.cursor() as cursor:
        cursor.execute(FRONTIER)
        dirty_minute, dirty_hour = cursor.fetchone()
    minutes = dirty_minute or floor(now, MINUTE)
    hours = min(dirty_hour or floor(now, HOUR), floor(minutes, HOUR))
    return minutes, hours


def _stretches(resolution: int, since: datetime, until: datetime, now: datetime) -> list[Stretch]:
    """Hours as far as they are complete, then minutes, then samples."""
    if not resolution:
        return [Stretch(0, since, until)]
    minutes, hours = _frontiers(now)
    edges = [(MINUTE, minutes), (0, until)]
    if resolution == HOUR:
        edges.insert(0, (HOUR, hours))
    return list(_cut(edges, since, until))


def edges(since: datetime, until: datetime, now: datetime) -> list[Stretch]:
    """Whole hours, and the minutes before and after them."""
    minutes, hours = _frontiers(now)
    first = since if since == floor(since, HOUR) else floor(since, HOUR) + timedelta(hours=1)
    if since < now - timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS):
        since = first = floor(since, HOUR)
    ends = [
        (MINUTE, min(first, minutes)),
        (HOUR, min(hours, floor(until, HOUR))),
        (MINUTE, min(minutes, until)),
        (0, until),
    ]
    return list(_cut(ends, floor(since, MINUTE), until))


def _cut(edges: list[tuple[int, datetime]], since: datetime, until: datetime) -> Iterator[Stretch]:
    for resolution, end in edges:
        upto = min(end, until)
        if since < upto:
            yield Stretch(resolution, since, upto)
            since = upto


Part = tuple[int, datetime, Summary]  # series, the start of its bin or bucket


def _binned(stretch: Stretch, series: Collection[int], step: timedelta, origin: datetime) -> Iterator[Part]:
    asked: dict[str, Any] = {
        "ids": list(series),
        "since": stretch.since,
        "until": stretch.until,
        "step": step,
        "origin": origin,
    }
    with connection.cursor() as cursor:
        if stretch.resolution:
            cursor.execute(BINNED.format(table=TABLES[stretch.resolution]), asked)
        else:
            asked["distributed"] = _distributed(cursor, asked["ids"])
            cursor.execute(SAMPLED, asked)
        for id_, samples, count, total, low, high, first, last, oldest, newest, increase, bin_ in cursor.fetchall():
            grown = None if increase is None else bounded(increase * statements.UP)
            sum_ = bounded((total or 0.0) * statements.UP)
            summary = Summary(samples, count, sum_, 0.0, low, high, first, last, oldest, newest, grown)
            yield id_, bin_, summary


def _distributed(cursor: Any, ids: list[int]) -> list[bool]:
    """Whether each series is of a histogram metric: its plain samples are single observations."""
    cursor.execute(
        "SELECT s.id FROM monitoring_series s JOIN monitoring_metric m ON m.id = s.metric_id "
        "WHERE s.id = ANY(%s) AND m.type = 'histogram'",
        [ids],
    )
    found = {id_ for (id_,) in cursor.fetchall()}
    return [id_ in found for id_ in ids]


def _whole(stretch: Stretch, series: Collection[int]) -> Iterator[Part]:
    """Summaries with squares and distributions, a bucket each."""
    if stretch.resolution:
        yield from _rows(stretch, series, distributions=True)
        return
    samples: dict[tuple[int, datetime], list[Sampled]] = defaultdict(list)
    bases: dict[int, float | None] = {}
    with connection.cursor() as cursor:
        cursor.execute(RAW, {"ids": list(series), "since": stretch.since, "until": stretch.until})
        for id_, time, value, kept, base in cursor.fetchall():
            made = None if kept is None else from_json(orjson.loads(kept))
            # By the second: no step is finer, and none begins within one where rollups are read.
            samples[id_, floor(time, 1)].append(Sampled(time, value, made))
            bases.setdefault(id_, base)
    for (id_, start), some in samples.items():
        summary = summaries.of(some, base=bases[id_])
        if summary is not None:
            yield id_, start, summary
            bases[id_] = summary.last if summary.last is not None else bases[id_]


def _rows(stretch: Stretch, series: Collection[int], *, distributions: bool) -> Iterator[Part]:
    sql = ROWS.format(table=TABLES[stretch.resolution], histogram="r.histogram" if distributions else "NULL")
    with connection.cursor() as cursor:
        cursor.execute(sql, {"ids": list(series), "since": stretch.since, "until": stretch.until})
        for row in cursor.fetchall():
            yield row[0], row[-1], _summary(row)


def _summary(row: tuple[Any, ...]) -> Summary:
    _, samples, count, total, squares, low, high, first, last, oldest, newest, increase, kept, _ = row
    row_ = None if kept is None else orjson.loads(kept)
    made = summaries.distribution(row_, count=count, total=total, low=low, high=high)
    return Summary(samples, count, total, squares, low, high, first, last, oldest, newest, increase, made)


def _points(bins: dict[datetime, list[Summary]], aggregation: str, seconds: float) -> Iterator[Point]:
    for time, parts in sorted(bins.items()):
        summary = summaries.merge(parts)
        value = None if summary is None else summary.value(aggregation, seconds)
        if summary is not None and value is not None:
            low = value if summary.low is None else summary.low
            high = value if summary.high is None else summary.high
            yield Point(time, value, low, high, int(summary.count))
