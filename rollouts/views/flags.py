"""Flags on pages: what they do where, who changed them, and the switch that is always possible."""

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Prefetch, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from portal import htmx, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, User
from rollouts.actions import change_requests, flags, rebucketing
from rollouts.engine import advice
from rollouts.models import ChangeRequest, Flag, FlagConfig
from rollouts.queries import usage, uses
from rollouts.queries.usage import Usage
from rollouts.views import flag_filters, flag_words
from rollouts.views.flag_words import Line, Summary

PAGE_SIZE = 40
HISTORY = 8  # newest, before all of it is asked for
HISTORY_PAGE = 40


@dataclass(frozen=True, slots=True)
class Place:
    """A flag in one environment, as its page shows it."""

    environment: Environment
    config: FlagConfig | None
    summary: Summary
    lines: list[Line]
    conditions: list[str]
    warnings: list[str]
    otherwise: str  # what those get whom no rule is about, once it is on
    why_not: str  # why this person may not switch it here
    legacy: rebucketing.Switch | None  # what a switch to the portal's own bucketing would do


def visible(request: HttpRequest) -> "QuerySet[Flag]":
    return permissions.visible(person(request), Flag.objects.select_related("service"), environment=None)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Search and filters stand in the address."""
    who = person(request)
    environments = [one for one in Environment.objects.all() if may_see(who, one)]
    asked = flag_filters.Asked.read(request.GET, environments)
    shown = [asked.place] if asked.place else environments
    configs = FlagConfig.objects.filter(environment__in=shown)
    rows = asked.narrow(visible(request), shown)
    found = Paginator(rows.prefetch_related(Prefetch("configs", configs)), PAGE_SIZE).get_page(request.GET.get("page"))
    used = usage.of(list(found.object_list), shown, now=timezone.now())
    return htmx.render(
        request,
        "rollouts/flags/list.html",
        "_list",
        found=found,
        rows=[(flag, _cells(flag, shown), used.stale(flag)) for flag in found.object_list],
        shown=shown,
        asked=asked,
        environments=environments,
        filters=[] if htmx.is_part(request) else asked.filters(visible(request)),
        may_make=permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY),
        now=timezone.now(),
    )


@page
@require_GET
def detail(request: HttpRequest, key: str) -> HttpResponse:
    """What it serves now, who gets what, and how it came to that."""
    who = person(request)
    flag = get_object_or_404(visible(request), key=key)
    places = _places(flag, who)
    revisions = flag.revisions.filter(
        Q(environment=None) | Q(environment__in=[place.environment for place in places])
    ).select_related("environment")
    found = Paginator(revisions, HISTORY_PAGE if request.GET.get("history") == "all" else HISTORY)
    history = found.get_page(request.GET.get("page"))
    configure = permissions.can(who, "configure", environment=permissions.ANY, service=flag.service)
    used = usage.of([flag], [place.environment for place in places], now=timezone.now())
    return htmx.render(
        request,
        "rollouts/flags/detail.html",
        "_flag",
        flag=flag,
        places=places,
        history=history,
        is_whole=request.GET.get("history") == "all",
        revisions=[
            # What a deployment alone has changed is not brought back by hand.
            (one, [] if one.is_first else flag_words.difference(one.diff), set(one.diff) != {"reserved"})
            for one in history.object_list
        ],
        # Where this person may bring an earlier revision back, and which one is the current.
        restorable={
            place.config.environment_id: place.config.revision
            for place in places
            if place.config and not place.why_not and flag.archived_at is None
        },
        may_define=configure,
        stale=used.stale(flag),
        in_use=_in_use(request.GET.get("use"), flag, places, used),
        uses=uses.of_flag(flag, who),
        now=timezone.now(),
    )


@page
@require_POST
def switch(request: HttpRequest, key: str, environment: str, to: str) -> HttpResponse:
    """The kill switch, off or on."""
    flag, place = flag_and_place(request, key, environment)
    because = posted.text(request, "because")
    if not because:
        raise Invalid.of("because", "a reason is needed")
    verb = {"off": flags.kill, "on": flags.switch_on}.get(to)
    if verb is None:
        raise Http404
    if to == "on" and place.protected:
        made = change_requests.open(flag, place, {"enabled": True}, by=person(request), because=because)
        return _asked(request, made)
    verb(flag, place, by=person(request), because=because)
    messages.success(request, f"Flag {flag} is {to} in {place}: clients know within a second.")
    return posted.back(request, reverse("flag", args=[key]))


@page
@require_POST
def restore(request: HttpRequest, key: str, environment: str, number: int) -> HttpResponse:
    """An earlier revision again, as a new one."""
    flag, place = flag_and_place(request, key, environment)
    because = posted.text(request, "because")
    if place.protected:
        return _asked(request, change_requests.open_restore(flag, place, number, by=person(request), because=because))
    made = flags.restore(flag, place, number, by=person(request), because=because)
    messages.success(
        request, f"Flag {flag} does in {place} what revision {number} said: it is revision {made.revision}."
    )
    return posted.back(request, reverse("flag", args=[key]))


def _asked(request: HttpRequest, made: ChangeRequest) -> HttpResponse:
    """What a button could not do by hand is asked for."""
    messages.success(request, f"{made.environment} is protected: change request {made.pk} asks for it.")
    return redirect("change-request", made.pk)


def _in_use(wanted: str | None, flag: Flag, places: list[Place], used: Usage) -> dict[str, Any]:
    """The environment whose use is drawn: the one asked for, else the last in which the flag is evaluated."""
    drawn = [place for place in places if place.config]
    asked = [place for place in drawn if place.environment.key == wanted]
    evaluated = [place for place in drawn if used.use(flag, place.environment).last_evaluated_at]
    chosen = next(iter([*asked, *evaluated[::-1], *drawn[::-1]]), None)
    use = used.use(flag, chosen.environment) if chosen else None
    return {"places": drawn, "place": chosen, "use": use}


def flag_and_place(request: HttpRequest, key: str, environment: str) -> tuple[Flag, Environment]:
    """Both, where this person may look."""
    flag = get_object_or_404(visible(request), key=key)
    place = get_object_or_404(Environment, key=environment)
    if not may_see(person(request), place, flag):
        raise Http404
    return flag, place


def may_see(who: User, environment: Environment, flag: Flag | None = None) -> bool:
    service = flag.service if flag and flag.service else permissions.ANY
    return permissions.can(who, "view", environment=environment, service=service)


def _cells(flag: Flag, environments: list[Environment]) -> list[tuple[Environment, Summary]]:
    by_place = {config.environment_id: config for config in flag.configs.all()}
    return [(place, flag_words.summary(by_place.get(place.pk))) for place in environments]


def _places(flag: Flag, who: User) -> list[Place]:
    configs = {config.environment_id: config for config in flag.configs.all()}
    found = []
    for environment in Environment.objects.all():
        if not may_see(who, environment, flag):
            continue
        config = configs.get(environment.pk)
        if config:
            config.environment, config.flag = environment, flag
        may = permissions.can(who, "operate", environment=environment, service=flag.service or permissions.ANY)
        found.append(
            Place(
                environment,
                config,
                flag_words.summary(config),
                flag_words.lines(config) if config else [],
                flag_words.conditions(config) if config else [],
                [one["message"] for one in advice.warnings(config.document(), flag.type, config.reserved)]
                if config
                else [],
                flag_words.serving(config.fallthrough) if config else "",
                "" if may else f"None of your roles may operate {environment}.",
                rebucketing.preview(config) if config else None,
            )
        )
    return found
