"""What users waited for, at the 75th percentile: of services, and by page, browser, device, release or variant."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q, QuerySet

from monitoring import vitals
from monitoring.histogram import Distribution, share_up_to
from monitoring.models import Series
from monitoring.queries import distributions, rollups
from monitoring.vitals import Rating, Vital

# By what they may be told apart: the labels that a row's name is made of.
APART: dict[str, tuple[str, ...]] = {
    "page": ("page",),
    "browser": ("browser",),
    "device": ("device",),
    "release": ("release",),
    "variant": ("flag", "variant"),
}
METRICS = {one.metric: one for one in vitals.VITALS}


@dataclass(frozen=True, slots=True)
class Figure:
    """One vital of one row. Shares are of its page views, and sum up to 1 where there are any."""

    vital: Vital
    value: float | None
    count: int
    rating: Rating
    good: float = 0.0
    needs_improvement: float = 0.0
    poor: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """name: the page, browser… that it is about; empty for a whole service, and for what names none."""

    service: str
    environment: str
    name: str
    figures: tuple[Figure, ...]  # in the order of vitals.VITALS

    @property
    def views(self) -> int:
        """Page views that told anything: not every browser measures everything."""
        return max(one.count for one in self.figures)

    @property
    def worst(self) -> int:
        """How many of the core vitals are poor, and then how many need improvement: for sorting."""
        core = [one.rating for one in self.figures[:3]]
        return 10 * core.count(Rating.POOR) + core.count(Rating.NEEDS_IMPROVEMENT)


def rows(
    series: "QuerySet[Series]",
    *,
    span: timedelta,
    now: datetime,
    by: str = "",
    only: Mapping[str, str] | None = None,
) -> list[Row]:
    """By a handful of queries, whatever there is: the row of most page views first.

    series: those that the asker may see; `by` a name of APART; `only` labels that must be there. What was measured
    without a service or an environment belongs to no row.
    """
    since = rollups.floor(now - span, 3600) if span > timedelta(hours=1) else now - span
    heard = series.filter(metric__name__in=METRICS, service__isnull=False, environment__isnull=False)
    heard = heard.filter(Q(last_time__gte=since) | Q(last_time=None), labels__contains=dict(only or {})).order_by()
    found = heard.values_list("pk", "metric__name", "service__key", "environment__key", "labels")
    groups = {
        pk: (service, environment, _name(labels, APART[by] if by else ()), metric)
        for pk, metric, service, environment, labels in found
    }
    measured: dict[tuple[str, str, str], dict[str, Distribution]] = defaultdict(dict)
    for (*place, metric), whole in distributions.together(groups, since=since, until=now, now=now).items():
        if whole.count:
            service, environment, name = place
            measured[service, environment, name][metric] = whole
    made = [
        Row(*place, tuple(_figure(one, wholes.get(one.metric)) for one in vitals.VITALS))
        for place, wholes in measured.items()
    ]
    return sorted(made, key=lambda row: (-row.views, row.service, row.environment, row.name))


def _name(labels: Mapping[str, str], parts: tuple[str, ...]) -> str:
    return " = ".join(labels[part] for part in parts if part in labels)


def _figure(vital: Vital, whole: Distribution | None) -> Figure:
    if whole is None or vital.good is None or vital.poor is None:
        return Figure(vital, None, 0, Rating.NO_DATA)
    value = whole.percentile(vitals.PERCENT)
    good, not_poor = share_up_to(whole, vital.good), share_up_to(whole, vital.poor)
    rating = vitals.rate(vital, value, whole.count)
    return Figure(vital, value, whole.count, rating, good, not_poor - good, 1 - not_poor)
