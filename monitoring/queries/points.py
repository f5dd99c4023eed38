"""Series by their labels, their last values, and the points of a chart."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import QuerySet

from monitoring.models import Series


@dataclass(frozen=True, slots=True)
class Point:
    """A value at a time; of a step the mean, with the least and the greatest beside it."""

    time: datetime
    value: float
    low: float
    high: float
    count: int


@dataclass(frozen=True, slots=True)
class Points:
    """One line of a chart."""

    series: int
    points: list[Point]


def matching(metric: str, matchers: Mapping[str, str]) -> QuerySet[Series]:
    """The series of a metric that carry all these labels."""
    return Series.objects.filter(metric__name=metric, labels__contains=dict(matchers)).select_related("metric")


def latest(series: Collection[int]) -> dict[int, Point]:
    """The newest sample of each series that has one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.id, x.time, x.value FROM unnest(%s::bigint[]) AS w(id) CROSS JOIN LATERAL ("
            "SELECT s.time, s.value FROM monitoring_sample s "
            "WHERE s.series_id = w.id AND s.value IS NOT NULL ORDER BY s.time DESC LIMIT 1) x",
            [list(series)],
        )
        return {id_: Point(time, value, value, value, 1) for id_, time, value in cursor.fetchall()}


def points(series: Collection[int], *, since: datetime, until: datetime) -> list[Points]:
    """The samples of each series from `since` up to before `until`."""
    found: dict[int, list[Point]] = {id_: [] for id_ in series}
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.id, x.time, x.value FROM unnest(%s::bigint[]) AS w(id) CROSS JOIN LATERAL ("
            "SELECT s.time, s.value FROM monitoring_sample s WHERE s.series_id = w.id "
            "AND s.time >= %s AND s.time < %s AND s.value IS NOT NULL ORDER BY s.time) x",
            [list(series), since, until],
        )
        for id_, time, value in cursor.fetchall():
            found[id_].append(Point(time, value, value, value, 1))
    return [Points(id_, line) for id_, line in found.items()]
