"""How measured values went, step by step: of many metrics at once, in a fixed number of queries."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.contrib.postgres.aggregates import ArrayAgg
from django.db.models import Q, QuerySet

from monitoring.models import Metric, Series
from monitoring.queries import matched, rollups
from monitoring.queries.matched import Asked
from monitoring.queries.windows import PERCENTILE

# How far back may be asked, and the step that a value stands for then: at the most 168 values.
WINDOWS: Mapping[str, tuple[timedelta, timedelta]] = {
    "1d": (timedelta(days=1), timedelta(minutes=15)),
    "7d": (timedelta(days=7), timedelta(hours=1)),
    "30d": (timedelta(days=30), timedelta(hours=6)),
    "90d": (timedelta(days=90), timedelta(days=1)),
}
USUALLY: Mapping[str, str] = {
    Metric.Type.GAUGE: "mean",
    Metric.Type.COUNTER: "rate",
    Metric.Type.HISTOGRAM: "p95",
}
Points = list[tuple[datetime, float]]


@dataclass(frozen=True, slots=True)
class Measured:
    """One value: an aggregation of the series of a metric that carry the matchers, all of them pooled."""

    metric: str
    aggregation: str = "mean"
    matchers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Subject:
    """A metric of one service in one environment; empty: series that name none."""

    metric: str
    type: str
    unit: str
    direction: str
    service: str
    environment: str
    series: tuple[int, ...]


def subjects(rows: "QuerySet[Series]", *, heard_since: datetime) -> Any:
    """Rows of each metric by service and environment, of the series given that have been heard of since."""
    return (
        rows.filter(Q(last_time__gte=heard_since) | Q(last_time=None))  # None: heard of first a moment ago
        .order_by()
        .values("metric__name", "metric__type", "metric__unit", "metric__direction", "service__key", "environment__key")
        .annotate(ids=ArrayAgg("pk"))
        .order_by("metric__name", "service__key", "environment__key")
    )


def subject(row: Mapping[str, Any]) -> Subject:
    """One row of these."""
    return Subject(
        row["metric__name"],
        row["metric__type"],
        row["metric__unit"],
        row["metric__direction"],
        row["service__key"] or "",
        row["environment__key"] or "",
        tuple(row["ids"]),
    )


def of_subjects(
    asked: Sequence[Subject], *, window: timedelta, step: timedelta, now: datetime, aggregation: str = ""
) -> list[Points]:
    """The values of each, the oldest first; what is usual for its type unless an aggregation is named."""
    wanted = [aggregation or USUALLY[one.type] for one in asked]
    return _points([(one.series, how) for one, how in zip(asked, wanted, strict=True)], window, step, now)


def of(asked: Sequence[Measured], *, window: timedelta, step: timedelta, now: datetime) -> list[Points]:
    """The same of series that carry labels."""
    series = matched.series([Asked(n, one.metric, one.matchers) for n, one in enumerate(asked)])
    return _points([(series.get(n, ()), one.aggregation) for n, one in enumerate(asked)], window, step, now)


def _points(
    asked: Sequence[tuple[Collection[int], str]], window: timedelta, step: timedelta, now: datetime
) -> list[Points]:
    """Whole steps only: of one that is not over a sum would be too small."""
    seconds = step.total_seconds()
    until = rollups.floor(now, int(seconds))
    found: dict[int, Points] = {}
    for distributed in (False, True):
        groups = {n: ids for n, (ids, how) in enumerate(asked) if ids and _needs(how) is distributed}
        if not groups:
            continue
        some = rollups.bins_of(groups, since=until - window, until=until, step=step, now=now, distributions=distributed)
        for n, bins in some.items():
            values = ((at, summary.value(asked[n][1], seconds)) for at, summary in bins.items())
            found[n] = [(at, value) for at, value in values if value is not None]
    return [found.get(n, []) for n in range(len(asked))]


def _needs(aggregation: str) -> bool:
    return aggregation == "stddev" or PERCENTILE.match(aggregation) is not None
