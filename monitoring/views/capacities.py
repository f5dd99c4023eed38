"""Limits of metrics on pages: how they stand, and when they are reached."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from monitoring.models import Capacity, Metric
from monitoring.queries import standings
from monitoring.views import advice
from portal import htmx, jobs, permissions
from portal.access import page, person
from portal.models import Environment, Service

PAGE_SIZE = 30
# What needs somebody first.
ORDER = (Capacity.State.OVER, Capacity.State.AT_RISK, Capacity.State.UNKNOWN, Capacity.State.WITHIN)
TONES = {"within": "ok", "at_risk": "due", "over": "bad", "unknown": "idle"}


def visible(request: HttpRequest) -> "QuerySet[Capacity]":
    rows = Capacity.objects.active().select_related("service", "environment")
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    rows = visible(request)
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    ordered = sorted(rows, key=lambda one: (ORDER.index(Capacity.State(one.state)), one.name, one.pk))
    found = Paginator(ordered, PAGE_SIZE).get_page(request.GET.get("page"))
    units = dict(Metric.objects.filter(name__in={one.metric for one in found.object_list}).values_list("name", "unit"))
    return htmx.render(
        request,
        "monitoring/capacities/list.html",
        "_list",
        found=found,
        rows=[_row(one, units.get(one.metric, "")) for one in found.object_list],
        environments=Environment.objects.all(),
        services=Service.objects.all(),
        may=permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY),
    )


@page
@require_GET
def detail(request: HttpRequest, key: str) -> HttpResponse:
    """As it stands this moment."""
    capacity, now = get_object_or_404(visible(request), key=key), jobs.database_now()
    found, outlook = standings.standing(capacity, now=now)
    unit = Metric.objects.filter(name=capacity.metric).values_list("unit", flat=True).first() or ""
    is_budget = capacity.kind == Capacity.Kind.BUDGET
    level = capacity.share * capacity.limit
    return htmx.render(
        request,
        "monitoring/capacities/detail.html",
        "_state",
        capacity=capacity,
        standing=found,
        outlook=outlook,
        unit=unit,
        level=level,
        is_budget=is_budget,
        used=_used(found.value, capacity.limit),
        tone=TONES[found.state],
        plot=advice.drawn(outlook, unit, None if is_budget else [("bad", capacity.limit), ("due", level)]),
        step="day" if outlook.step.days else "hour",
    )


def _row(capacity: Capacity, unit: str) -> dict[str, Any]:
    return {
        "capacity": capacity,
        "unit": unit,
        "used": _used(capacity.value, capacity.limit),
        "tone": TONES[capacity.state],
        "is_budget": capacity.kind == Capacity.Kind.BUDGET,
    }


def _used(value: float | None, limit: float) -> int | None:
    """In percent of the limit."""
    return None if value is None else round(value / limit * 100)
