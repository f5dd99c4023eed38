"""The playground: type a context or pick one that was seen, and see what it gets of every flag, and why."""

import json
import time
from dataclasses import dataclass
from typing import Any

import orjson
from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET, require_POST

from portal import htmx, permissions
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, User
from rollouts.api.contexts import LARGEST, fault_of
from rollouts.models import ContextSample, Flag
from rollouts.queries import contexts, explaining
from rollouts.views import trace_words
from rollouts.views.trace_words import Answer

PAGE_SIZE = 50
SHOWN = 12  # contexts to pick from
LONGEST_WORDS = 200
EXAMPLE = '{\n  "targetingKey": "user-1"\n}'


@dataclass(frozen=True, slots=True)
class Asked:
    """What the form says."""

    environment: Environment | None
    text: str
    words: str
    page: str
    units: str


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """With an example, or with a sampled context to go on with."""
    return _shown(request, None)


@page
@require_POST
def answers(request: HttpRequest) -> HttpResponse:
    """The context is posted, for it may hold what does not belong in an address. Nothing is counted or kept."""
    if "context" not in request.POST:
        raise Invalid.of("context", "is required")
    return _shown(request, "_answers")


def _shown(request: HttpRequest, part: str | None) -> HttpResponse:
    who = person(request)
    environments = [
        one
        for one in Environment.objects.all()
        if permissions.can(who, "view", environment=one, service=permissions.ANY)
    ]
    asked = _asked(request, who, environments)
    context, fault = _context(asked.text)
    found: Page[Any] | None = None
    decided: list[Answer] = []
    if asked.environment is not None and context is not None:
        found, decided = _answers(who, asked, asked.environment, context)
    return htmx.render(
        request,
        "rollouts/playground/page.html",
        part,
        asked=asked,
        environments=environments,
        fault=fault,
        found=found,
        answers=decided,
        **_seen(who, asked),
    )


def _asked(request: HttpRequest, who: User, environments: list[Environment]) -> Asked:
    given = request.POST if request.method == "POST" else request.GET
    wanted = given.get("environment", "")
    chosen = next((one for one in environments if one.key == wanted), environments[-1] if environments else None)
    text = request.POST.get("context", "").strip() or _picked(who, chosen, given.get("sample", "")) or EXAMPLE
    words = given.get("q", "").replace("\0", "").strip()[:LONGEST_WORDS]
    units = request.GET.get("units", "").replace("\0", "").strip()[:LONGEST_WORDS]
    return Asked(chosen, text, words, given.get("page", "1"), units)


def _picked(who: User, environment: Environment | None, number: str) -> str:
    """A sampled context, as text to go on with."""
    if environment is None or not number.isdecimal() or len(number) > 18 or not _may_see_contexts(who, environment):
        return ""
    sample = ContextSample.objects.filter(environment=environment, pk=int(number)).first()
    return json.dumps(sample.context, indent=2, ensure_ascii=False) if sample else ""


def _context(text: str) -> tuple[dict[str, Any] | None, str]:
    """The context that was typed, or what is wrong with it."""
    if len(text.encode("utf-8", "surrogatepass")) > LARGEST:
        return None, f"The context is larger than {LARGEST} bytes."
    try:
        context = orjson.loads(text.encode("utf-8", "surrogatepass"))
    except ValueError as error:
        return None, f"This is not JSON: {error}."
    fault = fault_of(context)
    return (None, f"{fault[0]}: {fault[1]}.") if fault else (context, "")


def _answers(
    who: User, asked: Asked, environment: Environment, context: dict[str, Any]
) -> tuple[Page[Any], list[Answer]]:
    rows = Flag.objects.live().saying(asked.words) if asked.words else Flag.objects.live()
    seen = permissions.visible(who, rows, environment=None).order_by("key")
    found = Paginator(seen.values_list("key", flat=True), PAGE_SIZE).get_page(asked.page)
    explained = explaining.every(environment, list(found.object_list), context, now=time.time())
    return found, [trace_words.answer(one) for one in explained]


def _may_see_contexts(who: User, environment: Environment) -> bool:
    return permissions.can(who, "view", environment=environment)


def _seen(who: User, asked: Asked) -> dict[str, Any]:
    """The contexts that were seen of late, to pick one."""
    if asked.environment is None or not _may_see_contexts(who, asked.environment):
        return {"samples": [], "may_pick": False}
    return {"samples": contexts.newest(asked.environment, containing=asked.units, limit=SHOWN), "may_pick": True}
