"""Golden vectors: once made they never change, or every user of every flag would be dealt anew."""

import json
from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollouts.engine import bucketing
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import FlagSource, Snapshot
from tests.rollouts.engine import apart
from tests.rollouts.engine.build import NOON, rule, snapshot, source

FILE = Path(__file__).with_name("golden.json")
SALT = "5f0c2d7e9a4b4f1c8e6d3b2a19087f6e"
weights = st.integers(1, 100_000)
UNITS = ["user-1", "user-2", "ann@example.org", "7c9e6679-7425-40de-944b-e07fc1f90ae7", "Ümläut", "用户", "42", " "]


def golden() -> tuple[Snapshot, list[FlagSource]]:
    adults = {"attr": "age", "op": "gte", "values": [18]}
    sources = [
        source("ramp", salt=SALT, rules=[rule(name="r1", variant="on", rollout=25_000)]),
        source(
            "stage",
            salt=SALT,
            reserved=[rule(name="deployment:7", variant="on", rollout=25_000) | {"deployment": 7}],
        ),
        source(
            "test",
            salt=SALT,
            variants={"control": "a", "blue": "b", "green": "c"},
            fallthrough={"split": {"control": 33_333, "blue": 33_333, "green": 33_334}},
        ),
        source(
            "both",
            salt=SALT,
            variants={"none": "", "x": "1", "y": "2"},
            rules=[rule(adults, name="grown", split={"x": 70_000, "y": 30_000}, rollout=60_000)],
        ),
        source("share", salt=SALT, fallthrough={"variant": "on", "rollout": 50_000}),
    ]
    return snapshot(*sources), sources


def as_json() -> dict[str, Any]:
    shot, _ = golden()
    vectors = {}
    for unit in UNITS:
        for age in (17, 18):
            context = {"targetingKey": unit, "age": age}
            got = {key: evaluate(shot, key, context, now=NOON) for key in shot.flags}
            vectors[f"{unit}/{age}"] = {key: [one.variant, one.reason, one.detail] for key, one in got.items()}
    buckets = {
        unit: {
            "r1": bucketing.bucket(bucketing.rollout_seed(SALT, "r1"), unit),
            "none": bucketing.bucket(bucketing.rollout_seed(SALT, None), unit),
        }
        for unit in UNITS
    }
    return {"salt": SALT, "buckets": buckets, "vectors": vectors}


def test_the_golden_vectors_still_hold() -> None:
    assert as_json() == json.loads(FILE.read_text(encoding="utf-8"))


def test_the_golden_vectors_come_out_of_the_description_alone() -> None:
    kept = json.loads(FILE.read_text(encoding="utf-8"))
    assert kept["buckets"] == {
        unit: {"r1": apart.bucket(SALT, "r1", unit), "none": apart.bucket(SALT, None, unit)} for unit in UNITS
    }
    for unit in UNITS:
        ramp, stage = apart.bucket(SALT, "r1", unit) < 25_000, apart.bucket(SALT, None, unit) < 25_000
        share = apart.bucket(SALT, "fallthrough", unit) < 50_000
        test = apart.variant(SALT, {"control": 33_333, "blue": 33_333, "green": 33_334}, unit)
        both = apart.variant(SALT, {"x": 70_000, "y": 30_000}, unit)
        grown = apart.bucket(SALT, "grown", unit) < 60_000
        for age in (17, 18):
            told = kept["vectors"][f"{unit}/{age}"]
            assert {key: one[0] for key, one in told.items()} == {
                "ramp": "on" if ramp else "off",
                "stage": "on" if stage else "off",
                "share": "on" if share else "off",
                "test": test,
                "both": both if age == 18 and grown else "none",
            }


@settings(deadline=None)
@given(
    st.text(max_size=20), st.text(min_size=1, max_size=40), st.dictionaries(st.text(max_size=5), weights, min_size=1)
)
def test_the_engine_and_the_description_agree_on_any_text(salt: str, unit: str, split: dict[str, int]) -> None:
    assert bucketing.bucket(bucketing.rollout_seed(salt, "r"), unit) == apart.bucket(salt, "r", unit)
    assert bucketing.bucket(bucketing.rollout_seed(salt, None), unit) == apart.bucket(salt, None, unit)
    nothing = next(iter(golden()[0].flags.values())).off
    choices = [bucketing.Choice(key, split[key], bucketing.variant_seed(salt, key), nothing) for key in sorted(split)]
    assert bucketing.choose(choices, unit).variant == apart.variant(salt, split, unit)


def test_equal_scores_go_to_the_first_key() -> None:
    seed = bucketing.variant_seed(SALT, "same")
    shot, _ = golden()
    result = next(iter(shot.flags.values())).off
    choices = [bucketing.Choice(key, 1, seed, result) for key in ("a", "b")]
    assert bucketing.choose(choices, "unit").variant == "a"
