"""What objectives are judged by: how many events were good, over windows and by the hour, from rollups."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from monitoring import summaries
from monitoring.budgets import Hour, Tally, burn
from monitoring.histogram import share_up_to
from monitoring.judging import Measurement, duration
from monitoring.models import Slo, Threshold
from monitoring.models.metrics import AHEAD
from monitoring.queries import matched, rollups
from monitoring.queries.matched import Asked
from monitoring.summaries import Summary

HOUR = 3600  # seconds
Roles = dict[str, list[int]]  # the series of the events, and of the good or bad ones


def burns(thresholds: Sequence[Threshold], *, now: datetime) -> dict[int, Measurement]:
    """The burn rate that each burn alert is judged by: the lesser one of its two windows."""
    ids = {one.slo_id for one in thresholds}
    slos = Slo.objects.in_bulk(pk for pk in ids if pk is not None)
    spans: dict[int, set[int]] = defaultdict(set)
    for one in thresholds:
        spans[one.slo_id or 0] |= {one.window, one.short_window or one.window}
    found = tallies(list(slos.values()), spans, now=now)
    return {one.pk: _burn(one, slos.get(one.slo_id or 0), found) for one in thresholds}


def _burn(threshold: Threshold, slo: Slo | None, found: Mapping[tuple[int, int], Tally]) -> Measurement:
    if slo is None:
        return Measurement(None)
    short = threshold.short_window or threshold.window
    tally = found.get((slo.pk, threshold.window), Tally())
    slow = burn(tally, slo.objective)
    fast = burn(found.get((slo.pk, short), Tally()), slo.objective)
    if slow is None or fast is None:
        return Measurement(None)
    words = f" ({slow:.3g} × over {duration(threshold.window)}, {fast:.3g} × over {duration(short)})"
    return Measurement(min(slow, fast), int(tally.total), context=words)


def tallies(slos: Sequence[Slo], spans: Mapping[int, set[int]], *, now: datetime) -> dict[tuple[int, int], Tally]:
    """The events of each objective in the last so many seconds: a fixed number of queries for each length."""
    series = _series(slos)
    found = {}
    for seconds in sorted({one for some in spans.values() for one in some}):
        asking = [slo for slo in slos if seconds in spans.get(slo.pk, ())]
        ids = {id_ for slo in asking for some in series[slo.pk].values() for id_ in some}
        whole = rollups.whole(ids, since=now - timedelta(seconds=seconds), until=now + AHEAD, now=now) if ids else {}
        for slo in asking:
            parts = {role: [whole[id_] for id_ in some if id_ in whole] for role, some in series[slo.pk].items()}
            found[slo.pk, seconds] = _tally(slo, parts)
    return found


def hours(slo: Slo, *, now: datetime) -> list[Hour]:
    """Each hour of the objective's window of which anything is known, the running one included."""
    roles = _series([slo])[slo.pk]
    ids = {id_ for some in roles.values() for id_ in some}
    if not ids:
        return []
    this = rollups.floor(now, HOUR)
    since = rollups.floor(now - timedelta(seconds=slo.window), HOUR)
    rows = rollups.read(HOUR, ids, since=since, until=this, distributions=slo.kind == Slo.Kind.LATENCY)
    by_hour: dict[datetime, dict[int, list[Summary]]] = defaultdict(lambda: defaultdict(list))
    for id_, some in rows.items():
        for one in some:
            by_hour[rollups.floor(one.first_time, HOUR)][id_].append(one)
    for id_, one in rollups.whole(ids, since=this, until=now + AHEAD, now=now).items():
        by_hour[this][id_].append(one)
    found = []
    for at, by_series in sorted(by_hour.items()):
        parts = {role: [one for id_ in some for one in by_series.get(id_, ())] for role, some in roles.items()}
        found.append(Hour(at, _tally(slo, parts)))
    return found


def _series(slos: Sequence[Slo]) -> dict[int, Roles]:
    asked = []
    for slo in slos:
        asked.append(Asked((slo.pk, "all"), slo.metric, slo.matchers))
        if slo.kind == Slo.Kind.AVAILABILITY:
            counted = {**slo.matchers, **slo.event_matchers}
            asked.append(Asked((slo.pk, "good" if slo.good else "bad"), slo.good or slo.bad, counted))
    found = matched.series(asked)
    roles: dict[int, Roles] = {slo.pk: {} for slo in slos}
    for one in asked:
        pk, role = one.name
        roles[pk][role] = found.get(one.name, [])
    return roles


def _tally(slo: Slo, parts: Mapping[str, Sequence[Summary]]) -> Tally:
    match slo.kind:
        case Slo.Kind.AVAILABILITY:
            return _of_counters(slo, parts)
        case Slo.Kind.LATENCY:
            whole = summaries.merge(parts["all"])
            if whole is None or whole.distribution is None:
                return Tally()
            return Tally(share_up_to(whole.distribution, slo.bound or 0.0) * whole.count, whole.count)
        case _:
            counted = sum(one.count for one in parts["all"])
            return Tally(min(max(sum(one.total for one in parts["all"]), 0.0), counted), counted)


def _of_counters(slo: Slo, parts: Mapping[str, Sequence[Summary]]) -> Tally:
    total = sum(one.increase or 0.0 for one in parts["all"])
    role = "good" if slo.good else "bad"
    if total <= 0 or not parts.get(role):
        # A counter that was not heard of says nothing, neither that all was well nor that all was bad.
        return Tally()
    counted = min(sum(one.increase or 0.0 for one in parts[role]), total)
    return Tally(counted if slo.good else total - counted, total)
