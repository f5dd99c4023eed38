"""Deployments on pages: the list, the one, and its buttons."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from monitoring.models import AlertState, Incident, Threshold
from monitoring.views import words
from portal import audit, htmx, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, Service
from rollouts.actions import approvals, deployments
from rollouts.models import NOT_BEGUN, Deployment, Vote
from rollouts.models.deployments import Status
from rollouts.views import charts
from rollouts.views.cards import Card, cards, shown

PAGE_SIZE = 25
TIMELINE = 60
FILTERS = {
    "": ("Live", Q(live=True)),
    "waiting": ("Waiting", Q(status__in=NOT_BEGUN)),
    "ended": ("Ended", Q(live=False) & ~Q(status__in=NOT_BEGUN)),
    "all": ("All", Q()),
}
# What each button calls, and what is said when it was done, and when it had been done before.
VERBS: dict[str, tuple[Callable[..., bool], str]] = {
    "start": (deployments.start, "started"),
    "advance": (deployments.advance, "advanced"),
    "pause": (deployments.pause, "paused"),
    "resume": (deployments.resume, "resumed"),
    "roll_back": (deployments.roll_back, "rolled back"),
    "cancel": (deployments.cancel, "cancelled"),
    "retry": (deployments.retry, "a draft again"),
}


def visible(request: HttpRequest) -> "QuerySet[Deployment]":
    return permissions.visible(person(request), Deployment.objects.all())


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    chosen = request.GET.get("show", "")
    rows = visible(request).filter(FILTERS.get(chosen, FILTERS[""])[1])
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    found = Paginator(shown(rows.order_by("-id")), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "rollouts/deployments/list.html",
        "_list",
        found=found,
        cards=cards(found.object_list, person(request)),
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    card = _card(request, pk)
    found = _evidence(request, card) | _timeline(request, card)
    return htmx.render(request, "rollouts/deployments/detail.html", card=card, deployment=card.deployment, **found)


@page
@require_GET
def part(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """One part of the page, fetched again because something about the deployment has changed."""
    if name not in PARTS:
        raise Http404
    card = _card(request, pk)
    found = PARTS[name](request, card)
    return htmx.render(request, f"rollouts/deployments/_{name}.html", card=card, deployment=card.deployment, **found)


@page
@require_GET
def frame(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole chart; the socket sends what is new."""
    deployment = get_object_or_404(shown(visible(request)), pk=pk)
    head = {"topic": f"chart:deployment:{pk}", "v": 1, "seq": 0, "t": int(timezone.now().timestamp() * 1000)}
    return JsonResponse(head | charts.snapshot(deployment))


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    if verb not in VERBS:
        raise Http404
    deployment = get_object_or_404(visible(request), pk=pk)
    action, done = VERBS[verb]
    changed = action(deployment, by=person(request), because=posted.text(request, "because"))
    said = f"Deployment {pk} is {done}." if changed else f"Deployment {pk} was {done} already."
    if verb == "start" and changed and deployment.status != Status.PROGRESSING:
        said = f"Deployment {pk} is {deployment.get_status_display()}: {deployment.held_because}"
    messages.success(request, said)
    return posted.back(request, reverse("deployment", args=[pk]))


@page
@require_POST
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    deployment = get_object_or_404(visible(request), pk=pk)
    value = request.POST.get("value", "")
    if value not in Vote.Value.values:
        raise Invalid.of("value", f"must be one of {', '.join(Vote.Value.values)}")
    cast = approvals.vote(
        deployment,
        posted.text(request, "rule"),
        value,
        by=person(request),
        expected_plan_hash=posted.text(request, "plan_hash"),
        comment=posted.text(request, "comment"),
    )
    messages.success(request, f"Your vote on deployment {pk} counts: {cast.get_value_display()}.")
    return posted.back(request, reverse("deployment", args=[pk]))


def _card(request: HttpRequest, pk: int) -> Card:
    return cards([get_object_or_404(shown(visible(request)), pk=pk)], person(request))[0]


def _state(request: HttpRequest, card: Card) -> dict[str, Any]:
    return {}


def _evidence(request: HttpRequest, card: Card) -> dict[str, Any]:
    """What is measured and served: its guardrails with where each stands, and its incidents."""
    owner = f"deployment:{card.deployment.pk}"
    guards = list(Threshold.objects.filter(owner=owner).order_by("-active", "name", "-id"))
    states = {state.threshold_id: state for state in AlertState.objects.filter(threshold__in=guards, group="")}
    incidents = permissions.visible(person(request), Incident.objects.filter(target=owner))
    newest: dict[str, Threshold] = {}
    for guard in guards:
        newest.setdefault(guard.name, guard)
    return {
        "guardrails": [(guard, states.get(guard.pk), words.bound(guard)) for guard in newest.values()],
        "incidents": incidents.select_related("service", "environment")[:10],
    }


def _timeline(request: HttpRequest, card: Card) -> dict[str, Any]:
    return {"entries": audit.of(card.deployment)[:TIMELINE]}


PARTS: dict[str, Callable[[HttpRequest, Card], dict[str, Any]]] = {
    "state": _state,
    "evidence": _evidence,
    "timeline": _timeline,
}
