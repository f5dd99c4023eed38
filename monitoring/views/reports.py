"""Reports on pages: one's own, each as it was told, and which ones one wants."""

from datetime import time
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import report_subscriptions, reports
from monitoring.models import ReportSubscription
from monitoring.models.reports import Period
from portal import htmx, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment

PAGE_SIZE = 30
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    who = person(request)
    found = Paginator(reports.visible(who).filter(person=who), PAGE_SIZE).get_page(request.GET.get("page"))
    mine = ReportSubscription.objects.active().filter(person=who).select_related("environment")
    return htmx.render(
        request,
        "monitoring/reports/list.html",
        found=found,
        rows=[(one, bad(one.content), len(one.content["sections"])) for one in found.object_list],
        subscriptions=[(one, WEEKDAYS[one.weekday]) for one in mine.prefetch_related("services")],
        periods=Period.choices,
        weekdays=list(enumerate(WEEKDAYS)),
        services=reports.visible_services(who),
        environments=Environment.objects.all(),
        zone=report_subscriptions.usual_zone(who),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """As it was told; nothing is computed anew."""
    report = get_object_or_404(reports.visible(person(request)), pk=pk)
    return htmx.render(request, "monitoring/reports/detail.html", report=report, content=report.content)


@page
@require_POST
def subscribe(request: HttpRequest) -> HttpResponse:
    who = person(request)
    fields: dict[str, Any] = {name: posted.text(request, name) for name in ("period", "zone", "environment")}
    fields["services"] = [value[:128] for value in request.POST.getlist("services")][:200]
    fields["at"] = _time(posted.text(request, "at"))
    weekday = posted.text(request, "weekday")
    fields["weekday"] = int(weekday) if weekday.isdecimal() and len(weekday) == 1 else 0
    fields["by_mail"] = bool(posted.text(request, "by_mail"))
    report_subscriptions.create(who, fields, by=who)
    messages.success(request, "Your report comes at its time.")
    return posted.back(request, reverse("reports"))


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call."""
    who = person(request)
    subscription = get_object_or_404(ReportSubscription.objects.active().filter(person=who), pk=pk)
    if verb == "make":
        return redirect("report", reports.make_now(subscription, by=who).pk)
    if verb == "end":
        report_subscriptions.delete(subscription, by=who)
        messages.success(request, "It comes no more.")
        return posted.back(request, reverse("reports"))
    raise Http404


def bad(content: dict[str, Any]) -> int:
    """How many of its figures got worse."""
    return sum(one["effect"] == "worse" for section in content["sections"] for one in section["figures"])


def _time(given: str) -> time:
    try:
        return time.fromisoformat(given)
    except ValueError:
        raise Invalid.of("at", "must be a time of the day, as 08:00") from None
