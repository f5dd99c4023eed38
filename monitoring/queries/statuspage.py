"""How everything stands, as the public may see it: in a fixed number of queries, in Statuspage's shapes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Q

from monitoring.models import Incident, StatusComponent, StatusIncident

PAGE_ID = "flightdeck"
DAYS = 90
SHOWN = 50  # incidents in a list
OVER = ("resolved", "completed")
# By what is open inside.
BY_SEVERITY = {"SEV1": "major_outage", "SEV2": "partial_outage", "SEV3": "degraded_performance"}
BY_IMPACT = {"critical": "major_outage", "major": "partial_outage", "minor": "degraded_performance"}
WORST_FIRST = ("major_outage", "partial_outage", "degraded_performance", "under_maintenance", "operational")
INDICATORS = {
    "major_outage": ("critical", "Major Service Outage"),
    "partial_outage": ("major", "Partial System Outage"),
    "degraded_performance": ("minor", "Partially Degraded Service"),
    "under_maintenance": ("maintenance", "Service Under Maintenance"),
    "operational": ("none", "All Systems Operational"),
}


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a component: the worst that was told, and the share of the day without an outage."""

    day: date
    status: str
    up: float


@dataclass(frozen=True, slots=True)
class Component:
    row: StatusComponent
    status: str
    days: list[Day]

    @property
    def uptime(self) -> float:
        """Percent of the days shown."""
        return 100 * sum(day.up for day in self.days) / len(self.days)


@dataclass(frozen=True, slots=True)
class Shot:
    """Everything that the page and its documents say, at one moment."""

    at: datetime
    components: list[Component] = field(default_factory=list)
    incidents: list[StatusIncident] = field(default_factory=list)  # newest first, maintenance among them

    @property
    def worst(self) -> str:
        found = {one.status for one in self.components}
        found |= {BY_IMPACT[one.impact] for one in self.unresolved if one.impact in BY_IMPACT}
        return next((status for status in WORST_FIRST if status in found), "operational")

    @property
    def indicator(self) -> str:
        return INDICATORS[self.worst][0]

    @property
    def is_blank(self) -> bool:
        """Nothing is listed and nothing told: that all is well would be said of nothing."""
        return not self.components and not self.incidents

    @property
    def description(self) -> str:
        if self.is_blank:
            return "Nothing is listed here yet"
        return INDICATORS[self.worst][1]

    @property
    def unresolved(self) -> list[StatusIncident]:
        return [one for one in self.incidents if one.kind == "incident" and one.status not in OVER]

    @property
    def maintenances(self) -> list[StatusIncident]:
        return [one for one in self.incidents if one.kind == "maintenance"]

    @property
    def updated_at(self) -> datetime | None:
        return max((one.updated_at for one in self.incidents), default=None)


def shot(*, now: datetime) -> Shot:
    """Four queries and one for each kind of row below an incident, however much there is."""
    since = now - timedelta(days=DAYS)
    told = StatusIncident.objects.filter(Q(started_at__gte=since) | ~Q(status__in=OVER) | Q(resolved_at__gte=since))
    incidents = list(told.prefetch_related("updates", "components"))
    components = list(StatusComponent.objects.all())
    inside = list(
        Incident.objects.open().exclude(service=None).values_list("service_id", "environment_id", "severity").distinct()
    )
    return Shot(
        now,
        [Component(one, _status(one, incidents, inside), _days(one, incidents, now)) for one in components],
        incidents,
    )


def _status(
    component: StatusComponent, told: Sequence[StatusIncident], inside: Sequence[tuple[int | None, int | None, str]]
) -> str:
    if component.status != StatusComponent.Status.COMPUTED:
        return component.status
    found = {"operational"}
    for one in told:
        if component in one.components.all():
            if one.kind == "maintenance":
                found.add("under_maintenance" if one.status in ("in_progress", "verifying") else "operational")
            elif one.status not in OVER:
                found.add(BY_IMPACT.get(one.impact, "operational"))
    for service, environment, severity in inside:
        if service == component.service_id and component.environment_id in (None, environment):
            found.add(BY_SEVERITY.get(severity, "operational"))
    return next(status for status in WORST_FIRST if status in found)


def _days(component: StatusComponent, told: Sequence[StatusIncident], now: datetime) -> list[Day]:
    """UTC days, oldest first; of today what has passed of it."""
    spans = [
        (one.started_at, one.resolved_at or now, BY_IMPACT.get(one.impact, "operational"))
        for one in told
        if one.kind == "incident" and component in one.components.all()
    ]
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    days = []
    for back in reversed(range(DAYS)):
        begin = midnight - timedelta(days=back)
        end = min(begin + timedelta(days=1), now)
        hit = [
            (max(since, begin), min(until, end), how) for since, until, how in spans if since < end and until > begin
        ]
        worst = next((status for status in WORST_FIRST if any(how == status for _, _, how in hit)), "operational")
        down = _covered([(since, until) for since, until, how in hit if how in ("major_outage", "partial_outage")])
        whole = max((end - begin).total_seconds(), 1.0)
        days.append(Day(begin.date(), worst, max(0.0, 1 - down / whole)))
    return days


def _covered(spans: list[tuple[datetime, datetime]]) -> float:
    """Seconds that at least one of the spans covers."""
    seconds, last = 0.0, None
    for since, until in sorted(spans):
        begin = since if last is None else max(since, last)
        if until > begin:
            seconds += (until - begin).total_seconds()
        last = until if last is None else max(last, until)
    return seconds


# --- Documents ----------------------------------------------------------------------------------
def page_of(shot: Shot) -> dict[str, Any]:
    return {
        "id": PAGE_ID,
        "name": "Flightdeck",
        "url": f"{settings.PORTAL_BASE_URL}/status/",
        "time_zone": "Etc/UTC",
        "updated_at": _moment(shot.updated_at or shot.at.replace(second=0, microsecond=0)),
    }


def document(shot: Shot, name: str) -> dict[str, Any] | None:
    """The document of that name; None when there is none."""
    coming = [one for one in shot.maintenances if one.status == "scheduled"]
    running = [one for one in shot.maintenances if one.status in ("in_progress", "verifying")]
    told = [one for one in shot.incidents if one.kind == "incident"][:SHOWN]
    status = {"indicator": shot.indicator, "description": shot.description}
    components = [_component(one.row, one.status) for one in shot.components]
    known = {one.row.pk: one.status for one in shot.components}

    def listed(rows: Sequence[StatusIncident]) -> list[dict[str, Any]]:
        return [_incident(one, known) for one in rows]

    parts: dict[str, dict[str, Any]] = {
        "summary": {
            "components": components,
            "incidents": listed(shot.unresolved),
            "scheduled_maintenances": listed([*running, *coming]),
            "status": status,
        },
        "status": {"status": status},
        "components": {"components": components},
        "incidents": {"incidents": listed(told)},
        "incidents/unresolved": {"incidents": listed(shot.unresolved)},
        "scheduled-maintenances": {"scheduled_maintenances": listed(shot.maintenances[:SHOWN])},
        "scheduled-maintenances/upcoming": {"scheduled_maintenances": listed(coming)},
        "scheduled-maintenances/active": {"scheduled_maintenances": listed(running)},
    }
    return {"page": page_of(shot), **parts[name]} if name in parts else None


def _component(row: StatusComponent, status: str) -> dict[str, Any]:
    return {
        "id": row.code,
        "name": row.name,
        "status": status,
        "created_at": _moment(row.created_at),
        "updated_at": _moment(row.created_at),
        "position": row.position,
        "description": row.description or None,
        "showcase": False,
        "start_date": row.created_at.date().isoformat(),
        "group_id": None,
        "page_id": PAGE_ID,
        "group": False,
        "only_show_if_degraded": False,
    }


def _incident(one: StatusIncident, known: dict[int, str]) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "id": one.code,
        "name": one.name,
        "status": one.status,
        "created_at": _moment(one.started_at),
        "updated_at": _moment(one.updated_at),
        "monitoring_at": _moment(one.monitoring_at),
        "resolved_at": _moment(one.resolved_at),
        "impact": "maintenance" if one.kind == "maintenance" else one.impact,
        "shortlink": address_of(one),
        "started_at": _moment(one.started_at),
        "page_id": PAGE_ID,
        "incident_updates": [
            {
                "id": update.code,
                "status": update.status,
                "body": update.body,
                "incident_id": one.code,
                "created_at": _moment(update.at),
                "updated_at": _moment(update.at),
                "display_at": _moment(update.at),
                "affected_components": None,
                "deliver_notifications": False,
                "custom_tweet": None,
                "tweet_id": None,
            }
            for update in one.updates.all()
        ],
        "components": [_component(row, known.get(row.pk, "operational")) for row in one.components.all()],
        "reminder_intervals": None,
    }
    if one.kind == "maintenance":
        shown |= {"scheduled_for": _moment(one.scheduled_for), "scheduled_until": _moment(one.scheduled_until)}
    return shown


def address_of(one: StatusIncident) -> str:
    return f"{settings.PORTAL_BASE_URL}/status/incidents/{one.code}/"


def _moment(at: datetime | None) -> str | None:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z") if at else None
