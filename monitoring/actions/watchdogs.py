"""Hearing signs of life, and noticing that they stay away.

Whoever watches us may be dead as well as we: a Prometheus that sends no alert may have none, or may be gone. Its alert
`Watchdog`, which always fires, is taken for what it is: as long as it comes all is well, and when it stays away an
incident opens. A nightly job calls an address instead.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db import transaction
from django.utils.text import slugify

from monitoring.actions import alerts, catching, given, incoming, rejections
from monitoring.actions.given import Given
from monitoring.actions.incoming import Wrong
from monitoring.judging import Level
from monitoring.models import Threshold, Watchdog
from monitoring.models.watchdogs import LONGEST, LONGEST_GRACE, SHORTEST
from monitoring.sources.alertmanager import Report, fingerprint
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Forbidden, Invalid, Refused
from portal.models import Environment, Heartbeat, Service

BY = Automaton("watchdogs")
SOURCE = "watchdog"
SWEEP = "monitoring.watch_reports"
SETTABLE = ("key", "name", "matchers", "service", "environment", "every", "grace", "level", "runbook", "active")
PLACES = ("service", "environment")
LONGEST_MESSAGE = 2000
MOST_MATCHERS = 20
MOST_FOUND = 200  # watchdogs that were made because their alert came
# Nobody could have been heard while nobody listened: after such a gap in our own sweep everybody gets time again.
AWAY = timedelta(seconds=60)
# How often their alert comes unasked: a Prometheus repeats it each minute, an Alertmanager each four hours.
EVERY = {"api": (60, 240), "webhook": (14_400, 600)}  # seconds, and how late

Status = Watchdog.Status


def create(fields: Mapping[str, Any], *, by: Actor) -> Watchdog:
    """Watch for somebody. It has its interval and its grace from now on to be heard for the first time."""
    watchdog = Watchdog(**_known(fields), created_by=audit.describe(by)[:200])
    _check(watchdog)
    _require(watchdog, by=by)
    with transaction.atomic():
        if Watchdog.objects.filter(key=watchdog.key).exists():
            raise Refused(f"there is a watchdog {watchdog.key} already")
        watchdog.threshold = _threshold(watchdog)
        watchdog.due_at = jobs.database_now() + watchdog.patience if watchdog.active else None
        watchdog.save()
        audit.record("watchdog.created", watchdog, by=by, after=shown(watchdog))
        live.announce("watchdogs", id=watchdog.pk)
    return _with_places(watchdog)


def change(watchdog: Watchdog, fields: Mapping[str, Any], *, by: Actor, because: str = "") -> Watchdog:
    """Replace the fields given. A paused one is owed nothing, and its alert ends; resumed, it has its time anew."""
    _require(watchdog, by=by)
    with transaction.atomic():
        watchdog = _lock(watchdog.pk)
        before = shown(watchdog)
        for name, value in _known(fields).items():
            setattr(watchdog, name, value)
        if watchdog.key != before["key"]:
            raise Invalid.of("key", "cannot be changed")
        _check(watchdog)
        _require(watchdog, by=by)
        after = shown(watchdog)
        if after == before:
            return _with_places(watchdog)
        watchdog.threshold = _threshold(watchdog)
        watchdog.due_at = _next_due(watchdog, before)
        watchdog.save()
        audit.record("watchdog.changed", watchdog, by=by, before=before, after=after, because=because)
        if before["active"] and not watchdog.active:
            alerts.end_of_thresholds([watchdog.threshold], by=by, because=f"{watchdog} is not watched any more")
        if before["active"] != watchdog.active:
            states.move(watchdog, Status.WAITING, by=by, because=because)
        live.announce("watchdogs", id=watchdog.pk)
    return _with_places(watchdog)


def delete(watchdog: Watchdog, *, by: Actor, because: str = "") -> None:
    """Its alerts stay on record; one that fires ends, and a person says when its incident is over."""
    _require(watchdog, by=by)
    with transaction.atomic():
        watchdog = _lock(watchdog.pk)
        audit.record("watchdog.deleted", watchdog, by=by, before=shown(watchdog), because=because)
        alerts.end_of_thresholds([watchdog.threshold], by=by, because=f"{watchdog} was deleted")
        Threshold.objects.filter(pk=watchdog.threshold_id).update(active=False)
        live.announce("watchdogs", id=watchdog.pk)
        watchdog.delete()


def beat(watchdog: Watchdog, *, by: Actor, failed: bool = False, said: str = "", now: datetime | None = None) -> None:
    """A sign of life; `failed`: alive, but what it had to do went wrong, and `said` tells why."""
    if not _may_be_heard(watchdog, by):
        raise Forbidden(f"{audit.describe(by)} does not carry the scope ingest for {watchdog}")
    if len(said) > LONGEST_MESSAGE or incoming.UNKEEPABLE.search(said):
        raise Invalid.of("message", f"must be at most {LONGEST_MESSAGE} characters, without NUL")
    _hear(watchdog.pk, by=by, status=Status.FAILING if failed else Status.ALIVE, said=said, now=now)


def hear_reports(reports: Sequence[Report], *, by: Actor, way: str, now: datetime) -> set[int]:
    """Take the signs of life out of alerts that were reported: the indexes of those that are nothing else.

    An alert that PORTAL_WATCHDOGS names makes its own watchdog when it comes for the first time.
    """
    known = list(Watchdog.objects.exclude(matchers={}).select_related(*PLACES))
    taken: set[int] = set()
    for index, report in enumerate(reports):
        meant = [one for one in known if one.matchers.items() <= report.labels.items()]
        found = [one.pk for one in meant if _may_be_heard(one, by)]
        if not found and report.name in settings.PORTAL_WATCHDOGS and report.is_firing:
            made = _found(report, by=by, way=way)
            found = [made.pk] if made else []
        for pk in found:
            if report.is_firing:
                _hear(pk, by=by, status=Status.ALIVE, now=now)
            else:
                _end(pk, report, now=now)
        if found:
            taken.add(index)
    return taken


def _may_be_heard(watchdog: Watchdog, by: Actor) -> bool:
    """Nobody keeps another's watchdog alive, or silences it, whatever labels he sends."""
    try:
        permissions.require_scope(
            by,
            "ingest",
            environment=watchdog.environment or permissions.ANY,
            service=watchdog.service or permissions.ANY,
        )
    except Forbidden:
        return False
    return True


def notice_silence(*, now: datetime | None = None) -> int:
    """Those that were owed a sign of life and gave none: each fires its alert. How many."""
    now = now or jobs.database_now()
    if _were_away(now):
        return _give_time(now)
    done = 0
    while True:
        with transaction.atomic():
            row = jobs.claim(Watchdog.objects.filter(active=True, due_at__lte=now).order_by("due_at"))
            if row is None:
                return done
            since = row.due_at or now
            _fall_silent(row, since, now)
            done += 1


def shown(watchdog: Watchdog) -> dict[str, Any]:
    plain = {name: getattr(watchdog, name) for name in SETTABLE if name not in PLACES}
    return plain | {name: place.key if (place := getattr(watchdog, name)) else None for name in PLACES}


def _hear(pk: int, *, by: Actor, status: Watchdog.Status, said: str = "", now: datetime | None = None) -> None:
    with transaction.atomic():
        row = _lock(pk)
        now = now or jobs.database_now()
        before = row.status
        row.heard(at=now, by=audit.describe(by), said=said)
        row.save(update_fields=["heard_at", "heard_from", "said", "due_at"])
        if not row.active:
            return
        if status == Status.FAILING:
            words = f"{row} says that it failed" + (f": {said}" if said else "")
            _become(row, status, Level(row.level), words, since=now, now=now)
        elif before != Status.ALIVE:
            _become(row, status, None, f"{row} is heard again", since=now, now=now)


def _end(pk: int, report: Report, *, now: datetime) -> None:
    """Its sender says that the alert that always fires is over: nobody waits for the next sign."""
    with transaction.atomic():
        row = _lock(pk)
        late = report.ends_at is not None and row.heard_at is not None and report.ends_at < row.heard_at - row.patience
        if row.active and row.status == Status.ALIVE and not late:
            _fall_silent(row, now, now, words=f"{row}: its sender says that its sign of life has ended")


def _fall_silent(row: Watchdog, since: datetime, now: datetime, *, words: str = "") -> None:
    if not words:
        heard = f"not heard since {row.heard_at:%d %b %H:%M:%S} UTC" if row.heard_at else "never heard"
        words = f"{row}: {heard}; it is owed every {row.every} s, and may be {row.grace} s late"
    row.due_at = None
    row.save(update_fields=["due_at"])
    _become(row, Status.SILENT, Level(row.level), words, since=since, now=now)


def _become(
    row: Watchdog, status: Watchdog.Status, level: Level | None, reason: str, *, since: datetime, now: datetime
) -> None:
    states.move(row, status, by=BY, because=reason)
    given.bring(
        Given(row.threshold, level, reason, since, service=row.service, environment=row.environment),
        catching.definitions(),
        now=now,
    )
    live.announce("watchdogs", id=row.pk)


def _found(report: Report, *, by: Actor, way: str) -> Watchdog | None:
    """The watchdog of an alert that is one by its name. Who may send alerts may be watched."""
    if Watchdog.objects.filter(created_by=str(BY)).count() >= MOST_FOUND:
        rejections.note("watchdog", f"{MOST_FOUND} watchdogs were found already: delete some", by=by)
        return None
    where = {
        name: model.objects.filter(key=report.labels.get(name, "")).first()
        for name, model in (("service", Service), ("environment", Environment))
    }
    beside = [f"{name}={value}" for name, value in sorted(report.labels.items()) if name in ("cluster", "prometheus")]
    every, grace = EVERY[way]
    fields = {
        "key": f"{slugify(report.name)[:60] or 'watchdog'}-{fingerprint(report.labels)[:12]}",
        "name": " ".join([report.name, *beside])[:200],
        "matchers": dict(report.labels), "every": every, "grace": grace, **where,
    }  # fmt: skip
    known = Watchdog.objects.filter(key=fields["key"]).first()
    return known or create(fields, by=BY)


def _were_away(now: datetime) -> bool:
    """This sweep has not completed a cycle for a while: what was sent meanwhile may not have been taken either."""
    last = Heartbeat.objects.filter(name=SWEEP).values_list("at", flat=True).first()
    return last is not None and now - last > AWAY


def _give_time(now: datetime) -> int:
    late = Watchdog.objects.select_for_update(skip_locked=True).filter(active=True, due_at__lte=now)
    with transaction.atomic():
        for row in late:
            row.due_at = now + row.patience
            row.save(update_fields=["due_at"])
    return 0


def _next_due(watchdog: Watchdog, before: Mapping[str, Any]) -> datetime | None:
    if not watchdog.active or watchdog.status == Status.SILENT and before["active"]:
        return None
    since = watchdog.heard_at if before["active"] else None
    return (since or jobs.database_now()) + watchdog.patience


def _threshold(watchdog: Watchdog) -> Threshold:
    """What stands for it; that of one of the same name and key that was deleted is taken up again."""
    bounds = dict.fromkeys(("error", "critical")) | {str(watchdog.level): 0.0}
    fields = {
        **bounds,
        "aggregation": "count", "operator": "<=", "owner": SOURCE, "flap_transitions": 0, "active": True,
        "service": watchdog.service, "environment": watchdog.environment, "runbook": watchdog.runbook,
    }  # fmt: skip
    own = watchdog.name if watchdog.name == watchdog.key else f"{watchdog.name[:90]} ({watchdog.key})"
    if not watchdog._state.adding:
        Threshold.objects.filter(pk=watchdog.threshold_id).update(name=own, **fields)
        return Threshold.objects.get(pk=watchdog.threshold_id)
    made = {"created_by": watchdog.created_by}
    return Threshold.objects.update_or_create(source=SOURCE, name=own, defaults=fields, create_defaults=fields | made)[
        0
    ]


def _known(fields: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(fields) - set(SETTABLE))
    if unknown:
        raise Invalid.of(unknown[0], "unknown field")
    return dict(fields)


def _require(watchdog: Watchdog, *, by: Actor) -> None:
    permissions.require(by, "configure", environment=watchdog.environment, service=watchdog.service)


def _check(watchdog: Watchdog) -> None:
    faults: dict[str, str] = {}
    try:
        validate_slug(watchdog.key)
    except (ValidationError, TypeError):
        faults["key"] = "must be letters, digits, - and _"
    if "key" not in faults and len(watchdog.key) > 100:
        faults["key"] = "at most 100 characters"
    watchdog.name = watchdog.name or str(watchdog.key)
    for name, most in (("name", 200), ("runbook", 20_000)):
        value = getattr(watchdog, name)
        if not isinstance(value, str) or len(value) > most or incoming.UNKEEPABLE.search(value):
            faults[name] = f"must be text of at most {most} characters"
    for name, least, most in (("every", SHORTEST, LONGEST), ("grace", 0, LONGEST_GRACE)):
        value = getattr(watchdog, name)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            faults[name] = f"must be a whole number of seconds from {least} to {most}"
    if watchdog.level not in Watchdog.Level.values:
        faults["level"] = f"must be one of {', '.join(Watchdog.Level.values)}"
    if watchdog.active not in (True, False):
        faults["active"] = "must be true or false"
    if not isinstance(watchdog.matchers, Mapping) or len(watchdog.matchers) > MOST_MATCHERS:
        faults["matchers"] = f"must be an object of at most {MOST_MATCHERS} labels"
    else:
        try:
            watchdog.matchers = incoming.labels(watchdog.matchers)
        except Wrong as wrong:
            faults[wrong.field.replace("labels", "matchers", 1)] = wrong.message
    if faults:
        raise Invalid(faults)


def _lock(pk: int) -> Watchdog:
    rows = Watchdog.objects.select_for_update(of=("self",)).select_related(*PLACES, "threshold")
    found = rows.filter(pk=pk).first()
    if found is None:
        raise Refused("this watchdog has been deleted")
    return found


def _with_places(watchdog: Watchdog) -> Watchdog:
    return Watchdog.objects.select_related(*PLACES).get(pk=watchdog.pk)
