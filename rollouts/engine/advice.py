"""What a config lacks of what its flag's type promises: told, never refused, for a type is only the person's intent."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rollouts.engine.types import FULL


def warnings(
    document: Mapping[str, Any], flag_type: str, reserved: Sequence[Mapping[str, Any]] = ()
) -> list[dict[str, str]]:
    """`[{"field", "message"}]`; nothing while the flag is off, or while a deployment serves it."""
    if not document["enabled"] or reserved:
        return []
    return [{"field": field, "message": message} for field, message in _found(document, flag_type)]


def _found(document: Mapping[str, Any], flag_type: str) -> Iterator[tuple[str, str]]:
    serves = [document["fallthrough"], *(rule["serve"] for rule in document["rules"])]
    if flag_type == "percentage" and not any(_is_shared(serve) for serve in serves):
        yield "fallthrough", "a percentage flag without a percentage: give a rule or the fallthrough a rollout"
    if flag_type == "ab_test" and not any(_compares(serve) for serve in serves):
        yield "fallthrough", "an A/B test that compares nothing: give a split weights for two variants or more"
    if flag_type == "user_group" and not document["overrides"] and not any(_chooses(one) for one in document["rules"]):
        yield (
            "rules",
            "a user group flag without a group: give a rule conditions or segments, or name units in overrides",
        )
    for n, rule in enumerate(document["rules"][:-1]):
        if not _chooses(rule) and not _is_shared(rule["serve"]) and "by" not in rule["serve"]:
            yield f"rules[{n}]", "it is for everyone, so no rule below it is ever asked"
            break


def _is_shared(serve: Mapping[str, Any]) -> bool:
    return serve.get("rollout", FULL) < FULL or "schedule" in serve or "bucketing" in serve


def _compares(serve: Mapping[str, Any]) -> bool:
    return sum(weight > 0 for weight in serve.get("split", {}).values()) > 1


def _chooses(rule: Mapping[str, Any]) -> bool:
    return bool(rule.get("all") or rule.get("segments"))
