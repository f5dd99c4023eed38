"""Forecasts: how often the truth lies within their intervals, when a limit is reached, and every door."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.urls import reverse

from monitoring.forecasting import DAMPED, LINEAR, SEASONAL, Forecast, forecast, reach, total
from tests import make
from tests.monitoring.doors import Caller, fields
from tests.pages import seats

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
PLACE: dict[str, Any] = {"service": "checkout", "environment": "staging"}
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
Values = Any  # numpy's arrays
Make = Callable[[int, "np.random.Generator"], Values]


def _ahead(values: Sequence[float], ahead: int, *, step: timedelta = HOUR, **options: Any) -> Forecast:
    points = [(MONDAY + n * step, float(value)) for n, value in enumerate(values)]
    return forecast(points, step=step, until=MONDAY + (len(values) + ahead) * step, **options)


def _memory(count: int, dice: "np.random.Generator", phi: float, spread: float) -> Values:
    values = np.zeros(count + 200)
    for n in range(1, count + 200):
        values[n] = phi * values[n - 1] + dice.normal(0, spread)
    return values[200:]


def _day(count: int) -> Values:
    return 30 * np.sin(np.arange(count) / 24 * 2 * np.pi)


@pytest.mark.parametrize(
    ("process", "known", "ahead", "step"),
    [
        pytest.param(lambda n, dice: 100 + 0.05 * np.arange(n) + dice.normal(0, 2, n), 120, 72, HOUR, id="line"),
        pytest.param(lambda n, dice: 100 + _day(n) + _memory(n, dice, 0.5, 2), 336, 120, HOUR, id="season"),
        pytest.param(lambda n, dice: 100 + _memory(n, dice, 0.9, 2), 168, 72, HOUR, id="memory"),
        pytest.param(lambda n, dice: 100 + np.cumsum(dice.normal(0, 1, n)), 168, 72, HOUR, id="walk"),
        pytest.param(lambda n, dice: 100 + 0.5 * np.arange(n) + dice.normal(0, 5, n), 60, 60, DAY, id="days"),
        pytest.param(
            lambda n, dice: 50 + dice.normal(0, 2, n) + 50 * (dice.random(n) < 0.03), 168, 72, HOUR, id="wild"
        ),
    ],
)
def test_nine_in_ten_lie_within_the_interval(process: Make, known: int, ahead: int, step: timedelta) -> None:
    """Backtested over thirty histories; and it is no wider than the truth's own range makes necessary."""
    dice = np.random.default_rng(7)
    within: list[bool] = []
    for _ in range(30):
        values = process(known + ahead, dice)
        made = _ahead(values[:known], ahead, step=step)
        assert len(made.steps) == ahead
        within += [one.low <= truth <= one.high for one, truth in zip(made.steps, values[known:], strict=True)]
    assert 0.83 <= sum(within) / len(within) <= 0.985


def test_the_method_fits_the_history() -> None:
    dice = np.random.default_rng(3)
    chosen: Counter[str] = Counter()
    for _ in range(5):
        chosen[_ahead(list(100 + _day(336) + dice.normal(0, 2, 336)), 48).method] += 1
        chosen[_ahead(list(100 + 0.4 * np.arange(120) + dice.normal(0, 2, 120)), 48).method] += 1
        chosen[_ahead(list(100 + np.cumsum(dice.normal(0, 2, 60))), 24).method] += 1
    assert chosen[SEASONAL] >= 4
    assert chosen[LINEAR] >= 4
    assert chosen[DAMPED] >= 3


def test_a_season_is_carried_on() -> None:
    values = 100 + _day(336)
    made = _ahead(list(values), 24)
    assert max(one.value for one in made.steps) == pytest.approx(130, abs=1)
    assert min(one.value for one in made.steps) == pytest.approx(70, abs=1)


def test_a_few_wild_values_move_nothing() -> None:
    calm = [100 + 0.5 * n for n in range(60)]
    wild = [value * (20 if n % 17 == 5 else 1) for n, value in enumerate(calm)]
    assert _ahead(wild, 20, step=DAY).steps[-1].value == pytest.approx(139.5, abs=3)


def test_the_same_history_makes_the_same_forecast() -> None:
    values = list(100 + np.random.default_rng(1).normal(0, 3, 100))
    assert _ahead(values, 24) == _ahead(values, 24)


@pytest.mark.parametrize(
    ("values", "ahead", "why"),
    [
        ([1.0] * 11, 5, "11 values are known, 12 are needed"),
        ([1.0] * 20, 70, "1 days of history say nothing of a time so far ahead"),
        ([1.0] * 20, 0, "there is nothing left of the time asked for"),
        ([1.0 if n % 3 == 0 else math.nan for n in range(61)], 5, "21 of 61 steps are known, half of them are needed"),
    ],
)
def test_too_little_is_said_to_be_too_little(values: list[float], ahead: int, why: str) -> None:
    made = _ahead(values, ahead)
    assert (made.known, made.reason) == (False, why)


def test_when_a_level_is_reached_earliest_and_latest() -> None:
    dice = np.random.default_rng(5)
    made = _ahead(list(50 + np.arange(60) + dice.normal(0, 2, 60)), 90, step=DAY)
    found = reach(made, 140)
    assert found.at is not None
    assert found.earliest is not None
    assert found.latest is not None
    assert found.earliest <= found.at <= found.latest
    assert abs(found.at - (MONDAY + 90 * DAY)) <= 4 * DAY
    words = found.words("90 % of the capacity", MONDAY + 150 * DAY)
    assert words.startswith("90 % of the capacity is reached on ")
    assert "earliest" in words
    never = reach(made, 100_000)
    assert (never.at, never.earliest, never.latest) == (None, None, None)
    assert never.words("it", MONDAY) == "it is not reached before 02 Mar 2026"
    assert reach(made, 100, value=120).now
    assert reach(made, 10, upward=False).at is None


def test_a_level_that_only_the_bound_reaches_may_never_be() -> None:
    made = _ahead(list(100 + np.random.default_rng(2).normal(0, 5, 60)), 30, step=DAY)
    found = reach(made, max(one.high for one in made.steps) - 0.01)
    assert found.at is None
    assert found.earliest is not None
    assert "may be reached from" in found.words("it", MONDAY)


def test_a_total_is_what_is_spent_and_what_is_to_come() -> None:
    made = _ahead([10.0] * 20, 10, step=DAY, least=0)
    since, until = MONDAY + 20.5 * DAY, MONDAY + 30 * DAY
    found = total(205, made, since=since, until=until, step=86_400)
    assert found.value == pytest.approx(300)
    assert found.low <= found.value <= found.high
    falling = _ahead([100.0 - 5 * n for n in range(20)], 20, step=DAY, least=0)
    assert all(one.low >= 0 for one in falling.steps)


@pytest.mark.django_db
class TestDoors:
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        make.service()
        make.environment()

    def test_a_forecast_with_its_interval_and_when_the_limit_is_reached(self) -> None:
        make.hours("disk_used", list(50 + 0.05 * np.arange(500)), **PLACE)
        found = Caller("read").get("forecasts/?metric=disk_used&service=checkout&environment=staging&limit=80&days=7")
        assert (found["known"], found["step"], found["aggregation"]) == (True, 3600, "mean")
        assert found["steps"][-1]["value"] == pytest.approx(50 + 0.05 * 668, abs=1)
        assert found["reach"]["earliest"] <= found["reach"]["at"]
        assert found["reach"]["now"] is False

    def test_without_data_it_is_unknown_with_a_reason(self) -> None:
        make.measured("disk_used", 1.0, **PLACE)
        found = Caller("read").get("forecasts/?metric=disk_used")
        assert (found["known"], found["steps"], found["reach"]) == (False, [], None)
        assert found["reason"]

    def test_bad_questions_and_others_metrics(self) -> None:
        make.measured("disk_used", 1.0, **PLACE)
        read = Caller("read")
        for query, name in (("", "metric"), ("metric=disk_used&days=0", "days"), ("metric=disk_used&limit=x", "limit")):
            status, body = read("GET", f"forecasts/?{query}")
            assert (status, fields(body)) == (400, {name})
        assert read("GET", "forecasts/?metric=nothing")[0] == 404
        other = Caller("read", services=[make.service("other")])
        assert other("GET", "forecasts/?metric=disk_used")[0] == 400

    def test_the_pages_draw_it(self) -> None:
        make.hours("disk_used", list(50 + 0.05 * np.arange(500)), **PLACE)
        viewer = seats.seat(make.person("vic", "viewer"))
        shown = viewer.get(reverse("advice")).content.decode()
        assert "disk_used" in shown
        assert "Rising" in shown
        shown = viewer.get(reverse("advice-metric", args=["disk_used"]), PLACE).content.decode()
        assert "drawing-band" in shown
        assert "At the end" in shown
        assert viewer.get(reverse("advice-metric", args=["nothing"])).status_code == 404
        others = seats.seat(make.person("eve", "viewer", service=make.service("other")))
        assert others.get(reverse("advice-metric", args=["disk_used"])).status_code == 404
