"""Alerts on a page: what fires, what fired, what nobody was told of, and what was false."""

from collections.abc import Callable

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import alerts, specs
from monitoring.models import Alert
from monitoring.views import words
from portal import htmx, permissions, posted
from portal.access import page, person
from portal.models import Environment, Service

PAGE_SIZE = 30
Status = Alert.Status
FILTERS = {
    "": ("Firing", Q(status=Status.FIRING)),
    "pending": ("Pending", Q(status=Status.PENDING)),
    "held": ("Held back", Q(status=Status.FIRING, held_at__isnull=False)),
    "resolved": ("Resolved", Q(status=Status.RESOLVED)),
    "false": ("False", Q(false_at__isnull=False)),
    "all": ("All", Q()),
}
MARKS: dict[str, Callable[..., Alert]] = {"mark-false": alerts.mark_false, "unmark": alerts.unmark_false}


def visible(request: HttpRequest) -> "QuerySet[Alert]":
    rows = Alert.objects.select_related("threshold", "service", "environment", "incident")
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
    if (level := request.GET.get("level", "")) in Alert.Level.values:
        rows = rows.filter(level=level)
    found = Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page"))
    names = specs.member_names([one.threshold for one in found.object_list])
    who = person(request)
    return htmx.render(
        request,
        "monitoring/alerts/list.html",
        "_list",
        found=found,
        rows=[
            (
                one,
                words.value(one.threshold, one.value),
                words.bound(one.threshold, one.level),
                specs.text(one.threshold, names),
                permissions.can(
                    who,
                    "operate",
                    environment=one.environment or permissions.ANY,
                    service=one.service or permissions.ANY,
                ),
            )
            for one in found.object_list
        ],
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        levels=Alert.Level.values,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_POST
def mark(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """Nothing was wrong; or something was after all."""
    alert = get_object_or_404(visible(request), pk=pk)
    if verb not in MARKS:
        raise Http404
    MARKS[verb](alert, by=person(request), because=posted.text(request, "because"))
    said = "counts as false against its threshold" if verb == "mark-false" else "counts as right again"
    messages.success(request, f"Alert {pk} {said}.")
    return posted.back(request, reverse("alerts"))
