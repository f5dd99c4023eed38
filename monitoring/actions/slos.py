"""Making, changing and taking away objectives; their burn alerts; and how their budgets stand."""

import math
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from monitoring import budgets
from monitoring.actions import specs, thresholds
from monitoring.budgets import TIERS, Tier
from monitoring.judging import LEVELS
from monitoring.models import Slo, Threshold
from monitoring.queries import indicators
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from portal.models import KEY_PATTERN

FIELDS = (
    *("name", "description", "kind", "metric", "good", "bad", "event_matchers", "bound", "matchers", "objective"),
    "window",
)
DAY = 86_400  # seconds
LONGEST_WINDOW = 90 * DAY
LOOK_EVERY = timedelta(minutes=5)


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> Slo:
    """An objective with its four burn alerts."""
    if not re.fullmatch(KEY_PATTERN, key) or len(key) > 128:
        raise Invalid.of("key", "must be letters, digits, dashes and dots")
    columns = clean(fields)
    permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
    with transaction.atomic():
        if Slo.objects.active().filter(key=key).exists():
            raise Refused(f"there is an SLO {key} already")
        slo = Slo.objects.create(key=key, **columns, created_by=audit.describe(by)[:200])
        audit.record("slo.created", slo, by=by, after=shown(slo))
        _keep_alerts(slo, by)
        _tell(slo)
    return slo


def change(slo: Slo, fields: Mapping[str, Any], *, by: Actor, partly: bool = True, expected: int | None = None) -> Slo:
    """Replace the fields (`partly`: only those given). A burn alert that fires goes on, by the new objective."""
    with transaction.atomic():
        slo = _lock(slo, by)
        if expected is not None and expected != slo.version:
            raise Stale(f"SLO {slo.key} is at version {slo.version}, not {expected}")
        before = shown(slo)
        columns = clean({**before, **fields} if partly else fields)
        permissions.require(by, "configure", environment=columns["environment"], service=columns["service"])
        for name, value in columns.items():
            setattr(slo, name, value)
        after = shown(slo)
        if after == before:
            return slo
        slo.version += 1
        slo.due_at = jobs.database_now()
        slo.save()
        audit.record("slo.changed", slo, by=by, before=before, after=after)
        _keep_alerts(slo, by)
        _tell(slo)
    return slo


def delete(slo: Slo, *, by: Actor, because: str = "") -> None:
    """Nobody wants it watched any more. Its alerts end; what happened stays on record."""
    with transaction.atomic():
        slo = _lock(slo, by)
        slo.active = False
        slo.version += 1
        slo.save(update_fields=["active", "version"])
        audit.record("slo.removed", slo, by=by, before=shown(slo), because=because)
        thresholds.remove(owner=owner(slo), by=by, because=because or "SLO removed")
        live.announce("slos", id=slo.pk)


def shown(slo: Slo) -> dict[str, Any]:
    """Its fields as plain values."""
    return {name: getattr(slo, name) for name in FIELDS}


def owner(slo: Slo) -> str:
    return f"slo:{slo.pk}"


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of an objective. Raises Invalid with every field that is wrong, and why."""
    read = specs.Reading(fields)
    read.faults |= {str(name): "unknown field" for name in fields if name not in FIELDS}
    kind = read.choice("kind", tuple(Slo.Kind), None)
    columns: dict[str, Any] = {
        "name": read.text("name", longest=200, required=True),
        "description": read.text("description", longest=10_000),
        "kind": kind,
        "metric": read.metric("metric", required=True),
        "good": read.metric("good"),
        "bad": read.metric("bad"),
        "event_matchers": read.labels("event_matchers", fields.get("event_matchers")),
        "bound": read.number("bound"),
        "matchers": read.labels("matchers", fields.get("matchers")),
        "objective": read.number("objective"),
        "window": read.whole("window", 30 * DAY, least=DAY, most=LONGEST_WINDOW, unit="seconds"),
    }
    if columns["window"] % DAY:
        read.faults.setdefault("window", "must be whole days, in seconds")
    objective = columns["objective"]
    if objective is None:
        read.faults.setdefault("objective", "is required, in percent")
    elif not 0 < objective < 100:
        read.faults.setdefault("objective", "must be between 0 and 100 percent: 100 would leave no budget")
    _check_kind(read, kind, columns)
    columns |= specs.places(read, columns["matchers"])
    if read.faults:
        raise Invalid(read.faults)
    return columns


def _check_kind(read: "specs.Reading", kind: str, columns: Mapping[str, Any]) -> None:
    counted = [name for name in ("good", "bad") if columns[name]]
    if kind == Slo.Kind.AVAILABILITY and len(counted) != 1:
        read.faults.setdefault("bad", "availability needs the counter of bad events, or that of good ones")
    if kind != Slo.Kind.AVAILABILITY:
        for name in (*counted, *(["event_matchers"] if columns["event_matchers"] else [])):
            read.faults.setdefault(name, f"has no meaning for {kind}")
    if kind == Slo.Kind.LATENCY and columns["bound"] is None:
        read.faults.setdefault("bound", "is required: up to where is an observation good?")
    if kind != Slo.Kind.LATENCY and columns["bound"] is not None:
        read.faults.setdefault("bound", f"has no meaning for {kind}")


def keep_budgets(*, now: datetime | None = None) -> int:
    """Look at every budget that is due. How many there were."""
    done = 0
    while done < 1000 and _keep_one(now):
        done += 1
    return done


def _keep_one(now: datetime | None) -> bool:
    with transaction.atomic():
        at = now or jobs.database_now()
        slo = jobs.claim(Slo.objects.active().filter(due_at__lte=at).order_by("due_at"))
        if slo is None:
            return False
        hours = indicators.hours(slo, now=at)
        found = budgets.budget(slo.name, hours, objective=slo.objective, window=slo.window, now=at)
        was = slo.outcome
        slo.remaining = found.remaining if found.remaining is None or math.isfinite(found.remaining) else None
        slo.coverage, slo.outcome, slo.reason = found.coverage, found.verdict.outcome.value, found.verdict.reason
        slo.looked_at, slo.due_at = at, at + LOOK_EVERY
        slo.save(update_fields=["remaining", "coverage", "outcome", "reason", "looked_at", "due_at"])
        if was != slo.outcome:
            live.announce("slos", id=slo.pk)
        return True


def _keep_alerts(slo: Slo, by: Actor) -> None:
    """One threshold for each tier, judged and told as any other; what fires goes on firing."""
    held = {one.window: one for one in Threshold.objects.active().owned_by(owner(slo)).select_for_update(of=("self",))}
    for tier in TIERS:
        columns = _columns(slo, tier)
        found = held.get(tier.long)
        if found is None:
            made = Threshold.objects.create(
                **columns, owner=owner(slo), slo=slo, created_by=audit.describe(by)[:200], due_at=jobs.database_now()
            )
            audit.record("threshold.created", made, by=by, after=specs.of(made))
            continue
        for name, value in columns.items():
            setattr(found, name, value)
        found.version += 1
        found.due_at = jobs.database_now()
        found.save()


def _columns(slo: Slo, tier: Tier) -> dict[str, Any]:
    return {
        "name": f"{slo.name}: budget burn over {tier.long // 3600} h"[:200],
        "metric": "",
        "matchers": {name: value for name, value in slo.matchers.items() if name in ("service", "environment")},
        "aggregation": "mean",
        "operator": ">",
        **{level.value: tier.factor if level is tier.level else None for level in LEVELS},
        "window": tier.long,
        "short_window": tier.short,
        "interval": min(max(tier.long // 240, 15), 300),
        "service": slo.service,
        "environment": slo.environment,
    }


def _lock(slo: Slo, by: Actor) -> Slo:
    rows = Slo.objects.active().select_related("service", "environment").select_for_update(of=("self",))
    found = rows.filter(pk=slo.pk).first()
    if found is None:
        raise Refused(f"SLO {slo.key} has been removed")
    permissions.require(by, "configure", environment=found.environment, service=found.service)
    return found


def _tell(slo: Slo) -> None:
    live.announce("slos", id=slo.pk)
    jobs.nudge("monitoring.keep_budgets")
    jobs.nudge("monitoring.judge")
