"""What one write changed, and what a row of writes made of it."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

Diff = Mapping[str, Any]  # {field: [before, after]}


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, list[Any]]:
    """`{field: [before, after]}` of what is another value now."""
    return {name: [before.get(name), value] for name, value in after.items() if not alike(before.get(name), value)}


def alike(one: Any, other: Any) -> bool:
    """The same JSON. To Python 1 and true are equal, too: an edit from one to the other would be lost."""
    return one == other and json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def rebuilt(diffs: Iterable[Diff]) -> dict[str, Any]:
    """The document after these writes, the oldest first. A field that no write has touched is not in it."""
    found: dict[str, Any] = {}
    for diff in diffs:
        found |= {name: after for name, (_, after) in diff.items()}
    return found
