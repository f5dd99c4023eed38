"""Objectives on pages: what is left of each budget, how it was spent, and how fast it burns."""

from datetime import timedelta
from typing import Any

from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from monitoring import budgets
from monitoring.budgets import TIERS
from monitoring.models import Alert, Slo
from monitoring.queries import indicators
from monitoring.views import plots
from portal import htmx, jobs, permissions
from portal.access import page, person
from portal.models import Environment, Service

PAGE_SIZE = 30
RECENT = 20


def visible(request: HttpRequest) -> "QuerySet[Slo]":
    rows = Slo.objects.active().select_related("service", "environment").prefetch_related("thresholds__states")
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """What has least left first: of what is not known nothing is said to be kept."""
    rows = visible(request)
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    found = Paginator(rows.order_by("remaining", "name", "id"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/slos/list.html",
        "_list",
        found=found,
        rows=[(one, _left(one.remaining), _burning(one)) for one in found.object_list],
        environments=Environment.objects.all(),
        services=Service.objects.all(),
        may=permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY),
    )


@page
@require_GET
def detail(request: HttpRequest, key: str) -> HttpResponse:
    slo, now = get_object_or_404(visible(request), key=key), jobs.database_now()
    hours = indicators.hours(slo, now=now)
    found = budgets.budget(slo.name, hours, objective=slo.objective, window=slo.window, now=now)
    since = now - timedelta(seconds=slo.window)
    course = budgets.course(hours, objective=slo.objective, window=slo.window)
    drawn = plots.plot(
        [(min(at, now), left * 100) for at, left in course if at > since],
        since=since,
        until=now,
        every=budgets.HOUR,
        words=lambda value: f"{value:.3g} %",
        bounds=[("bad", 0.0)],
        upward=False,
        highest=100.0,
    )
    alerts = Alert.objects.filter(threshold__slo=slo).select_related("threshold", "incident").order_by("-id")[:RECENT]
    return htmx.render(
        request,
        "monitoring/slos/detail.html",
        "_state",
        slo=slo,
        budget=found,
        left=_left(found.remaining),
        allowed=found.tally.total * budgets.allowed(slo.objective),
        burns=_burns(slo),
        plot=drawn,
        alerts=list(alerts),
        may_mark=permissions.can(
            person(request),
            "operate",
            environment=slo.environment or permissions.ANY,
            service=slo.service or permissions.ANY,
        ),
        days=slo.window // 86_400,
    )


def _left(remaining: float | None) -> dict[str, Any]:
    """The share that is left, as a bar and in words."""
    if remaining is None:
        return {"words": "not known", "bar": 0, "tone": "idle"}
    percent = remaining * 100
    tone = "bad" if percent <= 0 else "due" if percent < 25 else "ok"
    return {"words": _percent(percent), "bar": min(max(round(percent), 0), 100), "tone": tone}


def _burns(slo: Slo) -> list[dict[str, Any]]:
    rows = {one.window: one for one in slo.thresholds.all() if one.active}
    return [
        {"tier": tier, "threshold": rows[tier.long], "state": next(iter(rows[tier.long].states.all()), None)}
        for tier in TIERS
        if tier.long in rows
    ]


def _burning(slo: Slo) -> str:
    """The worst level at which one of its burn alerts fires."""
    firing = [one["state"].level for one in _burns(slo) if one["state"] and one["state"].phase == "firing"]
    return "critical" if "critical" in firing else firing[0] if firing else ""


def _percent(percent: float) -> str:
    return f"{percent:.0f} %" if abs(percent) >= 100 else f"{percent:.3g} %"
