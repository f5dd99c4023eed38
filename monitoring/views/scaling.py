"""Scaling on a page: what each policy says now, what was decided, and a person's word on it."""

from dataclasses import dataclass

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import scaling
from monitoring.models import ScalingDecision, ScalingPolicy
from monitoring.views.sources import Verb
from portal import htmx, permissions, posted
from portal.access import page, person
from portal.models import Environment, Service, User

PAGE_SIZE = 30
FILTERS = {"": "What was to be done", "all": "All"}
MOST = 100  # policies on one page


@dataclass(frozen=True, slots=True)
class Row:
    decision: ScalingDecision
    verbs: list[Verb]

    @property
    def id(self) -> str:
        return f"decision-{self.decision.pk}"


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    who, chosen = person(request), request.GET.get("show", "")
    policies = permissions.visible(
        who, ScalingPolicy.objects.active().select_related("service", "environment", "channel")
    )
    rows = permissions.visible(who, ScalingDecision.objects.select_related("policy", "service", "environment"))
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            policies, rows = policies.filter(**{f"{name}__key": value}), rows.filter(**{f"{name}__key": value})
    if chosen != "all":
        rows = rows.exclude(way=ScalingDecision.Way.NONE)
    found = Paginator(rows.order_by("-id"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/scaling/list.html",
        "_list",
        policies=list(policies[:MOST]),
        found=found,
        rows=[Row(one, verbs(one, who)) for one in found.object_list],
        filters=[(key, label, key == chosen) for key, label in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
        may=permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY),
    )


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    who, because = person(request), posted.text(request, "because")
    rows = ScalingDecision.objects.select_related("policy", "service", "environment")
    decision = get_object_or_404(permissions.visible(who, rows), pk=pk)
    if verb == "accept":
        scaling.accept(decision, by=who, because=because)
    elif verb == "decline":
        scaling.decline(decision, by=who, because=because)
    else:
        raise Http404
    messages.success(request, f"{decision}: {decision.status}.")
    return posted.back(request, reverse("scaling"))


def verbs(decision: ScalingDecision, who: User) -> list[Verb]:
    if decision.status != ScalingDecision.Status.ADVISED:
        return []
    may = permissions.can(who, "operate", environment=decision.environment, service=decision.service)
    why_not = "" if may else "None of your roles may operate here."
    note = "The webhook is told." if decision.policy.channel_id else "No webhook is named: it is done by hand."
    return [
        Verb("accept", "Accept", "primary", reason="maybe", note=note, why_not=why_not),
        Verb("decline", "Decline", reason="needed", why_not=why_not),
    ]
