"""Making, changing and taking away the limits of metrics; and how metrics stand against them."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from monitoring.actions import specs
from monitoring.limits import Standing, State
from monitoring.models import Capacity
from monitoring.queries import standings
from monitoring.queries.outlooks import LONGEST
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from portal.models import KEY_PATTERN

log = structlog.get_logger(__name__)

FIELDS = ("name", "kind", "metric", "aggregation", "matchers", "limit", "share", "horizon")
GROWING = ("sum", "increase")  # what a month can be added up of
LOOK_EVERY = timedelta(minutes=15)
UNKNOWN_AGAIN = timedelta(minutes=2)  # data may come
MOST = 200  # in one cycle


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> Capacity:
    if not isinstance(key, str) or not re.fullmatch(KEY_PATTERN, key):
        raise Invalid.of("key", "must be letters, digits, dashes and dots")
    columns = clean(fields)
    permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
    with transaction.atomic():
        if Capacity.objects.active().filter(key=key).exists():
            raise Refused(f"there is a capacity {key} already")
        made = Capacity.objects.create(key=key, **columns, created_by=audit.describe(by)[:200])
        audit.record("capacity.created", made, by=by, after=shown(made))
        _tell(made)
    return made


def change(
    capacity: Capacity, fields: Mapping[str, Any], *, by: Actor, partly: bool = True, expected: int | None = None
) -> Capacity:
    """Replace the fields (`partly`: only those given). It is looked at anew at once."""
    with transaction.atomic():
        capacity = _lock(capacity, by)
        if expected is not None and expected != capacity.version:
            raise Stale(f"capacity {capacity.key} is at version {capacity.version}, not {expected}")
        before = shown(capacity)
        columns = clean({**before, **fields} if partly else fields)
        permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
        for name, value in columns.items():
            setattr(capacity, name, value)
        after = shown(capacity)
        if after == before:
            return capacity
        capacity.version += 1
        capacity.due_at = jobs.database_now()
        capacity.save()
        audit.record("capacity.changed", capacity, by=by, before=before, after=after)
        _tell(capacity)
    return capacity


def delete(capacity: Capacity, *, by: Actor, because: str = "") -> None:
    """Nobody wants it watched any more."""
    with transaction.atomic():
        capacity = _lock(capacity, by)
        capacity.active = False
        capacity.version += 1
        capacity.save(update_fields=["active", "version"])
        audit.record("capacity.removed", capacity, by=by, before=shown(capacity), because=because)
        live.announce("capacities", id=capacity.pk)


def shown(capacity: Capacity) -> dict[str, Any]:
    """Its fields as plain values."""
    return {name: getattr(capacity, name) for name in FIELDS}


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a limit. Raises Invalid with every field that is wrong, and why."""
    read = specs.Reading(fields)
    read.faults |= {str(name): "unknown field" for name in fields if name not in FIELDS}
    kind = read.choice("kind", tuple(Capacity.Kind), Capacity.Kind.CAPACITY)
    is_budget = kind == Capacity.Kind.BUDGET
    limit, share = read.number("limit"), read.number("share")
    columns: dict[str, Any] = {
        "name": read.text("name", longest=200, required=True),
        "kind": kind,
        "metric": read.metric("metric", required=True),
        "aggregation": read.text(
            "aggregation",
            longest=20,
            pattern=specs.AGGREGATION,
            hint="must be mean, min, max, sum, count, stddev, last, rate, increase or a percentile such as p95",
        )
        or ("sum" if is_budget else "mean"),
        "matchers": read.labels("matchers", fields.get("matchers")),
        "limit": limit,
        "share": 0.9 if share is None else share,
        "horizon": read.whole("horizon", 90, least=1, most=LONGEST, unit="days"),
    }
    if limit is None:
        read.faults.setdefault("limit", "is required, in the metric's unit")
    elif limit <= 0:
        read.faults.setdefault("limit", "must be more than 0")
    if not 0 < columns["share"] <= 1:
        read.faults.setdefault("share", "must be more than 0 and at the most 1: 0.9 is 90 %")
    if is_budget and columns["aggregation"] not in GROWING:
        read.faults.setdefault("aggregation", f"of a budget must be {' or '.join(GROWING)}: a month is added up")
    if not is_budget and columns["aggregation"] in GROWING:
        read.faults.setdefault("aggregation", "of a capacity cannot be a sum: it would be of each step")
    columns |= specs.places(read, columns["matchers"])
    if read.faults:
        raise Invalid(read.faults)
    return columns


def keep(*, now: datetime | None = None) -> int:
    """Look at every limit that is due. How many there were."""
    done = 0
    while done < MOST and _keep_one(now):
        done += 1
    return done


def _keep_one(now: datetime | None) -> bool:
    with transaction.atomic():
        at = now or jobs.database_now()
        capacity = jobs.claim(Capacity.objects.active().filter(due_at__lte=at).order_by("due_at"))
        if capacity is None:
            return False
        try:
            with transaction.atomic():
                found, _ = standings.standing(capacity, now=at)
        except Exception as error:
            # One that cannot be judged must not keep the others from theirs: nothing is known of it.
            log.exception("capacities.failed", capacity=capacity.pk)
            found = Standing(State.UNKNOWN, f"it could not be looked at: {type(error).__name__}")
        was = capacity.state
        write(capacity, found)
        capacity.looked_at = at
        capacity.due_at = at + (UNKNOWN_AGAIN if found.state is State.UNKNOWN else LOOK_EVERY)
        capacity.save()
        if was != capacity.state:
            live.announce("capacities", id=capacity.pk)
        return True


def write(capacity: Capacity, found: Standing) -> None:
    """What was found, into its fields."""
    capacity.state, capacity.reason, capacity.method = found.state.value, found.reason, found.method
    capacity.value, capacity.expected, capacity.low, capacity.high = found.value, found.expected, found.low, found.high
    capacity.reached_at, capacity.earliest_at, capacity.latest_at = found.at, found.earliest, found.latest


def _lock(capacity: Capacity, by: Actor) -> Capacity:
    rows = Capacity.objects.active().select_related("service", "environment").select_for_update(of=("self",))
    found = rows.filter(pk=capacity.pk).first()
    if found is None:
        raise Refused(f"capacity {capacity.key} has been removed")
    permissions.require(by, "configure", environment=found.environment, service=found.service)
    return found


def _tell(capacity: Capacity) -> None:
    live.announce("capacities", id=capacity.pk)
    jobs.nudge("monitoring.keep_capacities")
