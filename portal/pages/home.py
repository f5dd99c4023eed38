"""Mission control: what runs, what waits for this person, what is wrong."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.db.models import Count, Q
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from feedback import queries
from monitoring.actions import postmortems
from monitoring.models import ActionItem, Incident, PostMortem
from monitoring.views import services
from monitoring.views.incidents import acknowledging
from portal import htmx, permissions
from portal.access import page, person
from portal.models import Environment, User
from rollouts.models import UNDER_WAY, ChangeRequest, Deployment
from rollouts.models.deployments import Status
from rollouts.queries import change_requests, uses
from rollouts.views import change_cards
from rollouts.views.cards import Card, cards, shown

MOST = 25
# Who looks up a moment after it should still read why.
STILL_SHOWN = timedelta(minutes=15)
NEWEST_FEEDBACK = 6
WATCHED_BEFORE_IT_BEGINS = (Status.AWAITING_APPROVAL, Status.SCHEDULED)


@dataclass(frozen=True, slots=True)
class Place:
    """An environment in the strip at the top."""

    environment: Environment
    running: int


@page
@require_GET
def home(request: HttpRequest) -> HttpResponse:
    found = _deployments(request)
    context = _running(found) | _needs(request, found) | _incidents(request) | _feedback(request)
    return htmx.render(request, "home/page.html", places=_places(request, found), **context)


@page
@require_GET
def part(request: HttpRequest, name: str) -> HttpResponse:
    """One part of mission control, fetched again because something has changed."""
    if name == "running":
        context = _running(_deployments(request))
    elif name == "needs":
        context = _needs(request, _deployments(request))
    elif name == "incidents":
        context = _incidents(request)
    elif name == "feedback":
        context = _feedback(request)
    elif name == "gaps":
        context = {"gaps": services.gaps(person(request))}
    else:
        raise Http404
    return htmx.render(request, f"home/_{name}.html", **context)


@page
@require_GET
def banner(request: HttpRequest) -> HttpResponse:
    """What is wrong with the portal itself, and how many incidents are open."""
    return htmx.render(request, "partials/banner.html")


def _deployments(request: HttpRequest) -> list[Card]:
    """What is live, about to be, or was just taken back; the newest first."""
    taken_back = Q(status=Status.ROLLED_BACK, ended_at__gt=timezone.now() - STILL_SHOWN)
    rows = Deployment.objects.filter(Q(live=True) | Q(status__in=WATCHED_BEFORE_IT_BEGINS) | taken_back).order_by("-id")
    who = person(request)
    return cards(shown(permissions.visible(who, rows))[:MOST], who)


def _running(found: list[Card]) -> dict[str, Any]:
    """Those under way or just taken back with everything, those that are only watched or wait in a line each."""
    return {
        "running": [card for card in found if card.deployment.status in (*UNDER_WAY, Status.ROLLED_BACK)],
        "waiting": [card for card in found if card.deployment.status in WATCHED_BEFORE_IT_BEGINS],
        "watched": [card for card in found if card.deployment.status == Status.SUCCEEDED],
    }


def _needs(request: HttpRequest, found: list[Card]) -> dict[str, Any]:
    """What nobody else does: votes, stopped runs, incidents that nobody has taken."""
    who = person(request)
    unacknowledged = Incident.objects.open().filter(acknowledged_at=None).select_related("service", "environment")
    incidents = [one for one in permissions.visible(who, unacknowledged)[:MOST] if _may(who, "operate", one)]
    return {
        "to_vote": [card for card in found if card.waits_for_me],
        "stopped": [
            card
            for card in found
            if card.deployment.status == Status.PAUSED
            and not card.waits_for_me
            and _may(who, "deploy", card.deployment)
        ],
        "to_take": incidents,
        "to_approve": _to_approve(who),
        "to_write": _to_write(who),
        "now": timezone.now(),
        "to_do": ActionItem.objects.open()
        .filter(owner=who, due_on__lte=timezone.now().date())
        .order_by("due_on")[:MOST],
    }


def _to_write(who: User) -> list[PostMortem]:
    """Post-mortems that are due within a day or late: of whoever led the incident, or else of all who operate there."""
    soon = timezone.now() + postmortems.REMINDED_BEFORE
    rows = PostMortem.objects.filter(status=PostMortem.Status.DRAFT, due_at__lt=soon).order_by("due_at")
    rows = rows.select_related("incident__service", "incident__environment")
    seen = permissions.visible(who, rows, environment="incident__environment", service="incident__service")
    seen = seen.filter(Q(incident__commander=who) | Q(incident__commander=None))
    return [one for one in seen[:MOST] if _may(who, "operate", one.incident)]


def _to_approve(who: User) -> list[change_cards.Card]:
    """Change requests on which this person's word is missing."""
    if not permissions.can(who, "approve", environment=permissions.ANY, service=permissions.ANY):
        return []
    rows = uses.requests_seen(who, ChangeRequest.objects.filter(status=ChangeRequest.Status.OPEN).order_by("id"))
    found = change_cards.cards(change_requests.shown(rows)[:MOST], who)
    return [card for card in found if card.waits_for_me]


def _incidents(request: HttpRequest) -> dict[str, Any]:
    who = person(request)
    rows = permissions.visible(who, Incident.objects.open().select_related("service", "environment"))
    # The worst first, and of those the newest.
    rows = rows.annotate(firing=Count("alerts", filter=Q(alerts__status="firing"))).order_by("severity", "-id")
    return {"incidents": [(incident, acknowledging(incident, who)) for incident in rows[:MOST]]}


def _feedback(request: HttpRequest) -> dict[str, Any]:
    return {"feedback": queries.visible(person(request))[:NEWEST_FEEDBACK]}


def _places(request: HttpRequest, found: list[Card]) -> list[Place]:
    who = person(request)
    return [
        Place(one, sum(card.deployment.environment_id == one.pk and card.deployment.live for card in found))
        for one in Environment.objects.all()
        if permissions.can(who, "view", environment=one, service=permissions.ANY)
    ]


def _may(who: User, what: str, thing: Deployment | Incident) -> bool:
    return permissions.can(
        who, what, environment=thing.environment or permissions.ANY, service=thing.service or permissions.ANY
    )
