"""Reading what people write about flags: every fault is named by the path of its field."""

import re
from collections.abc import Collection, Iterator, Mapping
from decimal import Decimal
from typing import Any

from rollouts.engine import operators

KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
KEY_WORDS = "1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or a digit"
LARGEST_NUMBER = 2**63 - 1
LONGEST_TEXT = 1024
DEEPEST_JSON = 32
MOST_CONDITIONS = 100
CONDITION_FIELDS = frozenset({"attr", "op", "values", "negate", "ignore_case", "missing", "reading"})


class Faults(dict[str, str]):
    """{field path: what is wrong}, the first fault of each field."""

    def add(self, path: str, message: str) -> None:
        self.setdefault(path, message)


def an_object(value: Any, path: str, faults: Faults, *, fields: Collection[str]) -> Mapping[str, Any]:
    """The value as an object of known fields; an empty one, and a fault, for anything else."""
    if not isinstance(value, Mapping):
        faults.add(path, "must be an object")
        return {}
    for name in value:
        if name not in fields:
            faults.add(f"{path}.{name}" if path else str(name), "unknown field")
    return value


def a_list(value: Any, path: str, faults: Faults, *, most: int) -> list[Any]:
    if not isinstance(value, list):
        faults.add(path, "must be a list")
        return []
    if len(value) > most:
        faults.add(path, f"at most {most}")
        return []
    return value


def a_truth(value: Any, path: str, faults: Faults) -> bool:
    if type(value) is not bool:
        faults.add(path, "must be true or false")
        return False
    return value


def a_text(value: Any, path: str, faults: Faults, *, longest: int = LONGEST_TEXT) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= longest:
        faults.add(path, f"must be a text of 1 to {longest} characters")
        return ""
    if not storable(value):
        faults.add(path, "may not contain NUL or half characters")
        return ""
    return value


def a_key(value: Any, path: str, faults: Faults) -> str:
    if not isinstance(value, str) or not KEY.match(value):
        faults.add(path, KEY_WORDS)
        return ""
    return value


def keys(value: Any, path: str, faults: Faults, *, most: int) -> list[str]:
    """A list of keys, each once."""
    found = [a_key(one, f"{path}[{n}]", faults) for n, one in enumerate(a_list(value, path, faults, most=most))]
    if len(set(found)) != len(found):
        faults.add(path, "names the same twice")
    return found


def a_percentage(value: Any, path: str, faults: Faults) -> int:
    """A percentage with at most three decimals, as thousandths of a percent."""
    if not operators.is_number(value) or not 0 <= value <= 100:
        faults.add(path, "must be a percentage from 0 to 100")
        return 0
    thousandths = Decimal(repr(value)) * 1000
    if thousandths != int(thousandths):
        faults.add(path, "at most three decimals")
        return 0
    return int(thousandths)


def percentage(thousandths: int) -> int | float:
    """How a stored percentage is shown."""
    return thousandths // 1000 if thousandths % 1000 == 0 else thousandths / 1000


def storable(text: str) -> bool:
    """Neither NUL, which PostgreSQL cannot keep, nor a lone surrogate, which is no UTF-8."""
    return "\0" not in text and not any("\ud800" <= one <= "\udfff" for one in text)


def json_faults(value: Any, path: str) -> Iterator[tuple[str, str]]:
    """What keeps a JSON value from being stored and told again unchanged. Level by level, without recursion."""
    level: list[tuple[str, Any]] = [(path, value)]
    for _ in range(DEEPEST_JSON):
        deeper: list[tuple[str, Any]] = []
        for at, one in level:
            if isinstance(one, str):
                if not storable(one):
                    yield at, "may not contain NUL or half characters"
            elif operators.is_number(one):
                if not -LARGEST_NUMBER <= one <= LARGEST_NUMBER:
                    yield at, "a number beyond 64 bits"
            elif isinstance(one, Mapping):
                deeper.extend((at, name) for name in one)
                deeper.extend((f"{at}.{name}", inner) for name, inner in one.items())
            elif isinstance(one, list):
                deeper.extend((f"{at}[{n}]", inner) for n, inner in enumerate(one))
            elif one is not None and type(one) is not bool:
                yield at, "is no JSON"
        if not deeper:
            return
        level = deeper
    yield path, f"nested deeper than {DEEPEST_JSON}"


# --- Conditions ---------------------------------------------------------------------------------
def conditions(value: Any, path: str, faults: Faults) -> list[dict[str, Any]]:
    return [
        _condition(one, f"{path}[{n}]", faults)
        for n, one in enumerate(a_list(value, path, faults, most=MOST_CONDITIONS))
    ]


def _condition(value: Any, path: str, faults: Faults) -> dict[str, Any]:
    given = an_object(value, path, faults, fields=CONDITION_FIELDS)
    read: dict[str, Any] = {}
    op = given.get("op")
    if op not in operators.NAMES or not isinstance(op, str):
        faults.add(f"{path}.op", f"choose from {', '.join(operators.NAMES)}")
        return read
    if "attr" in given or op != operators.SEGMENT:
        read["attr"] = a_text(given.get("attr"), f"{path}.attr", faults, longest=128)
    read["op"] = op
    read["values"] = _values(op, given.get("values", []), f"{path}.values", faults)
    for name in ("negate", "ignore_case", "missing"):
        if name in given:
            read[name] = a_truth(given[name], f"{path}.{name}", faults)
    if read.get("missing") and op in (operators.EXISTS, operators.SEGMENT):
        faults.add(f"{path}.missing", f"{op} has its own answer to a missing attribute")
    if given.get("reading") is not None:
        if given["reading"] not in operators.READINGS or op in (operators.EXISTS, operators.SEGMENT):
            faults.add(f"{path}.reading", f"choose from {', '.join(operators.READINGS)}; not of exists or segment")
        read["reading"] = given["reading"]
    return read


def _values(op: str, value: Any, path: str, faults: Faults) -> list[Any]:
    found = a_list(value, path, faults, most=10_000)
    if op == operators.SEGMENT:
        if not found:
            faults.add(path, "names at least one segment")
        return keys(found, path, faults, most=100)
    for n, one in enumerate(found):
        if isinstance(one, Mapping | list) or one is None:
            faults.add(f"{path}[{n}]", "must be a text, a number, true or false")
            return []
        for at, message in json_faults(one, f"{path}[{n}]"):
            faults.add(at, message)
            return []
    if isinstance(value, list) and path not in faults:
        try:
            operators.condition("", op, found)
        except operators.BadValue as bad:
            faults.add(path, f"{op} {bad}")
    return found


def a_variant(value: Any, path: str, faults: Faults, *, variants: Collection[str]) -> str:
    if not isinstance(value, str) or value not in variants:
        faults.add(path, f"the flag has no such variant: choose from {', '.join(variants)}")
        return ""
    return value
