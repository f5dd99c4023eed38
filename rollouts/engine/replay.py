"""What an edit would change for contexts that have been seen: each is decided as things are, and as they would be."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import Context, Result, Snapshot


@dataclass(frozen=True, slots=True)
class Move:
    """So many contexts would go from one outcome to another; from a variant to itself when its value is another."""

    before: str
    after: str
    count: int


@dataclass(frozen=True, slots=True)
class Impact:
    """What becomes of one flag's decisions."""

    flag: str
    changed: int
    moves: tuple[Move, ...]  # the largest first


@dataclass(frozen=True, slots=True)
class Replay:
    """Of so many contexts so many would get something else of any of the flags."""

    sampled: int
    changed: int
    impacts: tuple[Impact, ...]  # one a flag, in the order asked for


def replay(
    before: Snapshot, after: Snapshot, flags: Sequence[str], contexts: Iterable[Context], *, now: float
) -> Replay:
    moved: dict[str, Counter[tuple[str, str]]] = {key: Counter() for key in flags}
    sampled = changed = 0
    for context in contexts:
        sampled += 1
        seen_before: dict[str, Result] = {}
        seen_after: dict[str, Result] = {}
        differs = False
        for key in flags:
            was = evaluate(before, key, context, now=now, memo=seen_before)
            will_be = evaluate(after, key, context, now=now, memo=seen_after)
            if _outcome(was) != _outcome(will_be) or was.value != will_be.value:
                moved[key][_outcome(was), _outcome(will_be)] += 1
                differs = True
        changed += differs
    return Replay(sampled, changed, tuple(_impact(key, moved[key]) for key in flags))


def _impact(key: str, moved: "Counter[tuple[str, str]]") -> Impact:
    ranked = sorted(moved.items(), key=lambda one: (-one[1], one[0]))
    return Impact(key, sum(moved.values()), tuple(Move(was, will_be, count) for (was, will_be), count in ranked))


def _outcome(result: Result) -> str:
    """The variant; an error in brackets, which no variant's key can have."""
    return f"({result.error})" if result.error is not None else str(result.variant)
