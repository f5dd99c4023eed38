"""What must hold of judging whatever happens, one test for each: the numbers are those of the facts on monitoring."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import summaries
from monitoring.actions import judging
from monitoring.judging import Condition, Level, Measurement, NoData, Sight, judge
from monitoring.models import Alert, AlertState, Incident, Threshold
from monitoring.queries import Window, aggregates
from monitoring.summaries import Sampled
from portal.verdicts import Outcome
from tests.monitoring import watching
from tests.monitoring.watching import Clock

NUMBERS = st.floats(min_value=0, max_value=1e12)


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


def _rows() -> tuple[list[tuple[str, str, str]], int, int]:
    states = AlertState.objects.order_by("pk").values_list("phase", "level", "outcome")
    return list(states), Alert.objects.count(), Incident.objects.count()


def test_4_the_same_moment_judged_twice_makes_no_new_row(clock: Clock) -> None:
    """Invariant 4, and 5 for the judge: two beats poke it at once, or one comes again with what it had seen."""
    watching.threshold()
    clock.look(1, 500)
    before = _rows()
    for _ in range(3):
        Threshold.objects.update(due_at=clock.at(1))
        judging.run(now=clock.at(1))
    assert _rows() == before


def test_5_no_beat_for_ten_minutes_loses_and_doubles_nothing(clock: Clock) -> None:
    """Invariant 5: nobody judged for ten minutes; then the newest moment is judged, and what fired still fires."""
    watching.threshold()
    clock.look(1, 500)
    clock.look(601, 600)
    assert [(one.status, one.level) for one in Alert.objects.all()] == [("firing", "error")]
    assert Incident.objects.count() == 1


SICK = [float("nan"), float("inf"), float("-inf")]


@pytest.mark.parametrize("value", SICK)
@pytest.mark.parametrize("policy", list(NoData))
@pytest.mark.parametrize("operator", [">", "<", ">=", "<="])
def test_12_what_is_no_number_is_never_true_and_never_fine(value: float, policy: NoData, operator: str) -> None:
    """Invariant 12, of the judge."""
    condition = Condition("x", operator, {Level.ERROR: 1.0}, no_data=policy)
    reading = judge(condition, Measurement(value, 10))
    assert reading.sight is Sight.BROKEN
    assert reading.verdict.outcome is not Outcome.PASSED
    assert reading.level is None


@pytest.mark.parametrize("aggregation", ["mean", "min", "max", "sum", "count", "stddev", "p95", "last"])
def test_12_one_sick_sample_poisons_no_window(clock: Clock, aggregation: str) -> None:
    """Invariant 12, of the store: NaN and infinity are turned away, -0.0 and 1e308 are numbers like others."""
    watching.place()
    for second, value in enumerate((1.0, -0.0, 1e308, 1e308)):
        clock.send(second, value)
    for value in SICK:
        with pytest.raises(AssertionError, match="rejected=1"):
            clock.send(5, value)
    found = aggregates([Window("latency_ms", aggregation, 60)], now=clock.at(6))[0][0]
    assert found.count == 4
    assert found.value is not None
    assert math.isfinite(found.value)


@settings(max_examples=60, deadline=None)
@given(st.lists(NUMBERS, min_size=2, max_size=30), st.integers(1, 29))
def test_13_a_counter_never_shrinks_and_its_parts_are_its_whole(values: list[float], cut: int) -> None:
    """Invariant 13: resets and wraps are growth of what came after; adjacent buckets sum to the whole."""
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    samples = [Sampled(begin + timedelta(seconds=n), value) for n, value in enumerate(values)]
    whole = summaries.of(samples)
    assert whole is not None
    by_hand = math.fsum(max(b - a, 0) if b >= a else b for a, b in pairwise(values))
    assert whole.increase is not None
    assert whole.increase >= 0
    assert math.isclose(whole.increase, by_hand, rel_tol=1e-9, abs_tol=1e-6)
    # No spike: never more than all that was counted.
    assert whole.increase <= math.fsum(values) + 1e-6
    cut = min(cut, len(samples) - 1)
    left, right = summaries.of(samples[:cut]), summaries.of(samples[cut:], base=values[cut - 1])
    assert left is not None
    assert right is not None
    together = (left.increase or 0.0) + (right.increase or 0.0)
    assert math.isclose(together, whole.increase, rel_tol=1e-9, abs_tol=1e-6)


@pytest.mark.parametrize("operator", [">", "<"])
def test_14_no_data_is_not_nought(clock: Clock, operator: str) -> None:
    """Invariant 14: without a sample a bound below which nought would lie is neither broken nor kept."""
    watched = watching.threshold(operator=operator, error=10)
    clock.look(1)
    state = watching.state(watched)
    assert (state.phase, state.outcome, state.value) == ("inactive", "inconclusive", None)


def test_14_a_judge_that_is_dead_resolves_nothing(clock: Clock) -> None:
    """Invariant 14: neither time nor silence is evidence."""
    watching.threshold()
    clock.look(1, 500)
    assert Alert.objects.get().status == "firing"
    clock.look(7200)  # two hours later; nobody judged and nothing was measured
    assert Alert.objects.get().status == "firing"
    assert Incident.objects.get().status == "triggered"
