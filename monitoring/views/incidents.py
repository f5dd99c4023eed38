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
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import incidents, responses, specs
from monitoring.models import Alert, Incident, PostMortem, Severity
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
    rows = Incident.objects.select_related(
        "service", "environment", "definition", "commander", "communications", "scribe"
    )
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
    elif verb == "assign":
        name, role = posted.text(request, "person"), posted.text(request, "role")
        chosen = User.objects.filter(username=name, is_active=True).first()
        if name and chosen is None:
            raise Invalid.of("person", "choose who it is")
        incidents.assign(incident, role, chosen, by=who)
        messages.success(request, f"{incidents.ROLES[role]}: {chosen or 'nobody'}.")
    elif verb == "severity":
        incidents.set_severity(incident, posted.text(request, "severity"), by=who, because=because)
        messages.success(request, f"Incident {pk} is {incident.severity} now.")
    elif verb == "resolve-despite":
        incidents.resolve(incident, by=who, because=because, despite_alerts=True)
        messages.success(request, f"Incident {pk} is resolved.")
    elif verb in VERBS:
        action, done = VERBS[verb]
        action(incident, by=who, because=because)
        messages.success(request, f"Incident {pk} is {done}.")
    else:
        raise Http404
    return posted.back(request, reverse("incident", args=[pk]))


@page
@require_POST
def confirm(request: HttpRequest, pk: int, run: int) -> HttpResponse:
    """What the portal proposes, and a person says so."""
    incident = get_object_or_404(visible(request), pk=pk)
    proposed = get_object_or_404(incident.runs.select_related("service", "environment"), pk=run)
    responses.confirm(proposed, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"{proposed}: done as proposed.")
    return posted.back(request, reverse("incident", args=[pk]))


def acknowledging(incident: Incident, who: User) -> Verb | None:
    """The one button that a list shows; None when somebody has come already."""
    return next((verb for verb in verbs(incident, who) if verb.name == "acknowledge"), None)


def verbs(incident: Incident, who: User, *, firing: bool = False) -> list[Verb]:
    """What can be done about it now; `firing`: while an alert of it still fires."""
    may = _may_operate(incident, who)
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
        if firing:
            note = "An alert still fires. It is ended with the incident; if it is right, it fires anew, into a new one."
            found.append(Verb("resolve-despite", "Resolve all the same", "danger", "needed", note, why_not))
        else:
            found.append(Verb("resolve", "Resolve", note="It is over. What comes back is new.", why_not=why_not))
    elif incident.status == Status.RESOLVED:
        found.append(Verb("close", "Close", note="Nothing is left to be done about it.", why_not=why_not))
    return found


def _may_operate(incident: Incident, who: User) -> bool:
    return permissions.can(
        who, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )


def _state(request: HttpRequest, incident: Incident) -> dict[str, Any]:
    alerts = list(incident.alerts.select_related("threshold").order_by("status", "-id"))
    names = specs.member_names([alert.threshold for alert in alerts])
    who = person(request)
    firing = any(alert.status == Alert.Status.FIRING for alert in alerts)
    may = _may_operate(incident, who) and incident.status != Status.CLOSED
    return {
        "incident": incident,
        "verbs": verbs(incident, who, firing=firing),
        "may_operate": may,
        "roles": [(role, label, getattr(incident, role)) for role, label in incidents.ROLES.items()],
        "people": User.objects.filter(is_active=True).order_by("username") if may else (),
        "severities": Severity.choices,
        "post_mortem": PostMortem.objects.filter(incident=incident).first(),
        "now": timezone.now(),
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
        "attachments": incident.attachments.defer("content"),
    }


def _timeline(request: HttpRequest, incident: Incident) -> dict[str, Any]:
    return {"incident": incident, "entries": incident.timeline.order_by("-seq")[:200]}


PARTS: dict[str, Callable[[HttpRequest, Incident], dict[str, Any]]] = {"state": _state, "timeline": _timeline}
