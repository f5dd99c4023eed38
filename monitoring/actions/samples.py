"""Putting rows into the samples' table: by COPY alone where all is new, else by way of a temporary table."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import orjson
from django.db import IntegrityError, connection, transaction
from numpy.typing import NDArray
from psycopg.types.json import Jsonb

from monitoring.queries.statements import array

# New numbers go straight into the table. The row of a binary COPY: how many fields, then each with its length.
APPEND = "COPY monitoring_sample (series_id, time, value) FROM STDIN (FORMAT BINARY)"
ROW = np.dtype(
    [
        ("fields", ">i2"),
        ("l1", ">i4"),
        ("series", ">i8"),
        ("l2", ">i4"),
        ("time", ">i8"),
        ("l3", ">i4"),
        ("value", ">f8"),
    ]
)
COPY_BEGINS = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_ENDS = b"\xff\xff"
Y2000 = 946_684_800_000_000  # PostgreSQL counts its microseconds from there
# Makes the minutes dirty, in the same transaction; how many of the series are still there, and whether the first sample
# is. A whole request that is sent again shows by that, without an error in the server's log.
BEFORE = (
    "WITH marked AS ("
    "INSERT INTO monitoring_dirtybucket (resolution, time, series) "
    "SELECT 60, minute, series::int8[] FROM unnest(%s::timestamptz[], %s::text[]) AS m(minute, series)"
    ") SELECT (SELECT count(*) FROM monitoring_series WHERE id = ANY(%s::int8[])), "
    "EXISTS (SELECT FROM monitoring_sample WHERE series_id = %s AND time = %s)"
)
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
MINUTE_MICROS = 60_000_000
MICROSECOND = timedelta(microseconds=1)
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


@dataclass(frozen=True, slots=True, eq=False)
class Columns:
    """Numbers without a histogram, column by column: ten times as fast as row by row."""

    series: NDArray[np.int64]
    micros: NDArray[np.int64]  # since 1970
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.series)

    def joined(self, other: "Columns") -> "Columns":
        if not len(other):
            return self
        return Columns(
            np.concatenate((self.series, other.series)),
            np.concatenate((self.micros, other.micros)),
            np.concatenate((self.values, other.values)),
        )

    def rows(self) -> list[Row]:
        return [
            (series, moment(micros), value, None)
            for series, micros, value in zip(
                self.series.tolist(), self.micros.tolist(), self.values.tolist(), strict=True
            )
        ]

    @classmethod
    def of(cls, rows: Sequence[Row]) -> "Columns":
        return cls(
            np.array([row[0] for row in rows], np.int64),
            np.array([micros_of(row[1]) for row in rows], np.int64),
            np.array([row[2] for row in rows], np.float64),
        )


NOTHING = Columns.of(())


class _NotAllNew(Exception):
    """A sample is there already, or a series is there no longer."""


def micros_of(time: datetime) -> int:
    return (time - EPOCH) // MICROSECOND


def moment(micros: int) -> datetime:
    return EPOCH + timedelta(microseconds=micros)


def store(rows: Sequence[Row], columns: Columns = NOTHING) -> Stored:
    """Add what is not there yet, in one transaction. Of equal keys the first is kept, that of `rows` before others."""
    count = len(rows) + len(columns)
    if not count:
        return Stored(0, 0, 0, frozenset())
    if all(row[3] is None and row[2] is not None for row in rows) and _append(Columns.of(rows).joined(columns)):
        return Stored(count, 0, 0, frozenset())
    return _settle([*rows, *columns.rows()] if len(columns) else rows)


def _append(columns: Columns) -> bool:
    """Add all of it, or nothing where something of it is there already: what is sent again comes by the other way."""
    order = np.lexsort((columns.micros, columns.series))
    series, micros = columns.series[order], columns.micros[order]
    same = series[1:] == series[:-1]
    if np.any(same & (micros[1:] == micros[:-1])):
        return False
    made = np.empty(len(series), ROW)
    made["fields"], made["l1"], made["l2"], made["l3"] = 3, 8, 8, 8
    made["series"], made["time"], made["value"] = series, micros - Y2000, columns.values[order]
    ids = series[np.concatenate(([True], ~same))].tolist()
    minutes, marks = _minutes(series, micros)
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(BEFORE, [minutes, marks, array(ids), int(series[0]), moment(int(micros[0]))])
            if cursor.fetchone() != (len(ids), False):
                raise _NotAllNew
            with connection.wrap_database_errors, cursor.copy(APPEND) as copy:
                copy.write(b"".join((COPY_BEGINS, made.tobytes(), COPY_ENDS)))
    except (IntegrityError, _NotAllNew):
        return False
    return True


def _minutes(series: NDArray[np.int64], micros: NDArray[np.int64]) -> tuple[list[datetime], list[str]]:
    """The minutes of these samples, and for each its series."""
    of = micros // MINUTE_MICROS
    order = np.lexsort((series, of))
    starts, firsts = np.unique(of[order], return_index=True)
    marks = [array(np.unique(part).tolist()) for part in np.split(series[order], firsts[1:])]
    return [moment(start * MINUTE_MICROS) for start in starts.tolist()], marks


def _settle(rows: Sequence[Row]) -> Stored:
    """Find out, row by row, what is there already."""
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
