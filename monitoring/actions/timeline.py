"""What happened in an incident, in order."""

from typing import Any

from django.db import connection

from monitoring.models import Incident, TimelineEntry
from portal import audit

LONGEST_TEXT = 10_000


def write(
    incident: Incident, kind: str, text: str, *, by: audit.Actor, data: dict[str, Any] | None = None
) -> TimelineEntry:
    """Add the next entry, in the caller's transaction. Locks the incident's row, so numbers have no gaps."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE monitoring_incident SET entries = entries + 1 WHERE id = %s RETURNING entries", [incident.pk]
        )
        incident.entries = cursor.fetchone()[0]
    return TimelineEntry.objects.create(
        incident=incident,
        seq=incident.entries,
        kind=kind,
        actor=audit.describe(by)[:200],
        text=text[:LONGEST_TEXT],
        data=data or {},
    )
