"""What a config lacks of what its flag's type promises."""

from typing import Any

import pytest

from rollouts.engine import advice

OFF = {"variant": "off"}
GERMANS = {"all": [{"attr": "country", "op": "in", "values": ["DE"]}], "serve": {"variant": "on"}}
TENTH = {"serve": {"variant": "on", "rollout": 10_000}}
RAMP = {"serve": {"variant": "on", "schedule": {"kind": "steps", "points": []}}}
EVERYONE = {"serve": {"variant": "on"}}
SPLIT = {"split": {"on": 50_000, "off": 50_000}}


def fields(flag_type: str, *, on: bool = True, reserved: Any = (), **config: Any) -> list[str]:
    document = {"enabled": on, "rules": [], "overrides": {}, "fallthrough": OFF} | config
    return [one["field"] for one in advice.warnings(document, flag_type, reserved)]


@pytest.mark.parametrize(
    ("flag_type", "config", "told"),
    [
        ("percentage", {}, ["fallthrough"]),
        ("percentage", {"rules": [GERMANS]}, ["fallthrough"]),
        ("percentage", {"rules": [TENTH]}, []),
        ("percentage", {"rules": [RAMP]}, []),
        ("percentage", {"fallthrough": {"variant": "on", "rollout": 0}}, []),
        ("ab_test", {}, ["fallthrough"]),
        ("ab_test", {"fallthrough": {"split": {"on": 100_000, "off": 0}}}, ["fallthrough"]),
        ("ab_test", {"fallthrough": SPLIT}, []),
        ("ab_test", {"rules": [{"serve": SPLIT}]}, []),
        ("user_group", {"rules": [TENTH]}, ["rules"]),
        ("user_group", {"rules": [GERMANS]}, []),
        ("user_group", {"rules": [{"segments": ["staff"], "serve": OFF}]}, []),
        ("user_group", {"overrides": {"on": ["ann"]}}, []),
        ("boolean", {}, []),
        ("time_based", {}, []),
        ("boolean", {"rules": [EVERYONE, GERMANS]}, ["rules[0]"]),
        ("boolean", {"rules": [GERMANS, TENTH, EVERYONE]}, []),
    ],
)
def test_what_is_missing_is_told(flag_type: str, config: dict[str, Any], told: list[str]) -> None:
    assert fields(flag_type, **config) == told


def test_nothing_is_told_of_a_flag_that_is_off_or_that_a_deployment_serves() -> None:
    assert fields("percentage", on=False) == []
    assert fields("percentage", reserved=[TENTH]) == []
