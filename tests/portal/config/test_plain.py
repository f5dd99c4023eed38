"""The plain YAML that teams have today: every key becomes something, or is refused by name."""

import io
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from monitoring.actions import specs
from monitoring.models import Threshold
from rollouts.models import Flag, FlagConfig
from tests import make

pytestmark = pytest.mark.django_db

PLAIN = """\
feature_flags:
  new_dashboard:
    enabled: yes
    rollout_percentage: 25
    description: "The new dashboard"
  beta_export:
    enabled: true
    rollout_percentage: 50
    user_groups: [beta_testers, internal]
  everyone_in:
    enabled: off
    user_groups: [all]
ab_tests:
  checkout_button:
    description: Which colour
    variants:
      - {name: control, traffic_percentage: 50}
      - {name: green, traffic_percentage: 50}
    metrics:
      - {name: conversion, metric_type: conversion, minimum_detectable_effect: 0.05}
thresholds:
  error_rate:
    metric_name: http_error_rate
    warning_threshold: 0.01
    critical_threshold: 0.05
    comparison_operator: greater_than
    window_size_minutes: 5
sentiment_keywords:
  positive: [good]
  negative: [bad]
"""


def apply(tmp_path: Path, text: str, *words: str) -> str:
    file = tmp_path / "legacy.yaml"
    file.write_text(text)
    out = io.StringIO()
    call_command("apply", str(file), "--yes", *words, stdout=out)
    return out.getvalue()


def test_every_key_becomes_something_or_is_refused_by_name(tmp_path: Path) -> None:
    make.environment("staging")
    told = apply(tmp_path, PLAIN)
    assert "written in version 0, read as 1" in told
    configs = {one.flag.key: one for one in FlagConfig.objects.select_related("flag")}
    dashboard = configs["new_dashboard"]
    assert (dashboard.enabled, dashboard.fallthrough) == (True, {"variant": "on", "rollout": 25_000})
    assert (dashboard.flag.type, dashboard.flag.description) == ("percentage", "The new dashboard")
    beta = configs["beta_export"]
    condition = {"attr": "user_groups", "op": "contains", "values": ["beta_testers", "internal"]}
    assert beta.rules[0]["all"] == [condition]
    assert (beta.rules[0]["serve"], beta.fallthrough) == ({"variant": "on", "rollout": 50_000}, {"variant": "off"})
    assert (configs["everyone_in"].enabled, configs["everyone_in"].fallthrough) == (False, {"variant": "on"})
    test = configs["checkout_button"]
    assert test.fallthrough == {"split": {"control": 50_000, "green": 50_000}}
    assert (test.flag.type, test.flag.value_type, test.off_variant) == ("ab_test", "string", "control")
    spec = specs.of(Threshold.objects.get())
    told_of = ("name", "metric", "operator", "warning", "critical", "window", "aggregation")
    assert {name: spec[name] for name in told_of} == {
        "name": "error_rate", "metric": "http_error_rate", "operator": ">", "warning": 0.01, "critical": 0.05,
        "window": 300, "aggregation": "mean",
    }  # fmt: skip
    for refused in ("metrics[0].minimum_detectable_effect", "metrics[0].metric_type", "sentiment_keywords"):
        assert any(refused in line and "refused: " in line and "legacy.yaml:" in line for line in told.splitlines())
    assert "nothing to change" in apply(tmp_path, PLAIN)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("feature_flags:\n  a:\n    rollout_percentage: 101\n", "legacy.yaml:3: must be a percentage from 0 to 100"),
        ("feature_flags:\n  a: {enabled: maybe}\n", "feature_flags.a.enabled: legacy.yaml:2: must be true or false"),
        ("feature_flags:\n  a: {colour: red}\n", "feature_flags.a.colour: legacy.yaml:2: unknown field"),
        ("feature_flags:\n  a b: {}\n", "is no key"),
        ("feature_flags:\n  a: {user_groups: beta}\n", "must be a list of texts"),
        ("feature_flags: 5\n", "must be a mapping, or a list"), ("feature_flags: {a: 1}\n", "must be a mapping"),
        ("ab_tests: {a: {variants: [{name: x, traffic_percentage: 50}, {name: y, traffic_percentage: 60}]}}", "to 110"),
        ("ab_tests:\n  a: {variants: [{name: x, traffic_percentage: 100}]}\n", "needs at least two"),
        ("thresholds:\n  a: {metric_name: m, comparison_operator: about}\n", "thresholds.a.comparison_operator"),
        ("thresholds:\n  a: {metric_name: m, warning_threshold: high}\n", "must be a number"),
        ("thresholds:\n  a: {metric_name: m, window_size_minutes: 0}\n", "must be a number of minutes above 0"),
        ("feature_flags: {}\nnonsense: 1\n", "nonsense: legacy.yaml:2: unknown section"),
        ("feature_flags:\n  - {name: a}\n  - {name: a}\n", "there are two flags named a"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_line(tmp_path: Path, text: str, words: str) -> None:
    make.environment("staging")
    with pytest.raises(CommandError) as error:
        apply(tmp_path, text)
    assert words in str(error.value)
    assert not Flag.objects.exists()


def test_flags_go_where_they_are_sent(tmp_path: Path) -> None:
    make.environment("staging")
    make.environment("production")
    with pytest.raises(CommandError, match="in which environment"):
        apply(tmp_path, "feature_flags: {a: {enabled: true}}")
    apply(
        tmp_path,
        "feature_flags: {a: {enabled: true}, b: {environments: [staging], start_date: 2026-01-05}}",
        "--environment",
        "production",
    )
    assert set(FlagConfig.objects.values_list("flag__key", "environment__key")) == {
        ("a", "production"),
        ("b", "staging"),
    }
    assert FlagConfig.objects.get(flag__key="b").window == {"from": "2026-01-05T00:00:00Z", "until": None}
