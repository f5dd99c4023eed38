"""What a measurement says, and what that makes of the alert: tables of cases, no clock and no store."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.judging import (
    Change,
    Condition,
    Event,
    Level,
    Measurement,
    NoData,
    Phase,
    Sight,
    State,
    Step,
    at_rest,
    duration,
    figures,
    judge,
    next_turn,
    step,
)
from portal.verdicts import Outcome

NOON = datetime(2030, 1, 1, 12, tzinfo=UTC)
ERRORS = Condition("error rate", ">", {Level.ERROR: 0.02, Level.CRITICAL: 0.05}, is_share=True)
CANARY = replace(ERRORS, baseline="the baseline arm", bounds={Level.ERROR: 2.0})


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def measured(value: float | None, count: int = 412, beside: tuple[float | None, int] | None = None) -> Measurement:
    return Measurement(value, count, Measurement(*beside) if beside else None)


# --- One look -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("condition", "value", "level"),
    [
        (ERRORS, 0.02, None),
        (ERRORS, 0.021, Level.ERROR),
        (ERRORS, 0.05, Level.ERROR),
        (ERRORS, 0.5, Level.CRITICAL),
        (replace(ERRORS, operator=">="), 0.05, Level.CRITICAL),
        (Condition("successes", "<", {Level.WARNING: 0.99, Level.ERROR: 0.9}), 0.99, None),
        (Condition("successes", "<", {Level.WARNING: 0.99, Level.ERROR: 0.9}), 0.95, Level.WARNING),
        (Condition("successes", "<=", {Level.WARNING: 0.99, Level.ERROR: 0.9}), 0.9, Level.ERROR),
        (Condition("balance", "<", {Level.ERROR: 0.0}), -0.0, None),
        (Condition("delta", ">", {Level.ERROR: -5.0}), -4.0, Level.ERROR),
    ],
)
def test_the_worst_bound_that_is_broken_gives_the_level(
    condition: Condition, value: float, level: Level | None
) -> None:
    assert judge(condition, measured(value)).level == level


@pytest.mark.parametrize(
    ("condition", "measurement", "reason"),
    [
        (ERRORS, measured(0.072), "error rate 7.2 % > 5 % over the last 5 min (n=412)"),
        (ERRORS, measured(0.004), "error rate 0.4 % ≤ 2 % over the last 5 min (n=412)"),
        (ERRORS, measured(0.0), "error rate 0 % ≤ 2 % over the last 5 min (n=412)"),
        (
            Condition("p95", ">=", {Level.ERROR: 300.0}, unit="ms", window=90),
            measured(300.4, 7),
            "p95 300.4 ms ≥ 300 ms over the last 90 s (n=7)",
        ),
        (
            Condition("p95", ">", {Level.ERROR: 300.0}, clear=200.0, unit="ms"),
            measured(250.0, 7),
            "p95 250 ms ≤ 300 ms over the last 5 min (n=7), not yet at the clear level 200 ms",
        ),
        (ERRORS, measured(None, 0), "error rate: no data in the last 5 min"),
        (
            replace(ERRORS, min_count=50),
            measured(1.0, 12),
            "error rate: 12 over the last 5 min are too few to judge, 50 are needed",
        ),
        (
            CANARY,
            measured(0.072, 100, beside=(0.02, 900)),
            "error rate 3.6 × (7.2 % against 2 % of the baseline arm) > 2 × over the last 5 min "
            "(n=100, baseline n=900)",
        ),
        (
            replace(CANARY, change=Change.DIFFERENCE, bounds={Level.ERROR: 0.01}),
            measured(0.072, 100, beside=(0.02, 900)),
            "error rate +5.2 points (7.2 % against 2 % of the baseline arm) > 1 points over the last 5 min "
            "(n=100, baseline n=900)",
        ),
        (CANARY, measured(0.072, 100), "error rate: the baseline arm has no data to compare with, over the last 5 min"),
    ],
)
def test_a_verdict_says_why_in_words(condition: Condition, measurement: Measurement, reason: str) -> None:
    assert judge(condition, measurement).verdict.reason == reason


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("operator", [">", ">=", "<", "<="])
def test_what_is_no_number_is_neither_broken_nor_fine(value: float, operator: str) -> None:
    reading = judge(replace(ERRORS, operator=operator), measured(value))
    assert (reading.sight, reading.verdict.outcome) == (Sight.BROKEN, Outcome.INCONCLUSIVE)


@pytest.mark.parametrize(
    "measurement",
    [
        measured(0.5, 100),
        measured(None, 0, beside=(0.5, 100)),
        measured(0.5, 100, beside=(None, 0)),
        measured(0.5, 100, beside=(0.1, 4)),
        measured(0.5, 4, beside=(0.1, 100)),
        measured(0.5, 100, beside=(float("nan"), 100)),
    ],
)
def test_a_comparison_needs_both_arms(measurement: Measurement) -> None:
    assert judge(replace(CANARY, min_count=5), measurement).verdict.outcome is Outcome.INCONCLUSIVE


def test_errors_beside_a_baseline_without_any_are_a_breach() -> None:
    reading = judge(CANARY, measured(0.07, 100, beside=(0.0, 900)))
    assert reading.level is Level.ERROR
    assert "∞ ×" in reading.verdict.reason


def test_no_errors_on_either_side_are_no_change() -> None:
    reading = judge(CANARY, measured(0.0, 100, beside=(0.0, 900)))
    assert (reading.level, reading.value) == (None, 1.0)


@given(
    value=st.one_of(st.none(), st.floats()),
    count=st.integers(0, 10**9),
    bound=st.floats(allow_nan=False, allow_infinity=False),
    operator=st.sampled_from([">", ">=", "<", "<="]),
)
def test_every_look_has_a_verdict_and_missing_data_never_passes(
    value: float | None, count: int, bound: float, operator: str
) -> None:
    verdict = judge(Condition("x", operator, {Level.ERROR: bound}), measured(value, count)).verdict
    assert verdict.reason
    if value is None or count < 1 or value in (float("inf"), float("-inf")) or value != value:
        assert verdict.outcome is Outcome.INCONCLUSIVE


# --- The alert ----------------------------------------------------------------------------------


class Watch:
    """Looks at one threshold again and again."""

    def __init__(self, **condition: Any) -> None:
        fields = {"name": "errors", "operator": ">", "bounds": {Level.ERROR: 10.0}, **condition}
        self.condition = Condition(**fields)
        self.state = State()

    def look(self, second: float, value: float | None, count: int = 100) -> Event:
        step_: Step = step(self.condition, self.state, judge(self.condition, measured(value, count)), now=at(second))
        self.state = step_.state
        return step_.event


def test_without_for_the_first_broken_look_fires() -> None:
    watch = Watch()
    assert watch.look(0, 11) is Event.FIRED
    assert (watch.state.phase, watch.state.level) == (Phase.FIRING, Level.ERROR)


def test_with_for_it_is_pending_until_the_time_was_seen() -> None:
    watch = Watch(hold=30)
    events = [watch.look(second, 11) for second in (0, 10, 20, 29, 30)]
    assert events == [Event.PENDING, Event.NONE, Event.NONE, Event.NONE, Event.FIRED]


def test_one_healthy_look_drops_what_is_pending() -> None:
    watch = Watch(hold=30)
    events = [watch.look(second, value) for second, value in ((0, 11), (10, 9), (20, 11), (35, 11), (50, 11))]
    assert events == [Event.PENDING, Event.DROPPED, Event.PENDING, Event.NONE, Event.FIRED]


def test_time_that_nobody_looked_does_not_count() -> None:
    watch = Watch(hold=30, interval=10)
    assert watch.look(0, 11) is Event.PENDING
    assert watch.look(3600, 11) is Event.NONE
    assert watch.look(3620, 11) is Event.NONE
    assert watch.look(3630, 11) is Event.FIRED


def test_without_data_a_pending_alert_waits_and_a_long_gap_begins_anew() -> None:
    watch = Watch(hold=30, interval=10)
    watch.look(0, 11)
    assert watch.look(10, None) is Event.NONE
    assert watch.look(20, 11) is Event.NONE
    assert [watch.look(second, None) for second in (30, 40)] == [Event.NONE, Event.NONE]
    assert watch.look(50, 11) is Event.NONE
    assert watch.look(70, 11) is Event.NONE
    assert watch.look(80, 11) is Event.FIRED


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_silence_never_resolves(value: float | None) -> None:
    watch = Watch()
    watch.look(0, 11)
    assert [watch.look(second, value) for second in (10, 100, 10_000)] == [Event.NONE] * 3
    assert watch.state.phase is Phase.FIRING


def test_too_few_never_resolve() -> None:
    watch = Watch(min_count=50)
    watch.look(0, 11)
    assert watch.look(10, 0, count=49) is Event.NONE
    assert watch.look(20, 0, count=50) is Event.RESOLVED


def test_keep_firing_for_waits_out_a_short_recovery() -> None:
    watch = Watch(keep_firing_for=20)
    watch.look(0, 11)
    assert [watch.look(second, 9) for second in (10, 20)] == [Event.NONE] * 2
    assert watch.look(25, 11) is Event.NONE
    assert [watch.look(second, 9) for second in (30, 40, 49)] == [Event.NONE] * 3
    assert watch.look(50, 9) is Event.RESOLVED


def test_a_recovery_that_nobody_saw_does_not_count_either() -> None:
    watch = Watch(keep_firing_for=20, interval=10)
    watch.look(0, 11)
    watch.look(10, 9)
    assert watch.look(1000, 9) is Event.NONE
    assert watch.look(1020, 9) is Event.RESOLVED


def test_the_clear_level_holds_the_alert_until_it_is_passed() -> None:
    watch = Watch(clear=5.0, keep_firing_for=10)
    watch.look(0, 11)
    assert watch.look(10, 4) is Event.NONE
    assert watch.look(15, 7) is Event.NONE
    assert watch.look(30, 4) is Event.NONE
    assert watch.look(40, 4) is Event.RESOLVED


def test_between_clear_and_bound_nothing_begins() -> None:
    assert Watch(clear=5.0).look(0, 7) is Event.NONE


def test_a_worse_level_is_raised_and_a_milder_one_does_not_lower_it() -> None:
    watch = Watch(bounds={Level.WARNING: 5.0, Level.ERROR: 10.0, Level.CRITICAL: 20.0})
    assert watch.look(0, 6) is Event.FIRED
    assert (watch.look(10, 25), watch.state.level) == (Event.RAISED, Level.CRITICAL)
    assert (watch.look(20, 6), watch.state.level) == (Event.NONE, Level.CRITICAL)
    assert watch.look(30, 4) is Event.RESOLVED


def test_a_blip_to_critical_does_not_inherit_the_time_spent_at_warning() -> None:
    watch = Watch(bounds={Level.WARNING: 5.0, Level.CRITICAL: 20.0}, hold=30)
    events = [watch.look(second, value) for second, value in ((0, 6), (15, 6), (30, 6), (45, 25), (60, 6), (75, 25))]
    assert events == [Event.PENDING, Event.NONE, Event.FIRED, Event.NONE, Event.NONE, Event.NONE]
    assert watch.state.level is Level.WARNING
    assert [watch.look(second, 25) for second in (90, 105)] == [Event.NONE, Event.RAISED]


def test_no_data_as_ok_resolves_and_as_alert_fires_at_the_worst_level() -> None:
    fine = Watch(no_data=NoData.OK)
    fine.look(0, 11)
    assert fine.look(10, None) is Event.RESOLVED
    bad = Watch(no_data=NoData.ALERT, bounds={Level.WARNING: 5.0, Level.ERROR: 10.0})
    assert (bad.look(0, None), bad.state.level) == (Event.FIRED, Level.ERROR)


def test_what_is_no_number_is_not_ok_where_no_data_is() -> None:
    watch = Watch(no_data=NoData.OK)
    watch.look(0, 11)
    assert watch.look(10, float("nan")) is Event.NONE


def test_an_older_look_changes_nothing() -> None:
    watch = Watch(hold=30)
    watch.look(20, 11)
    assert watch.look(10, 1) is Event.NONE
    assert watch.state.phase is Phase.PENDING


@given(
    looks=st.lists(
        st.tuples(st.floats(0.1, 100), st.one_of(st.none(), st.floats(0, 30), st.just(float("nan")))), max_size=60
    ),
    hold=st.integers(0, 60),
    keep=st.integers(0, 60),
    no_data=st.sampled_from(list(NoData)),
)
def test_events_and_states_always_agree(
    looks: list[tuple[float, float | None]], hold: int, keep: int, no_data: NoData
) -> None:
    bounds = {Level.WARNING: 5.0, Level.ERROR: 10.0, Level.CRITICAL: 20.0}
    watch = Watch(bounds=bounds, hold=hold, keep_firing_for=keep, no_data=no_data)
    now = 0.0
    for pause, value in looks:
        now += pause
        before = watch.state
        event = watch.look(now, value)
        moved = (before.phase, watch.state.phase)
        expected = {
            Event.PENDING: (Phase.INACTIVE, Phase.PENDING),
            Event.DROPPED: (Phase.PENDING, Phase.INACTIVE),
            Event.RESOLVED: (Phase.FIRING, Phase.INACTIVE),
            Event.RAISED: (Phase.FIRING, Phase.FIRING),
        }
        if event is Event.FIRED:
            assert moved in ((Phase.INACTIVE, Phase.FIRING), (Phase.PENDING, Phase.FIRING))
        elif event is Event.NONE:
            assert moved[0] is moved[1]
        else:
            assert moved == expected[event]
        if watch.state.phase is Phase.INACTIVE:
            assert watch.state == State()
        if value is None and no_data is NoData.KEEP or value != value:
            assert event is Event.NONE or no_data is NoData.ALERT


@given(
    value=st.one_of(st.none(), st.floats(), st.sampled_from([5.0, 10.0])),
    count=st.integers(0, 5),
    operator=st.sampled_from([">", ">=", "<", "<="]),
    bounds=st.sampled_from([{Level.WARNING: 5.0}, {Level.ERROR: 10.0}, {Level.WARNING: 5.0, Level.CRITICAL: 10.0}]),
    clear=st.sampled_from([None, 4.0, 12.0]),
    min_count=st.integers(1, 3),
    no_data=st.sampled_from(list(NoData)),
    on_error=st.sampled_from([None, *NoData]),
    hold=st.sampled_from([0, 30]),
    flips=st.sampled_from([(), (at(-30),)]),
)
def test_what_a_glance_finds_at_rest_a_proper_look_leaves_at_rest(
    value: float | None, count: int, flips: tuple[datetime, ...], **asked: Any
) -> None:
    condition = Condition("x", **asked)
    outcome = at_rest(condition, value, count)
    reading = judge(condition, Measurement(value, count))
    moved = step(condition, State(flips=flips), reading, now=at(0))
    is_left = moved.event is Event.NONE and moved.state.phase is Phase.INACTIVE
    if outcome is not None:
        assert (outcome, is_left, next_turn(condition, moved.state)) == (reading.verdict.outcome, True, None)
    elif value is None or math.isfinite(value):
        assert not is_left or condition.no_data is NoData.ALERT, "it takes a look that is not needed"


def test_the_next_turn_is_known_beforehand() -> None:
    watch = Watch(bounds={Level.WARNING: 5.0, Level.CRITICAL: 20.0}, hold=30, keep_firing_for=15)
    assert next_turn(watch.condition, watch.state) is None
    turns = []
    for second, value in ((0, 6), (20, 6), (30, 6), (40, 25), (50, 6), (60, 1), (70, 1)):
        watch.look(second, value)
        turn = next_turn(watch.condition, watch.state)
        turns.append(None if turn is None else (turn - NOON).total_seconds())
    assert turns == [30, 30, None, 70, None, 75, 75]


# --- Words --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "words"), [(1, "1 s"), (60, "1 min"), (90, "90 s"), (300, "5 min"), (7200, "2 h"), (86400, "1 d")]
)
def test_durations_are_said_as_people_do(seconds: int, words: str) -> None:
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("value", "bound", "words"),
    [
        (7.0, 2.0, ("7", "2")),
        (1234.5, 1000.0, ("1234", "1000")),
        (100.0004, 100.0, ("100.0004", "100")),
        (0.00012, 0.0001, ("0.00012", "0.0001")),
        (1e20, 1.0, ("1e+20", "1")),
        (float("inf"), 2.0, ("∞", "2")),
        (-3.5, 0.0, ("-3.5", "0")),
        (2.0, 2.0, ("2", "2")),
    ],
)
def test_figures_have_as_many_digits_as_it_takes_to_tell_them_apart(
    value: float, bound: float, words: tuple[str, str]
) -> None:
    assert figures(value, bound) == words


@given(value=st.floats(allow_nan=False), bound=st.floats(allow_nan=False, allow_infinity=False))
def test_two_different_numbers_never_look_the_same(value: float, bound: float) -> None:
    here, there = figures(value, bound)
    assert (here == there) == (value == bound)
