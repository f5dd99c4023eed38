"""What a change request would change, in lines that people read: where, what was, what is to be."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rollouts.engine.revisions import alike
from rollouts.models import ChangeRequest, FlagConfig
from rollouts.views import flag_words

Line = tuple[str, str, str]  # where, before, after


def lines(request: ChangeRequest) -> list[Line]:
    """One line a rule, a variant, a list of units; nothing for what stays."""
    found: list[Line] = []
    for name, (before, after) in request.changes().items():
        if name == "rules":
            found += _rules(before or [], after)
        elif name == "overrides":
            found += _units(_named(before or {}), _named(after or {}))
        elif name == "variants":
            found += _variants(before or [], after)
        elif name in ("included", "excluded"):
            found += _units({name: before or []}, {name: after or []})
        elif name == "conditions":
            found.append(("conditions", _condition_words(before or []), _condition_words(after)))
        else:
            found += flag_words.difference({name: [before, after]})
    return found


def _rules(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Line]:
    """Each rule by its id; and the order, where that is another."""
    was, will_be = {rule["id"]: rule for rule in before}, {rule["id"]: rule for rule in after}
    found = [
        (f"rule {key}", _rule(was.get(key)), _rule(will_be.get(key)))
        for key in {**was, **will_be}
        if key not in was or key not in will_be or not alike(was[key], will_be[key])
    ]
    kept_before = [key for key in was if key in will_be]
    kept_after = [key for key in will_be if key in was]
    if kept_before != kept_after:
        found.append(("order of the rules", ", ".join(kept_before), ", ".join(kept_after)))
    return found


def _rule(rule: Mapping[str, Any] | None) -> str:
    if rule is None:
        return ""
    (line,) = flag_words.lines(FlagConfig(rules=[rule], reserved=[]))
    return f"{line.who}: {line.what}"


def _units(before: Mapping[str, Sequence[str]], after: Mapping[str, Sequence[str]]) -> list[Line]:
    """Only who leaves and who comes: the others may be thousands."""
    found = []
    for name in {**before, **after}:
        was, will_be = before.get(name, ()), after.get(name, ())
        gone = [unit for unit in was if unit not in set(will_be)]
        new = [unit for unit in will_be if unit not in set(was)]
        if gone or new:
            found.append((name, ", ".join(gone), ", ".join(new)))
    return found


def _named(overrides: Mapping[str, Sequence[str]]) -> dict[str, Sequence[str]]:
    return {f"{variant} by name": units for variant, units in overrides.items()}


def _variants(before: Sequence[Mapping[str, Any]], after: Sequence[Mapping[str, Any]]) -> list[Line]:
    was = {one["key"]: _json(one["value"]) for one in before}
    will_be = {one["key"]: _json(one["value"]) for one in after}
    return [
        (f"variant {key}", was.get(key, ""), will_be.get(key, ""))
        for key in {**was, **will_be}
        if was.get(key) != will_be.get(key)
    ]


def _condition_words(conditions: Sequence[Mapping[str, Any]]) -> str:
    if not conditions:
        return ""
    (line,) = flag_words.lines(FlagConfig(rules=[{"all": conditions, "serve": {}}], reserved=[]))
    return line.who


def _json(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
