"""Counting what variants were evaluated and shown to whom, so that nothing is counted twice."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from django.conf import settings
from django.db import connection, transaction

from monitoring.models import VariantCount
from monitoring.models.events import Exposure
from portal import jobs
from portal.models import Environment

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
AT_ONCE = 10_000  # rows in one statement
# A use is noted to the minute: a row of each flag each second would be written for nobody.
NOTED_EVERY = MINUTE
WRITERS_KEPT = timedelta(days=2)
USES_KEPT = timedelta(days=730)

Cell = tuple[str, str, str, datetime]  # environment, flag, variant, minute
_Row = tuple[int, str, str, datetime]  # the same by the environment's id


@dataclass(frozen=True, slots=True)
class Shown:
    """A unit was shown a variant."""

    environment: str
    flag: str
    variant: str
    unit: str
    time: datetime
    revision: int | None = None
    reason: str = ""
    source: str = Exposure.Source.EVALUATION


def minute_of(time: datetime) -> datetime:
    return time.replace(second=0, microsecond=0)


def window_of(time: datetime) -> datetime:
    """The start of the window in which a unit counts once."""
    length = timedelta(minutes=settings.PORTAL_EXPOSURE_WINDOW_MINUTES)
    return time - (time - EPOCH) % length


def count(writer: str, number: int, evaluated: Mapping[Cell, int], shown: Collection[Shown]) -> bool:
    """Add one batch of a writer, all of it or nothing. False when a batch of this number was added before."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_countedbatch AS held (writer, number, at) VALUES (%s, %s, clock_timestamp()) "
            "ON CONFLICT (writer) DO UPDATE SET number = excluded.number, at = excluded.at "
            "WHERE held.number < excluded.number",
            [writer, number],
        )
        if not cursor.rowcount:
            return False
        ids = _environments()
        cells = {
            (ids[environment], flag, variant, minute): times
            for (environment, flag, variant, minute), times in evaluated.items()
            if environment in ids
        }
        _add(cells, _expose(shown, ids))
    return True


def expose(shown: Collection[Shown]) -> int:
    """Note exposures and count those that are the first in their window. How many were. In the caller's transaction."""
    fresh = _expose(shown, _environments())
    _add({}, fresh)
    return sum(fresh.values())


def _environments() -> dict[str, int]:
    return dict(Environment.objects.values_list("key", "id"))


def _expose(shown: Collection[Shown], ids: Mapping[str, int]) -> dict[_Row, int]:
    """Add the rows that are new; how many of them each minute has."""
    first: dict[tuple[int, str, str, str, datetime], Shown] = {}
    for one in sorted(shown, key=lambda one: one.time):
        if one.environment in ids:
            identity = (ids[one.environment], one.flag, one.variant, one.unit, window_of(one.time))
            first.setdefault(identity, one)
    found: dict[_Row, int] = defaultdict(int)
    # In one order, so that two writers wait for each other instead of deadlocking.
    ordered = sorted(first)
    for start in range(0, len(ordered), AT_ONCE):
        some = ordered[start : start + AT_ONCE]
        told = [first[identity] for identity in some]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO monitoring_exposure "
                "(environment_id, flag, variant, unit, window_start, time, revision, reason, source) "
                "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], "
                "%s::timestamptz[], %s::int[], %s::text[], %s::text[]) ON CONFLICT DO NOTHING "
                "RETURNING environment_id, flag, variant, time",
                [
                    *([identity[n] for identity in some] for n in range(5)),
                    [one.time for one in told],
                    [one.revision for one in told],
                    [one.reason for one in told],
                    [one.source for one in told],
                ],
            )
            for environment, flag, variant, time in cursor.fetchall():
                found[environment, flag, variant, minute_of(time)] += 1
    return found


def _add(evaluated: Mapping[_Row, int], exposed: Mapping[_Row, int]) -> None:
    cells = sorted(evaluated.keys() | exposed.keys())
    for start in range(0, len(cells), AT_ONCE):
        some = cells[start : start + AT_ONCE]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO monitoring_variantcount AS held "
                "(environment_id, flag, variant, minute, evaluations, exposures) "
                "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::timestamptz[], %s::bigint[], "
                "%s::bigint[]) ON CONFLICT (environment_id, flag, minute, variant) DO UPDATE SET "
                "evaluations = held.evaluations + excluded.evaluations, "
                "exposures = held.exposures + excluded.exposures",
                [
                    *([cell[n] for cell in some] for n in range(4)),
                    [evaluated.get(cell, 0) for cell in some],
                    [exposed.get(cell, 0) for cell in some],
                ],
            )
    _note(evaluated, exposed)


def _note(evaluated: Iterable[_Row], exposed: Iterable[_Row]) -> None:
    """When each variant was evaluated and shown first and last."""
    first: dict[tuple[str, int, str], datetime] = {}
    last: dict[tuple[str, int, str], datetime] = {}
    seen: dict[tuple[str, int, str], datetime] = {}
    for environment, flag, variant, minute in evaluated:
        which = (flag, environment, variant)
        first[which], last[which] = min(first.get(which, minute), minute), max(last.get(which, minute), minute)
    for environment, flag, variant, minute in exposed:
        which = (flag, environment, variant)
        seen[which] = max(seen.get(which, minute), minute)
    uses = sorted(last.keys() | seen.keys())
    for start in range(0, len(uses), AT_ONCE):
        some = uses[start : start + AT_ONCE]
        with connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO monitoring_variantuse AS held "
                "(flag, environment_id, variant, first_evaluated_at, last_evaluated_at, last_exposed_at) "
                "SELECT * FROM unnest(%s::text[], %s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], "
                "%s::timestamptz[]) ON CONFLICT (flag, environment_id, variant) DO UPDATE SET "
                "first_evaluated_at = least(held.first_evaluated_at, excluded.first_evaluated_at), "
                "last_evaluated_at = greatest(held.last_evaluated_at, excluded.last_evaluated_at), "
                "last_exposed_at = greatest(held.last_exposed_at, excluded.last_exposed_at) "
                "WHERE held.first_evaluated_at IS NULL AND excluded.first_evaluated_at IS NOT NULL "
                "OR excluded.last_evaluated_at > held.last_evaluated_at "
                "OR excluded.last_exposed_at > held.last_exposed_at "
                "OR held.last_exposed_at IS NULL AND excluded.last_exposed_at IS NOT NULL",
                [
                    *([use[n] for use in some] for n in range(3)),
                    [first.get(use) for use in some],
                    [last.get(use) for use in some],
                    [seen.get(use) for use in some],
                ],
            )


# --- Afterwards ---------------------------------------------------------------------------------
def tidy(*, now: datetime | None = None) -> int:
    """Put the minutes of older days together into hours, and forget what is past its time. How many rows went."""
    now = now or jobs.database_now()
    kept = timedelta(days=settings.PORTAL_EXPOSURE_RETENTION_DAYS)
    gone = _roll_up(before=now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS))
    gone += _delete("monitoring_variantcount", "minute < %s", now - kept)
    gone += _delete("monitoring_exposure", "time < %s", now - kept)
    gone += _delete("monitoring_countedbatch", "at < %s", now - WRITERS_KEPT)
    gone += _delete(
        "monitoring_variantuse", "greatest(last_evaluated_at, last_exposed_at) < %s", now - max(USES_KEPT, kept)
    )
    return gone


def _roll_up(*, before: datetime) -> int:
    """Hour by hour, each in a transaction of its own: the minutes go into the row of the hour's first minute."""
    until, gone = before.replace(minute=0, second=0, microsecond=0), 0
    while True:
        loose = VariantCount.objects.filter(minute__lt=until, hourly=False)
        oldest = loose.order_by("minute").values_list("minute", flat=True).first()
        if oldest is None:
            return gone
        hour = oldest.replace(minute=0)
        with transaction.atomic(), connection.cursor() as cursor:
            VariantCount.objects.filter(minute=hour, hourly=False).update(hourly=True)
            cursor.execute(
                "WITH gone AS (DELETE FROM monitoring_variantcount WHERE minute > %s AND minute < %s AND NOT hourly "
                "RETURNING environment_id, flag, variant, evaluations, exposures), "
                "sums AS (SELECT environment_id, flag, variant, sum(evaluations) AS e, sum(exposures) AS x FROM gone "
                "GROUP BY 1, 2, 3 ORDER BY 1, 2, 3), "
                "kept AS (INSERT INTO monitoring_variantcount AS held "
                "(environment_id, flag, variant, minute, evaluations, exposures, hourly) "
                "SELECT environment_id, flag, variant, %s, e, x, true FROM sums "
                "ON CONFLICT (environment_id, flag, minute, variant) DO UPDATE SET "
                "evaluations = held.evaluations + excluded.evaluations, "
                "exposures = held.exposures + excluded.exposures) "
                "SELECT count(*) FROM gone",
                [hour, hour + HOUR, hour],
            )
            gone += cursor.fetchone()[0]


def _delete(table: str, which: str, before: datetime) -> int:
    deleted = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"DELETE FROM {table} WHERE ctid IN (SELECT ctid FROM {table} WHERE {which} LIMIT {AT_ONCE})", [before]
            )
            deleted += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return deleted
