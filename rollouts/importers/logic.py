"""Conditions with and, or and not, as rules know them: one rule for each alternative, all of whose conditions hold."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import product
from typing import Any

Condition = dict[str, Any]
MOST_ALTERNATIVES = 50


class TooMany(ValueError):
    """More alternatives than rules should be made of."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One condition, read in two values only: its negation holds whenever it does not."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class All:
    parts: tuple["Expression", ...]


@dataclass(frozen=True, slots=True)
class Some:
    parts: tuple["Expression", ...]


Expression = Leaf | All | Some
ALWAYS, NEVER = All(()), Some(())


def every(parts: Iterable[Expression]) -> Expression:
    found = tuple(parts)
    return found[0] if len(found) == 1 else All(found)


def some(parts: Iterable[Expression]) -> Expression:
    found = tuple(parts)
    return found[0] if len(found) == 1 else Some(found)


def negated(one: Expression) -> Expression:
    if isinstance(one, All):
        return some(map(negated, one.parts))
    if isinstance(one, Some):
        return every(map(negated, one.parts))
    condition = dict(one.condition)
    if condition.pop("missing", False):
        # Not (it holds, or there is none): there is one, and it does not hold.
        present = Leaf({"attr": condition["attr"], "op": "exists", "values": []})
        return every((present, negated(Leaf(condition))))
    condition["negate"] = not condition.get("negate", False)
    if not condition["negate"]:
        del condition["negate"]
    return Leaf(condition)


def alternatives(one: Expression) -> list[list[Condition]]:
    """Each a list of conditions that all have to hold; none at all when it never holds. Raises TooMany."""
    if isinstance(one, Leaf):
        return [[one.condition]]
    inner = [alternatives(part) for part in one.parts]
    if isinstance(one, Some):
        found = [each for part in inner for each in part]
    else:
        count = 1
        for part in inner:
            count *= len(part)
            if count > MOST_ALTERNATIVES:
                raise TooMany
        found = [[condition for part in chosen for condition in part] for chosen in product(*inner)]
    if len(found) > MOST_ALTERNATIVES:
        raise TooMany
    return found
