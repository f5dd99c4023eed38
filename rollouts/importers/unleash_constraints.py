"""Unleash's constraints as conditions, read as Unleash reads them: all is text, and inverted is simply not-so."""

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from rollouts.engine import operators
from rollouts.importers.logic import ALWAYS, NEVER, Expression, Leaf, negated

ATTRIBUTES = {"userId": "targetingKey"}
TEXT_OPERATORS = {"STR_STARTS_WITH": "starts_with", "STR_ENDS_WITH": "ends_with", "STR_CONTAINS": "contains"}
NUMBER_OPERATORS = {"NUM_EQ": "equals", "NUM_GT": "gt", "NUM_GTE": "gte", "NUM_LT": "lt", "NUM_LTE": "lte"}
DATE_OPERATORS = {"DATE_AFTER": "after", "DATE_BEFORE": "before"}
SEMVER_OPERATORS = {
    "SEMVER_EQ": "semver_eq", "SEMVER_GT": "semver_gt", "SEMVER_GTE": "semver_gte",
    "SEMVER_LT": "semver_lt", "SEMVER_LTE": "semver_lte",
}  # fmt: skip
_WHOLE_VERSION = re.compile(r"[0-9]+\.[0-9]+\.[0-9]+")


class Unknown(ValueError):
    """An operator that is not Unleash's, or a field that cannot be read: (field, words)."""

    def __init__(self, field: str, words: str) -> None:
        super().__init__(words)
        self.field, self.words = field, words


def expression(constraint: Any, attribute: Callable[[str], str]) -> Expression:
    """What a constraint asks. What its clients find never to hold never holds here. Raises Unknown."""
    if not isinstance(constraint, Mapping):
        raise Unknown("", "must be an object")
    name, op = constraint.get("contextName"), constraint.get("operator")
    if not isinstance(name, str) or not 0 < len(name) <= 100:
        raise Unknown("contextName", "must be a text of 1 to 100 characters")
    if not isinstance(op, str):
        raise Unknown("operator", "must be a text")
    asked = _asked(op, constraint, attribute(name))
    if asked is None:  # a value that Unleash cannot read: it does not hold, inverted or not
        return NEVER
    return negated(asked) if constraint.get("inverted") is True else asked


def _asked(op: str, constraint: Mapping[str, Any], attr: str) -> Expression | None:
    values = _texts(constraint)
    anyhow = constraint.get("caseInsensitive") is True
    if op in ("IN", "NOT_IN"):
        inside = Leaf(_condition(attr, "in", values)) if values else NEVER
        return inside if op == "IN" else negated(inside)
    if op in TEXT_OPERATORS:
        if not values:
            return None
        if "" in values:
            return Leaf({"attr": attr, "op": "exists", "values": []})
        return Leaf(_condition(attr, TEXT_OPERATORS[op], values, anyhow=anyhow))
    if op == "IN_CIDR":
        networks = [value for value in values if _is_network(value)]
        return Leaf(_condition(attr, "cidr", networks, reading=operators.LOOSE)) if networks else NEVER
    value = constraint.get("value")
    if value is not None and not isinstance(value, str):
        raise Unknown("value", "must be a text")
    if op in NUMBER_OPERATORS:
        number = operators.as_number(value)
        return Leaf(_condition(attr, NUMBER_OPERATORS[op], [number])) if operators.is_number(number) else None
    if op in DATE_OPERATORS:
        if operators.moment(value) is None:
            return None
        return Leaf(_condition(attr, DATE_OPERATORS[op], [value], reading=operators.LOOSE))
    if op in SEMVER_OPERATORS:
        if operators.semver(value) is None:
            return None
        if not _WHOLE_VERSION.match(value or ""):
            return NEVER
        return Leaf(_condition(attr, SEMVER_OPERATORS[op], [value], reading=operators.LOOSE))
    if op == "REGEX":
        return _pattern(attr, value, anyhow)
    raise Unknown("operator", f"{op} is no operator of Unleash that is known here")


def _pattern(attr: str, value: str | None, anyhow: bool) -> Expression:
    try:
        operators.condition(attr, "regex", [value], ignore_case=anyhow)
    except operators.BadValue:
        return NEVER
    return Leaf(_condition(attr, "regex", [value], anyhow=anyhow))


def _condition(
    attr: str, op: str, values: list[Any], *, anyhow: bool = False, reading: str = operators.TEXTS
) -> dict[str, Any]:
    found: dict[str, Any] = {"attr": attr, "op": op, "values": values, "reading": reading}
    return found | {"ignore_case": True} if anyhow else found


def _texts(constraint: Mapping[str, Any]) -> list[str]:
    values = constraint.get("values")
    if values is None:
        return []
    if not isinstance(values, list) or not all(isinstance(one, str) for one in values):
        raise Unknown("values", "must be a list of texts")
    return values


def networks(text: str) -> list[str]:
    """The networks in a list with commas; what is none is passed over, as Unleash does."""
    return [one for one in (part.strip() for part in text.split(",")) if _is_network(one)]


def _is_network(value: str) -> bool:
    try:
        ipaddress.ip_network(value, strict=False)
    except ValueError:
        return False
    return True


__all__ = ["ALWAYS", "ATTRIBUTES", "Unknown", "expression", "networks"]
