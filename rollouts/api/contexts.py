"""What a context that comes from outside may be: bounded, so that deciding a flag takes bounded time."""

import json
from typing import Any

from rollouts.engine.reading import LONGEST_TEXT
from rollouts.engine.types import TARGETING_KEY

MOST_ATTRIBUTES = 1000
MOST_ELEMENTS = 1000  # of one list: a condition asks each of them
DEEPEST = 16  # objects and lists within a context
LARGEST = 64 * 1024  # bytes of JSON


def fault_of(context: Any) -> tuple[str, str] | None:
    """The field that is wrong, and why; None for a context that can be evaluated."""
    if not isinstance(context, dict):
        return "context", "must be an object"
    unit = context.get(TARGETING_KEY)
    if unit is not None:
        if not isinstance(unit, str):
            return f"context.{TARGETING_KEY}", "must be a text"
        if len(unit) > LONGEST_TEXT:
            return f"context.{TARGETING_KEY}", f"longer than {LONGEST_TEXT} characters"
    if len(context) > MOST_ATTRIBUTES:
        return "context", f"more than {MOST_ATTRIBUTES} attributes"
    kinds = set(map(type, context.values()))
    return _nested(context) if dict in kinds or list in kinds else None


def is_too_large(context: dict[str, Any]) -> bool:
    """Of a context that nothing else is wrong with: a door that has not counted its bytes counts them here."""
    return len(json.dumps(context, ensure_ascii=False).encode("utf-8", "surrogatepass")) > LARGEST


def _nested(context: dict[str, Any]) -> tuple[str, str] | None:
    """Level by level, without recursion."""
    level: list[Any] = [one for one in context.values() if type(one) is dict or type(one) is list]
    for _ in range(DEEPEST):
        if not level:
            return None
        if any(type(one) is list and len(one) > MOST_ELEMENTS for one in level):
            return "context", f"a list of more than {MOST_ELEMENTS} elements"
        level = [
            inner
            for one in level
            for inner in (one.values() if type(one) is dict else one)
            if type(inner) is dict or type(inner) is list
        ]
    return ("context", f"nested deeper than {DEEPEST}") if level else None
