"""GrowthBook's conditions, which look like MongoDB's, as conditions of rules. What they cannot express is refused."""

from collections.abc import Callable, Mapping
from typing import Any

from rollouts.engine import operators
from rollouts.engine.types import TARGETING_KEY
from rollouts.importers.logic import ALWAYS, NEVER, Expression, Leaf, every, negated, some
from rollouts.importers.naming import key_of
from rollouts.importers.wanted import WantedSegment

ORDER = {"$lt": "lt", "$lte": "lte", "$gt": "gt", "$gte": "gte"}
VERSIONS = {"$veq": "semver_eq", "$vlt": "semver_lt", "$vlte": "semver_lte", "$vgt": "semver_gt", "$vgte": "semver_gte"}
DENIED = {
    "$ne": "$eq", "$nin": "$in", "$nini": "$ini", "$notRegex": "$regex", "$notRegexi": "$regexi", "$vne": "$veq",
    "$notInGroup": "$inGroup",
}  # fmt: skip

OF_AN_ELEMENT = {"$eq", "$in", "$ini", "$regex", "$regexi", *ORDER, *VERSIONS}


class Unknown(ValueError):
    """What cannot be expressed: (path, words)."""

    def __init__(self, path: str, words: str) -> None:
        super().__init__(words)
        self.path, self.words = path, words


class Conditions:
    """Translates conditions of one payload; saved groups of units become segments."""

    def __init__(self, groups: Mapping[str, Any], attribute: Callable[[str], str]) -> None:
        self.groups, self.attribute = groups, attribute
        self.segments: dict[str, WantedSegment] = {}
        self.within: list[str] = []  # the saved groups that are being read: one that leads back to itself holds nobody

    def expression(self, condition: Any, path: str) -> Expression:
        """Raises Unknown, naming the field and the operator."""
        if not isinstance(condition, Mapping):
            raise Unknown(path, "must be an object")
        parts = []
        for name, value in condition.items():
            at = f"{path}.{name}"
            if name in ("$or", "$nor", "$and"):
                if not isinstance(value, list):
                    raise Unknown(at, "must be a list")
                inner = [self.expression(one, f"{at}[{n}]") for n, one in enumerate(value)]
                either = some(inner) if inner else ALWAYS
                parts.append(every(inner) if name == "$and" else either if name == "$or" else negated(either))
            elif name == "$not":
                parts.append(negated(self.expression(value, at)))
            elif name == "$savedGroup":
                parts.append(self._saved_group(value, at))
            elif name.startswith("$"):
                raise Unknown(at, f"{name} cannot be translated")
            else:
                parts.append(self._value(self.attribute(name), value, at))
        return every(parts)

    def _value(self, attr: str, value: Any, path: str) -> Expression:
        if isinstance(value, Mapping) and all(name.startswith("$") for name in value):
            return every([self._operator(attr, name, one, f"{path}.{name}") for name, one in value.items()])
        return self._equals(attr, value, path)

    def _equals(self, attr: str, value: Any, path: str) -> Expression:
        if value is None:
            return negated(_exists(attr))
        if isinstance(value, Mapping | list):
            raise Unknown(path, "compares a list or an object, which cannot be translated")
        return _leaf(attr, "equals", [value])

    def _operator(self, attr: str, op: str, value: Any, path: str) -> Expression:
        if op in DENIED:
            return negated(self._operator(attr, DENIED[op], value, path))
        if op == "$eq":
            return self._equals(attr, value, path)
        if op == "$not":
            return negated(self._value(attr, value, path))
        if op in ORDER:
            return _ordered(attr, op, value, path)
        if op in VERSIONS:
            value = operators.as_version(value)
            if operators.semver(value) is None:
                raise Unknown(path, f"{op} needs a version such as 2.1.0")
            return _leaf(attr, VERSIONS[op], [value], reading=operators.TEXTS)
        if op in ("$in", "$ini"):
            return _among(attr, value, path, anyhow=op == "$ini")
        if op in ("$all", "$alli"):
            values = _scalars(value, path)
            return every([_leaf(attr, "contains", [one], anyhow=op == "$alli") for one in values])
        if op == "$exists":
            return _exists(attr) if value else negated(_exists(attr))
        if op in ("$regex", "$regexi"):
            try:
                operators.condition(attr, "regex", [value])
            except operators.BadValue as bad:
                raise Unknown(path, f"{op} {bad}") from None
            return _leaf(attr, "regex", [value], anyhow=op == "$regexi")
        if op == "$elemMatch" and isinstance(value, Mapping) and len(value) == 1 and value.keys() <= OF_AN_ELEMENT:
            # A list holds when any of its elements does.
            return self._value(attr, value, path)
        if op == "$inGroup":
            return self._group(attr, value, path)
        raise Unknown(path, f"the operator {op} cannot be translated")

    def _group(self, attr: str, name: Any, path: str) -> Expression:
        if not isinstance(name, str):
            raise Unknown(path, "must be a text")
        values = self.groups.get(name, [])
        if isinstance(values, Mapping) and values.get("type") == "list":
            values = values.get("values")
        if not isinstance(values, list):
            raise Unknown(path, f"the saved group {name} is no list")
        return self._members(attr, name, values, path)

    def _saved_group(self, reference: Any, path: str) -> Expression:
        """A group that says itself what it asks: a list for an attribute of its own, or a condition."""
        if not isinstance(reference, Mapping) or not isinstance(reference.get("id"), str):
            raise Unknown(f"{path}.id", "must be a text")
        name = reference["id"]
        group = self.groups.get(name)
        if not isinstance(group, Mapping) or name in self.within:
            return NEVER
        if group.get("type") == "list":
            attr, values = reference.get("attributeKey", group.get("attributeKey")), group.get("values")
            if not isinstance(attr, str) or not isinstance(values, list):
                return NEVER
            return self._members(self.attribute(attr), name, values, path)
        if group.get("type") != "condition":
            raise Unknown(path, f"the saved group {name} is of the type {group.get('type')}, which is not known here")
        if not isinstance(group.get("condition"), Mapping):
            return NEVER
        self.within.append(name)
        found = self.expression(group["condition"], f"savedGroups.{name}.condition")
        self.within.pop()
        return found

    def _members(self, attr: str, name: str, values: list[Any], path: str) -> Expression:
        if not values:
            return NEVER
        if attr != TARGETING_KEY or len(values) <= 20 or not all(isinstance(one, str) and one for one in values):
            return _among(attr, values, path)
        key = key_of(name, "group")
        self.segments[key] = WantedSegment(key, {"name": name[:200], "included": values})
        return Leaf({"op": "segment", "values": [key]})


def _ordered(attr: str, op: str, value: Any, path: str) -> Expression:
    if operators.is_number(value):
        return _leaf(attr, ORDER[op], [value])
    if isinstance(value, str) and operators.moment(value) is not None:
        if op in ("$lt", "$gt"):
            return _leaf(attr, "before" if op == "$lt" else "after", [value])
        opposite = _leaf(attr, "after" if op == "$lte" else "before", [value])
        return every((_exists(attr), negated(opposite)))
    raise Unknown(path, f"{op} compares texts by their letters, which cannot be translated")


def _among(attr: str, value: Any, path: str, *, anyhow: bool = False) -> Expression:
    values = [one for one in _scalars(value, path, null=True) if one is not None]
    found = [_leaf(attr, "in", values, anyhow=anyhow)] if values else []
    if None in value:
        found.append(negated(_exists(attr)))
    return some(found)


def _scalars(value: Any, path: str, *, null: bool = False) -> list[Any]:
    if not isinstance(value, list):
        raise Unknown(path, "must be a list")
    for n, one in enumerate(value):
        if isinstance(one, Mapping | list) or (one is None and not null):
            raise Unknown(f"{path}[{n}]", "must be a text, a number, true or false")
    return value


def _exists(attr: str) -> Expression:
    return Leaf({"attr": attr, "op": "exists", "values": []})


def _leaf(attr: str, op: str, values: list[Any], *, anyhow: bool = False, reading: str = operators.LOOSE) -> Expression:
    condition: dict[str, Any] = {"attr": attr, "op": op, "values": values, "reading": reading}
    return Leaf(condition | {"ignore_case": True} if anyhow else condition)
