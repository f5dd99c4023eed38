"""Errors on pages: the groups that are open, new or back, and one with its stack, its course and what people said."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_GET, require_POST

from monitoring import grouping
from monitoring.actions import error_groups
from monitoring.models import ErrorGroup, ErrorSeverity
from monitoring.queries import errors as questions
from monitoring.views import plots
from monitoring.views.incidents import Verb
from portal import audit, htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, Service, User

PAGE_SIZE = 30
OCCURRENCES, RELEASES, HISTORY = 20, 10, 20
LIST_SPAN, CHART_SPAN = timedelta(hours=23), timedelta(days=7)
BARS_WIDTH, BARS_HEIGHT = 120, 24  # of a drawing's own coordinates
Status = ErrorGroup.Status
FILTERS = {
    "": "Open",
    "new": "New",
    "back": "Back",
    "mine": "Mine",
    "resolved": "Resolved",
    "ignored": "Ignored",
    "all": "All",
}
DONE = {"resolve": "resolved", "ignore": "ignored", "reopen": "open again"}


@dataclass(frozen=True, slots=True)
class Bars:
    """How often something came in each hour, as a drawing."""

    bars: Sequence[tuple[float, float, float, float]]  # x, y, width, height
    words: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a stack. `own`: of the application's own code."""

    text: str
    own: bool


def visible(request: HttpRequest) -> "QuerySet[ErrorGroup]":
    rows = ErrorGroup.objects.select_related("service", "environment", "assignee")
    return permissions.visible(person(request), rows)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every filter stands in the address."""
    asked, now, who = request.GET.get, jobs.database_now(), person(request)
    shown = asked("show", "")
    severity = asked("severity", "")
    rows = questions.chosen(
        visible(request).filter(_which(shown, who, now)),
        service=asked("service", ""),
        environment=asked("environment", ""),
        severity=severity if severity in ErrorSeverity.values else "",
        release=asked("release", ""),
        text=asked("text", ""),
    )
    found = Paginator(rows.order_by("-last_seen", "-id"), PAGE_SIZE).get_page(asked("page"))
    groups = list(found.object_list)
    hours = questions.hourly(groups, since=now - LIST_SPAN, until=now)
    return htmx.render(
        request,
        "monitoring/errors/list.html",
        "_list",
        found=found,
        rows=[(group, _bars(hours[group.pk]), _marks(group, now)) for group in groups],
        filters=[(key, label, key == shown) for key, label in FILTERS.items()],
        chosen=shown,
        is_filtered=any(asked(name) for name in ("service", "environment", "severity", "release", "text")),
        severities=list(reversed(ErrorSeverity.values)),
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, pk: int) -> HttpResponse:
    group, now, who = get_object_or_404(visible(request), pk=pk), jobs.database_now(), person(request)
    occurrences = list(group.occurrences.all()[:OCCURRENCES])
    hours = questions.hourly([group], since=now - CHART_SPAN, until=now)[group.pk]
    may = permissions.can(who, "operate", environment=group.environment, service=group.service)
    return htmx.render(
        request,
        "monitoring/errors/detail.html",
        "_state",
        group=group,
        marks=_marks(group, now),
        verbs=_verbs(group, may=may),
        may=may,
        people=User.objects.filter(is_active=True).order_by("username") if may else (),
        plot=plots.plot(
            [(at, float(many)) for at, many in hours],
            since=hours[0][0],
            until=hours[-1][0],
            every=questions.HOUR,
            words=lambda value: f"{value:.0f}",
        ),
        week=sum(many for _, many in hours),
        latest=occurrences[0] if occurrences else None,
        stack=_lines(occurrences[0].stack) if occurrences else (),
        occurrences=occurrences,
        releases=group.releases.all()[:RELEASES],
        entries=audit.of(group)[:HISTORY],
    )


@page
@require_POST
def press(request: HttpRequest, pk: int, verb: str) -> HttpResponse:
    """One button, one call. What is refused comes back as a message."""
    group, who = get_object_or_404(visible(request), pk=pk), person(request)
    acts: dict[str, Callable[..., bool]] = {
        "resolve": error_groups.resolve,
        "ignore": error_groups.ignore,
        "reopen": error_groups.reopen,
    }
    if verb == "assign":
        name = posted.text(request, "person")
        chosen = User.objects.filter(username=name, is_active=True).first()
        if name and chosen is None:
            raise Invalid.of("person", "choose who it is")
        error_groups.assign(group, chosen, by=who)
        messages.success(request, f"Error {pk}: {chosen or 'nobody'} looks after it.")
    elif verb in acts:
        acts[verb](group, by=who, because=posted.text(request, "because"))
        messages.success(request, f"Error {pk} is {DONE[verb]}.")
    else:
        raise Http404
    return posted.back(request, reverse("error", args=[pk]))


def _which(shown: str, who: User, now: datetime) -> Q:
    is_open = Q(status=Status.OPEN)
    return {
        "new": is_open & Q(first_seen__gte=now - questions.NEW_FOR),
        "back": is_open & Q(regressed_at__isnull=False),
        "mine": is_open & Q(assignee=who),
        "resolved": Q(status=Status.RESOLVED),
        "ignored": Q(status=Status.IGNORED),
        "all": Q(),
    }.get(shown, is_open)


def _marks(group: ErrorGroup, now: datetime) -> list[str]:
    """What stands beside its status."""
    if group.status != Status.OPEN:
        return []
    if group.regressed_at is not None:
        return ["back"]
    return ["new"] if group.first_seen >= now - questions.NEW_FOR else []


def _verbs(group: ErrorGroup, *, may: bool) -> list[Verb]:
    why_not = "" if may else "None of your roles may operate here."
    resolve = "When it comes again in a newer release, it is open again and said to be back."
    ignore = "It is counted on, and no threshold counts it any more."
    found = []
    if group.status != Status.RESOLVED:
        found.append(Verb("resolve", "Resolve", "primary", note=resolve, why_not=why_not))
    if group.status != Status.IGNORED:
        found.append(Verb("ignore", "Ignore", reason="needed", note=ignore, why_not=why_not))
    if group.status != Status.OPEN:
        found.append(Verb("reopen", "Open again", why_not=why_not))
    return found


def _bars(hours: Sequence[tuple[datetime, int]]) -> Bars:
    high = max((many for _, many in hours), default=0)
    step = BARS_WIDTH / len(hours)
    bars = []
    for place, (_, many) in enumerate(hours):
        # One error beside a thousand is seen, too.
        height = max(many / high * BARS_HEIGHT, 1.5) if many else 0.0
        if height:
            bars.append(
                (round(place * step, 2), round(BARS_HEIGHT - height, 2), round(step * 0.8, 2), round(height, 2))
            )
    return Bars(bars, f"{sum(many for _, many in hours)} in the last 24 hours, at most {high} in one")


def _lines(stack: str) -> list[Line]:
    """The stack with the lines of the own code told apart."""
    found: list[Line] = []
    for line in stack.splitlines():
        frames = grouping.read(line)
        is_code = bool(found) and not frames and line.startswith("    ")
        # A line of source text belongs to the call above it.
        own = found[-1].own if is_code else any(frame.is_own for frame in frames)
        found.append(Line(line, own))
    return found
