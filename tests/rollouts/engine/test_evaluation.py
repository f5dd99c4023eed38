"""In what order a flag is decided, and what it says of itself."""

from typing import Any

import pytest

from rollouts.engine.compile import compile_or_break
from rollouts.engine.evaluate import evaluate, evaluate_all
from rollouts.engine.types import ErrorCode, FlagSource, Reason, SegmentSource, Snapshot
from tests.rollouts.engine.build import NOON, decide, rule, snapshot, source

GERMANS = {"attr": "country", "op": "in", "values": ["DE"]}
EVERYTHING: dict[str, Any] = {
    "rules": [rule(GERMANS)],
    "overrides": {"on": ["ann"]},
    "fallthrough": {"variant": "on"},
    "window": {"from": "2020-01-01T00:00:00Z", "until": "2030-01-01T00:00:00Z"},
}


def test_a_flag_that_does_not_exist_is_not_found() -> None:
    result = evaluate(snapshot(), "ghost", {}, now=NOON)
    assert (result.error, result.flag) == (ErrorCode.FLAG_NOT_FOUND, "ghost")


def test_the_kill_switch_comes_before_everything() -> None:
    killed = source(enabled=False, **EVERYTHING)
    result = decide(killed, "ann", country="DE")
    assert (result.variant, result.value, result.reason) == ("off", False, Reason.DISABLED)


@pytest.mark.parametrize(
    ("now", "variant"), [(99.0, "off"), (100.0, "on"), (199.9, "on"), (200.0, "off"), (300.0, "off")]
)
def test_a_window_opens_at_its_beginning_and_closes_before_its_end(now: float, variant: str) -> None:
    timed = source(
        fallthrough={"variant": "on"}, window={"from": "1970-01-01T00:01:40Z", "until": "1970-01-01T01:03:20+01:00"}
    )
    result = decide(timed, now=now)
    assert result.variant == variant
    assert result.detail == ("WINDOW" if variant == "off" else "FALLTHROUGH")


def test_an_override_beats_the_rules() -> None:
    given = source(overrides={"off": ["ann"]}, rules=[rule(GERMANS)])
    assert decide(given, "ann", country="DE").variant == "off"
    assert decide(given, "ann", country="DE").detail == "OVERRIDE"
    assert decide(given, "bob", country="DE").variant == "on"


def test_the_first_matching_rule_serves() -> None:
    flag = source(
        variants={"a": "a", "b": "b", "c": "c"},
        rules=[rule(GERMANS, name="first", variant="b"), rule(name="second", variant="c")],
    )
    assert (decide(flag, "u", country="DE").variant, decide(flag, "u", country="DE").rule) == ("b", "first")
    assert (decide(flag, "u", country="FR").variant, decide(flag, "u", country="FR").rule) == ("c", "second")


def test_a_unit_outside_of_a_rules_share_goes_on_to_the_next_rule() -> None:
    flag = source(
        variants={"a": "a", "b": "b", "c": "c"},
        rules=[rule(name="tenth", variant="b", rollout=10_000), rule(name="rest", variant="c")],
    )
    got = [decide(flag, f"u{n}") for n in range(500)]
    assert {one.rule for one in got} == {"tenth", "rest"}
    assert 20 < sum(one.variant == "b" for one in got) < 90
    assert {one.reason for one in got if one.rule == "tenth"} == {Reason.SPLIT}
    assert {one.reason for one in got if one.rule == "rest"} == {Reason.TARGETING_MATCH}


def test_reasons_are_those_of_the_contract() -> None:
    assert decide(source(fallthrough={"variant": "on"})).reason is Reason.STATIC
    assert decide(source(rules=[rule(GERMANS)]), "u", country="FR").reason is Reason.STATIC
    assert decide(source(rules=[rule(GERMANS)]), "u", country="DE").reason is Reason.TARGETING_MATCH
    assert decide(source(fallthrough={"split": {"on": 50_000, "off": 50_000}}), "u").reason is Reason.SPLIT
    assert decide(source(fallthrough={"split": {"on": 1, "off": 0}}), "u").reason is Reason.STATIC
    # A hash kept this unit out of the rule: it decided, although the fallthrough is served.
    ramp = source(rules=[rule(variant="on", rollout=1)], fallthrough={"variant": "off"})
    assert decide(ramp, "u").reason is Reason.SPLIT
    nobody = source(rules=[rule(variant="on", rollout=0)], fallthrough={"variant": "off"})
    assert decide(nobody, "u").reason is Reason.STATIC


def test_a_flag_that_needs_no_bucketing_needs_no_targeting_key() -> None:
    assert decide(source(fallthrough={"variant": "on"})).value is True
    assert decide(source(rules=[rule(variant="on", rollout=100_000)])).value is True
    assert decide(source(rules=[rule(variant="on", rollout=0)])).value is False
    assert decide(source(rules=[rule(GERMANS, variant="on", rollout=5_000)]), country="FR").value is False


@pytest.mark.parametrize(
    "flag",
    [
        source(rules=[rule(variant="on", rollout=5_000)]),
        source(fallthrough={"variant": "on", "rollout": 5_000}),
        source(fallthrough={"split": {"on": 1, "off": 1}}),
        source(fallthrough={"split": {"on": 1, "off": 1}, "by": "company"}),
    ],
)
def test_bucketing_without_a_unit_says_which_attribute_is_missing(flag: FlagSource) -> None:
    contexts: list[dict[str, Any]] = [{}, {"targetingKey": ""}, {"targetingKey": [1]}, {"company": {}}]
    for context in contexts:
        result = evaluate(snapshot(flag), "flag", context, now=NOON)
        if flag.fallthrough.get("by") == "company":
            assert "company" in result.message
        assert result.error is ErrorCode.TARGETING_KEY_MISSING
        assert result.value is None


def test_a_rule_by_an_attribute_of_ones_own_is_skipped_when_it_is_missing() -> None:
    trace: list[dict[str, object]] = []
    result = decide(source(rules=[rule(variant="on", rollout=50_000, by="company")]), "u", trace=trace)
    assert (result.variant, result.reason) == ("off", Reason.STATIC)
    assert "the context has no company" in str(trace[0]["why"])


def test_whoever_is_outside_of_the_fallthroughs_share_gets_the_off_variant() -> None:
    flag = source(fallthrough={"variant": "on", "rollout": 30_000})
    got = [decide(flag, f"u{n}").variant for n in range(1000)]
    assert 230 < got.count("on") < 370
    assert got.count("on") + got.count("off") == 1000


def test_a_deployments_rule_comes_first_and_keeps_its_cohort_from_stage_to_stage() -> None:
    def at(weight: int, deployment: int) -> set[str]:
        reserved = rule(name=f"deployment:{deployment}", variant="on", rollout=weight) | {"deployment": deployment}
        flag = source(reserved=[reserved], rules=[rule(variant="off")])
        return {f"u{n}" for n in range(2000) if decide(flag, f"u{n}").variant == "on"}

    five, fifty = at(5_000, 42), at(50_000, 42)
    assert five < fifty
    # Hashed without the rule's id: another deployment of the flag meets the same users.
    assert at(5_000, 43) == five


def test_units_are_the_same_whether_text_or_number() -> None:
    flag = source(fallthrough={"split": {"on": 1, "off": 1}, "by": "account"})
    for number in range(50):
        got = {decide(flag, "u", account=value).variant for value in (number, float(number), str(number))}
        assert len(got) == 1


# --- Prerequisites ------------------------------------------------------------------------------
def needing(key: str, *others: str, **given: object) -> FlagSource:
    needs = [{"flag": other, "variants": ["on"]} for other in others]
    return source(key, prerequisites=needs, fallthrough={"variant": "on"}, **given)


def test_a_prerequisite_that_serves_another_variant_switches_the_flag_off() -> None:
    parent, child = source("parent", rules=[rule(GERMANS)]), needing("child", "parent")
    both = snapshot(parent, child)
    assert evaluate(both, "child", {"country": "DE"}, now=NOON).variant == "on"
    unmet = evaluate(both, "child", {"country": "FR"}, now=NOON)
    assert (unmet.variant, unmet.reason, unmet.detail) == ("off", Reason.DISABLED, "PREREQUISITE parent")


def test_a_missing_prerequisite_is_unmet() -> None:
    assert evaluate(snapshot(needing("child", "ghost")), "child", {}, now=NOON).detail == "PREREQUISITE ghost"


def test_killing_a_flag_switches_off_all_that_need_it_at_any_depth() -> None:
    chain = [source("f0", fallthrough={"variant": "on"}), *(needing(f"f{n}", f"f{n - 1}") for n in range(1, 5000))]
    assert evaluate(snapshot(*chain), "f4999", {}, now=NOON).variant == "on"
    chain[0] = source("f0", enabled=False)
    assert evaluate(snapshot(*chain), "f4999", {}, now=NOON).variant == "off"


def test_only_the_members_of_a_cycle_err() -> None:
    flags = [
        needing("a", "b"),
        needing("b", "c"),
        needing("c", "a"),
        needing("self", "self"),
        needing("outsider", "a"),
        needing("killed", "killed", enabled=False),
        source("innocent", fallthrough={"variant": "on"}),
    ]
    got = {one.flag: one for one in evaluate_all(snapshot(*flags), {}, now=NOON)}
    assert {key for key, one in got.items() if one.error is ErrorCode.GENERAL} == {"a", "b", "c", "self"}
    assert (got["outsider"].variant, got["outsider"].reason) == ("off", Reason.DISABLED)
    assert got["killed"].reason is Reason.DISABLED
    assert got["innocent"].variant == "on"


def test_a_prerequisite_without_a_unit_leaves_the_flag_undecided() -> None:
    flags = snapshot(source("parent", rules=[rule(variant="on", rollout=500)]), needing("child", "parent"))
    assert evaluate(flags, "child", {}, now=NOON).error is ErrorCode.TARGETING_KEY_MISSING


# --- Segments -----------------------------------------------------------------------------------
STAFF = SegmentSource("staff", [{"attr": "email", "op": "ends_with", "values": ["@x.io"]}], ["ann"], ["eve"])


@pytest.mark.parametrize(
    ("unit", "email", "variant"),
    [
        ("ann", "ann@y.io", "on"),
        ("bob", "bob@x.io", "on"),
        ("eve", "eve@x.io", "off"),
        ("joe", "joe@y.io", "off"),
        (None, "bob@x.io", "on"),
    ],
)
def test_a_segment_holds_the_included_and_the_matching_but_never_the_excluded(
    unit: str | None, email: str, variant: str
) -> None:
    for meant in (rule() | {"segments": ["staff"]}, rule({"op": "segment", "values": ["staff"]})):
        assert decide(source(rules=[meant]), unit, email=email, segments=[STAFF]).variant == variant


def test_segments_of_a_rule_are_alternatives_and_nest() -> None:
    segments = [
        STAFF,
        SegmentSource("germans", [GERMANS]),
        SegmentSource("german-staff", [{"op": "segment", "values": ["staff"]}, GERMANS]),
    ]
    either = source(rules=[rule() | {"segments": ["staff", "germans"]}])
    assert decide(either, "ann", country="FR", segments=segments).variant == "on"
    assert decide(either, "joe", country="DE", segments=segments).variant == "on"
    assert decide(either, "joe", country="FR", segments=segments).variant == "off"
    both = source(rules=[rule() | {"segments": ["german-staff"]}])
    assert decide(both, "ann", country="DE", segments=segments).variant == "on"
    assert decide(both, "ann", country="FR", segments=segments).variant == "off"


def test_a_segment_without_conditions_holds_only_those_it_names() -> None:
    flag = source(rules=[rule() | {"segments": ["named"]}])
    named = SegmentSource("named", included=["ann"])
    assert decide(flag, "ann", segments=[named]).variant == "on"
    assert decide(flag, "bob", segments=[named]).variant == "off"


def test_broken_segments_hold_nobody_and_the_trace_says_why() -> None:
    circular = [
        SegmentSource("a", [{"op": "segment", "values": ["b"]}], ["ann"]),
        SegmentSource("b", [{"op": "segment", "values": ["a"]}], ["ann"]),
    ]
    deep = [SegmentSource("s0", [GERMANS])]
    deep += [SegmentSource(f"s{n}", [{"op": "segment", "values": [f"s{n - 1}"]}]) for n in range(1, 5000)]
    garbage = [SegmentSource("odd", [{"nonsense": 1}], ["ann"])]
    # Each asks the one below twice: 2^15 conditions behind a single name.
    doubled = [SegmentSource("d0", [GERMANS])]
    doubled += [SegmentSource(f"d{n}", [{"op": "segment", "values": [f"d{n - 1}"]}] * 2) for n in range(1, 16)]
    for key, segments, why in (
        ("a", circular, "refers to itself"),
        ("s4999", deep, "nested deeper"),
        ("ghost", [], "does not exist"),
        ("odd", garbage, "cannot be used"),
        ("d15", doubled, "asks more than 10000 conditions"),
    ):
        trace: list[dict[str, object]] = []
        flag = source(rules=[rule() | {"segments": [key]}])
        assert decide(flag, "ann", trace=trace, segments=segments, country="DE").variant == "off"
        assert why in str(trace[0]["segments"])
        # Nor is everybody an outsider of it.
        for negate in (False, True):
            asked: list[dict[str, Any]] = []
            by_condition = source(rules=[rule({"op": "segment", "values": [key], "negate": negate})])
            assert decide(by_condition, "ann", trace=asked, segments=segments, country="DE").variant == "off"
            assert why in asked[0]["conditions"][0]["why"]


# --- What no door lets in -----------------------------------------------------------------------
@pytest.mark.parametrize(
    "broken",
    [
        {"rules": [{"id": "r", "all": [{"attr": "a", "op": "guess", "values": [1]}], "serve": {"variant": "on"}}]},
        {"rules": [{"id": "r", "all": [{"attr": "a", "op": "regex", "values": ["("]}], "serve": {"variant": "on"}}]},
        {"rules": [{"nonsense": True}]},
        {"overrides": ["on"]},
    ],
)
def test_a_definition_that_cannot_be_compiled_errs_alone_and_can_be_killed(broken: dict[str, object]) -> None:
    flag = compile_or_break(source("odd", **broken), {})
    result = evaluate(Snapshot("production", 1, {"odd": flag}), "odd", {}, now=NOON)
    assert result.error is ErrorCode.GENERAL
    off = compile_or_break(source("odd", enabled=False, **broken), {})
    assert evaluate(Snapshot("production", 1, {"odd": off}), "odd", {}, now=NOON).value is False


def test_a_variant_that_is_gone_is_an_error_of_that_outcome_only() -> None:
    flag = source(rules=[rule(GERMANS, variant="gone")], fallthrough={"variant": "on"})
    assert decide(flag, "u", country="DE").error is ErrorCode.GENERAL
    assert decide(flag, "u", country="FR").variant == "on"


def test_values_are_told_as_their_type() -> None:
    floats = source(variants={"one": 1, "half": 0.5}, value_type="float", fallthrough={"variant": "one"})
    assert repr(decide(floats).value) == "1.0"
    huge = source(variants={"x": {"n": [10**30]}}, value_type="json", fallthrough={"variant": "x"})
    assert decide(huge).value == {"n": [1e30]}
