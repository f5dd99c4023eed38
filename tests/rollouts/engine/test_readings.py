"""Conditions read as other systems read them: two answers only, and texts where there are but texts."""

from typing import Any

import pytest

from rollouts.engine import operators, reading
from rollouts.engine.reading import Faults


def held(op: str, values: list[Any], actual: Any, how: str, **more: Any) -> bool | None:
    context = {} if actual is None else {"x": actual}
    return operators.condition("x", op, values, reading=how, **more).test(context)


@pytest.mark.parametrize(
    ("op", "values", "actual", "loose", "texts"),
    [
        ("gt", [5], "6", False, True), ("gt", [5], "six", False, False), ("gt", [5], None, False, False),
        ("gt", [5], 6, True, True), ("gt", [5], "1e999", False, False), ("in", ["6"], 6, False, True),
        ("in", ["true"], True, False, True), ("in", ["6.5"], 6.5, False, True), ("equals", [6], "6", False, True),
        ("starts_with", ["6"], 65, False, True), ("regex", ["^a"], None, False, False), ("in", ["a"], {}, False, False),
        ("in", ["a"], ["b", "a"], True, True), ("modulo", [2, 0], "4", False, True),
    ],
)  # fmt: skip
def test_what_does_not_hold_holds_negated(op: str, values: list[Any], actual: Any, loose: bool, texts: bool) -> None:
    assert held(op, values, actual, "loose") is loose
    assert held(op, values, actual, "loose", negate=True) is not loose
    assert held(op, values, actual, "texts") is texts
    assert held(op, values, actual, "texts", negate=True) is not texts


def test_a_reading_that_is_none_is_refused() -> None:
    faults = Faults()
    given = [
        {"attr": "x", "op": "in", "values": ["a"], "reading": "fast"},
        {"attr": "x", "op": "exists", "reading": "loose"},
    ]
    reading.conditions(given, "all", faults)
    assert faults.keys() == {"all[0].reading", "all[1].reading"}
