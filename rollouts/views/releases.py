"""A release on its page: what it is, and where it has been taken."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from portal import audit, htmx, permissions
from portal.access import page, person
from rollouts.models import Deployment, Release
from rollouts.views.cards import cards, shown


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    who = person(request)
    rows = permissions.visible(who, Release.objects.select_related("service"), environment=None)
    release = get_object_or_404(rows, pk=pk)
    runs = permissions.visible(who, Deployment.objects.filter(release=release))
    return htmx.render(
        request,
        "rollouts/releases/detail.html",
        "_release",
        release=release,
        cards=cards(shown(runs.order_by("-id")[:50]), who),
        entries=audit.of(release)[:30],
    )
