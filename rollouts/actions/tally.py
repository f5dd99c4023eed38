"""Counting evaluations in memory: what the doors of evaluation pay is a look-up and an increment."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from random import random
from typing import Any

from django.conf import settings

from rollouts.engine import bucketing
from rollouts.engine.operators import read
from rollouts.engine.types import TARGETING_KEY, Context, Flag, Result

MOST_UNITS = 20_000  # that one batch remembers; more are counted as evaluations alone


class Exposed:
    """One outcome of single evaluations: how often, and to whom."""

    __slots__ = ("by", "count", "others", "units")

    def __init__(self, by: str, others: tuple[str, ...]) -> None:
        self.by, self.others = by, others
        self.count = 0
        self.units: set[str] = set()


@dataclass(slots=True)
class Batch:
    """What was counted between two looks."""

    at: float  # Unix seconds
    evaluated: "Counter[Result]" = field(default_factory=Counter)
    exposed: dict[Result, Exposed] = field(default_factory=dict)
    contexts: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.evaluated or self.exposed or self.contexts)


class Tally:
    """Belongs to the event loop. Nothing here waits, asks a store or grows without bound."""

    def __init__(self) -> None:
        self._share = settings.PORTAL_CONTEXT_PERCENT / 100
        self._begin()

    def _begin(self) -> None:
        self._batch = Batch(time.time())
        self._unit_room = MOST_UNITS
        self._context_room = settings.PORTAL_CONTEXTS_PER_SECOND

    def take(self) -> Batch:
        """What was counted since the last time."""
        taken = self._batch
        self._begin()
        return taken

    def single(self, flag: Flag, context: Context, result: Result) -> None:
        """One flag was asked for: an evaluation, and the unit's exposure to what it got."""
        exposed = self._batch.exposed.get(result)
        if exposed is None:
            exposed = self._batch.exposed[result] = Exposed(*_identity(flag, result))
        exposed.count += 1
        unit = context.get(exposed.by)
        if type(unit) is not str:
            unit = _unit(exposed, context)
        if unit and unit not in exposed.units and self._unit_room > 0:
            self._unit_room -= 1
            exposed.units.add(unit)
        if self._context_room > 0 and random() < self._share:
            self._sample(result.environment, context)

    def bulk(self, environment: str, context: Context, results: Iterable[Result]) -> None:
        """Every flag was asked for: evaluations alone, for nobody knows which of them anybody will look at."""
        self._batch.evaluated.update(results)
        if self._context_room > 0 and random() < self._share:
            self._sample(environment, context)

    def _sample(self, environment: str, context: Context) -> None:
        self._context_room -= 1
        self._batch.contexts.append((environment, context))


def _unit(exposed: Exposed, context: Context) -> str | None:
    """The first of the attributes that is present."""
    return next((unit for by in (exposed.by, *exposed.others) if (unit := bucketing.unit_of(read(context, by)))), None)


def _identity(flag: Flag, result: Result) -> tuple[str, tuple[str, ...]]:
    """The attributes by which this outcome of the flag was decided."""
    serves = [rule.serve for rule in flag.rules if rule.id == result.rule] if result.rule is not None else []
    if not serves and result.detail.startswith("FALLTHROUGH"):
        serves = [flag.fallthrough]
    return (serves[0].by, serves[0].otherwise_by) if serves else (TARGETING_KEY, ())
