"""Compiled conditions and segments: who is meant."""

from collections.abc import Iterable, Mapping
from sys import intern
from typing import Any

from rollouts.engine import bucketing, operators
from rollouts.engine.cycles import cycles
from rollouts.engine.operators import Condition
from rollouts.engine.types import TARGETING_KEY, Context, LiveUnits, Segment, SegmentSource

DEEPEST = 20  # segments within segments
MOST_ASKED = 10_000  # conditions of a segment, with those of all that it refers to, as often as it does
MOST_POOLED = 20_000


# --- Segments -----------------------------------------------------------------------------------
def compile_segments(sources: Mapping[str, SegmentSource]) -> dict[str, Segment]:
    """Every segment compiled, those that others refer to first. Cycles are cut: their members hold nobody."""
    edges = {key: _refers_to(source) for key, source in sources.items()}
    cyclic = cycles(edges)
    done: dict[str, Segment] = {
        key: Segment(key, broken=f"segment {key} refers to itself: {words}") for key, words in cyclic.items()
    }
    pool = Pool()
    # An explicit stack: segments may be nested deeper than Python's own.
    stack = [key for key in sources if key not in done]
    while stack:
        key = stack[-1]
        waiting = [one for one in edges[key] if one in sources and one not in done]
        if key in done or not waiting:
            stack.pop()
            if key not in done:
                done[key] = _segment(sources[key], done, pool)
        else:
            stack.extend(waiting)
    return done


def segments_in(conditions: Iterable[Mapping[str, Any]]) -> set[str]:
    """The segments that conditions refer to."""
    return {key for one in conditions if one["op"] == operators.SEGMENT for key in one["values"]}


def _refers_to(source: SegmentSource) -> set[str]:
    try:
        return segments_in(source.conditions)
    except (AttributeError, KeyError, TypeError):
        return set()  # compiled as a broken one


def _segment(source: SegmentSource, others: Mapping[str, Segment], pool: "Pool") -> Segment:
    """One segment; a broken one where no door would have let it in."""
    try:
        depth = 1 + max((others[key].depth for key in segments_in(source.conditions) if key in others), default=0)
        if depth > DEEPEST:
            return Segment(source.key, depth=depth, broken=f"segment {source.key} is nested deeper than {DEEPEST}")
        named = [key for one in source.conditions if one["op"] == operators.SEGMENT for key in one["values"]]
        asks = len(source.conditions) + sum(others[key].asks for key in named if key in others)
        if asks > MOST_ASKED:
            words = f"segment {source.key} asks more than {MOST_ASKED} conditions, with all that it refers to"
            return Segment(source.key, depth=depth, asks=asks, broken=words)
        return Segment(
            key=source.key,
            included=_units(source.included),
            excluded=_units(source.excluded),
            conditions=tuple(pool.condition(one, others) for one in source.conditions),
            depth=depth,
            asks=asks,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        return Segment(source.key, broken=f"segment {source.key} cannot be used: {fault!r}")


def _units(given: list[str] | LiveUnits) -> frozenset[str] | LiveUnits:
    return given if isinstance(given, LiveUnits) else frozenset(given)


def belongs(segment: Segment, context: Context) -> bool:
    """Excluded units never belong, included ones always; others when there are conditions and all hold."""
    if segment.broken:
        return False
    unit = bucketing.unit_of(context.get(TARGETING_KEY))
    if unit is not None:
        if unit in segment.excluded:
            return False
        if unit in segment.included:
            return True
    if not segment.conditions:
        return False
    return all(condition.test(context) is True for condition in segment.conditions)


class WithinSegment(Condition):
    """The unit belongs to one of the segments."""

    __slots__ = ()
    wants = "a segment"

    def prepare(self, values: tuple[Any, ...]) -> Any:
        return values

    def test(self, context: Context) -> bool | None:
        if any(belongs(segment, context) for segment in self.wanted):
            return not self.negate
        # Of a broken one it cannot be told: the outsiders of a segment that is gone are not everybody.
        return None if self.broken else self.negate

    @property
    def broken(self) -> str:
        """Why it cannot be told, in words."""
        return next((segment.broken for segment in self.wanted if segment.broken), "")


# --- Compiling ----------------------------------------------------------------------------------
class Pool:
    """Makes conditions, equal ones once: the same few are asked in rule after rule."""

    def __init__(self) -> None:
        self._made: dict[tuple[Any, ...], Condition] = {}
        self._rows: dict[tuple[Condition, ...], tuple[Condition, ...]] = {}

    def condition(self, source: Mapping[str, Any], segments: Mapping[str, Segment]) -> Condition:
        """Raises operators.BadValue when the operator cannot use its values."""
        attr, op = intern(source.get("attr", "")), intern(source["op"])
        values = tuple(intern(one) if type(one) is str else one for one in source.get("values", ()))
        negate, ignore_case = bool(source.get("negate")), bool(source.get("ignore_case"))
        missing, reading = bool(source.get("missing")), source.get("reading", "")
        if op == operators.SEGMENT:
            within = WithinSegment(attr, op, values, negate, ignore_case)
            within.wanted = tuple(found(key, segments) for key in values)
            return within
        # 1, 1.0 and true are equal to Python.
        key = (attr, op, values, tuple(map(type, values)), negate, ignore_case, missing, reading)
        made = self._made.get(key)
        if made is None:
            made = operators.condition(
                attr, op, values, negate=negate, ignore_case=ignore_case, missing=missing, reading=reading
            )
            if len(self._made) < MOST_POOLED:
                self._made[key] = made
        return made

    def row(self, conditions: Iterable[Condition]) -> tuple[Condition, ...]:
        """These conditions, equal rows once: whoever decides many flags for one context asks each row once."""
        row = tuple(conditions)
        return self._rows.setdefault(row, row) if len(self._rows) < MOST_POOLED else self._rows.get(row, row)


def found(key: str, segments: Mapping[str, Segment]) -> Segment:
    return segments.get(key) or Segment(key, broken=f"segment {key} does not exist")
