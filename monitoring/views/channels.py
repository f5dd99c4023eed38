"""Where messages go, on pages: how each channel does, and what nobody took."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import outbox
from monitoring.models import Channel, OutboxMessage
from monitoring.queries import delivery
from portal import htmx, jobs, permissions, posted
from portal.access import page, person

PAGE_SIZE = 30


@dataclass(frozen=True, slots=True)
class Health:
    """A channel's state: as a pill, and in words."""

    look: str
    word: str
    said: str = ""


def health(channel: Channel, *, now: datetime) -> Health:
    """The circuit is open while the channel rests: nothing is tried before its time."""
    if not channel.active:
        return Health("off", "Off", "Nothing is sent; what waits goes on waiting.")
    if channel.resting_until is not None and channel.resting_until > now:
        return Health("failing", "Circuit open", f"{_in_a_row(channel)}; next try in")
    if channel.failures:
        return Health("warning", "Failing", f"{_in_a_row(channel)}; one message at a time is tried.")
    if channel.last_sent_at is None:
        return Health("n/a", "Not used yet")
    return Health("operational", "Working")


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """An address may be a secret itself: it is not shown, and only who may configure comes here at all."""
    _require(request)
    now = jobs.database_now()
    found = Paginator(delivery.channels().order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    rows = [(channel, health(channel, now=now)) for channel in found.object_list]
    return htmx.render(request, "monitoring/channels/list.html", "_list", found=found, rows=rows)


@page
@require_POST
def test(request: HttpRequest, pk: int) -> HttpResponse:
    _require(request)
    outbox.test(get_object_or_404(Channel, pk=pk), by=person(request))
    messages.success(request, "A test message is on its way: the row says when it has arrived.")
    return posted.back(request, reverse("channels"))


@page
@require_GET
def dead_letters(request: HttpRequest) -> HttpResponse:
    _require(request)
    rows = delivery.dead_letters()
    if channel := request.GET.get("channel", ""):
        rows = rows.filter(channel__name=channel)
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    told: list[tuple[OutboxMessage, Any]] = [(letter, letter.payload.get("text", "")) for letter in found.object_list]
    return htmx.render(
        request, "monitoring/dead_letters/list.html", "_list", found=found, letters=told, channel=channel
    )


@page
@require_POST
def resend(request: HttpRequest, pk: int) -> HttpResponse:
    _require(request)
    letter = get_object_or_404(delivery.dead_letters(), pk=pk)
    outbox.resend(letter, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"Message {pk} is tried for another day.")
    return posted.back(request, reverse("dead-letters"))


def _require(request: HttpRequest) -> None:
    permissions.require(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)


def _in_a_row(channel: Channel) -> str:
    return "1 attempt failed" if channel.failures == 1 else f"{channel.failures} attempts in a row failed"
