"""Series whose source says that they have ended: a target is gone, a process came back under another name."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from django.db import connection
from django.db.models import Q

from monitoring.actions import incoming, series
from monitoring.actions.batches import Batch
from monitoring.actions.incoming import Wrong
from monitoring.models import Metric, Series
from monitoring.sources.remote_write import Ended
from portal.audit import Actor
from portal.models import ApiKey

Identity = tuple[str, str]  # the metric's name, the labels' fingerprint


def end(gone: Sequence[Ended], *, by: Actor) -> int:
    """Mark the series as ended, until they are heard of again. How many were.

    What is unknown, or beyond the reach of the caller's key, is passed over: there is nothing to end.
    """
    found = _find(_identities(gone, by=by), by=by)
    if not found:
        return 0
    with connection.cursor() as cursor:
        # Locked in the order of their ids, as by all who write several series. What was heard of later goes on.
        cursor.execute(
            "WITH news AS (SELECT s.id, n.time FROM unnest(%s::bigint[], %s::timestamptz[]) AS n(id, time) "
            "JOIN monitoring_series s ON s.id = n.id WHERE s.stale_at IS NULL ORDER BY s.id FOR NO KEY UPDATE OF s) "
            "UPDATE monitoring_series s SET stale_at = news.time FROM news "
            "WHERE s.id = news.id AND (s.last_time IS NULL OR s.last_time <= news.time)",
            [list(found), list(found.values())],
        )
        marked = cursor.rowcount
    # One that comes back is noted with its first sample, whenever this process last wrote down that it was heard of.
    series.forget(found.keys())
    return int(marked)


def _identities(gone: Sequence[Ended], *, by: Actor) -> dict[Identity, datetime]:
    environment = Batch.begin(by, now=None).default_environment
    times: dict[Identity, datetime] = {}
    for one in gone:
        try:
            labels = incoming.labels(one.labels)
            time = datetime.fromtimestamp(one.time, UTC)
        except (Wrong, OverflowError, ValueError, OSError):
            continue
        if environment is not None:
            labels.setdefault("environment", environment)
        identity = (one.metric, str(series.fingerprint(labels)))
        times[identity] = max(time, times.get(identity, time))
    return times


def _find(times: Mapping[Identity, datetime], *, by: Actor) -> dict[int, datetime]:
    """The ids of those that are there and within reach."""
    names = {name for name, _ in times if not incoming.UNKEEPABLE.search(name)}
    metrics = dict(Metric.objects.filter(name__in=names).values_list("pk", "name"))
    rows = Series.objects.filter(metric__in=metrics, fingerprint__in={print_ for _, print_ in times})
    if isinstance(by, ApiKey):
        if not by.all_environments:
            rows = rows.filter(Q(environment__in=by.environments.all()) | Q(environment=None))
        if not by.all_services:
            rows = rows.filter(Q(service__in=by.services.all()) | Q(service=None))
    found = {}
    for pk, metric, print_ in rows.values_list("pk", "metric_id", "fingerprint"):
        time = times.get((metrics[metric], str(print_)))
        if time is not None:
            found[pk] = time
    return found
