"""The turns that an alert takes: each one transaction with incident, timeline, response and messages.

Rows are locked in one order everywhere: threshold, incident, state.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from django.db import IntegrityError, connection, transaction

from monitoring.actions import catching, notices, timeline
from monitoring.judging import Event, Level, Reading, State, Step
from monitoring.models import Alert, AlertState, Incident, IncidentDefinition, Threshold
from monitoring.models.incidents import OPEN
from monitoring.queries import suppressions
from portal import audit, jobs, live, permissions, states
from portal.audit import Automaton
from portal.errors import Refused
from portal.models import Environment, Service

BY = Automaton("judging")
TRIES = 5


@dataclass(frozen=True, slots=True)
class Turn:
    """What the judge saw, and where the alert goes from there."""

    threshold: Threshold
    state: AlertState  # as the judge read it: if it has moved since, this turn is void
    step: Step
    reading: Reading
    now: datetime
    service: Service | None = None
    environment: Environment | None = None
    reported: Mapping[str, str] = field(default_factory=dict)  # its own labels, where somebody else judged it

    @property
    def labels(self) -> Mapping[str, str]:
        """What the alert carries: the matchers, and where it is."""
        where = {"service": self.service, "environment": self.environment}
        return {
            **{name: thing.key for name, thing in where.items() if thing},
            **self.threshold.matchers,
            **self.reported,
        }


def take(turn: Turn, *, definitions: Sequence[IncidentDefinition]) -> bool:
    """Carry it out. False when another judge was faster, or the threshold has changed since it was measured."""
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return _hold_threshold(turn) and _turn(turn, definitions)
        except IntegrityError:
            # Somebody opened the same incident in the same instant: look again and join it.
            continue
    return False


def _turn(turn: Turn, definitions: Sequence[IncidentDefinition]) -> bool:
    match turn.step.event:
        case Event.PENDING:
            return _pend(turn)
        case Event.DROPPED:
            return _drop(turn)
        case Event.RESOLVED:
            return _resolve(turn)
        case Event.FLAPPING:
            return _flap(turn)
        case _:
            return _rise(turn, definitions)


def _pend(turn: Turn) -> bool:
    if not _hold(turn):
        return False
    alert = _new_alert(turn, Alert.Status.PENDING)
    live.announce("alerts", id=alert.pk)
    return True


def _drop(turn: Turn) -> bool:
    if not _hold(turn):
        return False
    _forget_pending([turn.state])
    return True


def _rise(turn: Turn, definitions: Sequence[IncidentDefinition]) -> bool:
    """It fires, or fires worse."""
    level = turn.step.state.level
    assert level is not None
    known = _open_alert(turn)
    place, incident = None, None
    if level is not Level.WARNING:
        place = catching.place_for(turn.threshold, level, turn.labels, definitions)
        incident = _still_open(known) or catching.locked(place)
    if not _hold(turn):
        return False
    reason = turn.reading.verdict.reason
    if known is None:
        alert = _new_alert(turn, Alert.Status.FIRING)
        audit.record("alert.firing", alert, by=BY, after={"status": alert.status, "level": level}, because=reason)
    elif known.status == Alert.Status.PENDING:
        alert = known
        changes = {"level": level, "reason": reason, "value": turn.reading.value, "fired_at": turn.now}
        states.move(alert, Alert.Status.FIRING, by=BY, because=reason, **changes)
    else:
        alert = known
        before, alert.level, alert.reason, alert.value = alert.level, level, reason, turn.reading.value
        alert.save(update_fields=["level", "reason", "value"])
        audit.record("alert.raised", alert, by=BY, before={"level": before}, after={"level": level}, because=reason)
    if place is not None:
        held = suppressions.current(now=turn.now).holding(alert.known_by(), alert=alert.pk)
        if held:
            _hold_back(alert, held, at=turn.now)
        # What the portal shall do by itself is done in silence, too: it is people that are left in peace.
        if not held or turn.threshold.response or alert.incident_id:
            catching.take_in(alert, turn.threshold, place, incident, is_new=known is None, quiet=bool(held))
        if not held:
            _told(alert, at=turn.now)
    live.announce("alerts", id=alert.pk)
    return True


def _hold_back(alert: Alert, because: str, *, at: datetime) -> None:
    if alert.held_at is None:
        alert.held_at, alert.held_because = at, because
        alert.save(update_fields=["held_at", "held_because"])
        audit.record("alert.held", alert, by=BY, because=because)


def _told(alert: Alert, *, at: datetime) -> None:
    alert.told_at = alert.told_at or at
    alert.held_at, alert.held_because = None, ""
    alert.save(update_fields=["told_at", "held_at", "held_because"])


def tell_held(*, now: datetime | None = None) -> int:
    """What nothing holds back any longer and still fires is told, once. How many alerts were."""
    now = now or jobs.database_now()
    held = list(Alert.objects.held().select_related("threshold", "service", "environment").order_by("id"))
    if not held:
        return 0
    found = suppressions.current(now=now)
    free = [alert for alert in held if not found.holding(alert.known_by(), alert=alert.pk)]
    definitions = catching.definitions() if free else []
    return sum(_tell_at_last(alert, definitions, now=now) for alert in free)


def _tell_at_last(alert: Alert, definitions: Sequence[IncidentDefinition], *, now: datetime) -> bool:
    """In the order of locks; what the judge has ended meanwhile, or somebody holds back anew, stays untold."""
    threshold, words = alert.threshold, alert.held_because
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                Threshold.objects.select_for_update(of=("self",), no_key=True).get(pk=threshold.pk)
                place = catching.place_for(threshold, Level(alert.level), alert.labels, definitions)
                incident = _still_open(alert) or catching.locked(place)
                list(AlertState.objects.filter(threshold=threshold, group=alert.group).select_for_update(of=("self",)))
                rows = Alert.objects.held().select_related("threshold", "service", "environment")
                fresh = rows.select_for_update(of=("self",)).filter(pk=alert.pk).first()
                if fresh is None or suppressions.current(now=now).holding(fresh.known_by(), alert=fresh.pk):
                    return False
                if fresh.incident_id is None:
                    catching.take_in(fresh, threshold, place, incident, is_new=True)
                elif incident is not None:
                    catching.tell_at_last(fresh, incident, because=words)
                _told(fresh, at=now)
                live.announce("alerts", id=fresh.pk)
                return True
        except IntegrityError:
            continue
    return False


def _flap(turn: Turn) -> bool:
    """It has come and gone so often that one word of it says more than one for each time: it is held open."""
    known = _open_alert(turn)
    incident = _locked_incidents([known]).get(known.incident_id or 0) if known else None
    if not _hold(turn):
        return False
    if known is not None:
        times = len(turn.step.state.flips)
        text = f"{turn.threshold.name} is flapping: fired or resolved {times} times of late; held open until it is calm"
        known.flapping = True
        known.save(update_fields=["flapping"])
        audit.record("alert.flapping", known, by=BY, because=text)
        if incident is not None:
            timeline.write(incident, "alert.flapping", text, by=BY, data={"alert": known.pk})
            if known.held_at is None:
                notices.tell(incident, "flapping", f"{incident.title}: {text}", again=str(known.pk))
            live.announce("incidents", id=incident.pk)
        live.announce("alerts", id=known.pk)
    return True


def remark(alert: Alert, event: str, *, because: str) -> None:
    """Whoever judges it in our place has fallen silent, or speaks again: it fires all the same, and people hear why."""
    incident = _locked_incidents([alert]).get(alert.incident_id or 0)
    alert.reason = because
    alert.save(update_fields=["reason"])
    audit.record(f"alert.{event}", alert, by=BY, because=because)
    if incident is not None:
        timeline.write(incident, f"alert.{event}", because, by=BY, data={"alert": alert.pk})
        if alert.held_at is None:
            notices.tell(incident, event, f"{incident.title}: {because}", again=f"{alert.pk}:{incident.entries}")
        live.announce("incidents", id=incident.pk)
    live.announce("alerts", id=alert.pk)


def mark_false(alert: Alert, *, by: audit.Actor, because: str) -> Alert:
    """Nothing was wrong: it counts against its threshold."""
    return _judge_alert(alert, is_false=True, by=by, because=because)


def unmark_false(alert: Alert, *, by: audit.Actor, because: str = "") -> Alert:
    """Something was wrong after all."""
    return _judge_alert(alert, is_false=False, by=by, because=because)


def _judge_alert(alert: Alert, *, is_false: bool, by: audit.Actor, because: str) -> Alert:
    permissions.require(
        by, "operate", environment=alert.environment or permissions.ANY, service=alert.service or permissions.ANY
    )
    with transaction.atomic():
        found = Alert.objects.select_for_update(of=("self",)).filter(pk=alert.pk).first()
        if found is None or found.status == Alert.Status.PENDING:
            raise Refused(f"alert {alert.pk} has never fired")
        if (found.false_at is not None) is not is_false:
            found.false_at = jobs.database_now() if is_false else None
            found.false_by = audit.describe(by)[:200] if is_false else ""
            found.false_because = because if is_false else ""
            found.save(update_fields=["false_at", "false_by", "false_because"])
            audit.record("alert.marked_false" if is_false else "alert.unmarked", found, by=by, because=because)
            live.announce("alerts", id=found.pk)
    return Alert.objects.select_related("threshold", "service", "environment").get(pk=alert.pk)


def _resolve(turn: Turn) -> bool:
    known = _open_alert(turn)
    incident = _locked_incidents([known]).get(known.incident_id or 0) if known else None
    if not _hold(turn):
        return False
    if known is not None:
        _end(known, incident, by=BY, because=turn.reading.verdict.reason, at=turn.now, is_evidence=True)
    return True


def end_of_incident(incident: Incident, *, by: audit.Actor, because: str) -> int:
    """The incident (locked by the caller) is over: its firing alerts begin anew. How many there were."""
    firing = list(incident.alerts.firing().order_by("id"))
    _begin_anew([alert.threshold_id for alert in firing], groups={alert.group for alert in firing})
    now = jobs.database_now()
    for alert in firing:
        _end(alert, None, by=by, because=because, at=now, is_evidence=False)
    return len(firing)


def end_of_thresholds(thresholds: Collection[Threshold], *, by: audit.Actor, because: str) -> int:
    """The thresholds (locked by the caller) are no longer judged: their alerts end. How many were firing."""
    ids = [threshold.pk for threshold in thresholds]
    incidents = _locked_incidents(Alert.objects.open().filter(threshold__in=ids))
    _forget_pending(_begin_anew(ids))
    now = jobs.database_now()
    firing = list(Alert.objects.firing().filter(threshold__in=ids).order_by("id"))
    # One may have fired between the two looks; then its incident is locked only now.
    incidents |= _locked_incidents([alert for alert in firing if alert.incident_id not in incidents])
    for alert in firing:
        incident = incidents.get(alert.incident_id or 0)
        _end(alert, incident, by=by, because=because, at=now, is_evidence=False)
    return len(firing)


def _hold_threshold(turn: Turn) -> bool:
    """The threshold is still what was measured, and stays it until we commit."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM monitoring_threshold WHERE id = %s AND active AND version = %s FOR SHARE",
            [turn.threshold.pk, turn.threshold.version],
        )
        return cursor.fetchone() is not None


def _hold(turn: Turn) -> bool:
    """Lock the state and write the next one, unless it has moved since it was read."""
    found = AlertState.objects.select_for_update(of=("self",)).filter(pk=turn.state.pk, version=turn.state.version)
    state = found.first()
    if state is None:
        return False
    state.follow(turn.step.state, turn.reading, threshold_version=turn.threshold.version, now=turn.now)
    state.version += 1
    state.save()
    return True


def _new_alert(turn: Turn, status: Alert.Status) -> Alert:
    state = turn.step.state
    assert state.level is not None
    return Alert.objects.create(
        threshold=turn.threshold,
        group=turn.state.group,
        status=status,
        level=state.level,
        reason=turn.reading.verdict.reason,
        value=turn.reading.value,
        labels=dict(turn.labels),
        service=turn.service,
        environment=turn.environment,
        started_at=min(state.since.values(), default=turn.now),
        fired_at=turn.now if status == Alert.Status.FIRING else None,
    )


def _open_alert(turn: Turn) -> Alert | None:
    if turn.state.phase == AlertState.Phase.INACTIVE:
        return None
    return Alert.objects.open().filter(threshold=turn.threshold, group=turn.state.group).first()


def _still_open(alert: Alert | None) -> Incident | None:
    if alert is None or alert.incident_id is None:
        return None
    incident = _locked_incidents([alert]).get(alert.incident_id)
    return incident if incident is not None and incident.status in OPEN else None


def _locked_incidents(alerts: Iterable[Alert]) -> dict[int, Incident]:
    ids = {alert.incident_id for alert in alerts if alert.incident_id}
    if not ids:
        return {}
    rows = Incident.objects.filter(pk__in=ids).order_by("pk").select_for_update(of=("self",))
    return {incident.pk: incident for incident in rows.select_related("definition", "service", "environment")}


def _begin_anew(thresholds: Collection[int], groups: Collection[str] | None = None) -> list[AlertState]:
    """Reset the states; whatever a judge is about to write of them is void."""
    found = AlertState.objects.filter(threshold__in=thresholds)
    if groups is not None:
        found = found.filter(group__in=groups)
    rows = list(found.order_by("pk").select_for_update(of=("self",)))
    for state in rows:
        state.stand_at(State())
        state.version += 1
    AlertState.objects.bulk_update(rows, [*AlertState.STANDING, "flips", "flapping", "version"])
    return rows


def _forget_pending(rows: Collection[AlertState]) -> None:
    for state in rows:
        pending = Alert.objects.filter(threshold=state.threshold_id, group=state.group, status=Alert.Status.PENDING)
        for alert in pending:
            live.announce("alerts", id=alert.pk)
        pending.delete()


def _end(
    alert: Alert, incident: Incident | None, *, by: audit.Actor, because: str, at: datetime, is_evidence: bool
) -> None:
    states.move(alert, Alert.Status.RESOLVED, by=by, because=because, resolved_at=at, resolved_because=because)
    if incident is not None:
        catching.let_go(alert, incident, by=by, because=because, is_evidence=is_evidence)
    live.announce("alerts", id=alert.pk)
