"""What happened in a stretch of time, in the words of a morning mail."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, tzinfo
from typing import Any

from django.conf import settings
from django.db.models import Q
from django.urls import reverse

from monitoring.models import Alert, Incident, OutboxMessage
from portal.models import AuditEntry

LISTED = 20  # of each; the rest is a number
# How a deployment may have ended, by the audit trail's verbs: what is above monitoring is known to it by words only.
OUTCOMES = ("deployment.succeeded", "deployment.rolled_back", "deployment.rejected", "deployment.cancelled")


@dataclass(frozen=True, slots=True)
class Digest:
    since: datetime
    until: datetime
    open_incidents: list[dict[str, Any]] = field(default_factory=list)
    open_count: int = 0
    opened: int = 0
    resolved: int = 0
    fired: dict[str, int] = field(default_factory=dict)  # by level
    alerts: list[dict[str, Any]] = field(default_factory=list)
    alerts_resolved: int = 0
    outcomes: list[dict[str, Any]] = field(default_factory=list)
    undelivered: int = 0

    @property
    def text(self) -> str:
        """The day in one line."""
        ended = Counter(one["outcome"] for one in self.outcomes)
        parts = [
            _count(self.open_count, "open incident"),
            _count(sum(self.fired.values()), "alert") + " fired" if self.fired else "",
            *(f"{_count(number, 'deployment')} {outcome}" for outcome, number in sorted(ended.items())),
            _count(self.undelivered, "message") + " undelivered" if self.undelivered else "",
        ]
        return ", ".join(part for part in parts if part)


def digest(since: datetime, until: datetime) -> Digest:
    """From `since` on, before `until` (in whose zone times are written); open incidents as they are now."""
    open_now = Incident.objects.open().select_related("service", "environment").order_by("severity", "opened_at")
    fired = Alert.objects.filter(fired_at__gte=since, fired_at__lt=until)
    ended = AuditEntry.objects.filter(verb__in=OUTCOMES, at__gte=since, at__lt=until).order_by("-id")
    within = Q(opened_at__gte=since, opened_at__lt=until)
    return Digest(
        since=since,
        until=until,
        open_incidents=[_incident(one, until.tzinfo) for one in open_now[:LISTED]],
        open_count=open_now.count(),
        opened=Incident.objects.filter(within).count(),
        resolved=Incident.objects.filter(resolved_at__gte=since, resolved_at__lt=until).count(),
        fired=dict(Counter(fired.order_by().values_list("level", flat=True))),
        alerts=[_alert(one) for one in fired.select_related("threshold", "service", "environment")[:LISTED]],
        alerts_resolved=Alert.objects.filter(
            resolved_at__gte=since, resolved_at__lt=until, fired_at__isnull=False
        ).count(),
        outcomes=[_outcome(one) for one in ended[:LISTED]],
        undelivered=OutboxMessage.objects.filter(
            state=OutboxMessage.State.DEAD, created_at__gte=since, created_at__lt=until
        ).count(),
    )


def _incident(incident: Incident, zone: tzinfo | None) -> dict[str, Any]:
    return {
        "id": incident.pk,
        "title": incident.title,
        "severity": incident.severity,
        "status": incident.status,
        "where": _where(incident),
        "opened_at": incident.opened_at.isoformat(),
        "since": f"{incident.opened_at.astimezone(zone):%d %b %H:%M}",
        "url": settings.PORTAL_BASE_URL + reverse("incident", args=[incident.pk]),
    }


def _alert(alert: Alert) -> dict[str, Any]:
    return {
        "threshold": alert.threshold.name,
        "level": alert.level,
        "status": alert.status,
        "where": _where(alert),
        "reason": alert.reason,
        "fired_at": alert.fired_at.isoformat() if alert.fired_at else None,
    }


def _outcome(entry: AuditEntry) -> dict[str, Any]:
    return {
        "what": entry.object_label,
        "outcome": entry.verb.partition(".")[2].replace("_", " "),
        "by": entry.actor,
        "because": entry.because,
        "at": entry.at.isoformat(),
    }


def _where(thing: Incident | Alert) -> str:
    return " in ".join(str(one) for one in (thing.service, thing.environment) if one)


def _count(number: int, noun: str) -> str:
    return f"{number or 'no'} {noun}{'' if number == 1 else 's'}"
