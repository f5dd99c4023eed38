"""What is watched of each service in each environment."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, QuerySet

from monitoring.coverage import Coverage, Signal, coverage
from monitoring.models import AlertState, CoverageWaiver, Metric, Series, Slo, Threshold
from monitoring.queries import library
from monitoring.queries.scores import SAID
from portal.models import Environment, Service

# Older data says that something was measured once.
FRESH = timedelta(days=1)
Place = tuple[int, int | None]


@dataclass(frozen=True, slots=True)
class Covered:
    """environment: None where nothing of the service is measured or bounded anywhere."""

    service: Service
    environment: Environment | None
    coverage: Coverage


@dataclass(slots=True)
class _Known:
    measured: set[str] = field(default_factory=set)
    bounded: dict[str, bool] = field(default_factory=dict)

    def bind(self, metric: str, seen: bool) -> None:
        self.bounded[metric] = self.bounded.get(metric, False) or seen


def signals() -> dict[str, Signal]:
    """Which metric tells of what: as people have said of it, else as it is shipped."""
    found = library.signals()
    for name, chosen in Metric.objects.exclude(signal="").values_list("name", "signal"):
        found.pop(name, None)
        if chosen != Metric.NO_SIGNAL:
            found[name] = Signal(chosen)
    return found


def covered(
    services: "QuerySet[Service]",
    thresholds: "QuerySet[Threshold]",
    slos: "QuerySet[Slo]",
    series: "QuerySet[Series]",
    *,
    now: datetime,
) -> list[Covered]:
    """By eight queries, of the rows that the caller may see; the least covered first."""
    tells = signals()
    known = _measured(series, tells, now)
    _bound(known, thresholds, slos)
    environments = {one.pk: one for one in Environment.objects.all()}
    waivers = _waivers()
    found = []
    for service in services:
        places = sorted(place for place in known if place[0] == service.pk and place[1] is not None)
        for place in places or [(service.pk, None)]:
            own = known.get(place, _Known())
            of_it = coverage(tells, measured=own.measured, bounded=own.bounded, waived=waivers(place[0], place[1]))
            found.append(Covered(service, environments[place[1]] if place[1] else None, of_it))
    return sorted(found, key=_order)


def _order(one: Covered) -> tuple[float, str, str]:
    share = one.coverage.share
    return (2.0 if share is None else share, one.service.key, one.environment.key if one.environment else "")


def _measured(series: "QuerySet[Series]", tells: Mapping[str, Signal], now: datetime) -> dict[Place, _Known]:
    known: dict[Place, _Known] = defaultdict(_Known)
    rows = series.filter(service__isnull=False, environment__isnull=False, last_time__gt=now - FRESH)
    # One look for each metric and place, not each series of them.
    for place_and_metric in (
        rows.filter(metric__name__in=list(tells))
        .order_by()
        .values_list("service", "environment", "metric__name")
        .distinct()
    ):
        known[place_and_metric[:2]].measured.add(place_and_metric[2])
    return known


def _bound(known: dict[Place, _Known], thresholds: "QuerySet[Threshold]", slos: "QuerySet[Slo]") -> None:
    """Those with a place make it one; those for all services or environments count at each place that is one."""
    said = AlertState.objects.filter(threshold=OuterRef("pk"), outcome__in=[str(one) for one in SAID])
    rows = [
        *thresholds.filter(active=True, source="", members=[], slo=None)
        .annotate(seen=Exists(said))
        .values_list("service", "environment", "metric", "seen"),
        *((one[0], one[1], one[2], one[3] is not None) for one in slos.filter(active=True).values_list(
            "service", "environment", "metric", "remaining"
        )),
    ]  # fmt: skip
    for service, environment, metric, seen in rows:
        if service and environment:
            known[service, environment].bind(metric, seen)
    for service, environment, metric, seen in rows:
        if not (service and environment):
            for place, one in known.items():
                if service in (None, place[0]) and environment in (None, place[1]):
                    one.bind(metric, seen)


class _Waived:
    """Which signals are waived at a place, with the reasons."""

    def __init__(self) -> None:
        self.rows: dict[Place, dict[Signal, str]] = defaultdict(dict)
        for service, environment, signal, because in CoverageWaiver.objects.values_list(
            "service", "environment", "signal", "because"
        ):
            self.rows[service, environment][Signal(signal)] = because

    def __call__(self, service: int, environment: int | None) -> dict[Signal, str]:
        return self.rows.get((service, None), {}) | self.rows.get((service, environment), {})


def _waivers() -> _Waived:
    return _Waived()
