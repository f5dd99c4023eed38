"""What an evaluation did, step by step, in sentences."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollouts.engine.types import ErrorCode, Reason
from rollouts.queries.explaining import Explained
from rollouts.views import flag_words

NAMES = {
    "not_found": "Flag",
    "kill_switch": "Kill switch",
    "window": "Time window",
    "prerequisites": "Prerequisite",
    "needs": "Needs",
    "override": "Individually",
    "rule": "Rule",
    "fallthrough": "Everyone else",
}
REASONS = {
    Reason.STATIC: "the same for everyone",
    Reason.TARGETING_MATCH: "a rule or an individual override",
    Reason.SPLIT: "the unit's share",
    Reason.DISABLED: "it is off here",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step of a trace."""

    name: str
    text: str
    held: bool | None = None  # of a condition: whether it does
    steps: list["Step"] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Answer:
    """A flag's answer, as a page shows it."""

    flag: str
    variant: str
    value: Any
    reason: str
    why: str
    is_error: bool
    revision: int
    steps: list[Step]


def answer(found: Explained) -> Answer:
    result = found.result
    steps = [_step(one) for one in found.trace]
    why = result.message if result.error else next((step.text for step in reversed(steps) if step.text), "")
    return Answer(
        flag=result.flag,
        variant=result.variant or "",
        value=result.value,
        reason=_error(result.error) if result.error else REASONS.get(result.reason, str(result.reason)),
        why=why,
        is_error=result.error is not None,
        revision=result.revision,
        steps=steps,
    )


def _step(told: Mapping[str, Any]) -> Step:
    name, kind = NAMES.get(told["step"], told["step"]), told["step"]
    if kind == "rule":
        by = f"deployment {told['deployment']}" if told.get("deployment") is not None else told["rule"]
        return Step(f"{name} {by}", told.get("why", ""), steps=[*_conditions(told), *_segments(told)])
    if kind == "needs":
        inner = [_step(one) for one in told.get("trace") or ()]
        return Step(f"{name} {told['flag']}", f"it is {told['variant'] or told['why']}", steps=inner)
    return Step(name, told.get("why", ""))


def _conditions(told: Mapping[str, Any]) -> list[Step]:
    return [_of_condition(one) for one in told.get("conditions", ())]


def _of_condition(one: Mapping[str, Any]) -> Step:
    said, why = flag_words.condition(one), one.get("why", "")
    return Step("", said if why in ("holds", "does not hold", "") else f"{said}: {why}", one["held"])


def _segments(told: Mapping[str, Any]) -> list[Step]:
    return [
        Step("", f"belongs to {one['segment']}" + (f": {one['why']}" if "why" in one else ""), one["held"])
        for one in told.get("segments", ())
    ]


def _error(code: ErrorCode) -> str:
    return {ErrorCode.TARGETING_KEY_MISSING: "nothing to decide by"}.get(code, "an error")
