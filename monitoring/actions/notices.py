"""Who is told: one message for each event and channel, in the transaction of the event."""

from typing import Any
from uuid import UUID

from django.conf import settings
from django.urls import reverse

from monitoring.actions import outbox, preferences
from monitoring.models import Channel, Incident
from monitoring.preferences import Urgency, urgency_of
from portal import jobs
from portal.models import User


def tell(incident: Incident, event: str, text: str, *, again: str = "") -> None:
    """Put `event` into the outbox of every channel of the incident's definition.

    `again` sets apart what may happen to one incident several times (an escalation); all else is told once.
    """
    if incident.definition is None:
        return
    kind = f"incident.{event}"
    suffix = f":{again}" if again else ""
    for channel in incident.definition.channels.filter(active=True):
        tell_channel(channel, kind, text, key=f"{kind}:{incident.pk}:{channel.pk}{suffix}", incident=incident)


def tell_channel(channel: Channel, kind: str, text: str, *, key: str, incident: Incident | None = None) -> None:
    """One message to one channel, in the caller's transaction; the same `key` is told once.

    `kind` is a dotted name as receivers see it ("escalation.step"). With an incident it comes in the incident's
    order, and carries it: into its thread, its living message.
    """
    said = payload(incident, kind, text, key) if incident else {"id": key, "kind": kind, "text": text}
    outbox.put(channel, kind, said, dedupe_key=key, thread=f"incident:{incident.pk}" if incident else "")


def tell_person(
    person: User, kind: str, text: str, *, key: str, incident: Incident | None = None, urgency: Urgency | None = None
) -> list[Channel]:
    """To the channels that a person has chosen of their own, or else by e-mail, when they want to be told of it.

    How urgent it is follows from the incident's severity unless it is said; without an incident it is a warning. Where
    it went or will go; empty: nobody knows how to reach them, or they do not want to be told.
    """
    own = preferences.ways(person)
    if not own and person.email and not person.channels.exists():
        own = [_by_email(person)]
    urgency = urgency or (urgency_of(incident.severity) if incident else Urgency.WARNING)
    now = jobs.database_now()
    due_at = preferences.due(person, urgency, now)
    if due_at is None:
        return []
    for channel in own:
        one = f"{key}:{channel.pk}"
        if due_at <= now:
            tell_channel(channel, kind, text, key=one, incident=incident)
        else:
            said = payload(incident, kind, text, one) if incident else {"id": one, "kind": kind, "text": text}
            preferences.hold(channel, kind, said, due_at=due_at)
    return own


def mailbox(person: User) -> Channel | None:
    """Where letters of theirs go: an e-mail channel of their own, else their address; None: nowhere."""
    own = next((one for one in preferences.ways(person) if one.kind == "email"), None)
    if own is None and person.email:
        own = _by_email(person)
    return own if own is not None and own.active else None


def _by_email(person: User) -> Channel:
    """The channel that everybody with an address has, made when it is first needed."""
    fields = {"kind": "email", "config": {"to": person.email}, "owner": person}
    return Channel.objects.get_or_create(name=f"{person.username} by e-mail"[:200], defaults=fields)[0]


def payload(incident: Incident, kind: str, text: str, key: str) -> dict[str, Any]:
    """What receivers are told of the incident."""
    return {
        "id": key,
        "kind": kind,
        "text": text,
        "incident": {
            "id": incident.pk,
            "uid": str(incident.uid) if isinstance(incident.uid, UUID) else None,
            "title": incident.title,
            "status": incident.status,
            "severity": incident.severity,
            "service": incident.service.key if incident.service else None,
            "environment": incident.environment.key if incident.environment else None,
            "target": incident.target or None,
            "acknowledged_by": incident.acknowledged_by or None,
            "opened_at": incident.opened_at.isoformat().replace("+00:00", "Z"),
            "entries": incident.entries,
            "proposed": [str(one) for one in incident.runs.filter(status="proposed").order_by("id")],
            "url": settings.PORTAL_BASE_URL + reverse("incident", args=[incident.pk]),
        },
    }
