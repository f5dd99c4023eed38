"""Who is on call, now and next, on a page; standing in; and whom the policies call."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import rotas
from monitoring.models import EscalationPolicy, Rota, RotaOverride
from monitoring.queries.rotas import OnCall, all_on_call
from portal import htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import User

LOCAL = "%Y-%m-%dT%H:%M"
SHOWN = 12  # shifts of a rota


@dataclass(frozen=True, slots=True)
class Turn:
    """One shift, in the rota's own zone."""

    person: str
    starts: datetime
    ends: datetime
    is_override: bool
    is_mine: bool


@dataclass(frozen=True, slots=True)
class Card:
    """One rota on the page."""

    rota: Rota
    now: Turn
    following: Turn | None
    turns: list[Turn]
    overrides: list[RotaOverride]
    zone: str
    first: str
    last: str


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    who, now = person(request), jobs.database_now()
    people = {one.username: str(one) for one in User.objects.filter(is_active=True)}
    stood_in: dict[int, list[RotaOverride]] = {}
    for one in RotaOverride.objects.filter(ends_at__gt=now).select_related("person").order_by("starts_at", "id"):
        stood_in.setdefault(one.rota_id, []).append(one)
    cards = [_card(one, people, who, stood_in.get(one.rota.pk, []), now) for one in all_on_call(now)]
    return htmx.render(
        request,
        "monitoring/on_call/page.html",
        "_state",
        cards=cards,
        people=sorted(people.items(), key=lambda pair: pair[1].lower()),
        policies=[(policy, _steps(policy)) for policy in EscalationPolicy.objects.all()],
        may=permissions.can(who, "operate", environment=permissions.ANY, service=permissions.ANY),
        may_configure=permissions.can(who, "configure"),
        me=who,
    )


@page
@require_POST
def stand_in(request: HttpRequest, key: str) -> HttpResponse:
    """Times are typed as the clock in the rota's zone shows them."""
    rota = get_object_or_404(Rota, key=key)
    zone = ZoneInfo(rota.zone)
    who = User.objects.filter(username=posted.text(request, "person"), is_active=True).first()
    if who is None:
        raise Invalid.of("person", "choose who stands in")
    starts_at, ends_at = (_local(request, name, zone) for name in ("starts_at", "ends_at"))
    if ends_at is None:
        raise Invalid.of("ends_at", "say until when")
    rotas.stand_in(
        rota, who, by=person(request), starts_at=starts_at, ends_at=ends_at, comment=posted.text(request, "because")
    )
    messages.success(request, f"{who} stands in for {rota}.")
    return posted.back(request, reverse("on-call"))


@page
@require_POST
def take_back(request: HttpRequest, pk: int) -> HttpResponse:
    override = get_object_or_404(RotaOverride.objects.select_related("rota"), pk=pk)
    rotas.take_back(override, by=person(request), because=posted.text(request, "because"))
    messages.success(request, "The rota decides again.")
    return posted.back(request, reverse("on-call"))


def _card(found: OnCall, people: dict[str, str], who: User, overrides: list[RotaOverride], now: datetime) -> Card:
    zone = ZoneInfo(found.rota.zone)

    def turn(shift: Any) -> Turn:
        name = people.get(shift.person, "") if shift.person else ""
        starts, ends = shift.starts_at.astimezone(zone), shift.ends_at.astimezone(zone)
        return Turn(name, starts, ends, shift.is_override, shift.person == who.username)

    turns = [turn(one) for one in found.shifts[:SHOWN]]
    local = now.astimezone(zone)
    return Card(
        found.rota,
        turns[0],
        turns[1] if len(turns) > 1 else None,
        turns,
        overrides,
        found.rota.zone,
        local.strftime(LOCAL),
        (local + timedelta(hours=8)).strftime(LOCAL),
    )


def _steps(policy: EscalationPolicy) -> list[tuple[str, int]]:
    """Each step in words, and the seconds that it waits."""
    found = []
    for step in policy.steps:
        words = [*step.get("people", ()), *(f"on call: {name}" for name in step.get("rotas", ()))]
        found.append((", ".join([*words, *(f"# {name}" for name in step.get("channels", ()))]), step["delay"]))
    return found


def _local(request: HttpRequest, name: str, zone: ZoneInfo) -> datetime | None:
    given = posted.text(request, name)
    if not given:
        return None
    try:
        return datetime.fromisoformat(given).replace(tzinfo=zone)
    except ValueError:
        raise Invalid.of(name, "must be a time, as 2026-11-02T09:00") from None
