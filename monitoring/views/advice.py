"""Where metrics go: their trends, and what one of them will be."""

from datetime import timedelta
from typing import Any

from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from monitoring.models import Metric, Series
from monitoring.queries import histories, outlooks
from monitoring.queries.histories import Measured
from monitoring.queries.outlooks import Outlook
from monitoring.queries.trends import Seen, seen
from monitoring.trends import Direction, Effect
from monitoring.views import plots
from monitoring.views.plots import Plot
from portal import htmx, jobs, permissions
from portal.access import page, person
from portal.models import Environment, Service
from portal.templatetags.portal import number

PAGE_SIZE = 20
SPANS = {"1d": "Day", "7d": "Week", "30d": "Month", "90d": "Quarter"}
AHEAD = {"1": "A day", "7": "A week", "30": "A month", "90": "A quarter"}
WIDTH, HEIGHT = 160, 28  # of a line in a row
FLAT = 0.01  # a share of the highest value


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The trend of each metric of each service. Every filter stands in the address."""
    chosen = request.GET.get("window", "")
    chosen = chosen if chosen in SPANS else "7d"
    window, step = histories.WINDOWS[chosen]
    rows = permissions.visible(person(request), Series.objects.all())
    for name in ("environment", "service"):
        if value := request.GET.get(name, ""):
            rows = rows.filter(**{f"{name}__key": value})
    if text := request.GET.get("q", "").strip()[:200]:
        rows = rows.filter(metric__name__icontains=text)
    now = jobs.database_now()
    subjects = histories.subjects(rows, heard_since=now - max(window, timedelta(days=1)))
    found = Paginator(subjects, PAGE_SIZE).get_page(request.GET.get("page"))
    some = seen([histories.subject(row) for row in found.object_list], window=window, step=step, now=now)
    return htmx.render(
        request,
        "monitoring/advice/list.html",
        "_list",
        found=found,
        rows=[_row(one) for one in some],
        spans=[(key, label, key == chosen) for key, label in SPANS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_GET
def metric(request: HttpRequest, name: str) -> HttpResponse:
    """What one metric of one service will be."""
    found = get_object_or_404(Metric, name=name)
    service, environment = request.GET.get("service", ""), request.GET.get("environment", "")
    matchers = outlooks.matchers_of(service, environment)
    rows = Series.objects.filter(metric=found, labels__contains=dict(matchers))
    if (count := permissions.visible(person(request), rows).count()) == 0 or count != rows.count():
        raise Http404
    chosen = request.GET.get("days", "")
    chosen = chosen if chosen in AHEAD else "7"
    now = jobs.database_now()
    how = histories.USUALLY[found.type]
    made = outlooks.outlook(Measured(name, how, matchers), until=now + timedelta(days=int(chosen)), now=now)
    return htmx.render(
        request,
        "monitoring/advice/metric.html",
        metric=found,
        aggregation=how,
        service=service,
        environment=environment,
        outlook=made,
        plot=drawn(made, found.unit),
        spans=[(key, label, key == chosen) for key, label in AHEAD.items()],
        last=made.forecast.steps[-1] if made.forecast.known else None,
    )


def drawn(made: Outlook, unit: str = "", bounds: list[tuple[str, float]] | None = None) -> Plot | None:
    """The end of the history, as long as what is ahead, and the forecast with its interval."""
    if not made.points:
        return None
    last = made.points[-1][0]
    ahead = [(one.at, one.value, one.low, one.high) for one in made.forecast.steps]
    until = ahead[-1][0] if ahead else last
    since = max(made.points[0][0], last - max(until - last, 48 * made.step))
    shown = [(at, value) for at, value in made.points if at >= since]
    if ahead:
        ahead.insert(0, (last, made.points[-1][1], made.points[-1][1], made.points[-1][1]))
    return plots.plot(
        shown,
        since=since,
        until=until if until > since else since + made.step,
        every=made.step,
        words=lambda value: f"{number(value)} {unit}".strip(),
        bounds=bounds or [],
        ahead=ahead,
    )


def _row(one: Seen) -> dict[str, Any]:
    trend = one.trend
    return {
        "seen": one,
        "trend": trend,
        "effect": one.effect,
        "tone": "ok" if one.effect is Effect.BETTER else "bad" if one.effect is Effect.WORSE else "idle",
        "word": trend.direction if one.effect is Effect.NEUTRAL else f"{trend.direction}: {one.effect}",
        "change": None if trend.change is None else f"{trend.change:+.1%}",
        "known": trend.direction is not Direction.UNKNOWN,
        "spark": _spark(one),
    }


def _spark(one: Seen) -> str:
    """Its values as a line in a box of WIDTH by HEIGHT."""
    if len(one.points) < 2:
        return ""
    low = min(value for _, value in one.points)
    high = max(value for _, value in one.points)
    # What hardly moves is drawn as a line that hardly moves.
    height = max(high - low, FLAT * abs(high)) or 1.0
    first, last = one.points[0][0], one.points[-1][0]
    return " ".join(
        f"{(at - first) / (last - first) * WIDTH:.1f},{HEIGHT - (value - low) / height * HEIGHT:.1f}"
        for at, value in one.points
    )
