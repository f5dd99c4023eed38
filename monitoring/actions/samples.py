"""Putting rows into the samples' table: COPY into a temporary table, then INSERT what is not there yet."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from django.db import connection, transaction
from psycopg.types.json import Jsonb

# One a session; a commit empties it. `place` is the order in the batch: of equal keys the first is kept.
STAGE = (
    "CREATE TEMPORARY TABLE IF NOT EXISTS staged_sample (place int4, series_id int8, time timestamptz, "
    "value float8, histogram jsonb) ON COMMIT DELETE ROWS; DELETE FROM staged_sample"
)
COPY = "COPY staged_sample (place, series_id, time, value, histogram) FROM STDIN (FORMAT BINARY)"
COLUMNS = ("int4", "int8", "timestamptz", "float8", "jsonb")
# Sorted, so that two batches that overlap wait for each other instead of deadlocking. A series may have been
# deleted since this process learned of it: its rows stay out.
# What is new makes its minutes dirty, in the same transaction: a row for each minute of the batch, not for each sample.
MOVE = (
    "WITH moved AS ("
    "INSERT INTO monitoring_sample (series_id, time, value, histogram) "
    "SELECT series_id, time, value, histogram FROM staged_sample s "
    "WHERE EXISTS (SELECT FROM monitoring_series k WHERE k.id = s.series_id) "
    "ORDER BY series_id, time, place ON CONFLICT DO NOTHING RETURNING series_id, time"
    "), minutes AS ("
    "SELECT date_bin('1 minute', time, 'epoch') AS minute, array_agg(DISTINCT series_id) AS series, count(*) AS moved "
    "FROM moved GROUP BY 1"
    "), marked AS ("
    "INSERT INTO monitoring_dirtybucket (resolution, time, series) SELECT 60, minute, series FROM minutes"
    ") SELECT coalesce(sum(moved), 0)::int8 FROM minutes"
)
MARK = (
    "INSERT INTO monitoring_dirtybucket (resolution, time, series) "
    "SELECT 60, minute, ARRAY(SELECT jsonb_array_elements_text(series)::int8) "
    "FROM jsonb_to_recordset(%s::jsonb) AS m(minute timestamptz, series jsonb)"
)
MINUTE = timedelta(minutes=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# OFFSET 0 keeps the planner from turning the look-ups by key into a scan of whole days.
COMPARE = (
    "SELECT count(*) FILTER (WHERE k.id IS NOT NULL), "
    "count(*) FILTER (WHERE k.id IS NOT NULL AND there.value IS NOT DISTINCT FROM s.value "
    "AND there.histogram IS NOT DISTINCT FROM s.histogram), "
    "coalesce(array_agg(DISTINCT s.series_id) FILTER (WHERE k.id IS NULL), '{}') "
    "FROM staged_sample s LEFT JOIN monitoring_series k ON k.id = s.series_id LEFT JOIN LATERAL ("
    "SELECT p.value, p.histogram FROM monitoring_sample p "
    "WHERE p.series_id = s.series_id AND p.time = s.time AND p.time BETWEEN %s AND %s OFFSET 0) there ON true"
)


# (series, time, value, histogram): the value is the mean where there is a histogram.
Row = tuple[int, datetime, float | None, dict[str, Any] | None]


@dataclass(frozen=True, slots=True)
class Stored:
    accepted: int
    duplicates: int  # the same series, time and value were there (or earlier in the batch)
    conflicts: int  # the same series and time with another value: the first is kept
    gone: frozenset[int]  # series that no longer exist: their rows were not counted


def store(rows: Sequence[Row]) -> Stored:
    """Add what is not there yet, in one transaction."""
    if not rows:
        return Stored(0, 0, 0, frozenset())
    with transaction.atomic(savepoint=False), connection.cursor() as cursor:
        cursor.execute(STAGE)
        _copy(cursor, rows)
        cursor.execute(MOVE)
        (accepted,) = cursor.fetchone()
        if accepted == len(rows):
            return Stored(accepted, 0, 0, frozenset())
        cursor.execute(COMPARE, [min(row[1] for row in rows), max(row[1] for row in rows)])
        found, same, gone = cursor.fetchone()
        return Stored(accepted, same - accepted, found - same, frozenset(gone))


def mark(cursor: Any, written: Iterable[tuple[int, datetime]]) -> None:
    """In the transaction that wrote them: have the rollups of these samples' minutes recomputed."""
    minutes: dict[datetime, set[int]] = defaultdict(set)
    for series, time in written:
        minutes[time - (time - EPOCH) % MINUTE].add(series)
    rows = [{"minute": minute, "series": sorted(series)} for minute, series in sorted(minutes.items())]
    cursor.execute(MARK, [orjson.dumps(rows).decode()])


def _copy(cursor: Any, rows: Sequence[Row]) -> None:
    # Django translates the driver's errors for execute(), not for copy().
    with connection.wrap_database_errors, cursor.copy(COPY) as copy:
        copy.set_types(COLUMNS)
        for place, (series, time, value, histogram) in enumerate(rows):
            kept = None if histogram is None else Jsonb(histogram, dumps=orjson.dumps)
            copy.write_row((place, series, time, value, kept))
