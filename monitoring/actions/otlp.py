"""Taking what an OpenTelemetry SDK or collector exports."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from monitoring.actions import cumulative, incoming, metrics, rejections, series, staleness
from monitoring.actions.batches import Batch, Fault, Recorded
from monitoring.actions.cumulative import Identity, Standings
from monitoring.actions.incoming import Wrong
from monitoring.models import Metric
from monitoring.sources.otlp import Described, Exported, Point
from portal.audit import Actor

SOURCE = "otlp"
TRIES = 3


def take(exported: Exported, *, by: Actor) -> Recorded:
    """Keep all that is good. The same request again changes nothing, so a sender may repeat it after any failure.

    Rejected counts data points.
    """
    environment = Batch.begin(by, now=None).default_environment
    _describe(exported.described)
    for attempt in range(TRIES):
        try:
            with transaction.atomic():
                recorded = _record(exported, environment, by=by)
            break
        except IntegrityError:
            # Somebody else was the first to see one of these distributions, in the same instant: look again.
            if attempt == TRIES - 1:
                raise
    if exported.ended:
        staleness.end(exported.ended, by=by)
    recorded.errors += [Fault(-1, "", reason) for reason in exported.wrong]
    recorded.rejected += len(exported.wrong)
    return rejections.noted(SOURCE, recorded, by=by)


def _record(exported: Exported, environment: str | None, *, by: Actor) -> Recorded:
    identities = [_identity(point, environment) if point.cumulative else None for point in exported.points]
    standings = Standings({identity for identity in identities if identity is not None})
    batch = list(exported.samples)
    moved: list[Identity] = []
    owners: dict[int, Identity] = {}
    nothing_new = 0
    for point, identity in zip(exported.points, identities, strict=True):
        value = cumulative.observed(point.value) if identity is None else standings.observed(identity, point)
        if identity is not None:
            moved.append(identity)
        if value is None:
            nothing_new += 1
            continue
        if identity is not None:
            owners[len(batch)] = identity
        batch.append({"metric": point.metric, "labels": point.labels, "time": point.time, "value": value})
    recorded = metrics.record(batch, by=by)
    _record_zeros(exported, by=by)
    refused = {owners[fault.index] for fault in recorded.errors if fault.index in owners}
    standings.keep(set(moved) - refused)
    recorded.duplicates += nothing_new
    return recorded


def _record_zeros(exported: Exported, *, by: Actor) -> None:
    """Where counters began. What is wrong with one is wrong with its data point, and said there."""
    if exported.zeros:
        metrics.record(exported.zeros, by=by)


def _identity(point: Point, environment: str | None) -> Identity:
    """As the series will be known; a point whose labels cannot be kept gets one of its own, and is rejected later."""
    try:
        labels = incoming.labels(point.labels)
    except Wrong:
        labels = {"": repr(sorted(point.labels.items()))}
    if environment is not None:
        labels.setdefault("environment", environment)
    return point.metric[:200], series.fingerprint(labels)


def _describe(described: Mapping[str, Described]) -> None:
    """Make metrics that are not there as what they are said to be. One that is there stays as it is."""
    sound = {
        name: one
        for name, one in described.items()
        if incoming.METRIC_NAME.match(name) and not incoming.UNKEEPABLE.search(one.unit + one.description)
    }
    missing = sorted(set(sound) - set(Metric.objects.filter(name__in=sound).values_list("name", flat=True)))
    if not missing:
        return
    room = max(0, settings.PORTAL_MAX_METRICS - Metric.objects.count())
    Metric.objects.bulk_create([_metric(sound[name]) for name in missing[:room]], ignore_conflicts=True)


def _metric(one: Described) -> Metric:
    facts: dict[str, Any] = {"unit": one.unit[:50], "description": one.description[:2000]}
    return Metric(name=one.name, type=one.type, **facts)
