"""The one way in for everything that the portal learns, and the metrics' definitions."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction

from monitoring.actions import batches, incoming, samples
from monitoring.actions.batches import Batch, Entry, Recorded, Settled
from monitoring.actions.incoming import Wrong
from monitoring.actions.plain import NONE, Plain, without
from monitoring.actions.samples import Row
from monitoring.actions.series import Known
from monitoring.coverage import Signal
from monitoring.models import Metric
from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused

SAMPLE_FIELDS = frozenset({"metric", "value", "time", "labels"})
DEFINABLE = ("type", "unit", "direction", "description", "signal")


def record(samples_: Sequence[object], *, by: Actor, now: datetime | None = None) -> Recorded:
    """Take a batch of samples: {"metric","value","time"?,"labels"?} each.

    The good ones are kept, the bad ones counted and named. The same (series, time) twice is a duplicate, or a
    conflict when the value differs: the first is kept. So a batch may come again, whole or in part.
    `value` is a number, or for a histogram metric what `incoming.distribution` reads; a plain number sent to a
    histogram metric is one observation.
    """
    return take(Batch.begin(by, now=now), samples_)


def take(
    batch: Batch, samples_: Sequence[object], plain: Plain = NONE, *, places: Sequence[int] | None = None
) -> Recorded:
    """The same for a batch that has begun, with plain samples beside it. Its faults name the samples' `places`."""
    batch.read(samples_, fields=SAMPLE_FIELDS, places=places)
    settled = batch.settle(plain.known)
    # Of equal keys the first is kept: in the request, whichever way each of them has come.
    twice = bool(plain.places) and not {one.id for _, one in settled}.isdisjoint(one.id for one in plain.known)
    stored = samples.store(
        _in_order(settled, plain) if twice else [_row(entry, known) for entry, known in settled],
        samples.NOTHING if twice else plain.columns,
    )
    parts = [stored]
    if stored.gone:
        settled, plain = settled + _entries(plain, stored.gone), without(plain, stored.gone)
        renewed = batch.again(stored.gone, settled)
        parts.append(samples.store([_row(entry, known) for entry, known in renewed]))
        settled = [(entry, known) for entry, known in settled if known.id not in stored.gone] + renewed
    batch.outcome.accepted = sum(part.accepted for part in parts)
    batch.outcome.duplicates = sum(part.duplicates for part in parts)
    batch.outcome.conflicts = sum(part.conflicts for part in parts)
    return batch.finish(settled, plain)


def _in_order(settled: Settled, plain: Plain) -> list[Row]:
    rows = [(entry.index, _row(entry, known)) for entry, known in settled]
    rows += zip(plain.places, plain.columns.rows(), strict=True)
    return [row for _, row in sorted(rows, key=lambda one: one[0])]


def _entries(plain: Plain, ids: Collection[int]) -> Settled:
    columns = zip(plain.places, plain.known, plain.times(), plain.columns.values.tolist(), strict=True)
    return [(Entry(place, known, time, value), known) for place, known, time, value in columns if known.id in ids]


def _row(entry: Entry, known: Known) -> Row:
    if isinstance(entry.value, float):
        return known.id, entry.time, entry.value, None
    return known.id, entry.time, batches.mean_of(entry.value), entry.value.to_json()


def define(name: str, *, by: Actor, **definition: str) -> Metric:
    """Say what a metric is before its first sample comes."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    try:
        name = incoming.metric_name(name)
    except Wrong as wrong:
        raise Invalid.of("name", wrong.message) from None
    metric = Metric(name=name, **_definition(definition))
    try:
        with transaction.atomic():
            metric.save(force_insert=True)
            audit.record("metric.defined", metric, by=by, after=_shown(metric))
    except IntegrityError:
        raise Refused(f"a metric named '{name}' exists already") from None
    return metric


def change(metric: Metric, changes: Mapping[str, str], *, by: Actor) -> Metric:
    """Change what a metric is. Its type stays once it has series: their samples were judged by it."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    wanted = _definition(changes)
    with transaction.atomic():
        metric = Metric.objects.select_for_update(no_key=True).get(pk=metric.pk)
        before = _shown(metric)
        if wanted.get("type", metric.type) != metric.type and metric.series.exists():
            raise Refused(f"metric '{metric}' has samples: it stays a {metric.type}")
        for field, value in wanted.items():
            setattr(metric, field, value)
        if _shown(metric) != before:
            metric.save(update_fields=list(wanted))
            audit.record("metric.changed", metric, by=by, before=before, after=_shown(metric))
    return metric


def _definition(given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(given) - set(DEFINABLE))
    if unknown:
        raise Invalid.of(unknown[0], "unknown field")
    for field, choices in (("type", Metric.Type), ("direction", Metric.Direction)):
        if field in given and given[field] not in choices.values:
            raise Invalid.of(field, f"must be one of {', '.join(choices.values)}")
    if given.get("signal", "") not in ("", Metric.NO_SIGNAL, *Signal):
        raise Invalid.of("signal", f"must be empty or one of {', '.join((*Signal, Metric.NO_SIGNAL))}")
    return dict(given)


def _shown(metric: Metric) -> dict[str, str]:
    return {field: str(getattr(metric, field)) for field in DEFINABLE}
