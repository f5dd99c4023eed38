"""Flags for the engine's tests, in as few words as a test needs."""

from typing import Any

from rollouts.engine.compile import assemble, compile_flag
from rollouts.engine.conditions import compile_segments
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import FlagSource, Result, SegmentSource, Snapshot

SALT = "00000000000000000000000000000000"
NOON = 1_750_000_000.0


def source(key: str = "flag", **given: Any) -> FlagSource:
    """A boolean flag that is on, unless told otherwise. `variants` may be a mapping."""
    variants = given.pop("variants", {"on": True, "off": False})
    values: dict[str, Any] = {
        "salt": SALT,
        "value_type": "bool" if set(variants) == {"on", "off"} else "string",
        "off_variant": "off" if "off" in variants else next(iter(variants)),
        "enabled": True,
        "revision": 1,
        "environment": "production",
    }
    return FlagSource(key, variants=[{"key": k, "value": v} for k, v in variants.items()], **(values | given))


def snapshot(*sources: FlagSource, segments: list[SegmentSource] | None = None) -> Snapshot:
    compiled = compile_segments({one.key: one for one in segments or []})
    return assemble("production", 1, {one.key: compile_flag(one, compiled) for one in sources})


def decide(
    one: FlagSource,
    unit: str | None = None,
    *,
    trace: list[dict[str, Any]] | None = None,
    now: float = NOON,
    segments: list[SegmentSource] | None = None,
    **attributes: Any,
) -> Result:
    """Evaluate a single flag."""
    context = attributes if unit is None else {"targetingKey": unit, **attributes}
    return evaluate(snapshot(one, segments=segments), one.key, context, now=now, trace=trace)


def rule(condition: dict[str, Any] | None = None, *, name: str = "r1", **serve: Any) -> dict[str, Any]:
    """A rule with at most one condition; serves `on` unless told otherwise."""
    return {"id": name, "all": [condition] if condition else [], "serve": serve or {"variant": "on"}}
