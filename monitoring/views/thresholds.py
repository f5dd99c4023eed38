"""Thresholds on pages: where each stands, how its value went, what it would have done; made, edited, taken away."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Prefetch, Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from monitoring import responses
from monitoring.actions import specs, thresholds
from monitoring.judging import LEVELS, Reading, Sight, judge
from monitoring.models import Alert, AlertState, Threshold
from monitoring.queries import courses, suppressions
from monitoring.queries.measurements import measure
from monitoring.suppressing import Mute, muting
from monitoring.views import plots, words
from monitoring.views.plots import Plot
from portal import htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import Environment, Service

PAGE_SIZE = 30
RECENT = 20
FILTERS = {
    "": ("All", Q()),
    "firing": ("Firing", Q(states__group="", states__phase="firing")),
    "unsure": ("Not known", Q(states__group="", states__outcome__in=("inconclusive", "error"))),
}
SPANS = {
    "hour": ("Hour", timedelta(hours=1)),
    "": ("6 hours", timedelta(hours=6)),
    "day": ("Day", timedelta(days=1)),
    "week": ("Week", timedelta(days=7)),
}
POINTS = 240
TONES = {"warning": "due", "error": "bad", "critical": "bad"}


@dataclass(frozen=True, slots=True)
class Row:
    """One threshold, as it stands this moment."""

    threshold: Threshold
    condition: str
    state: str
    reading: Reading | None
    value: str
    bound: str
    changed_at: Any
    silenced: str
    false_share: int | None

    @property
    def reason(self) -> str:
        return self.reading.verdict.reason if self.reading else ""


@dataclass(slots=True)
class Form:
    """What is typed of a threshold; of what it does not show the fields stay as they are."""

    name: str = ""
    condition: str = ""
    response: str = ""
    target: str = ""
    runbook: str = ""
    errors: dict[str, str] | None = None
    preview: courses.Preview | None = None

    @property
    def word(self) -> str:
        """Its response, without what stands behind it."""
        return self.response.partition(responses.ARGUMENT)[0]

    @property
    def argument(self) -> str:
        return self.response.partition(responses.ARGUMENT)[2]

    def spec(self) -> dict[str, Any]:
        given: dict[str, Any] = {"name": self.name, "condition": self.condition}
        given |= {"response": self.response or None, "target": self.target or None}
        return given | {"runbook": self.runbook or None}


def visible(request: HttpRequest) -> "QuerySet[Threshold]":
    rows = Threshold.objects.active().select_related("service", "environment").with_false_alerts()
    rows = rows.prefetch_related(Prefetch("states", AlertState.objects.filter(group="")))
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    chosen = request.GET.get("show", "")
    # Burn alerts stand on the pages of their objectives.
    rows = visible(request).filter(slo=None).filter(FILTERS.get(chosen, FILTERS[""])[1])
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    if text := request.GET.get("q", "").strip()[:200]:
        rows = rows.filter(Q(name__icontains=text) | Q(metric__icontains=text))
    found = Paginator(rows.order_by("name", "id"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/thresholds/list.html",
        "_list",
        found=found,
        rows=_rows(list(found.object_list)),
        filters=[(key, label, key == chosen) for key, (label, _) in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
        may=_may_configure(request),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    threshold = get_object_or_404(visible(request), pk=pk)
    return htmx.render(
        request,
        "monitoring/thresholds/detail.html",
        "_state",
        **_shown(request, threshold),
        form=_held(threshold),
        may=_may(request, threshold),
        responses=responses.known(),
    )


@page
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """A name and a condition; what it would have done is shown before it is made."""
    if not _may_configure(request):
        raise Forbidden("none of your roles may make thresholds")
    form = _typed(request) if request.method == "POST" else Form(condition=request.GET.get("condition", "")[:2000])
    if request.method == "POST" and _preview_or_act(request, form, None):
        made = _act(form, lambda: thresholds.create(form.spec(), by=person(request)))
        if made is not None:
            messages.success(request, f"{made} is judged from now on.")
            return redirect("threshold", made.pk)
    return htmx.render(request, "monitoring/thresholds/new.html", form=form, responses=responses.known())


@page
@require_POST
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """Preview or save; what is refused stands beside what was typed."""
    threshold = get_object_or_404(visible(request), pk=pk)
    form = _typed(request)
    if not _may(request, threshold):
        raise Forbidden("none of your roles may change this threshold")
    if _preview_or_act(request, form, threshold):
        made = _act(form, lambda: thresholds.change(threshold, form.spec(), by=person(request), partly=True))
        if made is not None:
            messages.success(request, f"{made} is judged by its new condition.")
            return redirect("threshold", pk)
    context = _shown(request, threshold) | {"form": form, "may": True, "responses": responses.known()}
    return htmx.render(request, "monitoring/thresholds/detail.html", **context)


@page
@require_POST
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    threshold = get_object_or_404(visible(request), pk=pk)
    thresholds.delete(threshold, by=person(request), because=posted.text(request, "because"))
    messages.success(request, f"{threshold} is no longer judged.")
    return HttpResponseRedirect(reverse("thresholds"))


def _rows(found: Sequence[Threshold]) -> list[Row]:
    """With the value of this moment: measured for all of them together, as the judge does."""
    now = jobs.database_now()
    looks = measure(found, now=now) if found else {}
    mutes = suppressions.current(now=now).mutes
    names = specs.member_names(found)
    return [_row(one, judge(looks[one.pk].condition, looks[one.pk].measurement), mutes, names) for one in found]


def _row(threshold: Threshold, reading: Reading, mutes: Sequence[Mute], names: Mapping[int, str]) -> Row:
    state = next(iter(threshold.states.all()), None)
    had, false = getattr(threshold, "alerts_had", 0), getattr(threshold, "alerts_false", 0)
    level = (state.level if state else "") or next(
        (one.value for one in LEVELS if getattr(threshold, one.value) is not None), ""
    )
    known = {**threshold.matchers, "alertname": threshold.name, "metric": threshold.metric, "level": level}
    return Row(
        threshold,
        specs.text(threshold, names),
        _word(state, reading),
        reading,
        words.value(threshold, reading.value) if reading.sight is not Sight.NO_DATA else "no data",
        words.bound(threshold, level),
        state.changed_at if state else None,
        muting(mutes, known),
        round(100 * false / had) if had else None,
    )


def _word(state: AlertState | None, reading: Reading) -> str:
    """The alert's phase while there is one; else what this look says."""
    if state is not None and state.phase != AlertState.Phase.INACTIVE:
        return state.level or state.phase if state.phase == AlertState.Phase.FIRING else state.phase
    return reading.verdict.outcome.value


def _shown(request: HttpRequest, threshold: Threshold) -> dict[str, Any]:
    chosen = request.GET.get("span", "")
    span = SPANS.get(chosen, SPANS[""])[1]
    recent = Alert.objects.filter(threshold=threshold).select_related("incident").order_by("-id")[:RECENT]
    members = Threshold.objects.filter(pk__in=threshold.members) if threshold.members else []
    return {
        "row": _rows([threshold])[0],
        "threshold": threshold,
        "plot": _plot(threshold, span),
        "spans": [(key, label, key == chosen) for key, (label, _) in SPANS.items()],
        "alerts": list(recent),
        "may_mark": _may_operate(request, threshold),
        "members": list(members),
    }


def _plot(threshold: Threshold, span: timedelta) -> Plot | None:
    if threshold.members or threshold.slo_id:
        return None
    now = jobs.database_now()
    every = max(timedelta(minutes=1), timedelta(minutes=span // POINTS // timedelta(minutes=1)))
    steps = courses.course(threshold, since=now - span, until=now, every=every, now=now)
    bounds = [
        (TONES[level.value], bound)
        for level in LEVELS
        if not threshold.baseline_kind and (bound := getattr(threshold, level.value)) is not None
    ]
    return plots.plot(
        [(one.at, one.value) for one in steps],
        since=now - span,
        until=now,
        every=every,
        words=lambda value: words.value(threshold, value),
        bounds=bounds,
        upward=threshold.operator.startswith(">"),
    )


def _held(threshold: Threshold) -> Form:
    names = specs.member_names([threshold])
    return Form(threshold.name, specs.text(threshold, names), threshold.response, threshold.target, threshold.runbook)


def _typed(request: HttpRequest) -> Form:
    names = ("name", "condition", "response", "target", "runbook")
    name, condition, response, target, runbook = (posted.text(request, one) for one in names)
    # One field as it is stored, two where it is typed.
    if response and (argument := posted.text(request, "argument")):
        response += responses.ARGUMENT + argument
    return Form(name, condition, response, target, runbook)


def _preview_or_act(request: HttpRequest, form: Form, threshold: Threshold | None) -> bool:
    """False: only what it would have done was asked for, and stands in the form."""
    if request.POST.get("do") != "preview":
        return True
    try:
        spec = form.spec() if threshold is None else thresholds.merged(threshold, form.spec())
        columns = specs.clean({**spec, "name": form.name or "preview"})
    except Invalid as error:
        form.errors = dict(error.errors)
        return False
    permissions.require(
        person(request), "view", environment=columns["environment"] or permissions.ANY,
        service=columns["service"] or permissions.ANY,
    )  # fmt: skip
    form.preview = courses.preview(Threshold(**columns), now=jobs.database_now())
    return False


def _act(form: Form, act: Any) -> Threshold | None:
    try:
        made: Threshold = act()
    except Invalid as error:
        form.errors = dict(error.errors)
    except (Refused, Forbidden, Stale) as error:
        form.errors = {"": str(error)}
    else:
        return made
    return None


def _may(request: HttpRequest, threshold: Threshold) -> bool:
    return not threshold.owner and permissions.can(
        person(request), "configure", environment=threshold.environment, service=threshold.service
    )


def _may_configure(request: HttpRequest) -> bool:
    return permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY)


def _may_operate(request: HttpRequest, threshold: Threshold) -> bool:
    place, service = threshold.environment or permissions.ANY, threshold.service or permissions.ANY
    return permissions.can(person(request), "operate", environment=place, service=service)
