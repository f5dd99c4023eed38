"""Observations: kept one by one under their own keys, shown to the judge as one sample a bucket."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta

import orjson
from django.conf import settings
from django.db import connection, transaction

from monitoring.actions import batches, samples
from monitoring.actions.batches import Batch, Entry, Recorded, Settled
from monitoring.histogram import Histogram
from monitoring.models import Series
from portal import jobs
from portal.audit import Actor

FIELDS = frozenset({"metric", "key", "value", "time", "labels"})
BUCKET = timedelta(seconds=10)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FORGOTTEN_AT_ONCE = 10_000  # rows in one statement

Bucket = tuple[int, datetime]  # series, start


def record(observations: Sequence[object], *, by: Actor, now: datetime | None = None) -> Recorded:
    """Take a batch of observations: {"metric","key","value","time"?,"labels"?} each.

    An observation is known by its key within its series: the same key again is a duplicate, or a conflict when
    value or time differ. Those of one instant all count. The sample of each bucket that got a new one is
    recomputed from all its observations, so a batch may come any number of times.
    """
    batch = Batch.begin(by, now=now)
    batch.read(observations, fields=FIELDS, keyed=True)
    settled = batch.settle()
    with transaction.atomic(savepoint=False):
        # One writer a series at a time: the second sees the first one's rows when it recomputes their bucket.
        gone = frozenset(known.id for _, known in settled) - _lock({known.id for _, known in settled})
        if gone:
            renewed = batch.again(gone, settled)
            _lock({known.id for _, known in renewed})
            settled = [(entry, known) for entry, known in settled if known.id not in gone] + renewed
        fresh = _insert(settled)
        _count(batch.outcome, settled, fresh)
        _recompute({(series, bucket_of(time)) for series, _, time in fresh.values()})
    return batch.finish(settled)


def bucket_of(time: datetime) -> datetime:
    """The start of the bucket that the time lies in."""
    return time - (time - EPOCH) % BUCKET


def forget_old(*, now: datetime | None = None) -> int:
    """Drop observations whose bucket no longer takes any. A day's grace: their keys are what makes retries safe."""
    before = (now or jobs.database_now()) - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS) - timedelta(days=1)
    forgotten = 0
    while True:
        with connection.cursor() as cursor:
            cursor.execute(
                "DELETE FROM monitoring_observation WHERE id IN "
                "(SELECT id FROM monitoring_observation WHERE time < %s LIMIT %s)",
                [before, FORGOTTEN_AT_ONCE],
            )
            forgotten += cursor.rowcount
            if cursor.rowcount < FORGOTTEN_AT_ONCE:
                return forgotten


def _lock(ids: Collection[int]) -> frozenset[int]:
    rows = Series.objects.filter(pk__in=ids).order_by("pk").select_for_update(no_key=True)
    return frozenset(rows.values_list("pk", flat=True))


Inserted = dict[tuple[int, str], tuple[int, float, datetime]]  # (series, key): series, value, time


def _insert(settled: Settled) -> Inserted:
    """Add the observations whose key is new; of equal keys in the batch the first."""
    first: dict[tuple[int, str], Entry] = {}
    for entry, known in settled:
        first.setdefault((known.id, entry.key), entry)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_observation (series_id, key, time, value) "
            "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::float8[]) "
            "ON CONFLICT (series_id, key) DO NOTHING RETURNING series_id, key, value, time",
            [
                [series for series, _ in first],
                [key for _, key in first],
                [entry.time for entry in first.values()],
                [entry.value for entry in first.values()],
            ],
        )
        return {(series, key): (series, value, time) for series, key, value, time in cursor.fetchall()}


def _count(outcome: Recorded, settled: Settled, fresh: Inserted) -> None:
    outcome.accepted = len(fresh)
    there = _there({(known.id, entry.key) for entry, known in settled}) if len(fresh) < len(settled) else {}
    unused = set(fresh)
    for entry, known in settled:
        identity = (known.id, entry.key)
        if identity in unused:
            unused.discard(identity)
            continue
        value, time = there[identity]
        # Without a time of its own it was taken at "now", which is another at each attempt.
        if value == entry.value and (time == entry.time or not entry.timed):
            outcome.duplicates += 1
        else:
            outcome.conflicts += 1


def _there(identities: Collection[tuple[int, str]]) -> dict[tuple[int, str], tuple[float, datetime]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT o.series_id, o.key, o.value, o.time FROM unnest(%s::bigint[], %s::text[]) AS w(series_id, key) "
            "JOIN monitoring_observation o USING (series_id, key)",
            [[series for series, _ in identities], [key for _, key in identities]],
        )
        return {(series, key): (value, time) for series, key, value, time in cursor.fetchall()}


def _recompute(buckets: Collection[Bucket]) -> None:
    """Write each bucket's sample anew from all its observations."""
    if not buckets:
        return
    ordered = sorted(buckets)
    made: Mapping[Bucket, Histogram] = defaultdict(Histogram)
    with connection.cursor() as cursor:
        cursor.execute(
            # Ratings and errors are many of few values: the database counts them.
            "SELECT o.series_id, b.start, o.value, count(*) "
            "FROM unnest(%s::bigint[], %s::timestamptz[]) AS b(series_id, start) JOIN monitoring_observation o "
            "ON o.series_id = b.series_id AND o.time >= b.start AND o.time < b.start + %s::interval "
            "GROUP BY o.series_id, b.start, o.value",
            [[series for series, _ in ordered], [start for _, start in ordered], f"{BUCKET.total_seconds()} seconds"],
        )
        for series, start, value, times in cursor.fetchall():
            made[series, start].add(value, times)
        cursor.execute(
            "INSERT INTO monitoring_sample (series_id, time, value, histogram) "
            "SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[], %s::jsonb[]) "
            "ON CONFLICT (series_id, time) DO UPDATE SET value = excluded.value, histogram = excluded.histogram",
            [
                [series for series, _ in ordered],
                [start for _, start in ordered],
                [batches.mean_of(made[bucket]) for bucket in ordered],
                [orjson.dumps(made[bucket].to_json()).decode() for bucket in ordered],
            ],
        )
        samples.mark(cursor, ordered)
