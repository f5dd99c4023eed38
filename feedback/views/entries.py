"""Feedback on pages: the list, filtered by its address, and the one."""

from datetime import UTC, date, datetime, time
from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from feedback import queries
from feedback.models import Entry
from feedback.queries import UNTOLD, Search
from portal import htmx, permissions
from portal.access import page, person
from portal.models import Environment, Service

PAGE_SIZE = 30
CHOICES = {
    "kind": [(value, str(label)) for value, label in Entry.Kind.choices],
    "sentiment": [*((value, str(label)) for value, label in Entry.Sentiment.choices), (UNTOLD, "Not told")],
    "priority": [(value, str(label)) for value, label in Entry.Priority.choices],
    "rating": [(str(stars), f"{stars} of 5") for stars in range(5, 0, -1)],
}
LONGEST = 200  # characters of a filter


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address; one that means nothing is left out."""
    asked = _search(request.GET)
    who = person(request)
    found = Paginator(queries.find(asked, by=who), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "feedback/entries/list.html",
        "_list",
        found=found,
        asked=asked,
        choices=[(name, name.capitalize(), options, str(_said(asked, name))) for name, options in CHOICES.items()],
        since=request.GET.get("since", "") if asked.since else "",
        until=request.GET.get("until", "") if asked.until else "",
        environments=permissions.visible(who, Environment.objects.all(), environment="id", service=None),
        services=permissions.visible(who, Service.objects.all(), environment=None, service="id"),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    entry = get_object_or_404(queries.visible(person(request)), pk=pk)
    known = ("release", "flag", "variant")
    return htmx.render(
        request,
        "feedback/entries/detail.html",
        "_entry",
        entry=entry,
        addressed=queries.may_see_address(entry, by=person(request)),
        others=[(name, value) for name, value in sorted(entry.labels.items()) if name not in known],
    )


def _search(given: QueryDict) -> Search:
    said: dict[str, Any] = {
        name: given.get(name, "")[:LONGEST]
        for name in ("service", "environment", "release", "flag", "variant", "search")
    }
    for name, options in CHOICES.items():
        if given.get(name) in dict(options):
            said[name] = given[name]
    if "rating" in said:
        said["rating"] = int(said["rating"])
    return Search(**said, since=_midnight(given.get("since", "")), until=_midnight(given.get("until", "")))


def _midnight(raw: str) -> datetime | None:
    """The beginning of a day, in UTC as all times of the portal."""
    try:
        return datetime.combine(date.fromisoformat(raw), time(), tzinfo=UTC)
    except ValueError:
        return None


def _said(asked: Search, name: str) -> str:
    value = getattr(asked, name)
    return "" if value is None else str(value)
