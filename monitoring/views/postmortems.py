"""Post-mortems on pages: read, written, published; and the list of what is to be done after incidents."""

from datetime import date
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import F, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import action_items, postmortems
from monitoring.models import ActionItem, Incident, PostMortem
from monitoring.queries.postmortems import SECTIONS
from monitoring.views.incidents import visible
from portal import htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import User

PAGE_SIZE = 50
VERSIONS_SHOWN = 30
FILTERS = {"": "Open", "mine": "Mine", "late": "Late", "ended": "Done or dropped", "all": "All"}


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    """As it is, or as an older version was (`?version=`); with the form for who may write."""
    found = _find(request, pk)
    content, older = found.content, request.GET.get("version", "")
    if older:
        content = get_object_or_404(found.versions, number=int(older) if older.isdecimal() else 0).content
    who = person(request)
    return htmx.render(
        request,
        "monitoring/postmortems/detail.html",
        found=found,
        incident=found.incident,
        sections=[(key, label, content.get(key, ""), key in postmortems.NEEDED) for key, label in SECTIONS.items()],
        older=older,
        versions=found.versions.all()[:VERSIONS_SHOWN],
        items=found.incident.action_items.select_related("owner"),
        may=_may_operate(found.incident, who),
        people=User.objects.filter(is_active=True).order_by("username"),
        now=jobs.database_now(),
        me=who,
    )


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    found, who = _find(request, pk), person(request)
    if verb == "save":
        content = {key: request.POST[key].replace("\r\n", "\n") for key in SECTIONS if key in request.POST}
        version = posted.text(request, "version")
        expected = int(version) if version.isdecimal() and len(version) < 9 else None
        saved = postmortems.edit(found, content, by=who, expected_version=expected)
        messages.success(request, f"Saved as version {saved.version}.")
    elif verb == "publish":
        postmortems.publish(found, by=who)
        messages.success(request, "Published.")
    elif verb == "waive":
        postmortems.waive(found, by=who, because=posted.text(request, "because"))
        messages.success(request, "Waived.")
    else:
        raise Http404
    return posted.back(request, reverse("post-mortem", args=[pk]))


@page
@require_POST
def add_item(request: HttpRequest, pk: int) -> HttpResponse:
    incident = get_object_or_404(visible(request), pk=pk)
    fields = {"title": posted.text(request, "title"), "owner": _owner(request), "due_on": _day(request)}
    item = action_items.add(incident, fields, by=person(request))
    messages.success(request, f"To be done: {item}.")
    return posted.back(request, reverse("incident", args=[pk]))


@page
@require_GET
def items(request: HttpRequest) -> HttpResponse:
    """What is to be done after incidents, what is due first on top."""
    chosen, who = request.GET.get("show", ""), person(request)
    today = jobs.database_now().date()
    is_open = Q(status=ActionItem.Status.OPEN)
    which = {
        "mine": is_open & Q(owner=who),
        "late": is_open & Q(due_on__lt=today),
        "ended": ~is_open,
        "all": Q(),
    }.get(chosen, is_open)
    rows = _seen(who).filter(which).order_by(F("due_on").asc(nulls_last=True), "id")
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/postmortems/items.html",
        "_items",
        found=found,
        rows=[(item, item.owner == who or _may_operate(item.incident, who)) for item in found.object_list],
        filters=[(key, label, key == chosen) for key, label in FILTERS.items()],
        today=today,
        me=who,
    )


@page
@require_POST
def end_item(request: HttpRequest, pk: int, status: str) -> HttpResponse:
    item = get_object_or_404(_seen(person(request)), pk=pk)
    action_items.end(item, status, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"{item}: {status}.")
    return posted.back(request, reverse("action-items"))


def _find(request: HttpRequest, pk: int) -> PostMortem:
    rows = PostMortem.objects.select_related(*(f"incident__{name}" for name in ("service", "environment", "commander")))
    return get_object_or_404(rows.filter(incident__in=visible(request).values("pk")), incident=pk)


def _seen(who: User) -> "QuerySet[ActionItem]":
    rows = ActionItem.objects.select_related("owner", "incident__service", "incident__environment")
    return permissions.visible(who, rows, environment="incident__environment", service="incident__service")


def _may_operate(incident: Incident, who: User) -> bool:
    return permissions.can(
        who, "operate", environment=incident.environment or permissions.ANY, service=incident.service or permissions.ANY
    )


def _owner(request: HttpRequest) -> User | None:
    name = posted.text(request, "owner")
    found = User.objects.filter(username=name, is_active=True).first()
    if name and found is None:
        raise Invalid.of("owner", "choose who it is")
    return found


def _day(request: HttpRequest) -> Any:
    given = posted.text(request, "due_on")
    try:
        return date.fromisoformat(given) if given else None
    except ValueError:
        raise Invalid.of("due_on", "must be a date, as 2026-11-30") from None
