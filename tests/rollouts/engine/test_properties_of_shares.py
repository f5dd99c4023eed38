"""What holds of every share and split: P2 to P7 of the seventeen properties."""

import math
import uuid
from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise, product
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import weights as edits
from rollouts.engine import bucketing
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import FlagSource
from tests.rollouts.engine.build import NOON, decide, rule, snapshot, source
from tests.rollouts.engine.strategies import VARIANTS, patient, weights

UNITS = [f"user-{n}" for n in range(400)]
MANY = 20_000
NOBODY = {"attr": "country", "op": "equals", "values": ["nowhere"]}
shares = st.integers(0, 100_000)
# p = 0.001 of chi-square by degrees of freedom. The ids are fixed: what passes once always passes.
CRITICAL = {2: 13.8, 19: 43.8}


def given_by(flag: FlagSource, units: list[str], key: str = "flag") -> list[str | None]:
    shot = snapshot(flag)
    return [evaluate(shot, key, {"targetingKey": unit}, now=NOON).variant for unit in units]


def ramp(share: int, **given: Any) -> FlagSource:
    return source(rules=[rule(variant="on", rollout=share)], **given)


# --- P2: ramps are nested -----------------------------------------------------------------------
@patient
@given(shares, shares, st.text(min_size=1))
def test_p2_whoever_is_in_stays_in_as_the_share_grows(p: int, q: int, unit: str) -> None:
    low, high = sorted((p, q))

    def within(share: int) -> bool:
        return decide(ramp(share), unit).variant == "on"

    assert not within(0)
    assert within(100_000)
    assert within(high) or not within(low)


@given(st.integers(1, 99_999), st.integers(-2, 2), st.binary(min_size=24, max_size=24))
def test_p2_a_digest_is_below_the_bound_exactly_when_its_bucket_is_below_the_share(
    share: int, beside: int, rest: bytes
) -> None:
    bound = bucketing.bound(share)
    number = int.from_bytes(bound, "big") + beside
    assert (number.to_bytes(8, "big") + rest < bound) is ((number * 100_000) >> 64 < share)


@settings(patient, max_examples=40)
@given(shares, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_p2_edits_that_do_not_concern_it_move_nobody(share: int, before: int, after: int, overridden: bool) -> None:
    others = [rule(NOBODY, name=f"other-{n}", variant="on", rollout=10_000 * n) for n in range(before + after)]
    edited = source(
        revision=7,
        rules=[*others[:before], rule(variant="on", rollout=share), *others[before:]],
        overrides={"on": ["somebody-else"]} if overridden else {},
    )
    beside = source("another", salt="f" * 32, rules=[rule(variant="on", rollout=share)])
    shot = snapshot(beside, edited)
    got = [evaluate(shot, "flag", {"targetingKey": unit}, now=NOON).variant for unit in UNITS]
    assert got == given_by(ramp(share), UNITS)


# --- P3: an edit of weights moves only whom it must ---------------------------------------------
@settings(patient, max_examples=40)
@given(weights, weights)
def test_p3_a_user_moves_only_towards_a_variant_that_gained_more(before: dict[str, int], after: dict[str, int]) -> None:
    was = given_by(source(variants=VARIANTS, fallthrough={"split": before}), UNITS[:100])
    now = given_by(source(variants=VARIANTS, fallthrough={"split": after}), UNITS[:100])
    for old, new in zip(was, now, strict=True):
        if old != new and old is not None and new is not None:
            # Cross-multiplied: the new variant's weight grew more than the old one's did.
            assert after.get(new, 0) * before.get(old, 0) > after.get(old, 0) * before.get(new, 0)


@pytest.mark.parametrize("edit", edits.EDITS, ids=lambda edit: edit.name)
def test_p3_the_share_that_moves_is_hardly_more_than_must(edit: edits.Edit) -> None:
    must, moved = edits.least(edit), edits.moved(edit, MANY)
    # Three standard errors of a share among so many users.
    assert moved <= must * 1.1 + 3 * math.sqrt(must * (1 - must) / MANY)
    assert (moved == 0) is (must == 0)


# --- P4: order and scale ------------------------------------------------------------------------
@settings(patient, max_examples=40)
@given(weights, st.integers(1, 50), st.randoms())
def test_p4_order_and_scale_of_weights_move_nobody(split: dict[str, int], factor: int, random: Any) -> None:
    shuffled, variants = list(split.items()), list(VARIANTS.items())
    random.shuffle(shuffled)
    random.shuffle(variants)
    plain = source(variants=VARIANTS, off_variant="a", fallthrough={"split": split})
    scaled = {key: weight * factor for key, weight in shuffled}
    edited = source(variants=dict(variants), off_variant="a", fallthrough={"split": scaled})
    assert given_by(plain, UNITS[:60]) == given_by(edited, UNITS[:60])


# --- P5: a variant leaves and comes back --------------------------------------------------------
@settings(patient, max_examples=40)
@given(st.dictionaries(st.sampled_from("abcdef"), st.integers(1, 100_000), min_size=2), st.data())
def test_p5_a_removed_variant_moves_only_its_own_users_and_gets_them_back(split: dict[str, int], data: Any) -> None:
    gone = data.draw(st.sampled_from(sorted(split)))
    variants = dict.fromkeys("abcdef", "x")
    rest = {key: weight for key, weight in split.items() if key != gone}
    full = given_by(source(variants=variants, fallthrough={"split": split}), UNITS)
    less = given_by(source(variants=variants, fallthrough={"split": rest}), UNITS)
    zero = given_by(source(variants=variants, fallthrough={"split": {**rest, gone: 0}}), UNITS)
    back = given_by(source(variants=variants, fallthrough={"split": {**rest, gone: split[gone]}}), UNITS)
    assert {unit for unit, old, new in zip(UNITS, full, less, strict=True) if old != new} == {
        unit for unit, old in zip(UNITS, full, strict=True) if old == gone
    }
    assert zero == less
    assert back == full


# --- P6: independence ---------------------------------------------------------------------------
def test_p6_two_hundred_pairs_of_flags_are_independent() -> None:
    units = [f"user-{n}" for n in range(4_000)]
    within = []
    for n in range(21):
        seed = bucketing.rollout_seed(f"{n:032x}", "r1")
        within.append(sum(1 << i for i, unit in enumerate(units) if bucketing.bucket(seed, unit) < 50_000))
    found = []
    for one, other in combinations(within, 2):
        both, first, second = (one & other).bit_count(), one.bit_count(), other.bit_count()
        total = len(units)
        expected = first * second / total
        spread = expected * (1 - first / total) * (1 - second / total)
        found.append((both - expected) ** 2 / spread)
    assert len(found) == 210
    assert max(found) < 15.2  # one degree of freedom, p = 0.0001
    assert sum(found) < 210 + 4 * math.sqrt(2 * 210)


def test_p6_rollout_and_variant_and_other_flags_are_independent() -> None:
    both = source(variants=VARIANTS, rules=[rule(rollout=50_000, split={"b": 1, "c": 1})])
    other = replace(both, key="other", salt="f" * 32)
    units = [f"u{n}" for n in range(MANY)]
    pairs = Counter(zip(given_by(both, units), given_by(other, units, "other"), strict=True))
    expected = {"a": 0.5, "b": 0.25, "c": 0.25}
    for (first, its), (second, other_share) in product(expected.items(), repeat=2):
        mean = MANY * its * other_share
        assert abs(pairs[first, second] - mean) < 5 * math.sqrt(mean)


# --- P7: distribution ---------------------------------------------------------------------------
random = Random(4711)
KINDS = {
    "in sequence": [str(n) for n in range(MANY)],
    "uuid": [str(uuid.UUID(int=random.getrandbits(128), version=4)) for _ in range(MANY)],
    "e-mail": [f"user{n}@example.org" for n in range(MANY)],
}


@pytest.mark.parametrize("kind", KINDS)
def test_p7_shares_come_out_as_asked_for_every_kind_of_id(kind: str) -> None:
    units = KINDS[kind]
    split = {"a": 50_000, "b": 30_000, "c": 20_000}
    got = Counter(given_by(source(variants=VARIANTS, fallthrough={"split": split}), units))
    assert _chi_square([(got[key], MANY * weight / 100_000) for key, weight in split.items()]) < CRITICAL[2]
    seed = bucketing.rollout_seed("5f0c2d7e9a4b4f1c8e6d3b2a19087f6e", "r1")
    buckets = Counter(bucketing.bucket(seed, unit) // 5_000 for unit in units)
    assert _chi_square([(buckets[twentieth], MANY / 20) for twentieth in range(20)]) < CRITICAL[19]


def _chi_square(pairs: list[tuple[int, float]]) -> float:
    return sum((got - expected) ** 2 / expected for got, expected in pairs)


def test_p7_a_ramp_takes_its_share_at_every_step() -> None:
    seed = bucketing.rollout_seed("5f0c2d7e9a4b4f1c8e6d3b2a19087f6e", "r1")
    buckets = [bucketing.bucket(seed, unit) for unit in KINDS["uuid"]]
    taken = [sum(one < share for one in buckets) / MANY for share in range(0, 100_001, 5_000)]
    assert all(abs(got - n / 20) < 0.015 for n, got in enumerate(taken))
    assert all(low < high for low, high in pairwise(taken))
