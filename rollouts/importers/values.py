"""The values of elsewhere as variants of one flag: each value, or named variation, has a key, and all have one type."""

import json
from collections.abc import Iterable
from typing import Any

from rollouts.engine import operators
from rollouts.engine.reading import KEY, Faults
from rollouts.importers.naming import Keys

LONGEST_KEY = 60


class Values:
    """Collects values; equal ones are one variant, unless they are named."""

    def __init__(self) -> None:
        self.keys = Keys("value")
        self.found: dict[str, Any] = {}  # by key
        self._of: dict[str, str] = {}

    def key(self, value: Any, name: str = "") -> str:
        """The key of the variant with this value."""
        seen = f"{name}|{type(value).__name__}|{json.dumps(value, sort_keys=True)}"
        if seen not in self._of:
            wished = name or _wish(value, len(self.found) + 1)
            key, n = self.keys(wished), 2
            while key in self.found:
                key, n = self.keys(f"{wished}-{n}"), n + 1
            self._of[seen] = key
            self.found[key] = value
        return self._of[seen]

    def definition(self, path: str, faults: Faults) -> dict[str, Any]:
        kind = type_of(self.found.values())
        if not kind:
            faults.add(path, "values of one type are needed: all texts, all numbers, all true or false, or all objects")
        return {"value_type": kind, "variants": [{"key": key, "value": value} for key, value in self.found.items()]}


def type_of(values: Iterable[Any]) -> str:
    """The one type of them all; empty when there is none, as with null or a list among them."""
    found = list(values)
    if not found:
        return ""
    if all(type(one) is bool for one in found):
        return "bool"
    if all(isinstance(one, str) for one in found):
        return "string"
    if all(operators.is_number(one) for one in found):
        return "int" if all(type(one) is int for one in found) else "float"
    return "json" if all(isinstance(one, dict) for one in found) else ""


def _wish(value: Any, n: int) -> str:
    if type(value) is bool:
        return "on" if value else "off"
    if isinstance(value, str) and KEY.match(value) and len(value) <= LONGEST_KEY:
        return value
    if type(value) is int and 0 <= value < 10**12:
        return str(value)
    return f"value-{n}"
