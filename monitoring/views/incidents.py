"""Incidents on pages: the list, the one, and what people do about it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import incidents, specs
from monitoring.models import Alert, Incident, Severity
from monitoring.models.incidents import OPEN
from monitoring.views import words
from portal import htmx, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, Service, User

PAGE_SIZE = 30
Status = Incident.Status
FILTERS = {
    "": ("Open", Q(status__in=OPEN)),
    "unacknowledged": ("Unacknowledged", Q(status__in=OPEN, acknowledged_at=None)),
    "ended": ("Resolved", ~Q(status__in=OPEN)),
    "all": ("All", Q()),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One button."""

    name: str
    label: str
    look: str = ""
    reason: str = "maybe"
    note: str = ""
    why_not: str = ""


VERBS: dict[str, tuple[Callable[..., None], str]] = {
    "acknowledge": (incidents.acknowledge, "acknowledged"),
    "escalate": (incidents.escalate, "escalated"),
    "mitigate": (incidents.mitigate, "mitigated"),
    "resolve": (incidents.resolve, "resolved"),
    "close": (incidents.close, "closed"),
}


def visible(request: HttpRequest) -> "QuerySet[Incident]":
    rows = Incident.objects.select_related("service", "environment", "definition")
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    chosen = request.GET.get("show", "")
    rows = visible(request).filter(FILTERS.get(chosen, FILTERS[""])[1])
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    if (severity := request.GET.get("severity", "")) in Severity.values:
        rows = rows.filter(severity=severity)
    rows = rows.annotate(firing=Count("alerts", filter=Q(alerts__status=Alert.Status.FIRING))).order_by("-id")
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/incidents/list.html",
        "_list",
        found=found,
        rows=[(incident, acknowledging(incident, person(request))) for incident in found.object_list],
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        severities=Severity.values,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    incident = get_object_or_404(visible(request), pk=pk)
    found = _state(request, incident) | _timeline(request, incident)
    return htmx.render(request, "monitoring/incidents/detail.html", **found)


@page
@require_GET
def part(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """One part of the page, fetched again because something about the incident has changed."""
    if name not in PARTS:
        raise Http404
    incident = get_object_or_404(visible(request), pk=pk)
    return htmx.render(request, f"monitoring/incidents/_{name}.html", **PARTS[name](request, incident))


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    incident = get_object_or_404(visible(request), pk=pk)
    who, because = person(request), posted.text(request, "because")
    if verb == "note":
        if not because:
            raise Invalid.of("note", "say what is worth remembering")
        incidents.note(incident, because, by=who)
        messages.success(request, "Noted in the timeline.")
    elif verb in VERBS:
        action, done = VERBS[verb]
        action(incident, by=who, because=because)
        messages.success(request, f"Incident {pk} is {done}.")
    else:
        raise Http404
    return posted.back(request, reverse("incident", args=[pk]))


def acknowledging(incident: Incident, who: User) -> Verb | None:
    """The one button that a list shows; None when somebody has come already."""
    return next((verb for verb in verbs(incident, who) if verb.name == "acknowledge"), None)


def verbs(incident: Incident, who: User) -> list[Verb]:
    """What can be done about it now."""
    may = permissions.can(
        who, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )
    why_not = "" if may else "None of your roles may operate here."
    found: list[Verb] = []
    if incident.status in OPEN:
        if incident.acknowledged_at is None:
            found.append(Verb("acknowledge", "Acknowledge", "primary", "none", why_not=why_not))
        elif incident.reminded_at is not None:
            found.append(Verb("acknowledge", "Still on it", "primary", "none", why_not=why_not))
        note = "One severity up, and everybody is told once more."
        found.append(Verb("escalate", "Escalate", note=note, why_not=why_not))
        if incident.status != Status.MITIGATED:
            note = "The users no longer feel it; the cause may still be there."
            found.append(Verb("mitigate", "Mitigate", note=note, why_not=why_not))
        note = "It is over. Alerts that still fire are ended; if they are right, they fire anew."
        found.append(Verb("resolve", "Resolve", note=note, why_not=why_not))
    elif incident.status == Status.RESOLVED:
        found.append(Verb("close", "Close", note="Nothing is left to be done about it.", why_not=why_not))
    return found


def _state(request: HttpRequest, incident: Incident) -> dict[str, Any]:
    alerts = list(incident.alerts.select_related("threshold").order_by("status", "-id"))
    names = specs.member_names([alert.threshold for alert in alerts])
    return {
        "incident": incident,
        "verbs": verbs(incident, person(request)),
        "alerts": [
            (
                alert,
                words.value(alert.threshold, alert.value),
                words.bound(alert.threshold, alert.level),
                specs.text(alert.threshold, names),
            )
            for alert in alerts
        ],
        "runs": incident.runs.all(),
    }


def _timeline(request: HttpRequest, incident: Incident) -> dict[str, Any]:
    return {"incident": incident, "entries": incident.timeline.order_by("-seq")[:200]}


PARTS: dict[str, Callable[[HttpRequest, Incident], dict[str, Any]]] = {"state": _state, "timeline": _timeline}
