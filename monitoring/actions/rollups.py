"""Rollups of a minute and an hour: each bucket whose samples have changed is recomputed whole, once it is over."""

import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction

from monitoring import summaries
from monitoring.histogram import LARGEST, LOG_GAMMA, from_json
from monitoring.models import DirtyBucket, HourRollup, MinuteRollup
from monitoring.queries import statements
from monitoring.queries.rollups import read
from monitoring.summaries import Sampled, Summary
from portal import jobs

log = structlog.get_logger(__name__)

MINUTE = DirtyBucket.Resolution.MINUTE
HOUR = DirtyBucket.Resolution.HOUR
# A bucket waits so long after its end, since senders collect for some seconds: seldom is one computed twice.
GRACE = {MINUTE: timedelta(seconds=10), HOUR: timedelta(seconds=60)}
# A batch is short, so that a sweep ends soon after its time is over: what is marked beyond it is marked anew.
MARKED_AT_ONCE = 50_000
BUCKETS_AT_ONCE = 5_000
MINUTES_SHARE = 0.75
# One sweep at a time: a bucket's growth begins at the sample before it, which another may just be rolling up.
ROLLUPS_LOCK = 0x0F11_6476

Bucket = tuple[int, datetime]  # series, start

COLUMNS = (
    "series_id, time, samples, count, total, squares, low, high, first, last, "
    "first_time, last_time, increase, histogram"
)
UPSERT = (
    " ON CONFLICT (series_id, time) DO UPDATE SET samples = excluded.samples, count = excluded.count, "
    "total = excluded.total, squares = excluded.squares, low = excluded.low, high = excluded.high, "
    "first = excluded.first, last = excluded.last, first_time = excluded.first_time, "
    "last_time = excluded.last_time, increase = excluded.increase, histogram = excluded.histogram"
)
# Sums are scaled down, since one that overflows is an error in PostgreSQL; those beyond the largest number stay at it.
BOUNDED = (
    f"greatest(least({{}}, {LARGEST!r}::float8 * {statements.DOWN}), -{LARGEST!r}::float8 * {statements.DOWN}) "
    f"* {statements.UP}"
)
STEP = (
    f"CASE WHEN {{before}} IS NULL THEN NULL WHEN {{value}} >= {{before}} "
    f"THEN {{value}} * {statements.DOWN} - {{before}} * {statements.DOWN} "
    f"ELSE greatest({{value}}, 0) * {statements.DOWN} END"
)
# The marks of whole buckets, as many as hold about so many series: what one bucket is marked for many times is
# recomputed once. What is deleted was visible, and so are its samples to the statements that follow.
CLAIM = """
WITH marked AS (
    SELECT time, sum(cardinality(series)) AS series FROM monitoring_dirtybucket
    WHERE resolution = %(resolution)s AND time <= %(closed)s GROUP BY time
), upto AS (
    SELECT time, sum(series) OVER (ORDER BY time {order}) - series AS before FROM marked
), gone AS (
    DELETE FROM monitoring_dirtybucket WHERE resolution = %(resolution)s
    AND time = ANY(ARRAY(SELECT time FROM upto WHERE before < %(most)s)) RETURNING time, series
)
SELECT DISTINCT u.id, g.time FROM gone g, unnest(g.series) AS u(id) ORDER BY g.time {order}, u.id"""
# The minutes of series whose samples are plain numbers, each by one index scan. The growth's base is the sample
# before the minute; where the raw ones are gone, the last value that its rollup kept.
PLAIN = f"""
WITH w AS MATERIALIZED (
    SELECT u.id, u.start, m.type FROM unnest(%(ids)s::int8[], %(starts)s::timestamptz[]) AS u(id, start)
    JOIN monitoring_series s ON s.id = u.id JOIN monitoring_metric m ON m.id = s.metric_id
    WHERE m.type <> 'histogram'
)
INSERT INTO monitoring_minuterollup ({COLUMNS})
SELECT w.id, w.start, x.n, x.n, {BOUNDED.format("x.total")}, x.squares, x.low, x.high, x.a[1], x.a[x.n], x.oldest,
    x.newest, CASE WHEN x.steps IS NOT NULL OR b.step IS NOT NULL
        THEN {BOUNDED.format("(coalesce(x.steps, 0) + coalesce(b.step, 0))")} END,
    h.histogram
FROM w CROSS JOIN LATERAL (
    SELECT array_agg(v.value) AS a, count(*)::int AS n, sum(v.value * {statements.DOWN}) AS total,
        min(v.value) AS low, max(v.value) AS high, min(v.time) AS oldest, max(v.time) AS newest,
        CASE WHEN max(abs(v.value)) < {statements.HUGE}
            THEN var_pop(v.value) FILTER (WHERE abs(v.value) < {statements.HUGE}) * count(*)
            ELSE {LARGEST!r}::float8 END AS squares,
        sum({STEP.format(value="v.value", before="v.before")}) AS steps
    FROM (
        SELECT s.time, s.value, lag(s.value) OVER (ORDER BY s.time) AS before
        FROM monitoring_sample s WHERE s.series_id = w.id AND s.value IS NOT NULL
        AND s.time >= w.start AND s.time < w.start + interval '1 minute'
        AND s.time >= %(first)s::timestamptz AND s.time < %(last)s::timestamptz
        ORDER BY s.time
    ) v
) x CROSS JOIN LATERAL (
    SELECT {STEP.format(value="x.a[1]", before="p.value")} AS step FROM (
        SELECT coalesce(
            (SELECT s.value FROM monitoring_sample s WHERE s.series_id = w.id AND s.time < w.start
             AND s.time < %(last)s::timestamptz AND s.value IS NOT NULL ORDER BY s.time DESC LIMIT 1),
            (SELECT r.last FROM monitoring_minuterollup r WHERE r.series_id = w.id AND r.time < w.start
             AND r.time < %(last)s::timestamptz ORDER BY r.time DESC LIMIT 1)
        ) AS value
    ) p
) b LEFT JOIN LATERAL (
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'zero', sum(g.n) FILTER (WHERE g.side = 0),
        'positive', jsonb_object_agg(g.bucket, g.n) FILTER (WHERE g.side > 0),
        'negative', jsonb_object_agg(g.bucket, g.n) FILTER (WHERE g.side < 0)
    )) AS histogram
    FROM (
        SELECT sign(q.value) AS side,
            CASE WHEN q.value <> 0 THEN ceil(ln(abs(q.value)) / {LOG_GAMMA!r}::float8)::int END AS bucket,
            count(*) AS n
        FROM unnest(x.a) AS q(value) GROUP BY 1, 2
    ) g
) h ON w.type = 'gauge'
WHERE x.n > 0{UPSERT}"""
# Distributions merge by rules that SQL does not know: the minutes of these series are summed here.
DISTRIBUTED = """
SELECT u.id, u.start, x.time, x.value, x.histogram
FROM unnest(%(ids)s::int8[], %(starts)s::timestamptz[]) AS u(id, start)
JOIN monitoring_series s ON s.id = u.id JOIN monitoring_metric m ON m.id = s.metric_id AND m.type = 'histogram'
CROSS JOIN LATERAL (
    SELECT p.time, p.value, p.histogram FROM monitoring_sample p
    WHERE p.series_id = u.id AND p.time >= u.start AND p.time < u.start + interval '1 minute'
    AND p.time >= %(first)s::timestamptz AND p.time < %(last)s::timestamptz ORDER BY p.time OFFSET 0
) x"""
# A late sample may be the one that the growth of the next rollup begins at.
FOLLOWING = """
SELECT w.id, r.time FROM unnest(%(ids)s::int8[], %(starts)s::timestamptz[]) AS w(id, start) CROSS JOIN LATERAL (
    SELECT r.time FROM monitoring_minuterollup r WHERE r.series_id = w.id AND r.time > w.start
    AND r.time > %(first)s::timestamptz ORDER BY r.time LIMIT 1
) r"""


def roll_up(*, now: datetime | None = None, within: float | None = None) -> int:
    """Recompute the buckets that are over and dirty, for `within` seconds (None: all of them). How many were.

    Batches of the oldest minutes take turns with the newest, so that late data of days keeps nobody from what is
    happening; hours, which are made of minutes, have the last part of the time. A mark goes in the transaction that
    recomputed what it stands for; killed in the middle, it is done again.
    """
    now = now or jobs.database_now()
    began = time.monotonic()
    done = 0
    for resolution, share in ((MINUTE, MINUTES_SHARE), (HOUR, 1.0)):
        newest = False
        while (found := _sweep(resolution, now, newest=newest)) is not None:
            done += found
            newest = not newest
            if within is not None and time.monotonic() - began >= within * share:
                break
    return done


def backlog(*, now: datetime | None = None) -> int:
    """How many marks of buckets that are over wait to be recomputed."""
    now = now or jobs.database_now()
    return sum(
        DirtyBucket.objects.filter(resolution=one, time__lte=_closed(one, now)).count() for one in (MINUTE, HOUR)
    )


def _closed(resolution: int, now: datetime) -> datetime:
    """The last start of a bucket that is over."""
    return now - timedelta(seconds=resolution) - GRACE[DirtyBucket.Resolution(resolution)]


def _sweep(resolution: int, now: datetime, *, newest: bool) -> int | None:
    """One batch, from the oldest or the newest; None when there is none (or another sweep is at it)."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [ROLLUPS_LOCK])
        if not cursor.fetchone()[0]:
            return None
        claim = CLAIM.format(order="DESC" if newest else "ASC")
        cursor.execute(claim, {"resolution": resolution, "closed": _closed(resolution, now), "most": MARKED_AT_ONCE})
        claimed = cursor.fetchall()
        if not claimed:
            return None
        buckets = _reachable(resolution, claimed, now)
        work = _minutes if resolution == MINUTE else _hours
        work(cursor, buckets[:BUCKETS_AT_ONCE])
        if len(buckets) > BUCKETS_AT_ONCE:
            _mark(resolution, buckets[BUCKETS_AT_ONCE:])
    return min(len(buckets), BUCKETS_AT_ONCE)


def _mark(resolution: int, buckets: Sequence[Bucket]) -> None:
    by_start: dict[datetime, list[int]] = defaultdict(list)
    for series, start in buckets:
        by_start[start].append(series)
    DirtyBucket.objects.bulk_create(
        DirtyBucket(resolution=resolution, time=start, series=some) for start, some in by_start.items()
    )


def _reachable(resolution: int, buckets: Sequence[Bucket], now: datetime) -> list[Bucket]:
    """Those whose sources are still all there. Recomputed from what is left, the others would lose what they hold."""
    kept = (
        timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)
        if resolution == MINUTE
        else timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS)
    )
    # Partitions go as whole days.
    oldest = (now - kept).replace(hour=0, minute=0, second=0, microsecond=0)
    found = [bucket for bucket in buckets if bucket[1] >= oldest]
    if len(found) < len(buckets):
        log.warning("rollups.too_late", buckets=len(buckets) - len(found), resolution=resolution)
    return found


def _minutes(cursor: Any, buckets: Sequence[Bucket]) -> None:
    if not buckets:
        return
    cursor.execute(FOLLOWING, _bounds(buckets, MINUTE))
    whole = sorted({*buckets, *cursor.fetchall()})
    bounds = _bounds(whole, MINUTE)
    cursor.execute(PLAIN, bounds)
    cursor.execute(DISTRIBUTED, bounds)
    samples: dict[Bucket, list[Sampled]] = defaultdict(list)
    for series, start, at, value, histogram in cursor.fetchall():
        made = None if histogram is None else from_json(orjson.loads(histogram))
        samples[series, start].append(Sampled(at, value, made))
    _write(cursor, MinuteRollup._meta.db_table, _summed(samples))
    _mark(HOUR, sorted({(series, start.replace(minute=0)) for series, start in whole}))


def _summed(samples: dict[Bucket, list[Sampled]]) -> Iterator[tuple[Bucket, Summary]]:
    for bucket, some in samples.items():
        if (summary := summaries.of(some)) is not None:
            yield bucket, summary


def _hours(cursor: Any, buckets: Sequence[Bucket]) -> None:
    by_hour: dict[datetime, list[int]] = defaultdict(list)
    for series, start in buckets:
        by_hour[start].append(series)
    for start, some in sorted(by_hour.items()):
        found = read(MINUTE, some, since=start, until=start + timedelta(hours=1), distributions=True)
        merged = ((series, summaries.merge(parts)) for series, parts in found.items())
        _write(cursor, HourRollup._meta.db_table, (((series, start), one) for series, one in merged if one is not None))


def _write(cursor: Any, table: str, rows: Iterable[tuple[Bucket, Summary]]) -> None:
    made = [
        (
            *(series, start, one.samples, one.count, one.total, one.squares, one.low, one.high, one.first, one.last),
            *(one.first_time, one.last_time, one.increase, _json(one)),
        )
        for (series, start), one in rows
    ]
    if made:
        cursor.execute(
            f"INSERT INTO {table} ({COLUMNS}) SELECT * FROM unnest(%s::int8[], %s::timestamptz[], %s::int4[], "
            "%s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], %s::float8[], "
            f"%s::timestamptz[], %s::timestamptz[], %s::float8[], %s::jsonb[]){UPSERT}",
            [list(column) for column in zip(*made, strict=True)],
        )


def _json(summary: Summary) -> str | None:
    kept = summaries.kept(summary)
    return None if kept is None else orjson.dumps(kept).decode()


def _bounds(buckets: Collection[Bucket], resolution: int) -> dict[str, Any]:
    starts = [start for _, start in buckets]
    return {
        "ids": [series for series, _ in buckets],
        "starts": starts,
        "first": min(starts),
        "last": max(starts) + timedelta(seconds=resolution),
    }
