"""What the rules of advice are about: gathered for all services in a fixed number of queries for each rule."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

from django.db.models import Count, Q

from monitoring import savings
from monitoring.histogram import summed
from monitoring.models import Alert, Capacity, Metric, ScalingPolicy, Series, Slo, Threshold, UnitCost
from monitoring.queries import histories, matched, rollups
from monitoring.queries.histories import Measured
from monitoring.queries.matched import Asked
from monitoring.savings import Finding, Price

K = TypeVar("K")
WEEK, MONTH = timedelta(days=7), timedelta(days=30)
HOUR = timedelta(hours=1)
HITS, MISSES = "_hits_total", "_misses_total"
ENDPOINTS = ("endpoint", "route", "handler", "path")  # labels that name one
MOST_PAIRS = 200


def over_provisioned(now: datetime) -> Iterator[Finding]:
    policies = list(ScalingPolicy.objects.active().select_related("service", "environment"))
    prices = {(one.service_id, one.environment_id): one for one in UnitCost.objects.all()}
    load = histories.of(
        [
            Measured(one.metric, one.aggregation, {**one.matchers, **place(one.service.key, one.environment.key)})
            for one in policies
        ],
        window=WEEK,
        step=HOUR,
        now=now,
    )
    counts = histories.of(
        [Measured(one.instances_metric, "mean", place(one.service.key, one.environment.key)) for one in policies],
        window=WEEK,
        step=HOUR,
        now=now,
    )
    for policy, values, count in zip(policies, load, counts, strict=True):
        instances: float | None = policy.instances
        if policy.instances_metric:
            instances = summed(value for _, value in count) / len(count) if count else None
        cost = prices.get((policy.service_id, policy.environment_id))
        price = Price(cost.instance_price, cost.currency) if cost else None
        found = savings.over_provisioned(
            policy.key,
            policy.service.key,
            policy.environment.key,
            [value for _, value in values],
            instances=instances,
            target=policy.target,
            minimum=policy.minimum,
            price=price,
        )
        if found is not None:
            yield found


def low_hit_rates(now: datetime) -> Iterator[Finding]:
    """By the counters' names: NAME_hits_total beside NAME_misses_total."""
    names = set(Metric.objects.filter(Q(name__endswith=HITS) | Q(name__endswith=MISSES)).values_list("name", flat=True))
    pairs = [name for name in sorted(names) if name.endswith(HITS) and name.replace(HITS, MISSES) in names]
    groups = _by_place([*pairs, *(name.replace(HITS, MISSES) for name in pairs)])
    grown = _grown(groups, now)
    for metric, service, environment in sorted(groups):
        if metric in pairs:
            other = (metric.replace(HITS, MISSES), service, environment)
            hits, misses = grown.get((metric, service, environment)), grown.get(other)
            found = savings.low_hit_rate(metric, service, environment, hits=hits, misses=misses)
            if found is not None:
                yield found


def error_prone(now: datetime) -> Iterator[Finding]:
    """Of the ratios that thresholds judge, told apart by the label that names an endpoint."""
    judged = Threshold.objects.active().filter(members=[], slo=None).exclude(denominator="")
    pairs = sorted(set(judged.order_by().values_list("metric", "denominator").distinct()[:MOST_PAIRS]))
    names = {name for pair in pairs for name in pair}
    groups: dict[tuple[str, str, str, str, str], list[int]] = defaultdict(list)
    rows = Series.objects.filter(metric__name__in=names, labels__has_any_keys=list(ENDPOINTS), service__isnull=False)
    columns = ("pk", "metric__name", "service__key", "environment__key", "labels")
    for pk, name, service, environment, labels in rows.values_list(*columns):
        label = next(one for one in ENDPOINTS if one in labels)
        groups[name, service, environment or "", label, labels[label]].append(pk)
    grown = _grown(groups, now)
    for metric, denominator in pairs:
        endpoints: dict[tuple[str, str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
        for name, service, environment, label, value in groups:
            total = grown.get((denominator, service, environment, label, value))
            if name == denominator and total:
                bad = grown.get((metric, service, environment, label, value)) or 0.0
                endpoints[service, environment, label][value] = (bad, total)
        for (service, environment, label), some in sorted(endpoints.items()):
            found = savings.error_prone(service, environment, metric, label, some)
            if found is not None:
                yield found


def noisy_thresholds(now: datetime) -> Iterator[Finding]:
    rows = Alert.objects.filter(
        fired_at__gte=now - MONTH, threshold__active=True, threshold__members=[], threshold__owner=""
    )
    counted = rows.order_by().values(
        "threshold", "threshold__name", "threshold__service__key", "threshold__environment__key"
    )
    for row in counted.annotate(alerts=Count("pk"), false=Count("pk", filter=Q(false_at__isnull=False))):
        found = savings.noisy_threshold(
            row["threshold"],
            row["threshold__name"],
            row["threshold__service__key"] or "",
            row["threshold__environment__key"] or "",
            alerts=row["alerts"],
            false=row["false"],
        )
        if found is not None:
            yield found


def silent_thresholds(now: datetime) -> Iterator[Finding]:
    """Those that are older than a week and have heard of nothing for as long."""
    rows = Threshold.objects.active().filter(members=[], slo=None, owner="", created_at__lt=now - WEEK)
    judged = list(rows.exclude(metric="").select_related("service", "environment"))
    series = matched.series([Asked(one.pk, one.metric, one.matchers) for one in judged])
    ids = {pk for some in series.values() for pk in some}
    heard = dict(Series.objects.filter(pk__in=ids).values_list("pk", "last_time"))
    for one in judged:
        times = [time for pk in series.get(one.pk, ()) if (time := heard.get(pk)) is not None]
        days = (now - max(times)).days if times else None
        service = one.service.key if one.service else ""
        environment = one.environment.key if one.environment else ""
        found = savings.silent_threshold(one.pk, one.name, service, environment, days=days)
        if found is not None:
            yield found


def unwatched_metrics(now: datetime) -> Iterator[Finding]:
    rows = Metric.objects.filter(series__last_time__gte=now - timedelta(days=1)).annotate(many=Count("series"))
    large = dict(rows.filter(many__gte=savings.LEAST_SERIES).order_by("name").values_list("name", "many"))
    if not large:
        return
    watched = set(_watched())
    for name, many in large.items():
        found = None if name in watched else savings.unwatched_metric(name, series=many)
        if found is not None:
            yield found


def _watched() -> Iterator[str]:
    """The names of all metrics that something of the portal judges."""
    for rows in (
        Threshold.objects.active().values_list("metric", "denominator"),
        Slo.objects.active().values_list("metric", "good", "bad"),
        Capacity.objects.active().values_list("metric"),
        ScalingPolicy.objects.active().values_list("metric", "instances_metric"),
        UnitCost.objects.values_list("metric"),
    ):
        for row in rows:
            yield from row


def place(service: str, environment: str) -> dict[str, str]:
    return {"service": service, "environment": environment}


def _by_place(names: Iterable[str]) -> dict[tuple[str, str, str], list[int]]:
    """The series of these metrics by service and environment."""
    found: dict[tuple[str, str, str], list[int]] = defaultdict(list)
    rows = Series.objects.filter(metric__name__in=list(names), service__isnull=False)
    columns = ("pk", "metric__name", "service__key", "environment__key")
    for pk, name, service, environment in rows.values_list(*columns):
        found[name, service, environment or ""].append(pk)
    return found


def _grown(groups: Mapping[K, Sequence[int]], now: datetime) -> dict[K, float]:
    """By how much the counters of each group grew in a week, all together."""
    ids = {pk for some in groups.values() for pk in some}
    whole = rollups.whole(ids, since=now - WEEK, until=now, now=now) if ids else {}
    found = {}
    for name, some in groups.items():
        known = [grown for pk in some if pk in whole and (grown := whole[pk].increase) is not None]
        if known:
            found[name] = summed(known)
    return found


# By the name of the rule: what it finds now.
RULES: Mapping[str, Callable[[datetime], Iterator[Finding]]] = {
    "over_provisioned": over_provisioned,
    "low_hit_rate": low_hit_rates,
    "error_prone": error_prone,
    "noisy_threshold": noisy_thresholds,
    "silent_threshold": silent_thresholds,
    "unwatched_metric": unwatched_metrics,
}
