"""The days of the samples' table: made ahead, dropped when they are older than raw samples are kept."""

import re
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction

from monitoring.actions import series
from portal import jobs

log = structlog.get_logger(__name__)

TABLE = "monitoring_sample"
DEFAULT = f"{TABLE}_default"
DAYS_AHEAD = 3
# Two sweeps at once make and drop one after the other. Any number that nobody else locks.
PARTITIONS_LOCK = 0x0F11_6475
# A long query in the way: give up and try again with the next sweep, rather than have all ingest queue behind us.
LOCK_TIMEOUT = "2s"
_DAY_NAME = re.compile(rf"{TABLE}_(\d{{8}})\Z")


def open_store(**_: Any) -> None:
    """After a migration or a flush: take samples at once, and forget what the emptied database held."""
    series.forget_all()
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [TABLE])
        if cursor.fetchone()[0]:
            keep()


def keep(*, now: datetime | None = None) -> int:
    """Make the days that are missing, drop those that are over. How many days were made or dropped."""
    now = now or jobs.database_now()
    oldest = (now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)).date()
    there = days()
    wanted = {oldest + timedelta(days=n) for n in range((now.date() - oldest).days + DAYS_AHEAD + 1)}
    made = sum(make(day) for day in sorted(wanted - there))
    dropped = sum(drop(day) for day in sorted(day for day in there if day < oldest))
    _empty_default(before=now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS))
    return made + dropped


def days() -> set[date]:
    """The days that have a partition of their own."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [TABLE])
        names = [_DAY_NAME.search(name) for (name,) in cursor.fetchall()]
    return {date.fromisoformat(name[1]) for name in names if name}


def make(day: date) -> bool:
    """Give one UTC day its partition; rows of that day that lay in DEFAULT move into it. False if it had one."""
    name = f"{TABLE}_{day:%Y%m%d}"
    bounds = [f"{day} 00:00:00+00", f"{day + timedelta(days=1)} 00:00:00+00"]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            return False
        cursor.execute(f"CREATE TABLE {name} (LIKE {TABLE} INCLUDING ALL)")
        # Attaching fails when DEFAULT holds a row of that day: nobody may add one between the move and the attaching.
        cursor.execute(f"LOCK TABLE {DEFAULT} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {DEFAULT} WHERE time >= %s AND time < %s RETURNING *) "
            f"INSERT INTO {name} (series_id, time, value, histogram) "
            "SELECT series_id, time, value, histogram FROM moved",
            bounds,
        )
        if cursor.rowcount:
            log.warning("partitions.moved_from_default", day=str(day), rows=cursor.rowcount)
        cursor.execute(f"ALTER TABLE {TABLE} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)
    return True


def drop(day: date) -> bool:
    """Forget one day's samples with their partition. False if it was gone."""
    name = f"{TABLE}_{day:%Y%m%d}"
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(f"DROP TABLE {name}")
    return True


def _empty_default(*, before: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {DEFAULT} WHERE time < %s", [before])
        cursor.execute(f"SELECT EXISTS (SELECT FROM {DEFAULT})")
        if cursor.fetchone()[0]:
            log.warning("partitions.default_holds_rows", table=DEFAULT)


def _lock(cursor: Any) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITIONS_LOCK])
