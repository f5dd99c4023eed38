"""What each operator answers, and that a wrong type is no answer."""

from typing import Any

import pytest

from rollouts.engine import operators
from tests.rollouts.engine.build import decide, rule, source

HOLDS: list[tuple[str, list[Any], Any]] = [
    ("equals", ["DE"], "DE"),
    ("in", ["DE", "FR"], "FR"),
    ("in", [1, 2], 2.0),
    ("in", [True], True),
    ("in", ["beta"], ["alpha", "beta"]),
    ("contains", ["urope"], "Europe"),
    ("contains", ["beta"], ["alpha", "beta"]),
    ("starts_with", ["x", "Eu"], "Europe"),
    ("ends_with", ["pe"], "Europe"),
    ("regex", [r"^user\d{3}$"], "user123"),
    ("gt", [17.5], 18),
    ("gte", [18], 18),
    ("lt", [18], 17.9),
    ("lte", [18], 18.0),
    ("gt", [1], 10**400),
    ("modulo", [10, 3], 33),
    ("modulo", [10, 3], 33.0),
    ("modulo", [10, 3], -7),
    ("in", [0], -0.0),
    ("in", [2**63], 2.0**63),
    ("equals", [""], ""),
    ("contains", ["a"], ["A", "a", 1]),
    ("before", ["2026-01-01T00:00:00Z"], "2025-12-31"),
    ("before", ["2026-01-01"], ["2030-01-01T00:00:00Z", "2020-01-01T00:00:00Z"]),
    ("semver_lt", ["1.0.0-rc.1"], "1.0.0-beta.11"),
    ("semver_lt", ["1.0.0-alpha.beta"], "1.0.0-alpha.1"),
    ("semver_gt", ["1.0.0-alpha"], "1.0.0-alpha.1"),
    ("cidr", ["2001:db8::/32"], "2001:DB8::1"),
    ("cidr", ["10.1.2.3"], "10.1.2.3"),
    ("regex", ["b$", "^a"], "ax"),
    ("before", ["2026-01-01T00:00:00Z"], "2026-01-01T00:59:59+01:00"),
    ("after", ["2026-01-01T00:00:00Z"], 1_800_000_000),
    ("semver_eq", ["1.2.0"], "1.2"),
    ("semver_gt", ["2.0.0-beta.1"], "2.0.0"),
    ("semver_gt", ["2.0.0-alpha.9"], "2.0.0-alpha.10"),
    ("semver_gte", ["1.9.0"], "1.10.0"),
    ("semver_lt", ["2.0.0"], "2.0.0-rc.1"),
    ("semver_lte", ["2.0.0+build1"], "2.0.0+build2"),
    ("cidr", ["10.0.0.0/8", "fd00::/8"], "10.2.3.4"),
    ("cidr", ["10.0.0.0/8"], "::ffff:10.2.3.4"),
    ("exists", [], 0),
    ("exists", [], []),
]
FAILS: list[tuple[str, list[Any], Any]] = [
    ("equals", ["DE"], "de"),
    ("in", [1], 3),
    ("in", ["beta"], []),
    ("contains", ["beta"], ["betamax"]),
    ("starts_with", ["pe"], "Europe"),
    ("regex", ["^cat$"], "cats"),
    ("gt", [18], 18),
    ("modulo", [10, 3], 34),
    ("before", ["2026-01-01T00:00:00Z"], "2026-01-01T00:00:00Z"),
    ("semver_gt", ["1.2.3"], "1.2.3"),
    ("cidr", ["10.0.0.0/8"], "11.0.0.1"),
    ("cidr", ["10.0.0.0/8"], "2001:db8::1"),
    ("contains", ["a"], []),
    ("gt", [5], [1, 2]),
    ("equals", [True], False),
]
# The condition cannot be told: neither it nor its negation holds.
UNTOLD: list[tuple[str, list[Any], Any]] = [
    ("equals", ["1"], 1),
    ("equals", [1], True),
    ("in", ["DE"], {"country": "DE"}),
    ("in", ["DE"], [7]),
    ("contains", ["1"], 1),
    ("gt", [18], "21"),
    ("gt", [18], True),
    ("gt", [18], None),
    ("modulo", [2, 0], 4.5),
    ("before", ["2026-01-01T00:00:00Z"], "soon"),
    ("before", ["2026-01-01T00:00:00Z"], float("nan")),
    ("semver_gt", ["1.0.0"], "v2.0.0"),
    ("semver_gt", ["1.0.0"], "latest"),
    ("cidr", ["10.0.0.0/8"], "localhost"),
    ("regex", ["a"], 5),
    ("equals", [True], 1),
    ("gt", [18], {"age": 20}),
    ("contains", ["a"], [1, 2]),
    ("before", ["2026-01-01T00:00:00Z"], True),
    ("after", ["2026-01-01T00:00:00Z"], 10**13),
    ("semver_gt", ["1.0.0"], 2),
    ("semver_gt", ["1.0.0"], "9" * 300),
    ("cidr", ["10.0.0.0/8"], 167_772_161),
    ("cidr", ["10.0.0.0/8"], "10.0.0.0/8"),
    ("modulo", [2, 0], "4"),
    ("modulo", [2, 0], True),
    ("modulo", [2, 0], float("inf")),
    ("regex", ["a"], "\ud800"),
]


def answer(op: str, values: list[Any], actual: Any, **how: Any) -> bool | None:
    return operators.condition("it", op, values, **how).test({} if actual is None else {"it": actual})


@pytest.mark.parametrize(("op", "values", "actual"), HOLDS)
def test_a_condition_holds_and_its_negation_does_not(op: str, values: list[Any], actual: Any) -> None:
    assert answer(op, values, actual) is True
    assert answer(op, values, actual, negate=True) is False


@pytest.mark.parametrize(("op", "values", "actual"), FAILS)
def test_a_condition_fails_and_its_negation_holds(op: str, values: list[Any], actual: Any) -> None:
    assert answer(op, values, actual) is False
    assert answer(op, values, actual, negate=True) is True


@pytest.mark.parametrize(("op", "values", "actual"), UNTOLD)
def test_a_wrong_type_never_matches_and_the_trace_says_why(op: str, values: list[Any], actual: Any) -> None:
    assert answer(op, values, actual) is None
    assert answer(op, values, actual, negate=True) is None
    condition = {"attr": "it", "op": op, "values": values, "negate": True}
    trace: list[dict[str, Any]] = []
    context = {} if actual is None else {"it": actual}
    assert decide(source(rules=[rule(condition)]), "u", trace=trace, **context).variant == "off"
    told = trace[0]["conditions"][0]
    assert told["held"] is False
    assert "it is" in told["why"] or "has no it" in told["why"]


def test_missing_attributes_exist_only_in_the_negation_of_exists() -> None:
    assert answer("exists", [], None) is False
    assert answer("exists", [], None, negate=True) is True
    assert answer("in", ["DE"], None, negate=True) is None


@pytest.mark.parametrize("negate", [False, True])
@pytest.mark.parametrize(
    ("op", "values", "wrong"),
    [
        ("in", ["DE"], 7),
        ("gt", [18], "21"),
        ("regex", ["^a"], 1),
        ("cidr", ["10.0.0.0/8"], "x"),
        ("modulo", [2, 0], ""),
    ],
)
def test_a_condition_may_hold_for_a_missing_attribute(op: str, values: list[Any], wrong: Any, negate: bool) -> None:
    assert answer(op, values, None, negate=negate) is None
    assert answer(op, values, None, negate=negate, missing=True) is True
    assert answer(op, values, wrong, negate=negate, missing=True) is None
    given: dict[str, Any] = {"attr": "user.it", "op": op, "values": values, "negate": negate, "missing": True}
    flag = source(rules=[rule(given)])
    trace: list[dict[str, Any]] = []
    for user in ({}, {"it": None}, "ann", None):
        assert decide(flag, "u", user=user, trace=trace).variant == "on"
    assert trace[0]["conditions"][0] == given_told(given)
    assert decide(flag, "u", user={"it": wrong}).variant == "off"


def given_told(condition: dict[str, Any]) -> dict[str, Any]:
    told = {name: value for name, value in condition.items() if value is not False}
    return told | {"held": True, "why": "the context has no user.it: holds all the same"}


def test_a_present_value_is_asked_as_ever_where_a_missing_one_holds() -> None:
    assert answer("in", ["DE"], "DE", missing=True) is True
    assert answer("in", ["DE"], "FR", missing=True) is False
    assert answer("in", ["DE"], "FR", missing=True, negate=True) is True


@pytest.mark.parametrize("op", ["equals", "in", "contains", "starts_with", "ends_with", "regex"])
def test_case_is_ignored_on_request(op: str) -> None:
    assert answer(op, ["STRASSE"], "strasse") is not True
    assert answer(op, ["STRASSE"], "strasse", ignore_case=True) is True


def test_nested_attributes_are_reached_by_their_path() -> None:
    condition = operators.condition("company.plan", "equals", ["pro"])
    assert condition.test({"company": {"plan": "pro"}}) is True
    assert condition.test({"company.plan": "pro"}) is True
    assert condition.test({"company": "pro"}) is None


def test_a_pattern_made_to_hang_takes_time_in_proportion() -> None:
    # Backtracking would take longer than the universe is old; the suite's timeout is what would fail.
    assert answer("regex", ["^(a+)+$"], "a" * 50_000 + "!") is False


@pytest.mark.parametrize(
    ("op", "values"),
    [
        ("equals", []),
        ("equals", [None]),
        ("contains", [1]),
        ("contains", [""]),
        ("gt", ["1"]),
        ("gt", [1, 2]),
        ("gt", [True]),
        ("regex", ["("]),
        ("regex", [r"(a)\1"]),
        ("regex", ["a" * 1001]),
        ("regex", ["(((a{100}){100}){100})"]),
        ("cidr", ["10.0.0.0/99"]),
        ("cidr", [8]),
        ("modulo", [0, 0]),
        ("modulo", [3, 3]),
        ("before", ["tomorrow"]),
        ("semver_gt", ["v1"]),
        ("exists", [True]),
    ],
)
def test_values_that_an_operator_cannot_use_are_refused(op: str, values: list[Any]) -> None:
    with pytest.raises(operators.BadValue):
        operators.condition("it", op, values)
