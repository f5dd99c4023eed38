"""The variants of an Unleash feature, its own and those of its strategies, as the variants of one flag."""

import json
from collections.abc import Mapping
from typing import Any

from rollouts.engine import operators
from rollouts.engine.reading import Faults
from rollouts.importers.naming import Keys

ON, OFF = "on", "off"
STRING, NUMBER, JSON = "string", "number", "json"


class Variants:
    """Collects the variants that a feature has, and gives each a key and a value of one type."""

    def __init__(self) -> None:
        self.keys = Keys("variant", (ON, OFF))
        self.payloads: dict[str, tuple[str, Any] | None] = {}  # by key
        self.names: dict[str, set[str]] = {}  # the keys of a name

    def key(self, variant: Mapping[str, Any], path: str, faults: Faults) -> str:
        name = variant.get("name")
        if not isinstance(name, str) or not name:
            faults.add(f"{path}.name", "must be a text")
            return ON
        payload = self._payload(variant.get("payload"), f"{path}.payload", faults)
        # Strategies may give one name different payloads.
        key = self.keys(name)
        n = 2
        while key in self.payloads and self.payloads[key] != payload:
            key, n = self.keys(f"{name}-{n}"), n + 1
        self.payloads[key] = payload
        self.names.setdefault(name, set()).add(key)
        return key

    def _payload(self, payload: Any, path: str, faults: Faults) -> tuple[str, Any] | None:
        if payload is None:
            return None
        if not isinstance(payload, Mapping) or not isinstance(payload.get("value"), str):
            faults.add(path, "must be an object with a type and a value, which is a text")
            return None
        kind, value = payload.get("type"), payload["value"]
        if kind in (STRING, "csv"):
            return STRING, value
        if kind == NUMBER:
            number = operators.as_number(value)
            if not operators.is_number(number):
                faults.add(f"{path}.value", "is no number")
                return None
            return NUMBER, float(number)
        if kind == JSON:
            try:
                found = json.loads(value)
            except (ValueError, RecursionError):
                faults.add(f"{path}.value", "is no JSON")
                return None
            return (JSON, found) if isinstance(found, dict) else (STRING, value)
        faults.add(f"{path}.type", "choose from string, csv, number, json")
        return None

    def definition(self, always_variant: bool, warnings: list[str]) -> dict[str, Any]:
        """The flag's value type and variants. Without variants it is a switch."""
        if not self.payloads:
            return {"value_type": "bool", "variants": [{"key": ON, "value": True}, {"key": OFF, "value": False}]}
        kinds = {payload[0] for payload in self.payloads.values() if payload is not None}
        kind = kinds.pop() if len(kinds) == 1 else JSON if kinds else ""
        empty: Any = {STRING: "", NUMBER: 0.0, JSON: {}}.get(kind)
        mixed = bool(kinds)
        found = []
        for key, payload in self.payloads.items():
            value: Any = key if not kind else empty
            if payload is not None:
                value = {"type": payload[0], "value": payload[1]} if mixed else payload[1]
            elif kind:
                warnings.append(f"variant {key} has no payload: its value is {json.dumps(empty)}")
            found.append({"key": key, "value": value})
        if not always_variant:
            found.append({"key": ON, "value": ON if not kind else empty})
        found.append({"key": OFF, "value": OFF if not kind else empty})
        if kind:
            warnings.append(f"off serves {json.dumps(empty)}, where Unleash gives the default of the code")
        return {"value_type": {NUMBER: "float", JSON: "json"}.get(kind, "string"), "variants": found}
