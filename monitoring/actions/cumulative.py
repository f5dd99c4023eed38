"""Distributions counted from a start on, as what was observed since the last point."""

import uuid
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection

from monitoring import growth
from monitoring.histogram import Explicit, Histogram
from monitoring.models import Standing
from monitoring.sources.otlp import BEGAN_WITHIN, Exponential, Point
from portal import jobs

Identity = tuple[str, uuid.UUID]  # the metric's name, the labels' fingerprint


class Standings:
    """Where the series of one request stand, locked for the caller's transaction: one writer a series at a time."""

    def __init__(self, identities: Collection[Identity]) -> None:
        names, prints = {name for name, _ in identities}, {print_ for _, print_ in identities}
        rows = Standing.objects.filter(metric__in=names, fingerprint__in=prints).order_by("metric", "fingerprint")
        found = rows.select_for_update() if identities else []
        self.there: dict[Identity, Standing] = {(one.metric, one.fingerprint): one for one in found}
        self.new: dict[Identity, Standing] = {}

    def observed(self, identity: Identity, point: Point) -> Explicit | Histogram | None:
        """What was observed since the series' last point; None when the point tells nothing new.

        Of a series that nobody has heard of, and that began longer ago than `BEGAN_WITHIN`, the first point only says
        where it stands. A point that is older than the last one adds nothing: that one counted all of it.
        """
        before = self.new.get(identity) or self.there.get(identity)
        if before is not None and point.time <= before.time:
            return None
        self.new[identity] = _standing(identity, point)
        if before is None:
            if point.start is None or point.time - point.start > BEGAN_WITHIN:
                return None
            return _whole(point.value)
        if point.start != before.start:
            return _whole(point.value)
        return _since(before.counted, point.value)

    def keep(self, identities: Collection[Identity]) -> None:
        """Write down where these stand now. Raises IntegrityError when somebody else began one of them just now."""
        rows = [self.new[identity] for identity in sorted(identities) if identity in self.new]
        fresh = [one for one in rows if (one.metric, one.fingerprint) not in self.there]
        Standing.objects.bulk_create(fresh)
        known = []
        for one in rows:
            if there := self.there.get((one.metric, one.fingerprint)):
                there.start, there.time, there.counted = one.start, one.time, one.counted
                known.append(there)
        Standing.objects.bulk_update(known, ["start", "time", "counted"], batch_size=1000)


def forget_old(*, now: datetime | None = None) -> int:
    """Drop where series stood that were not heard of for as long as raw samples are kept."""
    before = (now or jobs.database_now()) - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM monitoring_standing WHERE time < %s", [before])
        return int(cursor.rowcount)


def observed(value: Explicit | Exponential) -> Explicit | Histogram:
    """A delta as a sample holds it."""
    return _whole(value)


def _standing(identity: Identity, point: Point) -> Standing:
    return Standing(
        metric=identity[0], fingerprint=identity[1], start=point.start, time=point.time, counted=_counted(point.value)
    )


def _counted(value: Explicit | Exponential) -> dict[str, Any]:
    if isinstance(value, Explicit):
        return {"bounds": list(value.bounds), "counts": list(value.counts), "sum": value.sum}
    sides = {"positive": value.positive, "negative": value.negative}
    numbered = {name: [[bucket, times] for bucket, times in side.items()] for name, side in sides.items()}
    return {"scale": value.scale, "zero": value.zero, "sum": value.sum, **numbered}


def _whole(value: Explicit | Exponential) -> Explicit | Histogram:
    if isinstance(value, Explicit):
        return value
    return growth.logarithmic(value.scale, value.zero, value.positive, value.negative, value.sum, value.low, value.high)


def _since(before: Mapping[str, Any], value: Explicit | Exponential) -> Explicit | Histogram:
    """Without minimum and maximum, which are those of the whole time since the start."""
    if isinstance(value, Explicit):
        if "bounds" not in before:
            return value
        old = Explicit(tuple(before["bounds"]), tuple(before["counts"]), before["sum"])
        return growth.since(old, value) or value
    if "scale" not in before or before["scale"] < value.scale or before["zero"] > value.zero:
        return _whole(value)
    step = before["scale"] - value.scale
    sides: list[growth.Counts] = []
    for name, now in (("positive", value.positive), ("negative", value.negative)):
        more = growth.counts_since(growth.coarser(_numbered(before[name]), step), now)
        if more is None:
            return _whole(value)
        sides.append(more)
    return growth.logarithmic(
        value.scale, value.zero - before["zero"], sides[0], sides[1], value.sum - before["sum"], None, None
    )


def _numbered(pairs: Sequence[Sequence[int]]) -> growth.Counts:
    return {pair[0]: pair[1] for pair in pairs}
