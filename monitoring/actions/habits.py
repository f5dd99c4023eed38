"""How many units are active, come back and finish what they began: from events, as samples."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import connection

from monitoring.actions import metrics
from portal import jobs
from portal.audit import Automaton

BY = Automaton("habits")
EVERY = 900  # seconds between two samples of a series
WITHIN = 7  # days in which a unit goes through a funnel

# Units by where their events were: of the last 7 and 30 days, and of those of the week before who came again.
ACTIVE = """
WITH seen AS (
    SELECT environment_id, service_id, unit,
        bool_or(time > %(now)s - interval '7 days') AS week,
        bool_or(time > %(now)s - interval '14 days' AND time <= %(now)s - interval '7 days') AS before
    FROM monitoring_event WHERE time > %(now)s - interval '30 days' AND time <= %(now)s
    GROUP BY 1, 2, 3
)
SELECT e.key, s.key, count(*) FILTER (WHERE week), count(*), count(*) FILTER (WHERE before),
    count(*) FILTER (WHERE before AND week)
FROM seen LEFT JOIN portal_environment e ON e.id = environment_id LEFT JOIN portal_service s ON s.id = service_id
GROUP BY 1, 2"""
# Units that did the first step, and those of them that did each further one after the one before.
FUNNEL = """
WITH RECURSIVE steps AS (
    SELECT environment_id, service_id, unit, 1 AS step, min(time) AS at FROM monitoring_event
    WHERE name = %(first)s AND time > %(now)s - make_interval(days => %(within)s) AND time <= %(now)s
    GROUP BY 1, 2, 3
    UNION ALL
    SELECT p.environment_id, p.service_id, p.unit, p.step + 1, n.at FROM steps p CROSS JOIN LATERAL (
        SELECT v.time AS at FROM monitoring_event v
        WHERE v.unit = p.unit AND v.environment_id IS NOT DISTINCT FROM p.environment_id
        AND v.service_id IS NOT DISTINCT FROM p.service_id
        AND v.name = (%(names)s::text[])[p.step + 1] AND v.time >= p.at AND v.time <= %(now)s
        ORDER BY v.time LIMIT 1
    ) n WHERE p.step < cardinality(%(names)s::text[])
)
SELECT e.key, s.key, count(*) FILTER (WHERE step = 1), count(*) FILTER (WHERE step = cardinality(%(names)s::text[]))
FROM steps LEFT JOIN portal_environment e ON e.id = environment_id LEFT JOIN portal_service s ON s.id = service_id
GROUP BY 1, 2"""


def measure(*, now: datetime | None = None) -> int:
    """Samples of this quarter of an hour; a second time they are the same ones. How many are new."""
    now = now or jobs.database_now()
    at = datetime.fromtimestamp(now.timestamp() // EVERY * EVERY, now.tzinfo)
    samples = list(_active(at))
    for name, steps in settings.PORTAL_FUNNELS.items():
        samples += _funnel(name, steps, at)
    return metrics.record(samples, by=BY, now=now).accepted if samples else 0


def _active(at: datetime) -> Iterator[dict[str, Any]]:
    for environment, service, week, month, before, again in _rows(ACTIVE, {"now": at}):
        labels = _labels(environment, service)
        yield {"metric": "active_users_7d", "value": week, "time": at, "labels": labels}
        yield {"metric": "active_users_30d", "value": month, "time": at, "labels": labels}
        if before:  # of nobody no share comes back
            yield {"metric": "retention_7d_ratio", "value": again / before, "time": at, "labels": labels}


def _funnel(name: str, steps: list[str], at: datetime) -> Iterator[dict[str, Any]]:
    asked = {"now": at, "first": steps[0], "names": steps, "within": WITHIN}
    for environment, service, began, ended in _rows(FUNNEL, asked):
        labels = {**_labels(environment, service), "funnel": name}
        yield {"metric": "funnel_completion_ratio", "value": ended / began, "time": at, "labels": labels}


def _labels(environment: str | None, service: str | None) -> dict[str, str]:
    found = {"environment": environment, "service": service}
    return {name: key for name, key in found.items() if key is not None}


def _rows(sql: str, asked: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, asked)
        return cursor.fetchall()
