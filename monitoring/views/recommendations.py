"""Advice on a page: what the rules found, a person's word on it, and what was saved."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import recommendations
from monitoring.models import Recommendation
from monitoring.views.sources import Verb
from portal import htmx, permissions, posted
from portal.access import page, person
from portal.models import Environment, Service, User

PAGE_SIZE = 30
Status = Recommendation.Status
FILTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "": ("To decide", (Status.OPEN, Status.ACCEPTED)),
    "applied": ("Applied", (Status.APPLIED,)),
    "dismissed": ("Dismissed", (Status.DISMISSED,)),
    "all": ("All", tuple(Status.values)),
}


@dataclass(frozen=True, slots=True)
class Row:
    one: Recommendation
    verbs: list[Verb]

    @property
    def id(self) -> str:
        return f"recommendation-{self.one.pk}"


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    who, chosen = person(request), request.GET.get("show", "")
    rows = permissions.visible(who, Recommendation.objects.select_related("service", "environment"))
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    shown = rows.filter(status__in=FILTERS.get(chosen, FILTERS[""])[1])
    found = Paginator(shown.order_by(F("expected").desc(nulls_last=True), "-id"), PAGE_SIZE)
    page_ = found.get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/recommendations/list.html",
        "_list",
        found=page_,
        rows=[Row(one, verbs(one, who)) for one in page_.object_list],
        totals=recommendations.totals(rows.select_related(None).only("status", "rule", "unit", "expected", "saved")),
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    who, because = person(request), posted.text(request, "because")
    rows = Recommendation.objects.select_related("service", "environment")
    one = get_object_or_404(permissions.visible(who, rows), pk=pk)
    if verb == "accept":
        recommendations.accept(one, by=who, because=because)
    elif verb == "apply":
        recommendations.apply(one, by=who, because=because)
    elif verb == "dismiss":
        recommendations.dismiss(one, by=who, because=because)
    else:
        raise Http404
    messages.success(request, f"{one}: {one.status}.")
    return posted.back(request, reverse("recommendations"))


def verbs(one: Recommendation, who: User) -> list[Verb]:
    if one.status not in (Status.OPEN, Status.ACCEPTED):
        return []
    may = permissions.can(
        who, "operate", environment=one.environment or permissions.ANY, service=one.service or permissions.ANY
    )
    why_not = "" if may else "None of your roles may operate here."
    note = "What it saves is measured by the week that follows the next day."
    found = [
        Verb("apply", "It is done", "primary", reason="maybe", note=note, why_not=why_not),
        Verb("dismiss", "Dismiss", reason="needed", why_not=why_not),
    ]
    if one.status == Status.OPEN:
        found.insert(0, Verb("accept", "Accept", reason="maybe", why_not=why_not))
    return found
