"""Trends: the test by hand and by simulation, what is not known, and every door."""

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring import trends
from monitoring.trends import Direction, Effect, Trend, trend
from tests import make
from tests.monitoring.doors import Caller, fields

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(weeks=1)


def _points(values: Sequence[float], step: timedelta = HOUR) -> list[tuple[datetime, float]]:
    return [(MONDAY + n * step, float(value)) for n, value in enumerate(values)]


def _week(values: Sequence[float]) -> Trend:
    return trend(_points(values), window=WEEK, step=HOUR)


def _memory(count: int, phi: float, seed: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """A first-order process: each value is so much of the one before, and noise."""
    noise = np.random.default_rng(seed).normal(0, 1, count + 200)
    values = np.zeros(count + 200)
    for n in range(1, count + 200):
        values[n] = phi * values[n - 1] + noise[n]
    return values[200:]


def test_the_statistic_by_hand() -> None:
    """Gilbert, Statistical Methods for Environmental Pollution Monitoring (1987), example 16.2 in kind."""
    times, values = trends.arrays(_points([10, 15, 14, 20], step=DAY))
    test, line = trends.judge(times, values)
    assert test.s == 4  # five pairs rise, one falls
    assert test.z == pytest.approx((4 - 1) / math.sqrt(4 * 3 * 13 / 18))
    # The slopes of the pairs: 5, 2, 10/3, -1, 2.5, 6.
    assert line.slope == pytest.approx((2.5 + 10 / 3) / 2)


def test_ties_lower_the_variance() -> None:
    times, values = trends.arrays(_points([1, 1, 2, 2, 3], step=DAY))
    test, _ = trends.judge(times, values)
    variance = (5 * 4 * 15 - 2 * (2 * 1 * 9)) / 18
    assert test.s == 8
    assert test.z == pytest.approx(7 / math.sqrt(variance))


@pytest.mark.parametrize(
    ("values", "direction"),
    [
        (100 + np.arange(168) * 0.3, Direction.RISING),
        (100 - np.arange(168) * 0.3, Direction.FALLING),
        (np.full(168, 7.0), Direction.STABLE),
        (np.zeros(168), Direction.STABLE),
        (100 + np.arange(168) * 0.01, Direction.STABLE),  # certain, and 1.7 %: it matters to nobody
    ],
)
def test_the_direction(values: Sequence[float], direction: Direction) -> None:
    assert _week(values).direction is direction


def test_a_tiny_certain_slope_says_that_it_is_tiny() -> None:
    found = _week(list(100 + np.arange(168) * 0.01))
    assert found.test is not None
    assert found.test.p < 0.001
    assert "less than 5% matters to nobody" in found.reason


def test_nothing_is_stable_for_want_of_data() -> None:
    assert _week([]).direction is Direction.UNKNOWN
    few = _week([5.0] * 11)
    assert (few.direction, few.reason) == (Direction.UNKNOWN, "11 values are known, 12 are needed")
    half = _week([5.0] * 60)
    assert (half.direction, half.reason) == (Direction.UNKNOWN, "60 of 168 steps are known, half of them are needed")
    holes = _week([5.0 if n % 3 else math.nan for n in range(168)])
    assert (holes.direction, holes.count) == (Direction.STABLE, 112)


def test_what_an_interval_leaves_open_is_unknown() -> None:
    wild = trend(_points(list(10 + 8 * _memory(30, 0.8, 4)), step=DAY), window=30 * DAY, step=DAY)
    assert wild.direction is Direction.UNKNOWN
    assert wild.reason.startswith("too uncertain")


def test_a_wave_of_the_day_is_no_trend_and_hides_none() -> None:
    wave = 100 + 30 * np.sin(np.arange(168) / 24 * 2 * np.pi)
    noise = 3 * _memory(168, 0.5, 1)
    flat, rising = _week(list(wave + noise)), _week(list(wave + noise + np.arange(168) * 0.1))
    assert (flat.direction, flat.season) == (Direction.STABLE, "hour of the day")
    assert rising.direction is Direction.RISING
    assert rising.change is not None
    assert rising.change == pytest.approx(0.168, abs=0.06)


@pytest.mark.parametrize("phi", [0.0, 0.6, 0.8])
def test_memory_is_not_taken_for_a_trend(phi: float) -> None:
    """Of a hundred series without a trend few are called one; without the correction half of them would be."""
    wrong = naive = 0
    for seed in range(100):
        times, values = trends.arrays(_points(list(_memory(168, phi, seed))))
        test, _ = trends.judge(times, values)
        wrong += test.p < 0.05
        naive += abs(test.z) * math.sqrt(168 / test.effective) > 1.96
    assert wrong <= 14
    if phi >= 0.6:
        assert naive >= 25


def test_better_and_worse_are_the_metrics_own() -> None:
    rising = _week(list(100 + np.arange(168) * 0.3))
    assert rising.effect("lower_is_better") is Effect.WORSE
    assert rising.effect("higher_is_better") is Effect.BETTER
    assert rising.effect("neither") is Effect.NEUTRAL
    assert _week([1.0] * 168).effect("lower_is_better") is Effect.NEUTRAL


PLACE: dict[str, Any] = {"service": "checkout", "environment": "staging"}


@pytest.mark.django_db
class TestDoor:
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        make.service()
        make.environment()

    def test_each_metric_of_each_service_with_what_it_means(self) -> None:
        read = Caller("write", "read")
        read.post("metrics/", {"name": "latency", "type": "gauge", "unit": "ms", "direction": "lower_is_better"})
        make.hours("latency", list(100 + np.arange(167) * 0.3), **PLACE)
        make.measured("depth", 4.0, **PLACE)
        body = read.get("trends/")
        latency, depth = sorted(body["results"], key=lambda one: -one["count"])
        assert (latency["direction"], latency["effect"], latency["unit"]) == ("rising", "worse", "ms")
        assert latency["change_low"] < latency["change"] < latency["change_high"]
        assert latency["p"] < 0.05
        assert (depth["direction"], depth["effect"]) == ("unknown", "neutral")
        assert read.get("trends/?metric=depth")["count"] == 1
        assert read.get("trends/?service=other")["count"] == 0

    def test_bad_questions_name_the_field(self) -> None:
        read = Caller("read")
        for query, name in (("window=2d", "window"), ("aggregation=wild", "aggregation"), ("relevant=0", "relevant")):
            status, body = read("GET", f"trends/?{query}")
            assert (status, fields(body)) == (400, {name})

    def test_nobody_sees_the_metrics_of_others(self) -> None:
        make.measured("depth", 4.0, **PLACE)
        other = Caller("read", services=[make.service("other")])
        assert other.get("trends/")["results"] == []

    def test_it_costs_as_much_for_twelve_metrics_as_for_two(self) -> None:
        read = Caller("read")
        costs = []
        for upto in (2, 12):
            for n in range(upto):
                make.measured(f"metric_{n}", 1.0, 2.0, **PLACE)
            with CaptureQueriesContext(connection) as queries:
                assert read.get("trends/")["count"] == upto
            costs.append(len(queries))
        assert costs[0] == costs[1]
