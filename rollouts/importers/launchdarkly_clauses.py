"""LaunchDarkly's clauses and segments as conditions and segments of rules. What they cannot express is refused."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from rollouts.engine import operators
from rollouts.engine.reading import Faults
from rollouts.importers.logic import NEVER, Expression, Leaf, TooMany, alternatives, every, negated, some
from rollouts.importers.naming import key_of
from rollouts.importers.wanted import WantedSegment

ATTRIBUTES = {"key": "targetingKey"}
USER = "user"
KIND = re.compile(r"[A-Za-z0-9_-]{1,60}\Z")
ANY = {"in": "in", "startsWith": "starts_with", "endsWith": "ends_with", "contains": "contains", "matches": "regex"}
# Of several bounds the widest counts: any of them suffices.
NUMBERS: dict[str, tuple[str, Callable[..., Any]]] = {
    "lessThan": ("lt", max), "lessThanOrEqual": ("lte", max), "greaterThan": ("gt", min),
    "greaterThanOrEqual": ("gte", min),
}  # fmt: skip
DATES = {"before": "before", "after": "after"}
SEMVER = {"semVerEqual": "semver_eq", "semVerLessThan": "semver_lt", "semVerGreaterThan": "semver_gt"}


class Unknown(ValueError):
    """What cannot be expressed: (path, words)."""

    def __init__(self, path: str, words: str) -> None:
        super().__init__(words)
        self.path, self.words = path, words


def expression(clauses: Any, path: str, attribute: Callable[[str], str], segments: Mapping[str, str]) -> Expression:
    """All clauses hold. Raises Unknown, naming the field and the operator."""
    if not isinstance(clauses, list):
        raise Unknown(path, "must be a list")
    return every([_clause(one, f"{path}[{n}]", attribute, segments) for n, one in enumerate(clauses)])


def _clause(clause: Any, path: str, attribute: Callable[[str], str], segments: Mapping[str, str]) -> Expression:
    if not isinstance(clause, Mapping):
        raise Unknown(path, "must be an object")
    op, values = clause.get("op"), clause.get("values")
    if not isinstance(values, list):
        raise Unknown(f"{path}.values", "must be a list")
    if not isinstance(op, str):
        raise Unknown(f"{path}.op", "must be a text")
    deny = clause.get("negate") is True
    if op == "segmentMatch":
        known = [segments[one] for one in values if isinstance(one, str) and one in segments]
        inside = Leaf({"op": "segment", "values": known}) if known else NEVER
        return negated(inside) if deny else inside
    name = clause.get("attribute")
    if not isinstance(name, str) or not name:
        raise Unknown(f"{path}.attribute", "must be a text")
    attr = attribute_of(clause.get("contextKind"), name, attribute, f"{path}.contextKind")
    found = some([_one(attr, op, each, path) for each in _grouped(op, values, path)])
    # A missing attribute matches no clause, denied or not. One of another type does not match, so denied it does.
    return every((Leaf({"attr": attr, "op": "exists", "values": []}), negated(found))) if deny else found


def attribute_of(kind: Any, name: str, attribute: Callable[[str], str], path: str) -> str:
    """Where a context of here holds an attribute: those of other kinds than user in an object of the kind's name."""
    plain = name.removeprefix("/").replace("/", ".") if name.startswith("/") else name
    if kind in (None, "", USER):
        return attribute(plain)
    if not isinstance(kind, str) or not KIND.match(kind) or kind in ("kind", "multi"):
        raise Unknown(path, f"{kind} is no kind of context")
    return attribute(f"{kind}.{plain}")


def _grouped(op: Any, values: list[Any], path: str) -> list[list[Any]]:
    """The values that one condition can hold; with several groups any of them suffices."""
    if not values:
        return []
    if op in ANY:
        return [values]
    if op in NUMBERS:
        numbers = [one for one in values if operators.is_number(one)]
        return [[NUMBERS[op][1](numbers)]] if numbers else []
    if op in DATES:
        moments = [one for one in map(_moment, values) if one is not None]
        return [[max(moments) if op == "before" else min(moments)]] if moments else []
    if op in SEMVER:
        return [[one] for one in values if operators.semver(one) is not None]
    raise Unknown(f"{path}.op", f"the operator {op} cannot be translated")


def _one(attr: str, op: str, values: list[Any], path: str) -> Expression:
    kind = {**ANY, **{name: one[0] for name, one in NUMBERS.items()}, **DATES, **SEMVER}[op]
    try:
        operators.condition(attr, kind, values)
    except operators.BadValue as bad:
        raise Unknown(f"{path}.values", f"{op} {bad}") from None
    found = _leaf(attr, kind, values)
    if op not in DATES:
        return found
    # A number in a context is a time in milliseconds there.
    milliseconds = (operators.moment(values[0]) or 0.0) * 1000
    return some((found, _leaf(attr, "lt" if op == "before" else "gt", [milliseconds])))


def _leaf(attr: str, op: str, values: list[Any]) -> Leaf:
    return Leaf({"attr": attr, "op": op, "values": values, "reading": operators.LOOSE})


def _moment(value: Any) -> str | None:
    """LaunchDarkly counts milliseconds."""
    if operators.is_number(value) and abs(value) < 1e14:
        return datetime.fromtimestamp(value / 1000, UTC).isoformat()
    seconds = operators.moment(value)
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()


# --- Segments -----------------------------------------------------------------------------------
def segments_of(document: Mapping[str, Any], faults: Faults, attribute: Callable[[str], str]) -> dict[str, Any]:
    """{"keys": {name: our key}, "wanted": [WantedSegment]}: each rule of a segment is a segment of its own."""
    given = document.get("segments") or {}
    listed = list(given.values()) if isinstance(given, Mapping) else given
    keys: dict[str, str] = {}
    wanted: list[WantedSegment] = []
    if not isinstance(listed, list):
        faults.add("segments", "must be an object or a list")
        return {"keys": keys, "wanted": wanted}
    rows = []
    for n, one in enumerate(listed):
        if not isinstance(one, Mapping) or not isinstance(one.get("key"), str) or not one["key"]:
            faults.add(f"segments[{n}].key", "must be a text")
            continue
        keys[one["key"]] = key_of(one["key"], "segment")
        rows.append(one)
    for one in rows:
        wanted += _segment(one, f"segments.{one['key']}", faults, attribute, keys)
    return {"keys": keys, "wanted": wanted}


def _segment(
    one: Mapping[str, Any], path: str, faults: Faults, attribute: Callable[[str], str], keys: Mapping[str, str]
) -> list[WantedSegment]:
    key = keys[one["key"]]
    fields: dict[str, Any] = {"name": str(one.get("name") or one["key"])[:200]}
    if one.get("unbounded"):
        faults.add(f"{path}.unbounded", "the units of a big segment are not in the document")
    for name in ("included", "excluded"):
        listed = one.get(name) or []
        fields[name] = [*listed] if isinstance(listed, list) else listed
    named = {name: _of_kinds(one.get(name), f"{path}.{name}", faults, attribute, fields[name[:8]])
             for name in ("includedContexts", "excludedContexts")}  # fmt: skip
    if isinstance(fields["included"], list) and isinstance(fields["excluded"], list):
        # Named in both: included wins there.
        inside = {unit for unit in fields["included"] if isinstance(unit, str)}
        fields["excluded"] = [unit for unit in fields["excluded"] if not (isinstance(unit, str) and unit in inside)]
    found = [[leaf.condition] for leaf in named["includedContexts"]]
    outside = [negated(leaf) for leaf in named["excludedContexts"]]
    rules = one.get("rules") or []
    for n, rule in enumerate(rules if isinstance(rules, list) else [None]):
        at = f"{path}.rules[{n}]"
        try:
            if not isinstance(rule, Mapping):
                raise Unknown(at, "must be an object")
            if rule.get("weight") is not None:
                raise Unknown(f"{at}.weight", "a share of a segment cannot be translated")
            asked = expression(rule.get("clauses"), f"{at}.clauses", attribute, keys)
            found += alternatives(every((*outside, asked)))
        except Unknown as unknown:
            faults.add(unknown.path, unknown.words)
        except TooMany:
            faults.add(f"{at}.clauses", "has too many alternatives")
    if len(found) == 1:
        return [WantedSegment(key, fields | {"conditions": found[0]})]
    parts = [
        WantedSegment(f"{key}-rule-{n}"[:128], {"name": f"{fields['name'][:180]}: rule {n}", "conditions": each})
        for n, each in enumerate(found, 1)
    ]
    either = [{"op": "segment", "values": [part.key for part in parts]}] if parts else []
    return [*parts, WantedSegment(key, fields | {"conditions": either})]


def _of_kinds(value: Any, path: str, faults: Faults, attribute: Callable[[str], str], users: Any) -> list[Leaf]:
    """Units of other kinds, as conditions; those of users join the segment's own."""
    found: list[Leaf] = []
    for n, one in enumerate(value if isinstance(value, list) else [] if value is None else [None]):
        at = f"{path}[{n}]"
        units = one.get("values") if isinstance(one, Mapping) else None
        if not isinstance(one, Mapping) or not isinstance(units, list) or not all(isinstance(u, str) for u in units):
            faults.add(f"{at}.values", "must be a list of texts")
        elif one.get("contextKind") in (None, "", USER):
            if isinstance(users, list):
                users.extend(units)
        elif units:
            try:
                attr = attribute_of(one["contextKind"], "key", attribute, f"{at}.contextKind")
            except Unknown as unknown:
                faults.add(unknown.path, unknown.words)
            else:
                found.append(_leaf(attr, "in", units))
    return found
