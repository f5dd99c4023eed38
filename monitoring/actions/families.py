"""What a source says of its metrics: taken where nobody here has said anything."""

from collections.abc import Iterator, Sequence
from typing import Any

from django.conf import settings
from django.db import transaction

from monitoring.actions import incoming
from monitoring.models import Metric
from monitoring.sources.remote_write import Family
from portal import permissions
from portal.audit import Actor
from portal.models import AuditEntry

MAX_DESCRIPTION = 2_000
MAX_UNIT = 50
# The metrics that one family's samples come under: (ending, whether it only grows). Text and OpenMetrics differ in
# whether a counter's family carries its _total.
PARTS = {
    "counter": (("", True),),
    "histogram": (("_bucket", True), ("_count", True), ("_sum", True)),
    "gaugehistogram": (("_bucket", False), ("_gcount", False), ("_gsum", False)),
    "summary": (("", False), ("_count", True), ("_sum", True)),
}


def describe(families: Sequence[Family], *, by: Actor) -> int:
    """Note each family's type, unit and help; make metrics that are not there yet. How many were made or changed.

    It comes again every minute, from every sender: so it fills in what is empty and turns a gauge into a counter
    (a gauge is what a metric is taken for that nobody has described), and leaves alone what a person has defined.
    """
    permissions.require_scope(by, "ingest")
    told = {name: wanted for family in families for name, wanted in _metrics_of(family)}
    if not told:
        return 0
    with transaction.atomic():
        there = {one.name: one for one in Metric.objects.filter(name__in=told)}
        room = max(0, settings.PORTAL_MAX_METRICS - Metric.objects.count())
        missing = [Metric(name=name, **wanted) for name, wanted in sorted(told.items()) if name not in there][:room]
        Metric.objects.bulk_create(missing, ignore_conflicts=True)
        changed = {one.pk for one in there.values() if _news(one, told[one.name])}
        changed -= _defined(changed)
        rows = list(Metric.objects.filter(pk__in=changed).order_by("pk").select_for_update(no_key=True))
        for row in rows:
            for field, value in _news(row, told[row.name]).items():
                setattr(row, field, value)
        Metric.objects.bulk_update(rows, ["type", "unit", "description"])
    return len(missing) + len(rows)


def _metrics_of(family: Family) -> Iterator[tuple[str, dict[str, str]]]:
    if incoming.UNKEEPABLE.search(family.unit + family.help):
        return
    for ending, grows in PARTS.get(family.type, (("", False),)):
        name = family.name + ending
        if incoming.METRIC_NAME.match(name):
            yield (
                name,
                {
                    "type": Metric.Type.COUNTER if grows or name.endswith("_total") else Metric.Type.GAUGE,
                    "unit": family.unit[:MAX_UNIT],
                    "description": family.help[:MAX_DESCRIPTION],
                },
            )


def _news(metric: Metric, wanted: dict[str, str]) -> dict[str, Any]:
    """What of it is not there yet."""
    news = {field: wanted[field] for field in ("unit", "description") if wanted[field] and not getattr(metric, field)}
    if metric.type == Metric.Type.GAUGE and wanted["type"] == Metric.Type.COUNTER:
        news["type"] = wanted["type"]
    return news


def _defined(metrics: set[int]) -> set[int]:
    """Those of the metrics that a person or a key has defined or changed."""
    kind = Metric._meta.label_lower
    named = AuditEntry.objects.filter(object_type=kind, object_id__in=[str(pk) for pk in metrics])
    return {int(pk) for pk in named.values_list("object_id", flat=True)}
