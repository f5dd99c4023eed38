"""What an edit of a flag changes, line by line, in the words of the flag's page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollouts.models import FlagConfig
from rollouts.views import flag_words

Document = Mapping[str, Any]
FEW = 5


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that becomes another; without `before` it is new, without `after` it goes."""

    what: str
    before: str
    after: str


def between(before: Document, after: Document, *, is_new: bool = False) -> list[Change]:
    """The changes from one config to another, both as they are stored."""
    others = any(one[part] for one in (before, after) for part in ("rules", "overrides"))
    found = [
        Change("The switch", "" if is_new else _on(before), _on(after)),
        Change("While it is off", "" if is_new else before["off_variant"], after["off_variant"]),
        Change("Conditions", _before(before), _before(after)),
        *_units(before.get("overrides") or {}, after.get("overrides") or {}),
        *_rules(before["rules"], after["rules"]),
        Change(
            "Everyone else" if others else "Everyone",
            "" if is_new else flag_words.serving(before["fallthrough"]),
            flag_words.serving(after["fallthrough"]),
        ),
    ]
    return [change for change in found if change.before != change.after]


def _on(document: Document) -> str:
    return "on" if document["enabled"] else "off"


def _before(document: Document) -> str:
    """What has to hold before any rule is asked."""
    config = FlagConfig(window=document["window"], prerequisites=document["prerequisites"])
    return "; ".join(flag_words.conditions(config))


def _units(before: Document, after: Document) -> list[Change]:
    found = []
    for variant in dict.fromkeys([*before, *after]):
        had, has = before.get(variant, []), after.get(variant, [])
        gone, come = [one for one in had if one not in set(has)], [one for one in has if one not in set(had)]
        found.append(Change(f"Named units that get {variant}", some(gone), some(come)))
    return found


def _rules(before: Sequence[Document], after: Sequence[Document]) -> list[Change]:
    had = {rule["id"]: (n, rule) for n, rule in enumerate(before, 1)}
    stays = {rule["id"] for rule in after} & had.keys()
    found = [
        Change(f"Rule {n}, removed", _rule(rule), "") for n, rule in enumerate(before, 1) if rule["id"] not in stays
    ]
    for n, rule in enumerate(after, 1):
        if rule["id"] in had:
            found.append(Change(f"Rule {n}", _rule(had[rule["id"]][1]), _rule(rule)))
        else:
            found.append(Change(f"Rule {n}, new", "", _rule(rule)))
    was = [rule["id"] for rule in before if rule["id"] in stays]
    now = [rule["id"] for rule in after if rule["id"] in stays]
    if was != now:
        found.append(Change("Order of the rules", _order(was, had), _order(now, had)))
    return found


def _rule(rule: Document) -> str:
    return f"{flag_words.who(rule)} → {flag_words.serving(rule.get('serve', {}))}"


def _order(ids: Sequence[str], had: Mapping[str, tuple[int, Document]]) -> str:
    """By the numbers that they had."""
    return ", ".join(str(had[one][0]) for one in ids)


def some(units: Sequence[str]) -> str:
    more = f" and {len(units) - FEW} more" if len(units) > FEW else ""
    return ", ".join(units[:FEW]) + more
