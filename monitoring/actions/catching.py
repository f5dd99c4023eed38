"""Which incident an alert belongs to: found or opened, joined, and let go of when it is quiet."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from monitoring.actions import escalations, notices, postmortems, responses, timeline
from monitoring.judging import LEVELS, Level
from monitoring.models import Alert, Incident, IncidentDefinition, Severity, Threshold
from monitoring.models.incidents import BUILT_IN, OPEN
from portal import audit, jobs, live, states
from portal.audit import Automaton

BY = Automaton("judging")
SEVERITY_OF = {Level.CRITICAL: Severity.SEV1, Level.ERROR: Severity.SEV2}
MAX_GROUP_KEY = 500
MAX_TITLE = 300
# The built-in definition, before anybody changes it.
AS_MADE: Mapping[str, Any] = {"name": "Threshold crossed", "rank": IncidentDefinition.LAST}


@dataclass(frozen=True, slots=True)
class Place:
    """Where an alert belongs: one open incident at a time."""

    definition: IncidentDefinition
    group_key: str


def definitions() -> list[IncidentDefinition]:
    """Those that catch alerts, the first that is asked first, the built-in one last."""
    found = IncidentDefinition.objects.filter(active=True).exclude(key=BUILT_IN).order_by("rank", "id")
    return [*found.select_related("escalation").prefetch_related("thresholds"), built_in()]


def built_in() -> IncidentDefinition:
    """There always is one: an alert without an incident would be seen by nobody."""
    return IncidentDefinition.objects.get_or_create(key=BUILT_IN, defaults=AS_MADE)[0]


def place_for(
    threshold: Threshold, level: Level, labels: Mapping[str, str], definitions: Sequence[IncidentDefinition]
) -> Place:
    """At the first definition that fits, or else at the last one."""
    fitting = (one for one in definitions[:-1] if _fits(one, threshold, level, labels))
    definition = next(fitting, definitions[-1])
    return Place(definition, _group_key(definition, threshold, labels))


def locked(place: Place) -> Incident | None:
    """The open incident at the place, locked for the caller's transaction."""
    rows = Incident.objects.open().filter(definition=place.definition, group_key=place.group_key)
    return rows.select_for_update(of=("self",)).first()


def take_in(
    alert: Alert, threshold: Threshold, place: Place, incident: Incident | None, *, is_new: bool, quiet: bool = False
) -> Incident:
    """Put a firing alert into its incident (locked by the caller), opening one if there is none, and respond.

    `quiet`: nobody is told, because something holds the alert back.
    Raises IntegrityError when somebody else has just opened it: look again.
    """
    level = Level(alert.level)
    severity = place.definition.severity or SEVERITY_OF[level]
    data = {"alert": alert.pk, "level": alert.level}
    if incident is None:
        incident = Incident.objects.create(
            definition=place.definition,
            group_key=place.group_key,
            title=_title(alert, threshold),
            description=alert.reason,
            severity=severity,
            service=alert.service,
            environment=alert.environment,
            target=threshold.target,
            opened_at=jobs.database_now(),
        )
        audit.record("incident.opened", incident, by=BY, after={"severity": severity}, because=alert.reason)
        timeline.write(incident, "opened", alert.reason, by=BY, data=data)
        if quiet:
            timeline.write(incident, "held", f"nobody is told: {alert.held_because}", by=BY, data=data)
        else:
            notices.tell(incident, "opened", f"{incident.title}: {alert.reason}")
        escalations.begin(incident, quiet=quiet)
    else:
        kind = "alert.raised" if alert.incident_id == incident.pk and not is_new else "alert.joined"
        timeline.write(incident, kind, f"{threshold.name} is {alert.level}: {alert.reason}", by=BY, data=data)
        if severity < incident.severity:  # SEV1 is the worst
            _worsen(incident, severity, alert.reason, quiet=quiet)
    if alert.incident_id != incident.pk:
        alert.incident = incident
        alert.save(update_fields=["incident"])
    _respond(alert, threshold, place.definition, incident)
    live.announce("incidents", id=incident.pk)
    return incident


def tell_at_last(alert: Alert, incident: Incident, *, because: str) -> None:
    """The incident (locked by the caller) has an alert of which nobody was told, and what held it back is over."""
    text = f"still {alert.level}, told only now ({because} is over): {alert.reason}"
    timeline.write(incident, "told", text, by=BY, data={"alert": alert.pk})
    if incident.alerts.filter(told_at__isnull=False).exists():
        notices.tell(incident, "raised", f"{incident.title}: {text}", again=f"told:{alert.pk}:{alert.level}")
    else:
        notices.tell(incident, "opened", f"{incident.title}: {text}")
        if incident.pages == 0 and incident.acknowledged_at is None:
            escalations.resume(incident)
    live.announce("incidents", id=incident.pk)


def let_go(alert: Alert, incident: Incident, *, by: audit.Actor, because: str, is_evidence: bool) -> None:
    """An alert of the incident (locked by the caller) is over. With the last one, on evidence, so is the incident.

    An alert that ended because its threshold was taken away proves nothing: a person says when that is over.
    """
    timeline.write(incident, "alert.resolved", because, by=by, data={"alert": alert.pk})
    if is_evidence and incident.status in OPEN and not incident.alerts.firing().exists():
        text = "every alert of it is over"
        now = incident.not_before(jobs.database_now())
        states.move(incident, Incident.Status.RESOLVED, by=by, because=text, resolved_at=now)
        escalations.answered(incident)
        timeline.write(incident, "resolved", text, by=by)
        # Of what nobody was told, nobody is told that it is over.
        if incident.alerts.filter(told_at__isnull=False).exists():
            notices.tell(incident, "resolved", f"{incident.title}: resolved, {because}")
        postmortems.owe(incident)
    live.announce("incidents", id=incident.pk)


def _respond(alert: Alert, threshold: Threshold, definition: IncidentDefinition, incident: Incident) -> None:
    target = threshold.target or responses.NO_TARGET
    if not target and alert.service and alert.environment:
        target = f"service:{alert.service.key}@{alert.environment.key}"
    level, cool_down = LEVELS.index(Level(alert.level)), timedelta(seconds=definition.cool_down)
    for entry in dict.fromkeys([threshold.response, *definition.responses]):
        name, _, least = entry.partition("@")
        if name and (not least or level >= LEVELS.index(Level(least))):
            responses.queue(incident, name, target, because=alert.reason, cool_down=cool_down)


def _worsen(incident: Incident, severity: str, because: str, *, quiet: bool) -> None:
    before, incident.severity = incident.severity, severity
    incident.save(update_fields=["severity"])
    audit.record(
        "incident.raised",
        incident,
        by=BY,
        before={"severity": before},
        after={"severity": severity},
        because=because,
    )
    if not quiet:
        notices.tell(incident, "raised", f"{incident.title}: now {severity}, {because}", again=severity)


def _fits(definition: IncidentDefinition, threshold: Threshold, level: Level, labels: Mapping[str, str]) -> bool:
    if LEVELS.index(level) < LEVELS.index(Level(definition.min_level)):
        return False
    if any(labels.get(name) != value for name, value in definition.matchers.items()):
        return False
    chosen = definition.thresholds.all()
    return not chosen or any(one.pk == threshold.pk for one in chosen)


def _group_key(definition: IncidentDefinition, threshold: Threshold, labels: Mapping[str, str]) -> str:
    known = {**labels, "threshold": str(threshold.pk), "target": threshold.target}
    if definition.group_by:
        key = ",".join(f"{name}={known.get(name, '')}" for name in definition.group_by)
    elif labels.get("service") or threshold.target:
        key = f"{labels.get('service', '')}:{labels.get('environment', '')}:{threshold.target}"
    else:
        key = f"threshold:{threshold.pk}"
    return key if len(key) <= MAX_GROUP_KEY else hashlib.sha256(key.encode()).hexdigest()


def _title(alert: Alert, threshold: Threshold) -> str:
    where = " in ".join(str(one) for one in (alert.service, alert.environment) if one)
    return f"{threshold.name}: {alert.level}{f' on {where}' if where else ''}"[:MAX_TITLE]
