"""What people do with incidents."""

from uuid import uuid4

from django.db import transaction

from monitoring.actions import alerts, escalations, notices, postmortems, timeline
from monitoring.models import Incident, IncidentDefinition, Severity
from monitoring.models.incidents import OPEN
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service, User

SEVERITIES = list(Severity.values)  # worst first
ROLES = {
    "commander": "Commander",  # decides
    "communications": "Communications",  # tells everybody else
    "scribe": "Scribe",  # writes down what happens
}


def open_by_hand(
    title: str,
    *,
    by: Actor,
    severity: str = Severity.SEV3,
    service: Service | None = None,
    environment: Environment | None = None,
    definition: IncidentDefinition | None = None,
    description: str = "",
) -> Incident:
    """Somebody has seen what no threshold did."""
    permissions.require(by, "operate", environment=environment or permissions.ANY, service=service or permissions.ANY)
    with transaction.atomic():
        incident = Incident.objects.create(
            definition=definition,
            group_key=f"manual:{uuid4()}",
            title=title,
            description=description,
            severity=severity,
            service=service,
            environment=environment,
            opened_at=jobs.database_now(),
        )
        audit.record("incident.opened", incident, by=by, after={"severity": severity}, because=description)
        timeline.write(incident, "opened", title, by=by)
        notices.tell(incident, "opened", title)
        escalations.begin(incident)
        live.announce("incidents", id=incident.pk)
    return incident


def acknowledge(incident: Incident, *, by: Actor, because: str = "") -> None:
    """Somebody is on it: nobody further is called. One that was mitigated before anybody came stays mitigated.

    Again by whoever was asked whether they are still on it: they are.
    """
    _may(incident, by)
    with transaction.atomic():
        _lock(incident)
        if incident.acknowledged_at is not None and incident.status in OPEN:
            if incident.reminded_at is not None:
                escalations.answered(incident)
                audit.record("incident.confirmed", incident, by=by, because=because)
                timeline.write(incident, "confirmed", _with(f"{audit.describe(by)} is on it", because), by=by)
                live.announce("incidents", id=incident.pk)
            return
        now, name = incident.not_before(jobs.database_now()), audit.describe(by)
        if incident.answered_at is None:
            incident.answered_at = now
            incident.save(update_fields=["answered_at"])
        if incident.status == Incident.Status.MITIGATED:
            incident.acknowledged_at, incident.acknowledged_by = now, name
            incident.save(update_fields=["acknowledged_at", "acknowledged_by"])
            audit.record("incident.acknowledged", incident, by=by, because=because)
        else:
            states.move(
                incident,
                Incident.Status.ACKNOWLEDGED,
                by=by,
                because=because,
                acknowledged_at=now,
                acknowledged_by=name,
            )
        escalations.answered(incident)
        _say(incident, "acknowledged", f"acknowledged by {name}", because, by)


def escalate(incident: Incident, *, by: Actor, because: str = "", severity: str | None = None) -> None:
    """Worse than thought, or nobody answers: one severity up (or to the one named), and everybody is told once more.

    With an escalation policy its next step is taken at once.
    """
    _may(incident, by)
    with transaction.atomic():
        _lock(incident)
        if incident.status not in OPEN:
            raise Refused(f"incident {incident.pk} is {incident.status}: there is nothing to escalate")
        before = incident.severity
        incident.severity = severity or SEVERITIES[max(0, SEVERITIES.index(before) - 1)]
        incident.escalations += 1
        incident.save(update_fields=["severity", "escalations"])
        audit.record(
            "incident.escalated",
            incident,
            by=by,
            before={"severity": before},
            after={"severity": incident.severity},
            because=because,
        )
        text = f"escalated to {incident.severity} by {audit.describe(by)}"
        escalations.hasten(incident)
        _say(incident, "escalated", text, because, by, again=str(incident.escalations))


def mitigate(incident: Incident, *, by: Actor, because: str = "") -> None:
    """The users no longer feel it; the cause may still be there."""
    _may(incident, by)
    with transaction.atomic():
        _lock(incident)
        now = incident.not_before(jobs.database_now())
        if states.move(incident, Incident.Status.MITIGATED, by=by, because=because, mitigated_at=now):
            # Whoever says so has come.
            escalations.answered(incident)
            _say(incident, "mitigated", f"mitigated by {audit.describe(by)}", because, by)


def resolve(incident: Incident, *, by: Actor, because: str = "", despite_alerts: bool = False) -> None:
    """It is over. What comes back is a new incident.

    While an alert of it fires this has to be said explicitly, with a reason: the alerts end with it, and if they are
    right, they fire anew, into a new incident.
    """
    _may(incident, by)
    with transaction.atomic():
        _lock(incident)
        firing = incident.alerts.firing().count() if incident.status in OPEN else 0
        if firing and not despite_alerts:
            words = "an alert of it still fires" if firing == 1 else f"{firing} alerts of it still fire"
            raise Refused(f"incident {incident.pk}: {words}; resolve it despite that (despite_alerts), and say why")
        if firing and not because.strip():
            raise Invalid.of("because", "say why it is over although an alert still fires")
        now = incident.not_before(jobs.database_now())
        if not states.move(incident, Incident.Status.RESOLVED, by=by, because=because, resolved_at=now):
            return
        escalations.answered(incident)
        name = audit.describe(by)
        ended = alerts.end_of_incident(incident, by=by, because=f"resolved by {name} with incident {incident.pk}")
        text = f"resolved by {name}"
        if ended:
            text += f" while {ended} alert{'s were' if ended > 1 else ' was'} still firing"
        _say(incident, "resolved", text, because, by)
        postmortems.owe(incident)


def close(incident: Incident, *, by: Actor, because: str = "") -> None:
    """Nothing is left to be done about it: its post-mortem is published, or waived with a reason."""
    _may(incident, by)
    with transaction.atomic():
        _lock(incident)
        if incident.status == Incident.Status.RESOLVED and (words := postmortems.missing(incident)):
            raise Refused(f"incident {incident.pk}: {words}")
        now = incident.not_before(jobs.database_now())
        if states.move(incident, Incident.Status.CLOSED, by=by, because=because, closed_at=now):
            timeline.write(incident, "closed", _with(f"closed by {audit.describe(by)}", because), by=by)
            live.announce("incidents", id=incident.pk)


def note(incident: Incident, text: str, *, by: Actor) -> None:
    """Something worth remembering, at any time."""
    _may(incident, by)
    with transaction.atomic():
        timeline.write(incident, "note", text, by=by)
        audit.record("incident.noted", incident, by=by, because=text)
        live.announce("incidents", id=incident.pk)


def assign(incident: Incident, role: str, person: User | None, *, by: Actor, because: str = "") -> None:
    """Who has a role in it from now on; None: nobody. They are told, unless they took it themselves."""
    _may(incident, by)
    if role not in ROLES:
        raise Invalid.of("role", f"must be one of {', '.join(ROLES)}")
    if person is not None and not person.is_active:
        raise Invalid.of("person", "has left")
    with transaction.atomic():
        _lock(incident)
        if incident.status == Incident.Status.CLOSED:
            raise Refused(f"incident {incident.pk} is closed")
        before = getattr(incident, role)
        if before == person:
            return
        setattr(incident, role, person)
        incident.save(update_fields=[role])
        names = [one.username if one else None for one in (before, person)]
        audit.record(
            "incident.assigned", incident, by=by, before={role: names[0]}, after={role: names[1]}, because=because
        )
        words = f"{ROLES[role]}: {person or 'nobody'}"
        entry = timeline.write(incident, "assigned", _with(words, because), by=by)
        if person is not None and person != by:
            text = f"{incident.title}: you are its {ROLES[role].lower()}"
            key = f"incident.assigned:{incident.pk}:{entry.seq}"
            notices.tell_person(person, "incident.assigned", text, key=key, incident=incident)
        live.announce("incidents", id=incident.pk)


def set_severity(incident: Incident, severity: str, *, by: Actor, because: str) -> None:
    """Better or worse than thought, with a reason. What a worse alert says of it later still counts."""
    _may(incident, by)
    if severity not in SEVERITIES:
        raise Invalid.of("severity", f"must be one of {', '.join(SEVERITIES)}")
    if not because.strip():
        raise Invalid.of("because", "say why")
    with transaction.atomic():
        _lock(incident)
        before = incident.severity
        if incident.status == Incident.Status.CLOSED:
            raise Refused(f"incident {incident.pk} is closed")
        if before == severity:
            return
        incident.severity = severity
        incident.save(update_fields=["severity"])
        audit.record(
            "incident.reclassified",
            incident,
            by=by,
            before={"severity": before},
            after={"severity": severity},
            because=because,
        )
        text = f"{before} is {severity} now, says {audit.describe(by)}"
        _say(incident, "reclassified", text, because, by, again=str(incident.entries))


def _may(incident: Incident, by: Actor) -> None:
    permissions.require(
        by, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )


def _lock(incident: Incident) -> None:
    locked = Incident.objects.select_for_update(of=("self",)).get(pk=incident.pk)
    for field in Incident._meta.concrete_fields:
        setattr(incident, field.attname, getattr(locked, field.attname))


def _say(incident: Incident, event: str, text: str, because: str, by: Actor, *, again: str = "") -> None:
    words = _with(text, because)
    timeline.write(incident, event, words, by=by)
    notices.tell(incident, event, f"{incident.title}: {words}", again=again)
    live.announce("incidents", id=incident.pk)


def _with(text: str, because: str) -> str:
    return f"{text}: {because}" if because else text
