"""Errors of applications: each report kept once, the groups that they make, and the sample that the judge sees."""

import hashlib
import uuid
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import orjson
import structlog
from django.conf import settings
from django.db import connection, transaction

from monitoring import grouping
from monitoring.actions import batches, capping, error_groups, observations, rejections
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.error_reports import Identity, Reader, Report
from monitoring.actions.incoming import Wrong
from monitoring.models import ErrorGroup, ErrorHour, ErrorOccurrence, ErrorRelease, ErrorSeverity
from portal import jobs, live, permissions
from portal.audit import Actor
from portal.models import Environment, Service

log = structlog.get_logger(__name__)

SOURCE = "errors"
# An observation of 1 each (of their number, where they are only counted), by service, environment, release and
# severity: the sum over a window is how many came.
METRIC = "reported_errors"
RANK = {severity: rank for rank, severity in enumerate(ErrorSeverity.values)}
ANNOUNCED_BY_NAME = 20  # groups of a batch; of more it is only said that there are some
FORGOTTEN_AT_ONCE = 10_000  # rows in one statement
Releases = Mapping[capping.Place, Collection[str]]  # those that are told apart in the metric
LONGEST_SHOWN = 500  # characters of a message as its group shows it


@dataclass(frozen=True, slots=True)
class Bounds:
    """How many occurrences are kept of one group and hour; and, asked for each, whether one more is kept at all."""

    an_hour: int
    may_keep: Callable[[], bool]


def record(
    reports: Sequence[object], *, by: Actor, now: datetime | None = None, bounds: Bounds | None = None
) -> Recorded:
    """Take a batch of reports: {"type","message"?,"stack"?,"severity"?,"service",…} each, see `error_reports`.

    What is wrong is rejected by its place, the rest is kept. A report is known by its key within its service and
    environment: the same key again is a duplicate, whatever it says, and changes nothing. What it does to its group, to
    the counts and to the sample of its bucket happens in the transaction that keeps it.

    bounds: which occurrences are kept; those beyond raise the counts alone, so that one of them that comes again counts
    again.
    """
    permissions.require_scope(by, "ingest")
    now = now or jobs.database_now()
    outcome, reader = Recorded(), Reader(by, now)
    read: list[Report] = []
    named: list[Mapping[str, object]] = []
    for index, raw in enumerate(reports):
        try:
            read.append(reader.read(index, raw))
        except Wrong as wrong:
            _reject(outcome, index, wrong)
            if isinstance(raw, Mapping):
                named.append(raw)
    batches.authorise([*(report.place() for report in read), *named], by=by)
    placed = _placed(read, outcome)
    if placed:
        with transaction.atomic():
            outcome.accepted = _keep(placed, by=by, now=now, bounds=bounds)
        outcome.duplicates = len(placed) - outcome.accepted
    outcome.errors.sort(key=lambda fault: fault.index)
    return outcome


def forget_old(*, now: datetime | None = None) -> int:
    """Drop occurrences past their time, by when they arrived, then hours and groups past theirs.

    An occurrence stays at least as long as its like would be taken: its key is what makes a retry safe.
    """
    now = now or jobs.database_now()
    kept = timedelta(days=settings.PORTAL_ERROR_RETENTION_DAYS)
    taken = timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS) + timedelta(days=1)
    over = now - timedelta(days=settings.PORTAL_HOUR_RETENTION_DAYS)
    forgotten = _forget("monitoring_erroroccurrence", "created_at", now - max(kept, taken))
    forgotten += _forget("monitoring_errorhour", "hour", over)
    old = ErrorGroup.objects.filter(last_seen__lt=over, occurrences=None).values_list("pk", flat=True)
    return forgotten + sum(_forget_group(group, over) for group in list(old[:FORGOTTEN_AT_ONCE]))


def _forget_group(pk: int, over: datetime) -> int:
    """Unless it has come back since it was listed."""
    with transaction.atomic():
        group = ErrorGroup.objects.select_for_update().filter(pk=pk, last_seen__lt=over).first()
        return group.delete()[0] if group and not group.occurrences.exists() else 0


def _forget(table: str, column: str, before: datetime) -> int:
    forgotten = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                f"DELETE FROM {table} WHERE id IN (SELECT id FROM {table} WHERE {column} < %s LIMIT %s)",
                [before, FORGOTTEN_AT_ONCE],
            )
            forgotten += cursor.rowcount
            if cursor.rowcount < FORGOTTEN_AT_ONCE:
                return forgotten


def _placed(reports: list[Report], outcome: Recorded) -> list[Report]:
    """With the rows of their places; what names a place that does not exist is rejected."""
    environments = dict(Environment.objects.values_list("key", "id"))
    services = dict(Service.objects.values_list("key", "id"))
    placed = []
    for report in reports:
        environment, service = environments.get(report.environment), services.get(report.service)
        if environment is None:
            _reject(outcome, report.index, Wrong("environment", f"no environment named '{report.environment}'"))
        elif service is None:
            _reject(outcome, report.index, Wrong("service", f"no service named '{report.service}'"))
        else:
            report.environment_id, report.service_id = environment, service
            placed.append(report)
    return placed


def _keep(reports: Sequence[Report], *, by: Actor, now: datetime, bounds: Bounds | None) -> int:
    """How many of them are new."""
    groups, made = _groups(reports)
    unique: dict[Identity, Report] = {}
    for report in reports:
        unique.setdefault(report.identity, report)
    beyond = set() if bounds is None else _beyond(unique, groups, bounds)
    kept = _insert({identity: report for identity, report in unique.items() if identity not in beyond}, groups)
    counted = [unique[identity] for identity in beyond]
    fresh = sorted([*kept, *counted], key=lambda report: report.index)
    by_group: dict[int, list[Report]] = defaultdict(list)
    for report in fresh:
        by_group[groups[report.group].pk].append(report)
    # Another report of this key was quicker, and is in another group.
    ErrorGroup.objects.filter(pk__in=made - set(by_group)).delete()
    if not fresh:
        return 0
    touched = [group for group in groups.values() if group.pk in by_group]
    regressed = _regressed(touched, by_group)
    _count_hours(by_group)
    _count_releases(by_group)
    met = _count_units(by_group)
    for group in touched:
        _update(group, by_group[group.pk], met[group.pk])
    ErrorGroup.objects.bulk_update(
        touched,
        [
            "type", "message", "culprit", "severity", "first_seen", "last_seen", "count", "users", "first_release",
            "last_release",
        ],
        batch_size=500,
    )  # fmt: skip
    for group, report in regressed:
        error_groups.regress(group, release=report.release, now=now)
    _measure(_heeded(kept, groups), _heeded(counted, groups), by=by, now=now)
    _announce(touched)
    return len(fresh)


def _groups(reports: Sequence[Report]) -> tuple[dict[Identity, ErrorGroup], set[int]]:
    """Each report's group, locked, and the numbers of those made just now. One writer a group at a time."""
    first: dict[Identity, Report] = {}
    for report in reports:
        first.setdefault(report.group, report)
    missing = set(first) - {_identity(group) for group in _find(first)}
    made: set[Identity] = set()
    while True:
        _make([first[identity] for identity in sorted(missing)])
        made |= missing
        found = {_identity(group): group for group in _find(first, lock=True)}
        # Tidied away since it was found: made anew.
        missing = set(first) - set(found)
        if not missing:
            return found, {found[identity].pk for identity in made if not found[identity].count}


def _make(reports: Iterable[Report]) -> None:
    """In the order given, so that two batches that overlap wait for each other instead of deadlocking."""
    rows = [
        ErrorGroup(
            service_id=report.service_id,
            environment_id=report.environment_id,
            fingerprint=report.grouped.fingerprint,
            type=report.type,
            message=report.message[:LONGEST_SHOWN],
            culprit=report.grouped.culprit,
            severity=report.severity,
            first_seen=report.time,
            last_seen=report.time,
        )
        for report in reports
    ]
    ErrorGroup.objects.bulk_create(rows, ignore_conflicts=True)


def _find(wanted: Collection[Identity], *, lock: bool = False) -> list[ErrorGroup]:
    rows = ErrorGroup.objects.filter(
        service__in={service for service, _, _ in wanted},
        environment__in={environment for _, environment, _ in wanted},
        fingerprint__in={print_ for _, _, print_ in wanted},
    ).order_by("pk")
    found = rows.select_for_update(no_key=True) if lock else rows
    return [group for group in found if _identity(group) in wanted]


def _identity(group: ErrorGroup) -> Identity:
    return group.service_id, group.environment_id, group.fingerprint


def _beyond(first: Mapping[Identity, Report], groups: Mapping[Identity, ErrorGroup], bounds: Bounds) -> set[Identity]:
    """Those that are counted and not kept. The groups are locked: nobody else adds to their hours."""
    places = {identity: (groups[one.group].pk, _hour(one.time)) for identity, one in first.items()}
    hours = ErrorHour.objects.filter(
        group__in={group for group, _ in places.values()}, hour__in={hour for _, hour in places.values()}
    )
    counts: Counter[tuple[int, datetime]] = Counter()
    counts.update({(one.group_id, one.hour): one.count for one in hours})
    known = set(
        ErrorOccurrence.objects.filter(
            service__in={service for service, _, _ in first},
            environment__in={environment for _, environment, _ in first},
            key__in={key for _, _, key in first},
        ).values_list("service_id", "environment_id", "key")
    )
    beyond = set()
    for identity, place in places.items():
        if identity in known:
            continue
        counts[place] += 1
        if counts[place] > bounds.an_hour or not bounds.may_keep():
            beyond.add(identity)
    return beyond


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


def _insert(first: Mapping[Identity, Report], groups: Mapping[Identity, ErrorGroup]) -> list[Report]:
    """Add the occurrences whose key is new."""
    rows = [first[identity] for identity in sorted(first)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_erroroccurrence (group_id, service_id, environment_id, key, time, severity, "
            "message, stack, release, unit, url, labels) "
            "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::text[], "
            "%s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::jsonb[]) "
            "ON CONFLICT (service_id, environment_id, key) DO NOTHING RETURNING service_id, environment_id, key",
            [
                [groups[row.group].pk for row in rows],
                [row.service_id for row in rows],
                [row.environment_id for row in rows],
                [row.key for row in rows],
                [row.time for row in rows],
                [row.severity for row in rows],
                [row.message for row in rows],
                [row.stack for row in rows],
                [row.release for row in rows],
                [row.unit for row in rows],
                [row.url for row in rows],
                [orjson.dumps(row.labels).decode() for row in rows],
            ],
        )
        return sorted((first[tuple(identity)] for identity in cursor.fetchall()), key=lambda report: report.index)


def _update(group: ErrorGroup, fresh: Sequence[Report], met: int) -> None:
    """What the new occurrences say of their group; `met`: units that had not met it before."""
    in_order = sorted(fresh, key=lambda report: report.time)
    released = [report for report in in_order if report.release]
    if released and (not group.first_release or in_order[0].time < group.first_seen):
        group.first_release = released[0].release
    if released and (not group.last_release or released[-1].time >= group.last_seen):
        group.last_release = released[-1].release
    if in_order[-1].time >= group.last_seen:
        newest = in_order[-1]
        group.type, group.message = newest.type, newest.message[:LONGEST_SHOWN]
        group.culprit = newest.grouped.culprit
    group.first_seen = min(group.first_seen, in_order[0].time)
    group.last_seen = max(group.last_seen, in_order[-1].time)
    group.severity = max([group.severity, *(report.severity for report in fresh)], key=lambda one: RANK[one])
    group.count += len(fresh)
    group.users += met


def _regressed(groups: Sequence[ErrorGroup], fresh: Mapping[int, Sequence[Report]]) -> list[tuple[ErrorGroup, Report]]:
    """The resolved ones that came again, each with the report that says so: after it was resolved, in a newer release.

    A release in which it was known already may run on somewhere for a while: that it still fails there is no news.
    """
    resolved = [group for group in groups if group.status == ErrorGroup.Status.RESOLVED]
    known: dict[int, set[str]] = defaultdict(set)
    for row in ErrorRelease.objects.filter(group__in=resolved):
        known[row.group_id].add(row.release)
    found = []
    for group in resolved:
        for report in fresh[group.pk]:
            is_later = group.resolved_at is None or report.time > group.resolved_at
            if is_later and grouping.is_newer(report.release, known[group.pk]):
                found.append((group, report))
                break
    return found


def _count_hours(fresh: Mapping[int, Sequence[Report]]) -> None:
    counts = Counter((group, _hour(report.time)) for group, reports in fresh.items() for report in reports)
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_errorhour AS h (group_id, hour, count) "
            "SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[]) "
            "ON CONFLICT (group_id, hour) DO UPDATE SET count = h.count + excluded.count",
            [[group for group, _ in counts], [hour for _, hour in counts], list(counts.values())],
        )


def _count_releases(fresh: Mapping[int, Sequence[Report]]) -> None:
    times: dict[tuple[int, str], list[datetime]] = defaultdict(list)
    for group, reports in fresh.items():
        for report in reports:
            if report.release:
                times[group, report.release].append(report.time)
    if not times:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_errorrelease AS r (group_id, release, first_seen, last_seen, count) "
            "SELECT * FROM unnest(%s::bigint[], %s::text[], %s::timestamptz[], %s::timestamptz[], %s::bigint[]) "
            "ON CONFLICT (group_id, release) DO UPDATE SET first_seen = least(r.first_seen, excluded.first_seen), "
            "last_seen = greatest(r.last_seen, excluded.last_seen), count = r.count + excluded.count",
            [
                [group for group, _ in times],
                [release for _, release in times],
                [min(some) for some in times.values()],
                [max(some) for some in times.values()],
                [len(some) for some in times.values()],
            ],
        )


def _count_units(fresh: Mapping[int, Sequence[Report]]) -> Counter[int]:
    """How many units met each group for the first time."""
    met = sorted({(group, _digest(report.unit)) for group, some in fresh.items() for report in some if report.unit})
    if not met:
        return Counter()
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_errorunit (group_id, digest) SELECT * FROM unnest(%s::bigint[], %s::text[]) "
            "ON CONFLICT (group_id, digest) DO NOTHING RETURNING group_id",
            [[group for group, _ in met], [digest for _, digest in met]],
        )
        return Counter(group for (group,) in cursor.fetchall())


def _digest(unit: str) -> str:
    return hashlib.sha256(f"{settings.SECRET_KEY}{unit}".encode()).hexdigest()[:32]


def _heeded(reports: Iterable[Report], groups: Mapping[Identity, ErrorGroup]) -> list[Report]:
    return [report for report in reports if groups[report.group].status != ErrorGroup.Status.IGNORED]


def _each(reports: Iterable[Report], releases: Releases) -> list[dict[str, object]]:
    """An observation for each."""
    return [
        {"metric": METRIC, "key": report.key, "value": 1.0, "time": report.time, "labels": _labels(report, releases)}
        for report in reports
    ]


def _together(reports: Iterable[Report], releases: Releases) -> list[dict[str, object]]:
    """One observation for those of the same labels and bucket: their number."""
    counts = Counter(
        (observations.bucket_of(report.time), tuple(_labels(report, releases).items())) for report in reports
    )
    return [
        {"metric": METRIC, "key": uuid.uuid4().hex, "value": float(many), "time": start, "labels": dict(labels)}
        for (start, labels), many in counts.items()
    ]


def _measure(kept: Sequence[Report], counted: Sequence[Report], *, by: Actor, now: datetime) -> None:
    """The samples of their buckets are recomputed, and the thresholds on them are judged."""
    named: dict[capping.Place, set[str]] = defaultdict(set)
    for report in (*kept, *counted):
        if report.release:
            named[report.service_id, report.environment_id].add(report.release)
    releases = capping.error_releases(named, metric=METRIC)
    seen = [*_each(kept, releases), *_together(counted, releases)]
    if not seen:
        return
    outcome = observations.record(seen, by=by, now=now)
    if outcome.errors:
        # Too many series, or a metric of this name that counts something else: the errors themselves are kept.
        log.warning("errors.not_measured", rejected=outcome.rejected, first=outcome.errors[0].message)
        rejections.note_faults(SOURCE, outcome.errors, by=by, now=now)


def _labels(report: Report, releases: Releases) -> dict[str, str]:
    labels = {"service": report.service, "environment": report.environment, "severity": report.severity}
    if not report.release:
        return labels
    told_apart = report.release in releases[report.service_id, report.environment_id]
    return labels | {"release": report.release if told_apart else capping.OTHER}


def _announce(groups: Sequence[ErrorGroup]) -> None:
    if len(groups) > ANNOUNCED_BY_NAME:
        live.announce("errors")
        return
    for group in groups:
        live.announce("errors", id=group.pk)


def _reject(outcome: Recorded, index: int, wrong: Wrong) -> None:
    outcome.rejected += 1
    outcome.errors.append(Fault(index, wrong.field, wrong.message))
