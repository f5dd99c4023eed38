"""Who is told of an incident: one message for each event and channel, in the transaction of the event."""

from typing import Any

from django.conf import settings

from monitoring.actions import outbox
from monitoring.models import Incident


def tell(incident: Incident, event: str, text: str, *, again: str = "") -> None:
    """Put `event` into the outbox of every channel of the incident's definition.

    `again` sets apart what may happen to one incident several times (an escalation); all else is told once.
    """
    if incident.definition is None:
        return
    kind = f"incident.{event}"
    suffix = f":{again}" if again else ""
    for channel in incident.definition.channels.filter(active=True):
        key = f"{kind}:{incident.pk}:{channel.pk}{suffix}"
        outbox.put(channel, kind, _payload(incident, kind, text, key), dedupe_key=key)


def _payload(incident: Incident, kind: str, text: str, key: str) -> dict[str, Any]:
    return {
        "id": key,
        "kind": kind,
        "text": text,
        "incident": {
            "id": incident.pk,
            "title": incident.title,
            "status": incident.status,
            "severity": incident.severity,
            "service": incident.service.key if incident.service else None,
            "environment": incident.environment.key if incident.environment else None,
            "target": incident.target or None,
            "opened_at": incident.opened_at.isoformat().replace("+00:00", "Z"),
            "entries": incident.entries,
            "url": f"{settings.PORTAL_BASE_URL}/admin/monitoring/incident/{incident.pk}/change/",
        },
    }
