"""What the portal asks by itself, on pages: the list, the one, and its buttons."""

from dataclasses import dataclass
from typing import Any

import orjson
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from monitoring import sources as kinds
from monitoring.actions import sources
from monitoring.models import MetricSource
from monitoring.views import source_charts
from portal import htmx, permissions, posted
from portal.access import page, person
from portal.models import User

PAGE_SIZE = 50
Outcome = MetricSource.Outcome
FILTERS = {
    "": ("All", Q()),
    "trouble": ("In trouble", Q(active=True, outcome__in=(Outcome.FAILING, Outcome.PARTLY))),
    "paused": ("Paused", Q(active=False)),
}


@dataclass(frozen=True, slots=True)
class Verb:
    """One button."""

    name: str
    label: str
    look: str = ""
    reason: str = "none"
    note: str = ""
    why_not: str = ""


def visible(request: HttpRequest) -> "QuerySet[MetricSource]":
    rows = MetricSource.objects.select_related("service", "environment")
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    chosen = request.GET.get("show", "")
    seen = visible(request)
    counts = seen.order_by().aggregate(**{key or "all": Count("pk", filter=one) for key, (_, one) in FILTERS.items()})
    rows = seen.filter(FILTERS.get(chosen, FILTERS[""])[1])
    if (kind := request.GET.get("kind", "")) in kinds.names():
        rows = rows.filter(kind=kind)
    found = Paginator(rows.order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/sources/list.html",
        "_list",
        found=found,
        rows=[(source, whom(source)) for source in found.object_list],
        filters=[(key, label, counts[key or "all"], key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        kinds=kinds.names(),
        may_configure=permissions.can(
            person(request), "configure", environment=permissions.ANY, service=permissions.ANY
        ),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    return htmx.render(request, "monitoring/sources/detail.html", **_shown(request, pk))


@page
@require_GET
def state(request: HttpRequest, pk: int) -> HttpResponse:
    """The part that says how it is now."""
    return htmx.render(request, "monitoring/sources/_state.html", **_shown(request, pk))


@page
@require_GET
def frame(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole chart; the socket sends what is new."""
    source = get_object_or_404(visible(request), pk=pk)
    head = {"topic": f"chart:source:{pk}", "v": 1, "seq": 0, "t": int(timezone.now().timestamp() * 1000)}
    return JsonResponse(head | source_charts.snapshot(source))


@page
@require_POST
def try_(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask it now, and show what would be kept."""
    source = get_object_or_404(visible(request), pk=pk)
    tried = sources.try_(source, by=person(request))
    return htmx.render(request, "monitoring/sources/tried.html", source=source, tried=tried)


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    source = get_object_or_404(visible(request), pk=pk)
    who, because = person(request), posted.text(request, "because")
    if verb == "pull":
        sources.pull_now(source, by=who)
        messages.success(request, f"{source} is asked at once.")
    elif verb in ("pause", "resume"):
        sources.change(source, {"active": verb == "resume"}, by=who, because=because)
        messages.success(request, f"{source} is asked again." if verb == "resume" else f"{source} is paused.")
    else:
        raise Http404
    return posted.back(request, reverse("source", args=[pk]))


def whom(source: MetricSource) -> str:
    """Who is asked: the place alone, as an address may be a secret."""
    kind = kinds.find(source.kind)
    return kind.instance(source.config).partition("?")[0] if kind is not None and source.kind != "http" else ""


def verbs(source: MetricSource, who: User) -> list[Verb]:
    place: dict[str, Any] = {"environment": source.environment, "service": source.service}
    operates = "" if permissions.can(who, "operate", **place) else "None of your roles may operate here."
    configures = "" if permissions.can(who, "configure", **place) else "None of your roles may configure here."
    if not source.active:
        return [Verb("resume", "Resume", "primary", why_not=configures)]
    note = "It is not asked until it is resumed. What it has brought stays."
    return [
        Verb("pull", "Pull now", "primary", why_not=operates),
        Verb("pause", "Pause", reason="maybe", note=note, why_not=configures),
    ]


def _shown(request: HttpRequest, pk: int) -> dict[str, Any]:
    source, who = get_object_or_404(visible(request), pk=pk), person(request)
    may = permissions.can(who, "configure", environment=source.environment, service=source.service)
    config = orjson.dumps(source.config, option=orjson.OPT_INDENT_2).decode() if may and source.config else ""
    return {"source": source, "whom": whom(source), "verbs": verbs(source, who), "may_configure": may, "config": config}
