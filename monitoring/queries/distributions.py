"""The distribution that many series had together over hours and days, merged where it lies: in PostgreSQL."""

from collections.abc import Hashable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import orjson
from django.db import connection

from monitoring.histogram import Distribution, Explicit, Histogram, bounded, from_json, merged
from monitoring.queries import rollups, statements
from monitoring.queries.rollups import TABLES, Stretch

G = TypeVar("G", bound=Hashable)

# Rows of rollups and samples alike: what a row counted, and its buckets. OFFSET 0 keeps the scan by series.
ROLLED = """
    SELECT r.count, r.total, r.low, r.high, NULL::float8 AS value, r.histogram FROM {table} r
    WHERE r.series_id = w.id AND r.time >= %(since)s AND r.time < %(until)s AND r.histogram IS NOT NULL OFFSET 0"""
SAMPLED = """
    SELECT (s.histogram->>'count')::float8 AS count, (s.histogram->>'sum')::float8 AS total,
        (s.histogram->>'min')::float8 AS low, (s.histogram->>'max')::float8 AS high,
        CASE WHEN s.histogram IS NULL THEN s.value END AS value, s.histogram
    FROM monitoring_sample s WHERE s.series_id = w.id AND s.time >= %(since)s AND s.time < %(until)s OFFSET 0"""
# Logarithmic buckets are summed by their number. Bounds that others chose, and single values, come as they are.
MERGED = f"""
WITH r AS MATERIALIZED (
    SELECT w.g, x.* FROM unnest(%(ids)s::int8[], %(groups)s::int4[]) AS w(id, g) CROSS JOIN LATERAL ({{rows}}) x
)
SELECT g, 'all', NULL::text, sum(count)::float8, sum(total * {statements.DOWN}), min(low), max(high),
    sum(coalesce((histogram->>'zero')::int8, 0))::float8, NULL::jsonb
FROM r WHERE value IS NULL AND NOT histogram ? 'bounds' GROUP BY g
UNION ALL
SELECT g, 'positive', b.key, sum(b.value::float8), NULL, NULL, NULL, NULL, NULL
FROM r, jsonb_each_text(r.histogram->'positive') b GROUP BY g, b.key
UNION ALL
SELECT g, 'negative', b.key, sum(b.value::float8), NULL, NULL, NULL, NULL, NULL
FROM r, jsonb_each_text(r.histogram->'negative') b GROUP BY g, b.key
UNION ALL
SELECT g, 'single', NULL, count, total, low, high, value, histogram
FROM r WHERE value IS NOT NULL OR histogram ? 'bounds'"""


def together(groups: Mapping[int, G], *, since: datetime, until: datetime, now: datetime) -> dict[G, Distribution]:
    """What the series of each group had over [since, until): `groups` names each series' group.

    Exact as histograms merge, whatever the number of series; read from hours, minutes at the edges, and samples for
    what is newest. A group without a sample is left out.
    """
    names = list(dict.fromkeys(groups.values()))
    numbers = {name: number for number, name in enumerate(names)}
    made: dict[int, Histogram] = {}
    others: dict[int, list[Distribution]] = {}
    asked = {"ids": list(groups), "groups": [numbers[name] for name in groups.values()]}
    for stretch in rollups.edges(since, until, now) if groups else []:
        for number, kind, bucket, count, total, low, high, value, kept in _rows(stretch, asked):
            if kind == "single":
                others.setdefault(number, []).append(_single(count, total, low, high, value, kept))
                continue
            whole = made.setdefault(number, Histogram())
            if kind == "all":
                part = Histogram(int(count), bounded((total or 0.0) * statements.UP), low, high, int(value))
                whole.merge(part)
            else:
                side = whole.positive if kind == "positive" else whole.negative
                side[int(bucket)] = side.get(int(bucket), 0) + int(count)
    return {
        names[number]: merged([*([made[number]] if number in made else []), *others.get(number, [])])
        for number in sorted(made.keys() | others.keys())
    }


def _rows(stretch: Stretch, asked: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    rows = ROLLED.format(table=TABLES[stretch.resolution]) if stretch.resolution else SAMPLED
    with connection.cursor() as cursor:
        cursor.execute(MERGED.format(rows=rows), {**asked, "since": stretch.since, "until": stretch.until})
        return cursor.fetchall()


def _single(count: float, total: float, low: Any, high: Any, value: float | None, kept: Any) -> Distribution:
    if value is not None:
        return Histogram.of([value])
    row = kept if isinstance(kept, dict) else orjson.loads(kept)
    made = from_json({**row, "count": int(count), "sum": total})
    return Explicit(made.bounds, made.counts, made.sum, low, high) if isinstance(made, Explicit) else made
