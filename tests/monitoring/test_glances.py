"""Thresholds at rest: told from the others without being fetched, and never mistaken for them."""

from typing import Any

import pytest

from monitoring.actions import judging, thresholds
from monitoring.models import Alert, AlertState, Metric, Series, Threshold
from monitoring.queries.matched import Memory
from tests.monitoring import watching
from tests.monitoring.watching import BY, LABELS, Clock, state, the_alert

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock() -> Clock:
    judging.forget_all()
    return Clock()


def look(clock: Clock, second: float) -> None:
    Threshold.objects.update(due_at=clock.at(second))
    judging.run(now=clock.at(second))


def rest(clock: Clock, **spec: Any) -> Threshold:
    """A threshold that was found at rest."""
    made = watching.threshold(**spec)
    clock.look(1, 100)
    assert (state(made).outcome, Alert.objects.count()) == ("passed", 0)
    return made


def test_those_at_rest_cost_no_row_of_theirs(clock: Clock, django_assert_num_queries: Any) -> None:
    for number in range(12):
        watching.threshold(f"t{number}", aggregation=["mean", "p95", "last"][number % 3])
    clock.look(1, 100)
    Threshold.objects.update(due_at=clock.at(2))
    # The claim in its transaction (4), the newest series, four kinds of windows at the most, who has moved.
    with django_assert_num_queries(10, exact=False) as asked:
        assert judging.run(now=clock.at(2)) == 12
    said = [one["sql"] for one in asked]
    assert not [sql for sql in said if '"monitoring_threshold"."name"' in sql or '"monitoring_alertstate"."id"' in sql]
    assert not [sql for sql in said if "UPDATE monitoring_alertstate" in sql]


def test_what_breaks_its_bound_after_a_rest_fires_and_says_why(clock: Clock) -> None:
    rest(clock)
    look(clock, 2)
    clock.look(3, 800)
    assert (the_alert().status, the_alert().reason) == ("firing", "latency 450 > 300 over the last 1 min (n=2)")
    clock.look(70, 100)
    assert the_alert().status == "resolved"


def test_another_bound_holds_from_the_next_look_on(clock: Clock) -> None:
    made = rest(clock)
    thresholds.change(made, {"error": 50}, by=BY, partly=True)
    look(clock, 2)
    assert the_alert().status == "firing"


def test_data_that_ends_is_written_down(clock: Clock) -> None:
    made = rest(clock)
    look(clock, 100)
    assert (state(made).outcome, state(made).reason) == ("inconclusive", "latency: no data in the last 1 min")


def test_no_data_that_is_an_alert_is_one_after_a_rest(clock: Clock) -> None:
    rest(clock, no_data="alert")
    look(clock, 100)
    assert the_alert().status == "firing"


def test_a_state_that_somebody_else_has_turned_is_looked_at(clock: Clock) -> None:
    """Another judge has fired it by samples that are out of the window now."""
    made = rest(clock)
    look(clock, 2)
    AlertState.objects.filter(threshold=made).update(phase="firing", level="error", seen_at=clock.at(2))
    clock.send(3, 100)
    look(clock, 3)
    assert state(made).phase == "inactive"


def test_one_that_was_removed_is_not_judged(clock: Clock) -> None:
    made = rest(clock)
    thresholds.delete(made, by=BY)
    clock.send(2, 5000)
    assert judging.run(now=clock.at(3)) == 0


# --- Which series -------------------------------------------------------------------------------
def test_a_new_series_counts_from_its_first_sample(clock: Clock) -> None:
    rest(clock)
    clock.send(2, 5000, labels={**LABELS, "pod": "b"})
    look(clock, 3)
    assert the_alert().reason.endswith("(n=2)")


def test_a_new_series_of_other_labels_does_not(clock: Clock) -> None:
    made = rest(clock)
    clock.send(2, 5000, labels={"pod": "b"})
    look(clock, 3)
    assert state(made).phase == "inactive"


def test_a_deleted_series_no_longer_counts(clock: Clock) -> None:
    made = rest(clock)
    clock.send(2, 200, labels={**LABELS, "pod": "b"})
    look(clock, 3)
    Series.objects.filter(labels=LABELS).delete()
    clock.send(3, 290, labels={**LABELS, "pod": "c"})
    thresholds.change(made, {"error": 240}, by=BY, partly=True)
    look(clock, 4)
    assert the_alert().value == 245


def test_a_metric_that_was_made_anew_is_another(clock: Clock) -> None:
    rest(clock)
    look(clock, 2)
    Metric.objects.filter(name="latency_ms").delete()
    look(clock, 3)
    clock.send(4, 5000)
    look(clock, 5)
    assert the_alert().reason.endswith("(n=1)")


def test_the_memory_answers_as_the_index_does(clock: Clock, django_assert_num_queries: Any) -> None:
    memory = Memory(1000)
    asked = [("latency_ms", b"{}"), ("latency_ms", b'{"pod":"a"}'), ("latency_ms", b'{"pod":"a","zone":"x"}')]

    def found() -> list[int]:
        memory.refresh([*asked, ("never_heard_of", b"{}")])
        return [len(memory.series(*one)) for one in (*asked, ("never_heard_of", b"{}"))]

    assert found() == [0, 0, 0, 0]
    clock.send(1, 1, labels={"pod": "a", "zone": "x"})
    assert found() == [1, 1, 1, 0]
    clock.send(2, 1, labels={"pod": "a"})
    clock.send(3, 1, labels={"pod": "b", "zone": "x"})
    assert found() == [3, 2, 1, 0]
    with django_assert_num_queries(1):
        assert found() == [3, 2, 1, 0]
    assert Memory(1000).series("latency_ms", b"{}") == ()


def test_the_memory_stays_within_its_size(clock: Clock) -> None:
    memory = Memory(5)
    clock.send(1, 1)
    for number in range(20):
        memory.refresh([("latency_ms", b'{"service":"checkout"}'), ("latency_ms", b'{"n":"%d"}' % number)])
        assert len(memory.series("latency_ms", b'{"service":"checkout"}')) == 1
    assert len(memory._metrics["latency_ms"].answers) <= 7
