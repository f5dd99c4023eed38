"""What people do with incidents."""

from uuid import uuid4

from django.db import transaction

from monitoring.actions import alerts, escalations, notices, timeline
from monitoring.models import Incident, IncidentDefinition, Severity
from monitoring.models.incidents import OPEN
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor
from portal.errors import Refused
from portal.models import Environment, Service

SEVERITIES = list(Severity.values)  # worst first


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
        now, name = jobs.database_now(), audit.describe(by)
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
        now = jobs.database_now()
        if states.move(incident, Incident.Status.MITIGATED, by=by, because=because, mitigated_at=now):
            # Whoever says so has come.
            escalations.answered(incident)
            _say(incident, "mitigated", f"mitigated by {audit.describe(by)}", because, by)


def resolve(incident: Incident, *, by: Actor, because: str = "") -> None:
    """It is over. Alerts that still fire are ended with it: if they are right, they fire anew, into a new incident."""
    _may(incident, by)
    with transaction.atomic():
        if not states.move(incident, Incident.Status.RESOLVED, by=by, because=because, resolved_at=jobs.database_now()):
            return
        escalations.answered(incident)
        name = audit.describe(by)
        ended = alerts.end_of_incident(incident, by=by, because=f"resolved by {name} with incident {incident.pk}")
        text = f"resolved by {name}"
        if ended:
            text += f" while {ended} alert{'s were' if ended > 1 else ' was'} still firing"
        _say(incident, "resolved", text, because, by)


def close(incident: Incident, *, by: Actor, because: str = "") -> None:
    """Nothing is left to be done about it."""
    _may(incident, by)
    with transaction.atomic():
        if states.move(incident, Incident.Status.CLOSED, by=by, because=because, closed_at=jobs.database_now()):
            timeline.write(incident, "closed", _with(f"closed by {audit.describe(by)}", because), by=by)
            live.announce("incidents", id=incident.pk)


def note(incident: Incident, text: str, *, by: Actor) -> None:
    """Something worth remembering, at any time."""
    _may(incident, by)
    with transaction.atomic():
        timeline.write(incident, "note", text, by=by)
        audit.record("incident.noted", incident, by=by, because=text)
        live.announce("incidents", id=incident.pk)


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
