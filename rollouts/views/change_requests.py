"""Change requests on pages: the list, the one, and its buttons."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import orjson
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from portal import audit, htmx, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment
from rollouts.actions import change_requests, previews
from rollouts.engine import documents
from rollouts.models import PENDING, ChangeRequest
from rollouts.queries import change_requests as queries
from rollouts.queries import uses
from rollouts.views.change_cards import Card, cards

PAGE_SIZE = 25
TIMELINE = 40
FILTERS = {
    "": ("Pending", Q(status__in=PENDING)),
    "ended": ("Ended", ~Q(status__in=PENDING)),
    "all": ("All", Q()),
}
VERBS: dict[str, tuple[Callable[..., Any], str]] = {
    "apply": (change_requests.apply, "applied"),
    "withdraw": (change_requests.withdraw, "withdrawn"),
    "unschedule": (change_requests.unschedule, "off the schedule"),
}


def visible(request: HttpRequest) -> "QuerySet[ChangeRequest]":
    return uses.requests_seen(person(request), ChangeRequest.objects.all())


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    chosen = request.GET.get("show", "")
    rows = visible(request).filter(FILTERS.get(chosen, FILTERS[""])[1])
    if environment := request.GET.get("environment", ""):
        rows = rows.filter(environment__key=environment)
    if flag := request.GET.get("flag", ""):
        rows = rows.filter(flag__key=flag)
    found = Paginator(queries.shown(rows.order_by("-id")), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "rollouts/change_requests/list.html",
        "_list",
        found=found,
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    card = _card(request, pk)
    return htmx.render(
        request,
        "rollouts/change_requests/detail.html",
        "_request",
        card=card,
        one=card.request,
        document=_written(card.request),
        entries=audit.of(card.request)[:TIMELINE],
    )


@page
@require_GET
def impact(request: HttpRequest, pk: int) -> HttpResponse:
    """What it would do now: fetched after the page, as it takes a moment."""
    one = get_object_or_404(visible(request), pk=pk)
    found = previews.of_request(one, by=person(request)) if one.pending else []
    return htmx.render(request, "rollouts/change_requests/_impact.html", one=one, previews=found)


@page
@require_POST
def vote(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(visible(request), pk=pk)
    said, comment = request.POST.get("value", ""), posted.text(request, "comment")
    seen = posted.text(request, "hash")
    if said == "approve":
        change_requests.approve(one, by=person(request), comment=comment, expected_hash=seen or None)
        messages.success(request, f"Your approval of change request {pk} counts.")
    elif said == "reject":
        change_requests.reject(one, by=person(request), because=comment)
        messages.success(request, f"Change request {pk} is rejected.")
    else:
        raise Invalid.of("value", "must be approve or reject")
    return posted.back(request, reverse("change-request", args=[pk]))


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call."""
    if verb not in VERBS:
        raise Http404
    one = get_object_or_404(visible(request), pk=pk)
    action, done = VERBS[verb]
    changed = action(one, by=person(request), because=posted.text(request, "because"))
    said = f"Change request {pk} is {done}." if changed else f"Change request {pk} was {done} already."
    messages.success(request, said)
    return posted.back(request, reverse("change-request", args=[pk]))


@page
@require_POST
def rebase(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(visible(request), pk=pk)
    overlapping = change_requests.rebase(one, by=person(request))
    messages.success(request, f"Change request {pk} is made on revision {one.base_revision} now.")
    if overlapping:
        fields = ", ".join(name.replace("_", " ") for name in overlapping)
        messages.warning(request, f"Changed meanwhile as well, and undone by it: {fields}. Look at the difference.")
    return posted.back(request, reverse("change-request", args=[pk]))


@page
@require_POST
def schedule(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(visible(request), pk=pk)
    at = _moment(posted.text(request, "apply_at"))
    change_requests.schedule(one, at, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"Change request {pk} is for {at:%Y-%m-%d %H:%M} UTC.")
    return posted.back(request, reverse("change-request", args=[pk]))


@page
@require_POST
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(visible(request), pk=pk)
    try:
        document = orjson.loads(posted.document(request, "document"))
    except ValueError as error:
        raise Invalid.of("document", f"is not JSON: {error}") from None
    change_requests.edit(
        one,
        document,
        by=person(request),
        title=posted.text(request, "title"),
        because=posted.text(request, "because"),
        expected_hash=posted.text(request, "hash") or None,
    )
    messages.success(request, f"Change request {pk} is changed: it has to be approved as it is now.")
    return posted.back(request, reverse("change-request", args=[pk]))


def _card(request: HttpRequest, pk: int) -> Card:
    rows = queries.shown(visible(request))
    return cards([get_object_or_404(rows, pk=pk)], person(request))[0]


def _written(one: ChangeRequest) -> str:
    """The document as people write it."""
    config = one.kind == ChangeRequest.Kind.CONFIG
    return json.dumps(documents.show_config(one.document) if config else one.document, indent=2, ensure_ascii=False)


def _moment(text: str) -> datetime:
    """What a browser's field says, in UTC."""
    try:
        at = datetime.fromisoformat(text)
        return at if at.tzinfo else at.replace(tzinfo=UTC)
    except ValueError:
        raise Invalid.of("apply_at", "choose a day and a time") from None
