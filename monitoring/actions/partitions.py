"""The partitions of samples and rollups: made ahead, dropped when what they hold is kept no longer."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

import structlog
from django.conf import settings
from django.db import connection, transaction

from monitoring.actions import capping, judging, series
from portal import jobs

log = structlog.get_logger(__name__)

DAYS_AHEAD = 3
# Two sweeps at once make and drop one after the other. Any number that nobody else locks.
PARTITIONS_LOCK = 0x0F11_6475
# A long query in the way: give up and try again with the next sweep, rather than have all ingest queue behind us.
LOCK_TIMEOUT = "2s"


@dataclass(frozen=True, slots=True)
class Store:
    """A partitioned table: by UTC day, or by month."""

    table: str
    retention: Callable[[], timedelta]
    by_month: bool = False

    @property
    def default(self) -> str:
        return f"{self.table}_default"

    def name(self, first: date) -> str:
        return f"{self.table}_{first:%Y%m}" if self.by_month else f"{self.table}_{first:%Y%m%d}"

    def first(self, day: date) -> date:
        """The first day of the partition that holds this day."""
        return day.replace(day=1) if self.by_month else day

    def after(self, first: date) -> date:
        """The first day of the partition that follows."""
        return (first + timedelta(days=31)).replace(day=1) if self.by_month else first + timedelta(days=1)


SAMPLES = Store("monitoring_sample", lambda: timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS))
MINUTES = Store("monitoring_minuterollup", lambda: timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS))
HOURS = Store("monitoring_hourrollup", lambda: timedelta(days=settings.PORTAL_HOUR_RETENTION_DAYS), by_month=True)
STORES = (SAMPLES, MINUTES, HOURS)
TABLE = SAMPLES.table


def open_store(**_: Any) -> None:
    """After a migration or a flush: take samples at once, and forget what the emptied database held."""
    series.forget_all()
    judging.forget_all()
    capping.forget_all()
    with connection.cursor() as cursor:
        # The newest table of all: after a migration that goes back there may be none of them, or some.
        cursor.execute("SELECT bool_and(to_regclass(name) IS NOT NULL) FROM unnest(%s::text[]) AS n(name)", [_tables()])
        if cursor.fetchone()[0]:
            keep()


def _tables() -> list[str]:
    return [store.table for store in STORES]


def keep(*, now: datetime | None = None) -> int:
    """Make the partitions that are missing, drop those that are over. How many were made or dropped."""
    now = now or jobs.database_now()
    return sum(_keep(store, now) for store in STORES)


def _keep(store: Store, now: datetime) -> int:
    # Rollups come of samples: what samples cannot reach needs no partition made for it, though it may have one.
    reach = min(store.retention(), SAMPLES.retention())
    oldest, newest = store.first((now - reach).date()), now.date() + timedelta(days=DAYS_AHEAD)
    wanted = set()
    while oldest <= newest:
        wanted.add(oldest)
        oldest = store.after(oldest)
    there = days(store)
    over = (now - store.retention()).date()
    made = sum(make(first, store) for first in sorted(wanted - there))
    dropped = sum(drop(first, store) for first in sorted(there) if store.after(first) <= over)
    _empty_default(store, before=now - store.retention())
    return made + dropped


def days(store: Store = SAMPLES) -> set[date]:
    """The first days of the partitions that are there."""
    pattern = re.compile(rf"{store.table}_(\d{{6}}|\d{{8}})\Z")
    with connection.cursor() as cursor:
        cursor.execute("SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = %s::regclass", [store.table])
        names = [pattern.search(name) for (name,) in cursor.fetchall()]
    return {date.fromisoformat(name[1] if len(name[1]) == 8 else f"{name[1]}01") for name in names if name}


def make(first: date, store: Store = SAMPLES) -> bool:
    """Make one partition; rows of its time that lay in DEFAULT move into it. False if it was there."""
    name = store.name(first)
    bounds = [f"{first} 00:00:00+00", f"{store.after(first)} 00:00:00+00"]
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if cursor.fetchone()[0]:
            return False
        cursor.execute(f"CREATE TABLE {name} (LIKE {store.table} INCLUDING ALL)")
        # Attaching fails when DEFAULT holds a row of that day: nobody may add one between the move and the attaching.
        cursor.execute(f"LOCK TABLE {store.default} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(
            f"WITH moved AS (DELETE FROM {store.default} WHERE time >= %s AND time < %s RETURNING *) "
            f"INSERT INTO {name} SELECT * FROM moved",
            bounds,
        )
        if cursor.rowcount:
            log.warning("partitions.moved_from_default", partition=name, rows=cursor.rowcount)
        cursor.execute(f"ALTER TABLE {store.table} ATTACH PARTITION {name} FOR VALUES FROM (%s) TO (%s)", bounds)
    return True


def drop(first: date, store: Store = SAMPLES) -> bool:
    """Forget what one partition holds. False if it was gone."""
    name = store.name(first)
    with transaction.atomic(), connection.cursor() as cursor:
        _lock(cursor)
        cursor.execute("SELECT to_regclass(%s) IS NOT NULL", [name])
        if not cursor.fetchone()[0]:
            return False
        cursor.execute(f"DROP TABLE {name}")
    return True


def _empty_default(store: Store, *, before: datetime) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DELETE FROM {store.default} WHERE time < %s", [before])
        cursor.execute(f"SELECT EXISTS (SELECT FROM {store.default})")
        if cursor.fetchone()[0]:
            log.warning("partitions.default_holds_rows", table=store.default)


def _lock(cursor: Any) -> None:
    cursor.execute(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")
    cursor.execute("SELECT pg_advisory_xact_lock(%s)", [PARTITIONS_LOCK])
