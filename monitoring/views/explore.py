"""Looking at metrics: which there are, and any of them as lines, grouped by a label and narrowed by others."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.core.paginator import Paginator
from django.db.models import Count, Max, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from monitoring import queries
from monitoring.models import Metric, Series
from monitoring.models.metrics import RESERVED_LABELS
from monitoring.queries import rollups
from monitoring.queries.windows import PERCENTILE
from monitoring.summaries import Summary
from monitoring.views import plots
from portal import htmx, jobs, permissions
from portal.access import page, person

PAGE_SIZE = 50
MOST_SERIES = 2000  # of one metric that are looked at
MOST_LINES = 7  # as many as there are colours
POINTS = 120
MINUTE = timedelta(minutes=1)
SPANS = {
    "hour": ("Hour", timedelta(hours=1)),
    "": ("6 hours", timedelta(hours=6)),
    "day": ("Day", timedelta(days=1)),
    "week": ("Week", timedelta(days=7)),
    "month": ("30 days", timedelta(days=30)),
}
# What may be asked of each type; the first is shown unasked.
AGGREGATIONS: Mapping[str, Sequence[str]] = {
    Metric.Type.COUNTER: ("rate", "increase"),
    Metric.Type.GAUGE: ("mean", "min", "max", "last", "sum", "count", "stddev", "p50", "p95", "p99"),
    Metric.Type.HISTOGRAM: ("p95", "p50", "p99", "mean", "min", "max", "count", "rate", "stddev"),
}


@dataclass(frozen=True, slots=True)
class Line:
    """One group of series."""

    name: str
    size: int  # series
    values: list[tuple[datetime, float]]

    @property
    def last(self) -> float | None:
        return self.values[-1][1] if self.values else None

    @property
    def lowest(self) -> float | None:
        return min((value for _, value in self.values), default=None)

    @property
    def highest(self) -> float | None:
        return max((value for _, value in self.values), default=None)


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the address asks for; of what makes no sense the usual."""

    aggregation: str
    by: str
    where: dict[str, str]
    span: str


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every metric of which this person may see a series."""
    seen = permissions.visible(person(request), Series.objects.all())
    own = seen.filter(metric=OuterRef("pk")).order_by().values("metric")
    rows = Metric.objects.filter(pk__in=seen.order_by().values("metric")).annotate(
        lines=Subquery(own.annotate(n=Count("pk")).values("n")),
        heard_at=Subquery(own.annotate(at=Max("last_time")).values("at")),
    )
    search, kind = request.GET.get("search", "")[:200], request.GET.get("type", "")
    if search:
        rows = rows.filter(name__icontains=search)
    if kind in Metric.Type.values:
        rows = rows.filter(type=kind)
    found = Paginator(rows.order_by("name"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request, "monitoring/explore/list.html", "_list", found=found, search=search, kinds=Metric.Type.values
    )


@page
@require_GET
def metric(request: HttpRequest, name: str) -> HttpResponse:
    """Its lines. The whole question stands in the address."""
    known = get_object_or_404(Metric, name=name)
    chosen = _chosen(request, known)
    rows = _series(request, known, chosen.where)
    if not rows and not chosen.where:
        get_object_or_404(permissions.visible(person(request), Series.objects.filter(metric=known))[:1])
    labels = _labels(rows)
    groups: dict[str, list[int]] = defaultdict(list)
    for pk, own in rows[:MOST_SERIES]:
        groups[own.get(chosen.by, f"without {chosen.by}") if chosen.by else known.name].append(pk)
    shown = dict(sorted(groups.items())[:MOST_LINES])
    now = jobs.database_now()
    length = SPANS[chosen.span][1]
    every = max(MINUTE, -(-length // POINTS // MINUTE) * MINUTE)
    lines = _lines(shown, chosen.aggregation, since=now - length, until=now, every=every)
    return htmx.render(
        request,
        "monitoring/explore/metric.html",
        "_chart",
        metric=known,
        chosen=chosen,
        lines=lines,
        plot=plots.together(
            [(line.name, line.values) for line in lines], since=now - length, until=now, every=every, words=_words
        ),
        every=every,
        aggregations=AGGREGATIONS[known.type],
        labels=labels,
        spans=[(key, label, key == chosen.span) for key, (label, _) in SPANS.items()],
        total=len(groups),
        series=min(len(rows), MOST_SERIES),
        more_series=len(rows) > MOST_SERIES,
        bound=_bound(known, chosen),
        rest=_rest(known, chosen, every, now - length),
        may=permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY),
    )


def _chosen(request: HttpRequest, known: Metric) -> Chosen:
    allowed = AGGREGATIONS[known.type]
    aggregation = request.GET.get("aggregation", "")
    where: dict[str, str] = {}
    for text in request.GET.getlist("where")[:20]:
        name, sign, value = text[:1000].partition("=")
        if sign and name.strip():
            where[name.strip()] = value.strip().strip('"')
    by, span = request.GET.get("by", "")[:200], request.GET.get("span", "")
    return Chosen(
        aggregation if aggregation in allowed else allowed[0],
        by,
        where,
        span if span in SPANS else "",
    )


def _series(request: HttpRequest, known: Metric, where: Mapping[str, str]) -> list[tuple[int, dict[str, str]]]:
    rows: QuerySet[Series] = permissions.visible(person(request), queries.matching(known.name, where))
    return list(rows.order_by("-last_time", "pk").values_list("pk", "labels")[: MOST_SERIES + 1])


def _labels(rows: Sequence[tuple[int, Mapping[str, str]]]) -> dict[str, list[str]]:
    """The labels that tell the series apart, each with its values; the fewest values first."""
    values: dict[str, set[str]] = defaultdict(set)
    for _, own in rows:
        for name, value in own.items():
            values[name].add(value)
    ordered = sorted(values.items(), key=lambda one: (len(one[1]), one[0]))
    return {name: sorted(some) for name, some in ordered}


def _lines(
    groups: Mapping[str, Sequence[int]], aggregation: str, *, since: datetime, until: datetime, every: timedelta
) -> list[Line]:
    needs = aggregation == "stddev" or PERCENTILE.match(aggregation) is not None
    found = rollups.bins_of(groups, since=since, until=until, step=every, now=until, distributions=needs)
    return [
        Line(name, len(ids), _values(found.get(name, {}), aggregation, every, until)) for name, ids in groups.items()
    ]


def _values(
    bins: Mapping[datetime, Summary], aggregation: str, every: timedelta, until: datetime
) -> list[tuple[datetime, float]]:
    """Each at the end of its step."""
    found = []
    for time, summary in bins.items():
        if time + every > until:
            break  # it is not over: what has grown so far would look like a fall
        value = summary.value(aggregation, every.total_seconds())
        if value is not None:
            found.append((time + every, value))
    return found


def _words(value: float) -> str:
    return f"{value:.4g}"


def _bound(known: Metric, chosen: Chosen) -> str:
    """The form in which a threshold on what is shown is begun."""
    inner = ", ".join(f'{name}="{value}"' for name, value in chosen.where.items())
    condition = f"{chosen.aggregation}({known.name}{f'{{{inner}}}' if inner else ''}) > "
    return f"{reverse('threshold-new')}?{urlencode({'condition': condition})}"


def _rest(known: Metric, chosen: Chosen, every: timedelta, since: datetime) -> str:
    """The same by REST."""
    asked: list[tuple[str, str | int]] = [
        (name, value) if name in RESERVED_LABELS else ("label", f"{name}:{value}")
        for name, value in chosen.where.items()
    ]
    asked += [("since", f"{since:%Y-%m-%dT%H:%M:%SZ}"), ("step", int(every.total_seconds()))]
    return f"/api/v1/metrics/{known.name}/points/?{urlencode(asked)}"
