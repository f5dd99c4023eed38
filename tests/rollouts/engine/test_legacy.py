"""Other systems' bucketing: their published vectors, what may stand in a `bucketing`, and the switch to our own."""

from typing import Any

import pytest

from rollouts.engine import hashing, legacy, rebucketing, serves
from rollouts.engine.compile import assemble, compile_flag
from rollouts.engine.evaluate import evaluate
from rollouts.engine.reading import Faults
from rollouts.engine.types import FlagSource, Trace

VARIANTS = [{"key": key, "value": key} for key in ("a", "b", "off")]


def config(serve: dict[str, Any]) -> dict[str, Any]:
    """As it is stored, with the serve in its one rule."""
    faults = Faults()
    read = serves.serve(serve, "serve", faults, variants=["a", "b", "off"])
    assert not faults
    return {"rules": [{"id": "rule", "all": [], "serve": read}], "fallthrough": {"variant": "off"}}


def decided(serve: dict[str, Any], context: dict[str, Any], trace: Trace | None = None) -> Any:
    source = FlagSource("f", "salt", "string", VARIANTS, "off", enabled=True, revision=1, **config(serve))
    return evaluate(assemble("", 0, {"f": compile_flag(source, {})}), "f", context, now=0.0, trace=trace)


def faults_of(serve: Any) -> dict[str, str]:
    faults = Faults()
    serves.serve(serve, "serve", faults, variants=["a", "b", "off"])
    return faults


# --- Published vectors --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hashKey.saltyA.userKeyA", 0.42157587), ("hashKey.saltyA.userKeyB", 0.6708485),
        ("hashKey.saltyA.userKeyC", 0.10343106), ("61.userKeyA", 0.09801207), ("61.userKeyB", 0.14483777),
        ("61.userKeyC", 0.9242641),
    ],
)  # fmt: skip
def test_launchdarklys_published_buckets(text: str, expected: float) -> None:
    assert hashing.sha1_fraction(text) == pytest.approx(expected, abs=1e-7)


@pytest.mark.parametrize(
    ("seed", "unit", "version", "expected"),
    [
        ("", "a", 1, 220), ("", "b", 1, 77), ("b", "a", 1, 946), ("ef", "d", 1, 652),
        ("asdf", "8952klfjas09ujk", 1, 549), ("", "123", 1, 11), ("", '___)((*":&', 1, 563),
        ("seed", "a", 2, 505), ("seed", "b", 2, 2696), ("foo", "ab", 2, 2575), ("foo", "def", 2, 2019),
    ],
)  # fmt: skip
def test_growthbooks_published_hashes(seed: str, unit: str, version: int, expected: int) -> None:
    assert legacy.part(seed, unit, version) == expected


def test_murmur3_counts_without_sign() -> None:
    assert hashing.murmur3(b"hello") == 613_153_351
    assert hashing.murmur3(b"Feature.A:123", 86_028_157) == 636_160_821


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "00"), (23, "17"), (24, "1818"), (1000, "1903e8"), (-1, "20"), (-1000, "3903e7"), (1.5, "f93e00"),
        (100000.0, "1a000186a0"), (1.1, "fb3ff199999999999a"), ("IETF", "6449455446"), ("ü", "62c3bc"),
        ([1, [2, 3]], "8201820203"), (True, "f5"), (False, "f4"),
    ],
)  # fmt: skip
def test_cbor_as_in_the_appendix_of_its_rfc(value: Any, expected: str) -> None:
    assert hashing.cbor(value).hex() == expected


# --- Deciding -----------------------------------------------------------------------------------
SPLIT: dict[str, dict[str, Any]] = {
    legacy.UNLEASH: {"group": "g", "weights": [["a", 1], ["b", 1]]},
    legacy.GROWTHBOOK: {"version": 2, "seed": "s", "ranges": [["a", 0, 5000], ["b", 5000, 10_000]]},
    legacy.FLAGD: {"encoding": "cbor", "value": [{"text": "f"}, {"attr": "targetingKey"}],
                   "weights": [["a", 50], ["b", 50]]},
    legacy.LAUNCHDARKLY: {"key": "f", "salt": "s", "weights": [["a", 50_000], ["b", 50_000]]},
}  # fmt: skip


@pytest.mark.parametrize("algo", legacy.ALGORITHMS)
def test_halves_are_halves_and_the_trace_says_whose_hash_it_was(algo: str) -> None:
    serve = {"bucketing": {"algo": algo, **SPLIT[algo]}}
    got = [decided(serve, {"targetingKey": f"u{n}"}).variant for n in range(2000)]
    assert 880 < got.count("a") < 1120
    assert set(got) == {"a", "b"}
    trace: Trace = []
    result = decided(serve, {"targetingKey": "u1"}, trace)
    assert result.reason == "SPLIT"
    assert f"gives {result.variant}" in trace[-1]["why"]


@pytest.mark.parametrize("algo", [legacy.UNLEASH, legacy.GROWTHBOOK, legacy.FLAGD])
def test_without_a_unit_nobody_is_in_it(algo: str) -> None:
    assert decided({"bucketing": {"algo": algo, **SPLIT[algo]}}, {}).variant == "off"


def test_without_a_unit_launchdarkly_gives_the_first() -> None:
    serve = {"bucketing": {"algo": legacy.LAUNCHDARKLY, **SPLIT[legacy.LAUNCHDARKLY]}}
    assert decided(serve, {}).variant == "a"


@pytest.mark.parametrize(
    "bucketing",
    [{"algo": legacy.UNLEASH, "group": "g"}, {"algo": legacy.GROWTHBOOK, "version": 2, "seed": "s"}],
)  # fmt: skip
def test_a_share_grows_by_adding_users_only(bucketing: dict[str, Any]) -> None:
    units = [f"u{n}" for n in range(1000)]
    inside: set[str] = set()
    for share in (0, 1, 20, 50, 99, 100):
        serve = {"variant": "a", "rollout": share, "bucketing": bucketing}
        now = {unit for unit in units if decided(serve, {"targetingKey": unit}).variant == "a"}
        assert inside <= now
        inside = now
    assert len(inside) == 1000


# --- Reading ------------------------------------------------------------------------------------
@pytest.mark.parametrize("algo", legacy.ALGORITHMS)
def test_what_is_read_is_shown_again_and_read_as_the_same(algo: str) -> None:
    stored = config({"bucketing": {"algo": algo, **SPLIT[algo]}})["rules"][0]["serve"]
    assert stored["split"] == {"a": 50_000, "b": 50_000}
    shown = serves.shown_serve(stored)
    assert shown["split"] == {"a": 50, "b": 50}
    assert config(shown)["rules"][0]["serve"] == stored


@pytest.mark.parametrize(
    ("bucketing", "path"),
    [
        ("murmur", "serve.bucketing"),
        ({"algo": "md5"}, "serve.bucketing.algo"),
        ({"algo": ["x"]}, "serve.bucketing.algo"),
        ({"algo": legacy.UNLEASH}, "serve.bucketing.group"),
        ({"algo": legacy.UNLEASH, "group": "g", "salt": "s"}, "serve.bucketing.salt"),
        ({"algo": legacy.UNLEASH, "group": "g", "weights": [["z", 1]]}, "serve.bucketing.weights[0][0]"),
        ({"algo": legacy.UNLEASH, "group": "g", "weights": [["a", -1]]}, "serve.bucketing.weights[0][1]"),
        ({"algo": legacy.UNLEASH, "group": "g", "weights": [["a", 0]]}, "serve.bucketing.weights"),
        ({"algo": legacy.UNLEASH, "group": "g", "weights": [["a", True]]}, "serve.bucketing.weights[0][1]"),
        ({"algo": legacy.UNLEASH, "group": "g", "weights": "a"}, "serve.bucketing.weights"),
        ({"algo": legacy.GROWTHBOOK, "version": 3, "seed": "s", "ranges": [["a", 0, 1]]}, "serve.bucketing.version"),
        ({"algo": legacy.GROWTHBOOK, "version": 1, "seed": "s", "ranges": [["a", 0, 1001]]},
         "serve.bucketing.ranges[0][1]"),
        ({"algo": legacy.GROWTHBOOK, "version": 1, "seed": "s", "ranges": [["a", 0, 9]], "filters": [7]},
         "serve.bucketing.filters[0]"),
        ({"algo": legacy.FLAGD, "encoding": "json", "value": [], "weights": []}, "serve.bucketing.encoding"),
        ({"algo": legacy.FLAGD, "encoding": "cbor", "value": [{}], "weights": [["a", 1]]}, "serve.bucketing.value[0]"),
        ({"algo": legacy.LAUNCHDARKLY, "key": "f", "weights": [["a", 1]]}, "serve.bucketing.salt"),
        ({"algo": legacy.LAUNCHDARKLY, "seed": "x", "weights": [["a", 1]]}, "serve.bucketing.seed"),
    ],
)  # fmt: skip
def test_a_fault_is_named_by_its_field(bucketing: Any, path: str) -> None:
    assert path in faults_of({"bucketing": bucketing})


def test_a_split_beside_weights_must_be_theirs_and_a_share_only_where_there_is_one() -> None:
    weights = {"algo": legacy.FLAGD, **SPLIT[legacy.FLAGD]}
    assert "serve.split" in faults_of({"split": {"a": 60, "b": 40}, "bucketing": weights})
    assert not faults_of({"split": {"a": 50, "b": 50}, "bucketing": weights})
    assert "serve.rollout" in faults_of({"rollout": 50, "bucketing": weights})
    assert "serve" in faults_of({"variant": "a", "bucketing": weights})
    assert "serve" in faults_of({"bucketing": {"algo": legacy.UNLEASH, "group": "g"}})


# --- The switch ---------------------------------------------------------------------------------
@pytest.mark.parametrize("algo", legacy.ALGORITHMS)
def test_a_switch_keeps_the_shares_and_moves_about_half_of_two_halves(algo: str) -> None:
    before = config({"bucketing": {"algo": algo, **SPLIT[algo]}})
    assert 400 < rebucketing.moved("f", "salt", before, 1000) < 600
    after = rebucketing.own(before)
    assert after["rules"][0]["serve"].get("split") == {"a": 50_000, "b": 50_000}
    assert not rebucketing.algorithms(after)
    assert rebucketing.moved("f", "salt", after, 1000) == 0


def test_ranges_and_namespaces_become_a_share() -> None:
    bucketing = {"algo": legacy.GROWTHBOOK, "version": 2, "seed": "s", "ranges": [["a", 0, 2000], ["b", 5000, 7000]],
                 "filters": [{"seed": "__n", "version": 1, "ranges": [[0, 500]]}]}  # fmt: skip
    serve = rebucketing.own(config({"bucketing": bucketing}))["rules"][0]["serve"]
    assert serve == {"split": {"a": 20_000, "b": 20_000}, "rollout": 20_000}
