"""How a person wants to be told, on a page of their own."""

from datetime import time
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import preferences
from monitoring.models import Channel, NotificationPreference, OutboxMessage
from monitoring.suppressing import DAYS
from portal import htmx, posted
from portal.access import page, person
from portal.errors import Invalid

SHOWN = 20
NAMES = dict(zip(DAYS, ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"), strict=True))


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    who = person(request)
    found = NotificationPreference.objects.filter(user=who).first()
    shown = found or NotificationPreference(user=who, days=list(DAYS[:5]))
    chosen = set(found.channels.values_list("pk", flat=True)) if found else set()
    waiting = OutboxMessage.objects.filter(channel__owner=who, state="pending", kind=preferences.HELD)
    return htmx.render(
        request,
        "monitoring/me/notifications.html",
        found=found,
        shown=shown,
        days=[(day, NAMES[day], day in shown.days) for day in DAYS],
        choices=NotificationPreference.When.choices,
        channels=[(channel, channel.pk in chosen) for channel in Channel.objects.filter(owner=who, active=True)],
        waiting=waiting.select_related("channel").order_by("due_at")[:SHOWN],
    )


@page
@require_POST
def save(request: HttpRequest) -> HttpResponse:
    who = person(request)
    if "forget" in request.POST:
        preferences.forget(who, by=who)
        messages.success(request, "Everything comes at once again.")
        return posted.back(request, reverse("my-notifications"))
    fields: dict[str, Any] = {name: posted.text(request, name) for name in ("zone", *preferences.CHOSEN)}
    fields["days"] = [day for day in request.POST.getlist("days") if day in DAYS]
    fields |= {name: _time(request, name, needed=True) for name in preferences.TIMES}
    fields |= {name: _time(request, name) for name in preferences.QUIET}
    wanted = [int(pk) for pk in request.POST.getlist("channels") if pk.isdecimal() and len(pk) < 18]
    fields["channels"] = list(Channel.objects.filter(owner=who, pk__in=wanted))
    preferences.choose(who, fields, by=who)
    messages.success(request, "Saved.")
    return posted.back(request, reverse("my-notifications"))


def _time(request: HttpRequest, name: str, *, needed: bool = False) -> time | None:
    given = posted.text(request, name)
    if not given and not needed:
        return None
    try:
        return time.fromisoformat(given)
    except ValueError:
        raise Invalid.of(name, "must be a time of the day, as 09:00") from None
