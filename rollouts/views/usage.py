"""How a flag is used, on its page: the chart's points, and why a unit got what it got."""

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils import timezone
from django.views.decorators.http import require_GET

from monitoring.models.events import LONGEST_UNIT
from portal import htmx, permissions
from portal.access import page, person
from portal.models import Environment
from rollouts.models import FlagConfig
from rollouts.queries import explaining
from rollouts.views import trace_words, usage_charts
from rollouts.views.flags import flag_and_place, may_see, visible


@page
@require_GET
def frame(request: HttpRequest, key: str, environment: str) -> HttpResponse:
    """The whole chart; the socket sends what is new."""
    flag, place = flag_and_place(request, key, environment)
    config = get_object_or_404(FlagConfig.objects.select_related("flag", "environment"), flag=flag, environment=place)
    head = {"topic": f"chart:flag-use:{config.pk}", "v": 1, "seq": 0, "t": int(timezone.now().timestamp() * 1000)}
    return JsonResponse(head | usage_charts.snapshot(config))


@page
@require_GET
def why(request: HttpRequest, key: str) -> HttpResponse:
    """Why a unit got what it got: what was recorded of it beside what it gets now."""
    flag, who = get_object_or_404(visible(request), key=key), person(request)
    places = [one for one in Environment.objects.all() if may_see(who, one, flag)]
    wanted = request.GET.get("environment", "")
    place = next((one for one in places if one.key == wanted), places[-1] if places else None)
    unit = request.GET.get("unit", "").strip()
    said, fault = None, ""
    if len(unit) > LONGEST_UNIT or "\0" in unit:
        fault = f"A unit has at most {LONGEST_UNIT} characters, and no NUL."
    elif unit and place is not None:
        sees_contexts = permissions.can(who, "view", environment=place)
        said = explaining.why(flag, place, unit, with_context=sees_contexts, now=timezone.now())
    return htmx.render(
        request,
        "rollouts/playground/why.html",
        "_why",
        flag=flag,
        places=places,
        place=place,
        unit=unit,
        fault=fault,
        said=said,
        now=said and trace_words.answer(said.now),
        then=said and said.then and trace_words.answer(said.then),
    )
