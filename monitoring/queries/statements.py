"""The SQL of window questions: any number of windows in one statement of each kind."""

from collections.abc import Iterable

# float8 sums of large values are an error in PostgreSQL, not infinity. Times a power of two they lose nothing.
DOWN = 2.0**-64
UP = 2.0**64
# Beyond this a square overflows: such values are spread out on a scale of their own.
HUGE = "1e145"
FAR_DOWN = 2.0**-540
FAR_UP = 2.0**540

# The expression of the index series_by_labels: the metric's id joins the labels.
LABELS = """(s.labels || (('{"__metric__":' || s.metric_id::text) || '}')::jsonb)"""

# Which series each question is about. `series` is None where a question pools them.
MATCHED = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, a.each, a.p, a.base, a.since, a.until, m.type,
        a.matchers || jsonb_build_object('__metric__', m.id) AS probe
    FROM jsonb_to_recordset(%(asked)s::jsonb) AS a(n int, metric text, matchers jsonb, "each" boolean, p float8,
        base timestamptz, since timestamptz, until timestamptz)
    JOIN monitoring_metric m ON m.name = a.metric
), matched AS (
    SELECT a.n, a.p, a.base, a.since, a.until, a.type, s.id, CASE WHEN a.each THEN s.id END AS series
    FROM asked a JOIN monitoring_series s ON {LABELS} @> a.probe
)"""

# The same where the series are known already: `windows` holds the few different windows, the arrays say which series
# each question is about. A series that was deleted since is left out.
KNOWN = """
WITH windows AS MATERIALIZED (
    SELECT * FROM jsonb_to_recordset(%(windows)s::jsonb) AS a(w int, p float8, base timestamptz, since timestamptz,
        until timestamptz)
), matched AS (
    SELECT k.n, w.p, w.base, w.since, w.until, m.type, s.id, NULL::bigint AS series
    FROM unnest(%(n)s::int[], %(w)s::int[], %(series)s::bigint[]) AS k(n, w, id) JOIN windows w USING (w)
    JOIN monitoring_series s ON s.id = k.id JOIN monitoring_metric m ON m.id = s.metric_id
)"""

# The literal bounds let the planner leave out the partitions of other days.
INSIDE = (
    "s.series_id = w.id AND s.time > w.since AND s.time <= w.until "
    "AND s.time > %(first)s::timestamptz AND s.time <= %(last)s::timestamptz"
)

COUNT = "CASE WHEN s.histogram IS NULL THEN 1 ELSE (s.histogram->>'count')::float8 END"

# When the first and the last sample was. To read twenty thousand times takes longer than to judge by them.
TIMES = "min(x.oldest), max(x.newest)"
NO_TIMES = "NULL::timestamptz, NULL::timestamptz"

# Each of these follows MATCHED or KNOWN.

# An index scan for each series (lateral), its sums, then the sums of those: far cheaper than grouping the samples.
PLAIN = f"""
SELECT w.n, w.series, sum(x.count), sum(x.total), min(x.low), max(x.high), {TIMES}
FROM matched w CROSS JOIN LATERAL (
    SELECT sum({COUNT}) AS count,
        sum(CASE WHEN s.histogram IS NULL THEN s.value ELSE (s.histogram->>'sum')::float8 END * {DOWN}) AS total,
        min(coalesce((s.histogram->>'min')::float8, s.value)) AS low,
        max(coalesce((s.histogram->>'max')::float8, s.value)) AS high,
        min(s.time) AS oldest, max(s.time) AS newest
    FROM monitoring_sample s WHERE {INSIDE}
) x GROUP BY w.n, w.series"""

LAST = f"""
SELECT DISTINCT ON (w.n, w.series) w.n, w.series, x.value
FROM matched w CROSS JOIN LATERAL (
    SELECT s.time, s.value FROM monitoring_sample s WHERE {INSIDE} AND s.value IS NOT NULL
    ORDER BY s.time DESC LIMIT 1
) x ORDER BY w.n, w.series, x.time DESC"""

# A counter's growth: each rise; after a reset all of the new value. The sample before the window is the base of
# the first step. A distribution holds what was observed since the last one: its count is the step.
STEPS = f"""
SELECT w.n, w.series, sum(x.total), sum(x.count), {TIMES}
FROM matched w CROSS JOIN LATERAL (
    SELECT sum(step) AS total, count(*) AS count, min(time) AS oldest, max(time) AS newest FROM (
        SELECT p.time, CASE
            WHEN p.histogram IS NOT NULL THEN (p.histogram->>'count')::float8 * {DOWN}
            WHEN w.type = 'histogram' THEN {DOWN}
            WHEN p.value >= p.before THEN p.value * {DOWN} - p.before * {DOWN}
            WHEN p.value < p.before THEN greatest(p.value, 0) * {DOWN}
        END AS step
        FROM (
            SELECT u.time, u.value, u.histogram, lag(u.value) OVER (ORDER BY u.time) AS before FROM (
                (SELECT s.time, s.value, s.histogram FROM monitoring_sample s
                 WHERE s.series_id = w.id AND s.time <= w.since AND s.time > w.base
                 AND s.time > %(first)s::timestamptz AND s.time <= %(last)s::timestamptz
                 ORDER BY s.time DESC LIMIT 1)
                UNION ALL
                (SELECT s.time, s.value, s.histogram FROM monitoring_sample s WHERE {INSIDE})
            ) u
        ) p WHERE p.time > w.since
    ) q
) x GROUP BY w.n, w.series"""

# Deviation where no percentile is asked; of huge values it is measured on a scale of its own.
_SPREAD = f"""count({{0}}.time), count({{0}}.histogram),
    percentile_cont(w.p) WITHIN GROUP (ORDER BY {{0}}.value) FILTER (WHERE w.p IS NOT NULL),
    CASE WHEN max(abs({{0}}.value)) < {HUGE}
        THEN stddev_pop({{0}}.value) FILTER (WHERE w.p IS NULL AND abs({{0}}.value) < {HUGE}) END,
    stddev_pop(CASE WHEN abs({{0}}.value) >= 1e100 THEN {{0}}.value * {FAR_DOWN} ELSE 0 END) FILTER (WHERE w.p IS NULL),
    min({{0}}.time), max({{0}}.time)"""

# A percentile cannot be put together from those of parts. Where one series is all that a question is about, its
# samples are sorted by themselves: many small sorts take half the time of one large.
# OFFSET 0 keeps the samples' look-up one index scan for each series.
SPREAD = f""", counted AS MATERIALIZED (
    SELECT m.*, count(*) OVER (PARTITION BY m.n, m.series) = 1 AS alone FROM matched m
)
SELECT w.n, w.series, x.* FROM counted w CROSS JOIN LATERAL (
    SELECT {_SPREAD.format("s")} FROM monitoring_sample s WHERE {INSIDE}
) x WHERE w.alone
UNION ALL
SELECT w.n, w.series, {_SPREAD.format("x")}
FROM counted w LEFT JOIN LATERAL (
    SELECT s.time, s.value, s.histogram FROM monitoring_sample s WHERE {INSIDE} OFFSET 0
) x ON true WHERE NOT w.alone GROUP BY w.n, w.series, w.p"""

DISTRIBUTIONS = f"""
SELECT w.n, w.series, x.value, x.histogram
FROM matched w CROSS JOIN LATERAL (
    SELECT s.value, s.histogram FROM monitoring_sample s WHERE {INSIDE} OFFSET 0
) x"""


def array(items: Iterable[object]) -> str:
    """Numbers or plain words as PostgreSQL reads an array: in a fraction of the time that the driver takes."""
    return "{" + ",".join(map(str, items)) + "}"
