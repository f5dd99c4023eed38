"""Flags explained: every one for a context, and one for a unit beside what was recorded of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.conf import settings

from monitoring.queries import exposures
from monitoring.queries.exposures import Recorded
from portal import masking
from portal.models import Environment
from rollouts import snapshots
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import TARGETING_KEY, Result, Snapshot, Trace
from rollouts.models import Flag, FlagRevision
from rollouts.queries import contexts, past


@dataclass(frozen=True, slots=True)
class Explained:
    """What a context gets, and the trace that its evaluation took."""

    result: Result
    trace: Trace

    def as_dict(self) -> dict[str, Any]:
        result = self.result
        return {
            "flag": result.flag,
            "environment": result.environment,
            "revision": result.revision,
            "variant": result.variant,
            "value": result.value,
            "reason": result.reason if result.error is None else None,
            "reasonDetail": result.detail,
            "ruleId": result.rule,
            "errorCode": result.error,
            "errorDetails": result.message,
            "trace": self.trace,
        }


@dataclass(frozen=True, slots=True)
class Why:
    """What a unit was shown of a flag, what it gets now, and how it came to what it was shown last."""

    unit: str
    recorded: list[Recorded]
    context: dict[str, Any]
    context_seen_at: datetime | None
    now: Explained
    # Under the revision that was in force when the newest exposure was recorded.
    then: Explained | None
    then_revision: FlagRevision | None
    notes: list[str]


def explain(snapshot: Snapshot, key: str, context: Mapping[str, Any], *, now: float) -> Explained:
    trace: Trace = []
    result = evaluate(snapshot, key, context, now=now, trace=trace)
    if not result.environment:
        result = Result(key, error=result.error, message=result.message, environment=snapshot.environment)
    return Explained(result, trace)


def every(environment: Environment, keys: Sequence[str], context: Mapping[str, Any], *, now: float) -> list[Explained]:
    """These flags, in this order, for one context."""
    snapshot = snapshots.fresh(environment, *keys)
    return [explain(snapshot, key, context, now=now) for key in keys]


def why(flag: Flag, environment: Environment, unit: str, *, with_context: bool, now: datetime) -> Why:
    """Why this unit got what it got. `with_context`: whether the asker may see sampled contexts."""
    names = masking.names_of(settings.PORTAL_CONTEXT_MASK)
    kept_as = masking.pseudonym(unit, by=TARGETING_KEY, masked=names)
    recorded = exposures.of_unit(environment, flag.key, kept_as)
    seen = contexts.of_unit(environment, kept_as) if with_context else None
    context = {**(seen.context if seen else {}), TARGETING_KEY: unit}
    today = explain(snapshots.fresh(environment, flag.key), flag.key, context, now=now.timestamp())
    notes, then, revision = _notes(seen is not None, context, with_context=with_context), None, None
    if not recorded:
        notes.insert(0, f"Nothing was recorded of {unit}: a bulk evaluation is no exposure.")
    else:
        newest = recorded[0]
        revision = _in_force(flag, environment, newest)
        number = newest.revision if newest.revision is not None else revision.number if revision else 0
        if number != today.result.revision or newest.variant != today.result.variant:
            held = past.snapshot(environment, flag.key, newest.time, revision=number or None)
            then = explain(held, flag.key, context, now=newest.time.timestamp())
            notes.append(_difference(newest, number, today, then))
    return Why(unit, recorded, context, seen.at if seen else None, today, then, revision, notes)


def _in_force(flag: Flag, environment: Environment, shown: Recorded) -> FlagRevision | None:
    """The revision by which it was decided: as it was recorded, or as it was at the time."""
    rows = FlagRevision.objects.filter(flag=flag, environment=environment).order_by("-number")
    rows = rows.filter(at__lte=shown.time) if shown.revision is None else rows.filter(number=shown.revision)
    return rows.first()


def _notes(sampled: bool, context: Mapping[str, Any], *, with_context: bool) -> list[str]:
    if not with_context:
        return ["Explained with the targetingKey alone: you may not view the sampled contexts of this environment."]
    if not sampled:
        return ["No context of this unit was sampled: explained with the targetingKey alone."]
    masked = sorted(name for name, value in context.items() if value == masking.MASKED)
    return [f"Masked in the sampled context: {', '.join(masked)}. Rules about them cannot be tried."] if masked else []


def _difference(shown: Recorded, number: int, today: Explained, then: Explained) -> str:
    changed = f"It was revision {number} then and is revision {today.result.revision} now"
    if number == today.result.revision:
        changed = "The flag itself has not changed since: its context, a segment, a prerequisite or the time has"
    if then.result.variant == shown.variant:
        return f"{changed}; under revision {number} the answer is {shown.variant}, as was recorded."
    got = then.result.variant or then.result.message
    return (
        f"{changed}; under revision {number} the answer for the newest sampled context is {got}, "
        f"not {shown.variant} as was recorded: the context, a segment or a prerequisite was another."
    )
