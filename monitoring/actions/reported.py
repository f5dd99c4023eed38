"""Taking alerts that somebody else judges: they fire, open incidents and end as our own do.

What is repeated changes nothing; what falls silent is said to be silent, and is never taken for over.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from monitoring.actions import alerts, batches, catching, given, rejections, watchdogs
from monitoring.actions.batches import Fault
from monitoring.actions.given import Given
from monitoring.models import Alert, IncidentDefinition, ReportedAlert, Threshold
from monitoring.sources.alertmanager import Report, Unreadable, fingerprint
from portal import audit, jobs, permissions
from portal.audit import Actor
from portal.models import ApiKey, Environment, Service

SOURCE = "alertmanager"
# A Prometheus names an end four of its rounds ahead: so much later at the latest it is silent.
GRACE = timedelta(minutes=1)
LONGEST_STAND = timedelta(days=1)
# A silent one that nobody answers for (a warning has no incident) ends after this, and says so.
FORGET = timedelta(days=1)
MOST_NAMES = 2000  # different alertnames
MOST_GOING_ON = 10_000  # alerts that are not over

Said = ReportedAlert.Phase
Reader = Callable[..., Report]


@dataclass(slots=True)
class Taken:
    """What became of a request's alerts."""

    changed: int = 0
    repeated: int = 0
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Sent:
    """A report with what the caller and its labels make of it."""

    index: int
    report: Report
    fingerprint: str


def take(things: Sequence[Any], read: Reader, *, by: Actor, way: str, now: datetime | None = None) -> Taken:
    """Take the alerts of one request; the good ones are kept when others are not. Raises Forbidden, Unavailable."""
    permissions.require_scope(by, "ingest")
    now = now or jobs.database_now()
    taken = Taken()
    sent = _read(things, read, taken, by=by, now=now)
    batches.authorise([one.report.labels for one in sent], by=by)
    alive = watchdogs.hear_reports([one.report for one in sent], by=by, way=way, now=now)
    taken.repeated += len(alive)
    sent = [one for index, one in enumerate(sent) if index not in alive]
    news = _repeated(sent, taken, by=by, way=way, now=now)
    definitions = catching.definitions() if news else []
    places = _places(news)
    for one in news:
        try:
            moved = _settle(one, places, definitions, by=by, way=way, now=now)
        except Unreadable as error:
            taken.faults.append(Fault(one.index, error.field, error.message))
            continue
        taken.changed += moved
        taken.repeated += not moved
    rejections.note_faults(SOURCE, taken.faults, by=by, now=now)
    return taken


def note_truncated(many: int, *, by: Actor) -> None:
    """The sender has left alerts out of its body (its max_alerts): nobody here knows of them."""
    if many:
        rejections.note(SOURCE, "left out by the sender: raise max_alerts of its webhook", by=by, count=many)


def notice_silence(*, now: datetime | None = None) -> int:
    """Those that should have been reported again and were not are marked and told of, one by one. How many."""
    now = now or jobs.database_now()
    done = 0
    while True:
        with transaction.atomic():
            row = jobs.claim(
                ReportedAlert.objects.filter(due_at__lte=now).order_by("due_at").select_related("threshold")
            )
            if row is None:
                return done
            _fall_silent(row, now)
            done += 1


def _read(things: Sequence[Any], read: Reader, taken: Taken, *, by: Actor, now: datetime) -> list[Sent]:
    default = None
    if isinstance(by, ApiKey) and not by.all_environments:
        bound = list(by.environments.values_list("key", flat=True)[:2])
        default = bound[0] if len(bound) == 1 else None
    found: dict[str, Sent] = {}
    for index, raw in enumerate(things):
        try:
            report = read(raw, now=now)
        except Unreadable as error:
            taken.faults.append(Fault(index, error.field, error.message))
            continue
        if default is not None and "environment" not in report.labels:
            report.labels["environment"] = default  # type: ignore[index]
        key = fingerprint(report.labels)
        known = found.get(key)
        # The same alert twice in one request: what began later holds.
        if known is None or known.report.starts_at <= report.starts_at:
            found[key] = Sent(index, report, key)
    return list(found.values())


def _repeated(sent: Sequence[Sent], taken: Taken, *, by: Actor, way: str, now: datetime) -> list[Sent]:
    """Notes those that only say again what is known, all at once; the others are returned."""
    keys = [one.fingerprint for one in sent]
    rows = {row.fingerprint: row for row in ReportedAlert.objects.filter(fingerprint__in=keys, phase=Said.FIRING)}
    open_ = set(
        Alert.objects.open().filter(group__in=list(rows), threshold__source=SOURCE).values_list("group", flat=True)
    )
    news, again = [], []
    for one in sent:
        row = rows.get(one.fingerprint)
        stands = one.fingerprint in open_ or one.report.level is None
        if row is None or not one.report.is_firing or not stands or row.starts_at < one.report.starts_at:
            news.append(one)
            continue
        row.reported_at, row.sender, row.way = now, audit.describe(by)[:200], way
        row.ends_at, row.due_at = one.report.ends_at, _due(one.report, now)
        again.append(row)
    ReportedAlert.objects.bulk_update(again, ["reported_at", "sender", "way", "ends_at", "due_at"])
    taken.repeated += len(again)
    return news


def _places(sent: Sequence[Sent]) -> Mapping[tuple[str, str], Any]:
    """The services and environments that the labels name, where we have them: an alert is not lost for a name."""
    found: dict[tuple[str, str], Any] = {}
    for kind, model in (("service", Service), ("environment", Environment)):
        names = {one.report.labels.get(kind, "") for one in sent} - {""}
        for row in model.objects.filter(key__in=names):
            found[kind, row.key] = row
    return found


def _settle(
    sent: Sent,
    places: Mapping[tuple[str, str], Any],
    definitions: Sequence[IncidentDefinition],
    *,
    by: Actor,
    way: str,
    now: datetime,
) -> bool:
    """What is new of one alert. False when it was known."""
    report = sent.report
    with transaction.atomic():
        found = ReportedAlert.objects.filter(fingerprint=sent.fingerprint).select_related("threshold")
        row = found.select_for_update(of=("self",)).first()
        if row is None and not report.is_firing:
            raise Unreadable("endsAt", "it was over before it was first reported: are the clocks right?")
        if row is not None and _is_old(row, report, way):
            return False
        before = row.phase if row is not None else None
        if row is None:
            row = ReportedAlert(fingerprint=sent.fingerprint, threshold=_threshold(report.name))
        row.service = places.get(("service", report.labels.get("service", "")))
        row.environment = places.get(("environment", report.labels.get("environment", "")))
        row.phase = Said.FIRING if report.is_firing else Said.RESOLVED
        row.level = report.level or ReportedAlert.Level.INFO
        row.labels, row.annotations = dict(report.labels), dict(report.annotations)
        row.generator_url, row.way, row.sender = report.generator_url, way, audit.describe(by)[:200]
        row.starts_at, row.ends_at, row.reported_at = report.starts_at, report.ends_at, now
        row.due_at = _due(report, now)
        row.save()
        return _turn(row, report.reason, definitions, now=now) or before != row.phase


def _is_old(row: ReportedAlert, report: Report, way: str) -> bool:
    """A report that came late or again: (labels, start, status) are known, or something newer is."""
    if report.is_firing:
        # An API's end is pushed ahead with each word; a webhook has only the start to tell by.
        later = way == "api" and row.ends_at is not None and report.ends_at is not None and report.ends_at > row.ends_at
        return row.phase == Said.RESOLVED and report.starts_at <= row.starts_at and not later
    return row.phase == Said.RESOLVED or report.starts_at < row.starts_at


def _turn(row: ReportedAlert, reason: str, definitions: Sequence[IncidentDefinition], *, now: datetime) -> bool:
    """Bring its alert to where the row is."""
    if row.level == ReportedAlert.Level.INFO:
        return False
    level = Report(row.labels, True, row.starts_at).level if row.phase == Said.FIRING else None
    told = Given(
        row.threshold, level, reason, row.starts_at, row.fingerprint, row.service, row.environment, row.labels
    )  # fmt: skip
    return given.bring(told, definitions, now=now)


def _fall_silent(row: ReportedAlert, now: datetime) -> None:
    alert = _open(row)
    words = f"no longer reported since {row.reported_at:%d %b %H:%M:%S} UTC"
    if row.phase == Said.FIRING:
        row.phase, row.due_at = Said.UNREPORTED, now + FORGET
        if alert is not None:
            text = f"{row.threshold.name}: {words}; it is not known to be over: is {row.sender} alive?"
            alerts.remark(alert, "unreported", because=text)
    elif alert is not None and alert.incident_id is not None:
        row.due_at = now + FORGET  # a person ends the incident, and the alert with it
    else:
        was, row.phase, row.due_at = row.phase, Said.RESOLVED, None
        row.ends_at = row.ends_at or now
        if was == Said.UNREPORTED and alert is not None:
            _turn(row, f"{row.threshold.name}: {words}, given up; nobody has said that it is over", [], now=now)
    row.save(update_fields=["phase", "due_at", "ends_at"])


def _open(row: ReportedAlert) -> Alert | None:
    return given.open_alert(row.threshold, row.fingerprint)


def _due(report: Report, now: datetime) -> datetime | None:
    """When its silence is noticed: a webhook says when it is over, and nothing meanwhile."""
    if not report.is_firing or report.ends_at is None:
        return None
    return min(report.ends_at, now + LONGEST_STAND) + GRACE


def _threshold(name: str) -> Threshold:
    """What stands for the rule that somebody else judges: silences, definitions and shares of false ones know it."""
    found = Threshold.objects.filter(source=SOURCE, name=name).first()
    if found is not None:
        return found
    if Threshold.objects.filter(source=SOURCE).count() >= MOST_NAMES:
        raise Unreadable("labels.alertname", f"there are {MOST_NAMES} different ones already")
    if ReportedAlert.objects.going_on().count() >= MOST_GOING_ON:
        raise Unreadable("", f"{MOST_GOING_ON} alerts are going on already")
    fields = {
        "aggregation": "count", "operator": ">", "error": 0.0, "owner": SOURCE, "flap_transitions": 0,
        "created_by": SOURCE,
    }  # fmt: skip
    return Threshold.objects.get_or_create(source=SOURCE, name=name, defaults=fields)[0]
