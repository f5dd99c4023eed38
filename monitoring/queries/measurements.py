"""What thresholds look at: each one's condition and measurement, all of them in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

import orjson
from django.db import connection

from monitoring.judging import LEVELS, Change, Condition, Measurement, NoData, duration
from monitoring.models import Metric, Threshold
from monitoring.queries import combinations, indicators, statements, usuals
from monitoring.queries.windows import Aggregate, Window, aggregates
from portal.models import Environment, Service

M = TypeVar("M")

COUNTS = "count"
# The releases or variants that a threshold's series carry, and when each was first and last heard of.
ARMS = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, a.label, a.matchers || jsonb_build_object('__metric__', m.id) AS probe
    FROM jsonb_to_recordset(%(asked)s::jsonb) AS a(n bigint, metric text, label text, matchers jsonb)
    JOIN monitoring_metric m ON m.name = a.metric
)
SELECT a.n, s.labels->>a.label, min(s.created_at), max(s.last_time)
FROM asked a JOIN monitoring_series s ON {statements.LABELS} @> a.probe
WHERE s.labels ? a.label GROUP BY 1, 2 ORDER BY 1, 3, 2
"""


# Which services and environments a threshold's series belong to.
PLACES = f"""
WITH asked AS MATERIALIZED (
    SELECT a.n, a.matchers || jsonb_build_object('__metric__', m.id) AS probe
    FROM jsonb_to_recordset(%(asked)s::jsonb) AS a(n bigint, metric text, matchers jsonb)
    JOIN monitoring_metric m ON m.name = a.metric
)
SELECT a.n, array_agg(DISTINCT s.service_id), array_agg(DISTINCT s.environment_id)
FROM asked a JOIN monitoring_series s ON {statements.LABELS} @> a.probe GROUP BY 1
"""


@dataclass(frozen=True, slots=True)
class Look:
    """One threshold, as the judge wants it."""

    condition: Condition
    measurement: Measurement


@dataclass(frozen=True, slots=True)
class _Arm:
    value: str
    first: datetime
    last: datetime | None


@dataclass(frozen=True, slots=True)
class _Sides:
    """The window to be judged and the one that it is compared with; None: there is nothing to compare with."""

    here: Window
    there: Window | None = None
    words: str = ""  # whom it is compared with; "" where it is not


def measure(thresholds: Sequence[Threshold], *, now: datetime) -> dict[int, Look]:
    """A look at each of the thresholds, by id."""
    combined = [threshold for threshold in thresholds if threshold.members]
    looks = {
        threshold.pk: Look(condition_of(threshold, "", {}), Measurement(None, members=members))
        for threshold, members in combinations.standings(combined)
    }
    burning = [threshold for threshold in thresholds if threshold.slo_id]
    if burning:
        found = indicators.burns(burning, now=now)
        looks |= {one.pk: Look(condition_of(one, "", {"": "×"}), found[one.pk]) for one in burning}
    plain = [threshold for threshold in thresholds if not threshold.members and not threshold.slo_id]
    return looks | _measured(plain, now=now)


def _measured(thresholds: Sequence[Threshold], *, now: datetime) -> dict[int, Look]:
    arms = _arms([threshold for threshold in thresholds if _needs_arms(threshold)])
    sides = {threshold.pk: _sides(threshold, arms.get(threshold.pk, []), now) for threshold in thresholds}
    windows = [window for one in sides.values() for window in (one.here, one.there) if window is not None]
    answers = iter(aggregates(windows, now=now))
    habits = usuals.measure([one for one in thresholds if one.baseline_kind == Threshold.Baseline.USUAL], now=now)
    units = units_of(thresholds)
    looks: dict[int, Look] = {}
    for threshold in thresholds:
        side = sides[threshold.pk]
        here = _measurement(next(answers)[0])
        if side.there is not None:
            here = replace(here, baseline=_measurement(next(answers)[0]))
        condition = condition_of(threshold, side.words, units)
        if threshold.pk in habits:
            habit = habits[threshold.pk]
            here = replace(here, baseline=habit.measurement)
            condition = replace(condition, baseline=habit.words, history=habit.needed)
        looks[threshold.pk] = Look(condition, here)
    return looks


def places(thresholds: Sequence[Threshold]) -> dict[int, tuple[Service | None, Environment | None]]:
    """The service and the environment of each: those of its matchers, else those that all its series share."""
    asked = [
        {"n": one.pk, "metric": one.metric, "matchers": one.matchers}
        for one in thresholds
        if one.service is None or one.environment is None
    ]
    shared: dict[int, tuple[list[int | None], list[int | None]]] = {}
    if asked:
        with connection.cursor() as cursor:
            cursor.execute(PLACES, {"asked": orjson.dumps(asked).decode()})
            shared = {n: (services, environments) for n, services, environments in cursor.fetchall()}
    services = Service.objects.in_bulk({pk for found, _ in shared.values() for pk in found if pk})
    environments = Environment.objects.in_bulk({pk for _, found in shared.values() for pk in found if pk})
    return {
        one.pk: (
            one.service or _the_only(shared.get(one.pk, ([], []))[0], services),
            one.environment or _the_only(shared.get(one.pk, ([], []))[1], environments),
        )
        for one in thresholds
    }


def _the_only(found: Sequence[int | None], things: Mapping[int, M]) -> M | None:
    return things.get(found[0] or 0) if len(found) == 1 else None


def condition_of(threshold: Threshold, baseline: str, units: Mapping[str, str]) -> Condition:
    """What the threshold asks; `units` of its metrics."""
    unit = units.get(threshold.metric, "")
    if threshold.aggregation == "rate" and not threshold.denominator:
        unit = f"{unit}/s"
    bounds = {level: bound for level in LEVELS if (bound := getattr(threshold, level.value)) is not None}
    return Condition(
        name=threshold.name,
        operator=threshold.operator,
        bounds=bounds,
        clear=threshold.clear,
        window=threshold.window,
        interval=threshold.interval,
        hold=threshold.hold,
        keep_firing_for=threshold.keep_firing_for,
        min_count=threshold.min_count,
        no_data=NoData(threshold.no_data),
        on_error=NoData(threshold.on_error) if threshold.on_error else None,
        flap_transitions=threshold.flap_transitions,
        flap_window=threshold.flap_window,
        unit="" if threshold.denominator or threshold.aggregation == COUNTS else unit,
        # Seconds by requests are no share; errors by requests are.
        is_share=bool(threshold.denominator) and unit in ("", units.get(threshold.denominator, "")),
        baseline=baseline,
        change=Change(threshold.baseline_change),
    )


def _measurement(found: Aggregate) -> Measurement:
    return Measurement(found.value, int(found.count))


def window_of(threshold: Threshold) -> Window:
    """What it measures, whatever that is compared with."""
    return Window(
        metric=threshold.metric,
        aggregation=threshold.aggregation,
        seconds=threshold.window,
        matchers=threshold.matchers,
        denominator=threshold.denominator,
    )


def _sides(threshold: Threshold, arms: Sequence[_Arm], now: datetime) -> _Sides:
    here = window_of(threshold)
    match threshold.baseline_kind:
        case Threshold.Baseline.OFFSET:
            seconds = threshold.baseline_seconds or 0
            return _Sides(here, replace(here, back=seconds), f"{duration(seconds)} ago")
        case Threshold.Baseline.ARM:
            return _beside_an_arm(threshold, here, arms)
        case Threshold.Baseline.PREVIOUS_RELEASE:
            return _beside_a_release(threshold, here, arms, now)
        case _:
            return _Sides(here)


def _beside_an_arm(threshold: Threshold, here: Window, arms: Sequence[_Arm]) -> _Sides:
    own = _own_arm(threshold)
    if own is None:
        # Series without flag and variant (or release) belong to no arm.
        return _Sides(here, None, "another arm (the matchers name none)")
    labels = dict(threshold.baseline_labels)
    if not labels:
        others = [arm.value for arm in arms if arm.value != threshold.matchers[own]]
        if len(others) != 1:
            return _Sides(here, None, "the other arm" if not others else f"one of {len(others)} other arms")
        labels = {own: others[0]}
    words = " ".join(f"{name} {value}" for name, value in labels.items())
    return _Sides(here, replace(here, matchers={**threshold.matchers, **labels}), words)


def _beside_a_release(threshold: Threshold, here: Window, arms: Sequence[_Arm], now: datetime) -> _Sides:
    named = threshold.matchers.get("release")
    current = next((arm for arm in arms if arm.value == named), None) if named else (arms[-1] if arms else None)
    if current is None:
        return _Sides(here, None, "the previous release")
    here = replace(here, matchers={**threshold.matchers, "release": current.value})
    wanted = threshold.baseline_labels.get("release")
    if wanted:
        before = [arm for arm in arms if arm.value == wanted]
    else:
        before = [arm for arm in arms if arm.value != current.value and arm.first <= current.first]
    if not before:
        return _Sides(here, None, f"release {wanted}" if wanted else "the previous release")
    previous = before[-1]
    # One that is no longer running is taken as it was at its end.
    quiet = now - (previous.last or now)
    back = int(quiet.total_seconds()) if quiet > timedelta(seconds=threshold.window) else 0
    there = replace(here, matchers={**here.matchers, "release": previous.value}, back=back)
    return _Sides(here, there, f"release {previous.value}")


def _own_arm(threshold: Threshold) -> str | None:
    """The label by which the threshold's series belong to an arm."""
    if {"flag", "variant"} <= set(threshold.matchers):
        return "variant"
    return "release" if "release" in threshold.matchers else None


def _needs_arms(threshold: Threshold) -> bool:
    if threshold.baseline_kind == Threshold.Baseline.PREVIOUS_RELEASE:
        return True
    return (
        threshold.baseline_kind == Threshold.Baseline.ARM
        and not threshold.baseline_labels
        and _own_arm(threshold) is not None
    )


def _arms(thresholds: Sequence[Threshold]) -> dict[int, list[_Arm]]:
    """For each threshold the arms that its metric has, the one first heard of first."""
    found: dict[int, list[_Arm]] = defaultdict(list)
    asked = []
    for threshold in thresholds:
        is_release = threshold.baseline_kind == Threshold.Baseline.PREVIOUS_RELEASE
        label = "release" if is_release else _own_arm(threshold)
        matchers = {name: value for name, value in threshold.matchers.items() if name != label}
        metric = threshold.denominator or threshold.metric
        asked.append({"n": threshold.pk, "metric": metric, "label": label, "matchers": matchers})
    if asked:
        with connection.cursor() as cursor:
            cursor.execute(ARMS, {"asked": orjson.dumps(asked).decode()})
            for n, value, first, last in cursor.fetchall():
                found[n].append(_Arm(value, first, last))
    return found


def units_of(thresholds: Sequence[Threshold]) -> dict[str, str]:
    """The units of the metrics that these are about, by name."""
    names = {name for one in thresholds for name in (one.metric, one.denominator) if name}
    return dict(Metric.objects.filter(name__in=names).values_list("name", "unit"))
