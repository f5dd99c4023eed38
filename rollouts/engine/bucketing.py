"""Who gets what share: two independent SHA-256 hashes with the flag's salt."""

import math
from collections.abc import Iterable
from functools import lru_cache
from hashlib import sha256
from struct import Struct
from typing import Any

from rollouts.engine.types import FULL, Choice

_LARGEST_WHOLE = 2**63
_TWO_TO_53 = 9007199254740992.0
# The first 8 bytes of a digest as a whole number, the quick way.
_first_eight = Struct(">Q").unpack_from


def rollout_seed(salt: str, rule: str | None) -> bytes:
    """What is hashed before the unit. Without rule (the stages of one deployment) all share their cohorts."""
    return f"{salt}|rollout|{rule}|".encode() if rule is not None else f"{salt}|rollout|".encode()


def variant_seed(salt: str, variant: str) -> bytes:
    return f"{salt}|{variant}|".encode()


def bucket(seed: bytes, unit: str) -> int:
    """An integer in 0..99 999. A unit is in a rollout iff its bucket is below it: ramps are nested."""
    number: int = _first_eight(_digest(seed, unit))[0]
    return (number * FULL) >> 64


@lru_cache(maxsize=4096)
def bound(rollout: int) -> bytes:
    """Digests below it are those of buckets below `rollout`: the least number of 8 bytes that is not."""
    return (-(-(rollout << 64) // FULL)).to_bytes(8, "big")


def is_within(bound: bytes, seed: bytes, unit: str) -> bool:
    """Whether the unit's bucket is within the share; as bytes, which are in the order of their numbers."""
    try:
        return sha256(seed + unit.encode()).digest() < bound
    except UnicodeEncodeError:
        return _digest(seed, unit) < bound


def score(weight: int, seed: bytes, unit: str) -> float:
    """Weighted rendezvous: weight / -ln(u), u from the top 53 bits of the hash."""
    number: int = _first_eight(_digest(seed, unit))[0]
    top = number >> 11
    return weight / -math.log(top / _TWO_TO_53) if top else 0.0


def _digest(seed: bytes, unit: str) -> bytes:
    # Half of a pair of surrogates is no text, but JSON can say it.
    return sha256(seed + unit.encode("utf-8", "surrogatepass")).digest()


def choose(choices: Iterable[Choice], unit: str) -> Choice:
    """The variant with the highest score; the first key of equal ones (choices come in the order of their keys).

    Weights edited, variants added, removed or reordered move only the units that they must: no other score changes.
    """
    best, best_score = None, -1.0
    for choice in choices:
        its_score = score(choice.weight, choice.seed, unit)
        if its_score > best_score:
            best, best_score = choice, its_score
    if best is None:
        raise ValueError("a split needs a choice")
    return best


def unit_of(value: Any) -> str | None:
    """The bucketing identity in an attribute's value; None when there is none."""
    kind = type(value)
    if kind is str:
        return value or None
    if kind is bool:
        return "true" if value else "false"
    if kind is int:
        return str(value) if -_LARGEST_WHOLE <= value < 2 * _LARGEST_WHOLE else None
    if kind is float and math.isfinite(value):
        # 42 and 42.0 are one user, whichever way his client writes JSON.
        return str(int(value)) if value.is_integer() and abs(value) < _LARGEST_WHOLE else repr(value)
    return None
