"""What the chart of a source shows: whether it answers, how fast, and how much it brings."""

from collections import defaultdict
from datetime import timedelta
from typing import Any, Final

from django.utils import timezone

from monitoring import queries, sources
from monitoring.models import MetricSource, Series

WHOLE = timedelta(hours=1)
TAIL = timedelta(minutes=2)
# (metric, title, unit) of what is measured of the asking.
PROBED: Final = (
    ("probe_success", "Answers as expected", ""),
    ("probe_duration_seconds", "Duration", "s"),
)
SCRAPED: Final = (
    ("up", "Answers", ""),
    ("scrape_duration_seconds", "Duration", "s"),
    ("scrape_samples_scraped", "Samples", ""),
)


def snapshot(source: MetricSource) -> dict[str, Any]:
    """The whole chart, as a page first asks for it."""
    return _frame(source, WHOLE)


def tail(source: MetricSource) -> dict[str, Any]:
    """Its newest points, as they are told each second."""
    return _frame(source, TAIL)


def _frame(source: MetricSource, length: timedelta) -> dict[str, Any]:
    kind = sources.find(source.kind)
    panels = PROBED if kind is not None and kind.probes else SCRAPED
    until = timezone.now() + timedelta(seconds=1)
    rows = Series.objects.filter(
        metric__name__in=[name for name, _, _ in panels], labels__contains={"job": source.name}
    )
    names = dict(rows.values_list("pk", "metric__name"))
    drawn: dict[str, dict[int, float]] = defaultdict(dict)
    for line in queries.points(list(names), since=until - length, until=until):
        # One that was asked elsewhere before has several series: together they are one line.
        drawn[names[line.series]] |= {int(point.time.timestamp() * 1000): point.value for point in line.points}
    return {
        "step": source.interval * 1000,
        "panels": [_panel(*panel) for panel in panels],
        "series": {f"{name}:now": sorted(drawn[name].items()) for name, _, _ in panels},
        "markers": [],
    }


def _panel(name: str, title: str, unit: str) -> dict[str, Any]:
    shown = {"key": name, "title": title, "unit": unit, "lines": ["now"], "palette": True}
    return shown | {"operator": "", "bound": None, "against": "", "window": 60}
