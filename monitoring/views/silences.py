"""Silences and maintenance windows on a page: what holds alerts back, made and ended there."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import silences
from monitoring.models import Alert, MaintenanceWindow, Silence
from monitoring.queries import suppressions
from monitoring.suppressing import DAYS
from portal import htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Invalid

PAGE_SIZE = 30
LENGTHS = {"1h": "1 hour", "4h": "4 hours", "12h": "12 hours", "1d": "1 day", "3d": "3 days", "7d": "7 days"}
HOURS = {"1h": 1, "4h": 4, "12h": 12, "1d": 24, "3d": 72, "7d": 168}
MATCHER = re.compile(r"\s*([A-Za-z_][A-Za-z0-9_]*)\s*(=~|!~|!=|=)\s*(.*?)\s*")
SIGNS = {(False, True): "=", (True, True): "=~", (False, False): "!=", (True, False): "!~"}


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """What holds now and what is planned; `show=ended` what did."""
    now, who, chosen = jobs.database_now(), person(request), request.GET.get("show", "")
    rows = permissions.visible(who, Silence.objects.select_related("service", "environment"))
    rows = rows.filter(ends_at__lte=now) if chosen == "ended" else rows.filter(ends_at__gt=now)
    found = Paginator(rows.order_by("-ends_at", "-id"), PAGE_SIZE).get_page(request.GET.get("page"))
    windows = permissions.visible(who, MaintenanceWindow.objects.select_related("service", "environment"))
    windows = windows.filter(Q(ends_at=None) | Q(ends_at__gt=now)).order_by("starts_at", "id")[:100]
    return htmx.render(
        request,
        "monitoring/silences/list.html",
        "_list",
        found=found,
        silences=[(one, shown(one.matchers), _word(one, now)) for one in found.object_list],
        windows=[(one, shown(one.matchers), _when(one, now), _following(one, now)) for one in windows],
        chosen=chosen,
        held=permissions.visible(who, Alert.objects.held()).count(),
        may=permissions.can(who, "operate", environment=permissions.ANY, service=permissions.ANY),
        matchers=request.GET.get("matchers", "")[:1000],
        lengths=LENGTHS,
        days=DAYS,
        zones=sorted(available_timezones()),
    )


@page
@require_POST
def make(request: HttpRequest) -> HttpResponse:
    length = HOURS.get(request.POST.get("length", ""))
    if length is None:
        raise Invalid.of("length", f"choose from {', '.join(LENGTHS)}")
    made = silences.silence(
        _matchers(posted.text(request, "matchers")),
        ends_at=jobs.database_now() + timedelta(hours=length),
        comment=posted.text(request, "comment"),
        by=person(request),
    )
    messages.success(request, f"Silent until {made.ends_at:%d %b %H:%M} UTC. Alerts are judged all the same.")
    return posted.back(request, reverse("silences"))


@page
@require_POST
def end(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(permissions.visible(person(request), Silence.objects.all()), pk=pk)
    silences.expire(one, by=person(request), because=posted.text(request, "because"))
    messages.success(request, "The silence is over. What still fires is told now.")
    return posted.back(request, reverse("silences"))


@page
@require_POST
def plan(request: HttpRequest) -> HttpResponse:
    """Once, or on days of the week; times of the form are by the wall clock of its zone."""
    zone = posted.text(request, "zone") or "UTC"
    if zone not in available_timezones():
        raise Invalid.of("zone", "is no zone of the IANA database, such as Europe/Warsaw")
    fields: dict[str, Any] = {
        "name": posted.text(request, "name"),
        "comment": posted.text(request, "comment"),
        "matchers": _matchers(posted.text(request, "matchers")),
        "starts_at": _moment(request, "starts_at", zone),
        "ends_at": _moment(request, "ends_at", zone),
        "zone": zone,
        "days": request.POST.getlist("days"),
        "opens": _time(request, "opens"),
        "closes": _time(request, "closes"),
    }
    made = silences.plan(fields, by=person(request))
    messages.success(request, f"{made} is planned.")
    return posted.back(request, reverse("silences"))


@page
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    one = get_object_or_404(permissions.visible(person(request), MaintenanceWindow.objects.all()), pk=pk)
    silences.cancel(one, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"{one} is cancelled.")
    return posted.back(request, reverse("silences"))


def shown(matchers: list[dict[str, Any]]) -> str:
    """As a person writes them: service=shop, alertname=~"disk.*"."""
    signs = (
        (one["name"], SIGNS[bool(one.get("is_regex")), one.get("is_equal", True)], one["value"]) for one in matchers
    )
    return ", ".join(f"{name}{sign}{value}" for name, sign, value in signs)


def _matchers(text: str) -> list[dict[str, Any]]:
    """A line each, or one after the other with commas: name=value, name!=value, name=~pattern, name!~pattern."""
    found = []
    for line in (one for one in re.split(r"[\n,]", text) if one.strip()):
        match = MATCHER.fullmatch(line)
        if match is None:
            raise Invalid.of("matchers", f"'{line.strip()[:80]}' is not like service=shop or alertname=~disk.*")
        name, sign, value = match.groups()
        found.append({"name": name, "value": value.strip('"'), "is_regex": "~" in sign, "is_equal": "!" not in sign})
    return found


def _moment(request: HttpRequest, name: str, zone: str) -> datetime | None:
    text = posted.text(request, name)
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except ValueError:
        raise Invalid.of(name, "must be a day and a time") from None


def _time(request: HttpRequest, name: str) -> time | None:
    text = posted.text(request, name)
    if not text:
        return None
    try:
        return time.fromisoformat(text)
    except ValueError:
        raise Invalid.of(name, "must be a time such as 02:30") from None


def _word(silence: Silence, now: datetime) -> str:
    if silence.ends_at <= now:
        return "ended"
    return "scheduled" if silence.starts_at > now else "active"


def _when(window: MaintenanceWindow, now: datetime) -> str:
    """In words: every sat and sun 02:00–04:00 Europe/Warsaw; or from one moment to another."""
    if window.days and window.opens and window.closes:
        return f"every {', '.join(window.days)} {window.opens:%H:%M}–{window.closes:%H:%M} {window.zone}"
    until = f"{window.ends_at:%d %b %H:%M}" if window.ends_at else "further notice"
    return f"{window.starts_at:%d %b %H:%M} to {until} UTC"


def _following(window: MaintenanceWindow, now: datetime) -> tuple[str, datetime | None]:
    """Whether it holds now, and until when; or when it begins."""
    if (span := suppressions.occurrence(window, now)) is not None:
        return "active", span[1]
    recurring = suppressions.recurrence(window)
    if recurring is not None:
        span = recurring.following(now)
        return "scheduled", span[0] if span else None
    return "scheduled", window.starts_at
