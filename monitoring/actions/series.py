"""Which series a sample belongs to: remembered in this process, else found or made, set-wise."""

import hashlib
import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Generic, TypeVar

import orjson
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Count, Q

from monitoring.models import Metric, Series
from portal import jobs
from portal.models import Environment, Service

# As many series as one process remembers in each of two generations (about 1 KB each).
REMEMBERED = 50_000
# last_time is written no more often than this: a row version for each sample would cost as much as the sample.
HEARD_EVERY = 30.0  # seconds

FORGOTTEN_AT_ONCE = 1_000
# What is being written to just now is left alone. OFFSET 0 keeps the planner from reading all rollups for this.
OLD = """
SELECT s.id FROM monitoring_series s
WHERE greatest(s.last_time, s.stale_at, s.created_at) < %(before)s
    AND NOT EXISTS (SELECT FROM monitoring_hourrollup r WHERE r.series_id = s.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM monitoring_minuterollup r WHERE r.series_id = s.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM monitoring_sample r WHERE r.series_id = s.id OFFSET 0)
    AND NOT EXISTS (SELECT FROM monitoring_observation o WHERE o.series_id = s.id OFFSET 0)
LIMIT %(most)s FOR UPDATE OF s SKIP LOCKED"""

# The metric, the labels as they came, and the environment that the caller's key adds. The same labels in
# another order are another key of the same series.
Key = tuple[str, tuple[tuple[str, str], ...], str | None]


@dataclass(slots=True, eq=False)
class Known:
    """A series as ingest needs it."""

    id: int
    metric: str
    type: str
    labels: Mapping[str, str]
    heard: float = 0.0  # Unix seconds of the last_time that this process wrote


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why there is no such series."""

    field: str
    message: str


UNRESOLVED = Refusal("metric", "has not been looked for")


@dataclass(slots=True, eq=False)
class Wanted:
    """A series that this process does not know yet; its name and labels are checked."""

    metric: str
    labels: Mapping[str, str]
    as_histogram: bool  # the first value seen of it is a distribution
    latest: tuple[datetime, float] | None = None  # of its numbers: a series that is made is heard of with them
    found: Known | Refusal = UNRESOLVED  # what resolve() came to


K = TypeVar("K")


class Memory(Generic[K]):
    """The series seen lately: when the young generation is full, it becomes the old one and the old is forgotten."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.young: dict[K, Known] = {}
        self.old: dict[K, Known] = {}

    def get(self, key: K) -> Known | None:
        found = self.young.get(key)
        if found is None:
            found = self.old.get(key)
            if found is not None:
                self.put(key, found)
        return found

    def put(self, key: K, known: Known) -> None:
        if len(self.young) >= self.size:
            self.old, self.young = self.young, {}
        self.young[key] = known

    def update(self, found: Mapping[K, Known]) -> None:
        for key, known in found.items():
            self.put(key, known)

    def forget(self, ids: Collection[int]) -> None:
        for generation in (self.young, self.old):
            for key, known in list(generation.items()):
                if known.id in ids:
                    generation.pop(key, None)

    def clear(self) -> None:
        self.old, self.young = {}, {}


memory: Memory[Key] = Memory(REMEMBERED)
# The same series by the bytes that a sender writes their labels with (actions.plain).
by_bytes: Memory[bytes] = Memory(REMEMBERED)


def forget(ids: Collection[int]) -> None:
    memory.forget(ids)
    by_bytes.forget(ids)


def forget_all() -> None:
    memory.clear()
    by_bytes.clear()


def fingerprint(labels: Mapping[str, str]) -> uuid.UUID:
    """The labels' identity, whatever their order."""
    return uuid.UUID(bytes=hashlib.sha256(orjson.dumps(labels, option=orjson.OPT_SORT_KEYS)).digest()[:16])


def resolve(wanted: Mapping[Key, Wanted]) -> None:
    """Find each series, make it where there is none, or say why not. The number of queries is constant."""
    environments = _places(Environment, {one.labels.get("environment") for one in wanted.values()})
    services = _places(Service, {one.labels.get("service") for one in wanted.values()})
    for one in wanted.values():
        if (name := one.labels.get("service")) is not None and name not in services:
            one.found = Refusal("labels.service", f"no service named '{name}'")
        elif (name := one.labels.get("environment")) is not None and name not in environments:
            one.found = Refusal("labels.environment", f"no environment named '{name}'")
    left = [one for one in wanted.values() if one.found is UNRESOLVED]
    if left:
        metrics, full = _metrics(left)
        for one in left:
            if one.metric not in metrics:
                one.found = full
        _series([one for one in left if one.found is UNRESOLVED], metrics, environments, services)
    fresh = {key: one.found for key, one in wanted.items() if isinstance(one.found, Known)}
    # Inside a transaction that may yet be rolled back, its series are not to be believed in.
    transaction.on_commit(partial(memory.update, fresh))


def hear(latest: Iterable[tuple[Known, datetime, float | None]]) -> None:
    """Note when series were last heard of; a series that somebody else is writing just now is left to them."""
    news = {
        known.id: (known, time, value) for known, time, value in latest if time.timestamp() - known.heard >= HEARD_EVERY
    }
    if not news:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH news AS (SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::float8[]) AS n(id, time, value)), "
            "free AS (SELECT s.id FROM monitoring_series s JOIN news USING (id) FOR NO KEY UPDATE OF s SKIP LOCKED) "
            "UPDATE monitoring_series s SET last_time = news.time, last_value = news.value, "
            "stale_at = CASE WHEN s.stale_at >= news.time THEN s.stale_at END FROM news, free "
            "WHERE s.id = news.id AND s.id = free.id AND (s.last_time IS NULL OR s.last_time < news.time)",
            [list(news), [time for _, time, _ in news.values()], [value for _, _, value in news.values()]],
        )
    for known, time, _ in news.values():
        known.heard = time.timestamp()


def forget_old(*, now: datetime | None = None) -> int:
    """Delete series, so many at once, that nobody has heard of for longer than rollups are kept, and that have none.

    Processes that remember one find out when they next write to it (`gone` in batches and samples).
    """
    before = (now or jobs.database_now()) - timedelta(days=settings.PORTAL_HOUR_RETENTION_DAYS)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(OLD, {"before": before, "most": FORGOTTEN_AT_ONCE})
        old = [id_ for (id_,) in cursor.fetchall()]
        # Again, now that nobody else can write to them: what an observation has come to meanwhile stays.
        return Series.objects.filter(pk__in=old, observations=None).delete()[1].get("monitoring.Series", 0)


def _places(model: type[Environment] | type[Service], names: set[str | None]) -> dict[str, int]:
    keys = names - {None}
    return dict(model.objects.filter(key__in=keys).values_list("key", "pk")) if keys else {}


def _metrics(wanted: Sequence[Wanted]) -> tuple[dict[str, int], Refusal]:
    """The metrics' ids, unknown ones made as what their name and first value say they are; and why some are not."""
    first = {one.metric: one for one in reversed(wanted)}
    there = dict(Metric.objects.filter(name__in=first).values_list("name", "pk"))
    missing = sorted(set(first) - set(there))
    if missing:
        room = max(0, settings.PORTAL_MAX_METRICS - Metric.objects.count())
        made = [Metric(name=name, type=_type_of(first[name])) for name in missing[:room]]
        Metric.objects.bulk_create(made, ignore_conflicts=True)
        there |= dict(Metric.objects.filter(name__in=missing).values_list("name", "pk"))
    return there, Refusal("metric", f"there are {settings.PORTAL_MAX_METRICS} metrics already: no more are made")


def _type_of(one: Wanted) -> str:
    if one.as_histogram:
        return Metric.Type.HISTOGRAM
    return Metric.Type.COUNTER if one.metric.endswith("_total") else Metric.Type.GAUGE


def _series(
    wanted: Sequence[Wanted], metrics: Mapping[str, int], environments: Mapping[str, int], services: Mapping[str, int]
) -> None:
    identities = [(metrics[one.metric], fingerprint(one.labels)) for one in wanted]
    there = _find(identities)
    missing = {identity: one for identity, one in zip(identities, wanted, strict=True) if identity not in there}
    full: set[int] = set()
    if missing:
        with transaction.atomic():
            full, made = _make(missing, environments, services)
            there |= made
            # What somebody else has made in the meantime.
            late = [identity for identity in missing if identity not in made and identity[0] not in full]
            there |= _find(late) if late else {}
    for (metric, print_), one in zip(identities, wanted, strict=True):
        if (metric, print_) in there:
            id_, type_ = there[metric, print_]
            heard = one.latest[0].timestamp() if one.latest and (metric, print_) in missing else 0.0
            one.found = Known(id_, one.metric, type_, one.labels, heard)
        elif metric in full:
            most = settings.PORTAL_MAX_SERIES
            one.found = Refusal("labels", f"metric '{one.metric}' has {most} series already: no more are made")
        else:
            one.found = Refusal("metric", f"metric '{one.metric}' has just been removed")


Identity = tuple[int, uuid.UUID]


def _find(identities: Collection[Identity]) -> dict[Identity, tuple[int, str]]:
    asked = [{"metric_id": metric, "fingerprint": print_} for metric, print_ in identities]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT s.metric_id, s.fingerprint, s.id, m.type "
            "FROM jsonb_to_recordset(%s::jsonb) AS w(metric_id bigint, fingerprint uuid) "
            "JOIN monitoring_series s USING (metric_id, fingerprint) JOIN monitoring_metric m ON m.id = s.metric_id",
            [orjson.dumps(asked).decode()],
        )
        return {(metric, print_): (id_, type_) for metric, print_, id_, type_ in cursor.fetchall()}


def _make(
    missing: Mapping[Identity, Wanted], environments: Mapping[str, int], services: Mapping[str, int]
) -> tuple[set[int], dict[Identity, tuple[int, str]]]:
    """Add series up to each metric's cap. The metrics that are full, and the series that were made.

    What was not heard of for as long as minutes are kept does not count: names that change with each release or pod
    would fill a metric for good.
    """
    metrics = sorted({metric for metric, _ in missing})
    # One maker a metric at a time: the cap holds, and a metric's type cannot change while its first series is made.
    list(Metric.objects.filter(pk__in=metrics).order_by("pk").select_for_update(no_key=True).values_list("pk"))
    room = dict.fromkeys(metrics, settings.PORTAL_MAX_SERIES)
    since = jobs.database_now() - timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS)
    heard = Q(last_time__gte=since) | Q(created_at__gte=since)
    counts = Series.objects.filter(heard, metric__in=metrics).order_by().values_list("metric")
    for metric, count in counts.annotate(Count("pk")):
        room[metric] -= count
    rows: list[dict[str, object]] = []
    full: set[int] = set()
    for (metric, print_), one in sorted(missing.items(), key=lambda item: item[0]):
        if room[metric] <= 0:
            full.add(metric)
            continue
        room[metric] -= 1
        rows.append(
            {
                "metric_id": metric,
                "fingerprint": print_,
                "labels": one.labels,
                "environment_id": environments.get(one.labels.get("environment", "")),
                "service_id": services.get(one.labels.get("service", "")),
                "last_time": one.latest[0] if one.latest else None,
                "last_value": one.latest[1] if one.latest else None,
            }
        )
    made: dict[Identity, tuple[int, str]] = {}
    if rows:
        with connection.cursor() as cursor:
            # A deployment of many pods brings thousands at once: as one document, in a fraction of the ORM's time.
            cursor.execute(
                "WITH made AS (INSERT INTO monitoring_series (metric_id, fingerprint, labels, environment_id, "
                "service_id, last_time, last_value) "
                "SELECT * FROM jsonb_to_recordset(%s::jsonb) AS r(metric_id bigint, fingerprint uuid, labels jsonb, "
                "environment_id bigint, service_id bigint, last_time timestamptz, last_value float8) "
                "ON CONFLICT (metric_id, fingerprint) DO NOTHING RETURNING id, metric_id, fingerprint) "
                "SELECT made.metric_id, made.fingerprint, made.id, m.type FROM made JOIN monitoring_metric m "
                "ON m.id = made.metric_id",
                [orjson.dumps(rows).decode()],
            )
            made = {(metric, print_): (id_, type_) for metric, print_, id_, type_ in cursor.fetchall()}
    return full, made
