"""What windows answer: sums, growth across resets, ratios, percentiles; and that no data is not zero."""

import math
import statistics
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitoring import queries
from monitoring.actions import metrics, observations
from monitoring.models import Metric, Sample, Series
from monitoring.queries import Aggregate, Window
from portal import jobs
from portal.audit import Automaton

pytestmark = pytest.mark.django_db
BY = Automaton("test")
NUMBER = count(1)


@pytest.fixture
def now() -> datetime:
    return jobs.database_now()


def send(now: datetime, metric: str, values: dict[float, Any], **labels: str) -> None:
    """{seconds ago: value}."""
    batch = [
        {"metric": metric, "value": value, "time": now - timedelta(seconds=ago), "labels": labels}
        for ago, value in values.items()
    ]
    done = metrics.record(batch, by=BY)
    assert done.accepted == len(batch), done


def ask(now: datetime, *args: Any, **kwargs: Any) -> Aggregate:
    ((answer,),) = queries.aggregates([Window(*args, **kwargs)], now=now)
    return answer


@pytest.mark.parametrize(
    ("aggregation", "value"),
    [("mean", 5.0), ("min", 2.0), ("max", 9.0), ("sum", 20.0), ("count", 4.0), ("last", 9.0), ("p50", 4.5)]
    + [("stddev", statistics.pstdev([2, 4, 5, 9])), ("p0", 2.0), ("p100", 9.0), ("p99.9", 8.988)],
)
def test_each_aggregation_over_all_matching_series(now: datetime, aggregation: str, value: float) -> None:
    send(now, "latency", {50: 2, 40: 4}, service_name="a", pod="1")
    send(now, "latency", {30: 5, 20: 9}, service_name="a", pod="2")
    send(now, "latency", {30: 1000}, service_name="b")
    send(now, "latency", {61: 1000}, service_name="a", pod="1")
    send(now, "other", {30: 1000}, service_name="a")
    answer = ask(now, "latency", aggregation, 60, {"service_name": "a"})
    assert answer.value == pytest.approx(value)
    assert answer.count == 4
    assert answer.newest == now - timedelta(seconds=20)
    assert answer.oldest == now - timedelta(seconds=50)


@pytest.mark.parametrize("aggregation", ["mean", "sum", "count", "min", "last", "stddev", "p95", "rate", "increase"])
def test_an_empty_window_has_no_value_rather_than_zero(now: datetime, aggregation: str) -> None:
    send(now, "errors_total", {500: 1})
    for metric in ("errors_total", "never_seen"):
        assert ask(now, metric, aggregation, 60) == Aggregate(None, 0)


def test_each_series_is_answered_for_itself_also_the_silent_one(now: datetime) -> None:
    send(now, "cpu", {10: 1, 20: 3}, host="a")
    send(now, "cpu", {10: 7}, host="b")
    send(now, "cpu", {600: 7}, host="c")
    (answers,) = queries.aggregates([Window("cpu", "mean", 60, each_series=True)], now=now)
    assert [(answer.labels, answer.value, answer.count) for answer in answers] == [
        ({"host": "a"}, 2, 2),
        ({"host": "b"}, 7, 1),
        ({"host": "c"}, None, 0),
    ]


def test_a_counter_grows_by_its_rises_and_after_a_reset_by_the_whole_new_value(now: datetime) -> None:
    send(now, "requests_total", {70: 100, 50: 110, 30: 5, 10: 25})
    answer = ask(now, "requests_total", "increase", 60)
    assert answer.value == 10 + 5 + 20
    assert answer.count == 3  # the base before the window is no sample of the window
    assert ask(now, "requests_total", "rate", 60).value == pytest.approx(35 / 60)


def test_a_counter_seen_once_has_not_grown_by_its_value(now: datetime) -> None:
    send(now, "requests_total", {10: 1_000_000})
    assert ask(now, "requests_total", "increase", 60).value is None


def test_a_base_from_long_ago_is_none(now: datetime) -> None:
    send(now, "requests_total", {4000: 1, 30: 500, 10: 501})
    assert ask(now, "requests_total", "increase", 60).value == 1


@given(values=st.lists(st.integers(0, 1000), min_size=2, max_size=30), cut=st.integers(1, 29))
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
def test_growth_over_adjacent_windows_sums_to_the_growth_over_both(now: datetime, values: list[int], cut: int) -> None:
    cut = min(cut, len(values))
    metric = f"growth_{next(NUMBER)}_total"
    send(now, metric, {120 - 2 * place: value for place, value in enumerate(values)})
    # The windows meet between two samples; the first begins before all.
    edge = 120 - 2 * cut + 1
    whole = ask(now, metric, "increase", 300)
    first = ask(now, metric, "increase", 300 - edge, back=edge)
    second = ask(now, metric, "increase", edge)
    assert (first.value or 0) + (second.value or 0) == whole.value
    assert whole.value >= 0


def test_a_ratio_divides_two_growths_and_counts_the_denominator(now: datetime) -> None:
    for pod in ("1", "2"):
        send(now, "errors_total", {90: 0, 30: 3}, pod=pod)
        send(now, "requests_total", {90: 100, 30: 150}, pod=pod)
    answer = ask(now, "errors_total", "mean", 60, denominator="requests_total")
    assert answer.value == pytest.approx(6 / 100)
    assert answer.count == 100


@pytest.mark.parametrize(
    ("errors", "requests"), [({30: 0, 10: 5}, {}), ({}, {30: 0, 10: 5}), ({30: 1, 10: 2}, {30: 7, 10: 7})]
)
def test_a_ratio_without_data_on_one_side_or_without_requests_has_no_value(
    now: datetime, errors: dict[float, int], requests: dict[float, int]
) -> None:
    send(now, "errors_total", errors)
    send(now, "requests_total", requests)
    assert ask(now, "errors_total", "increase", 60, denominator="requests_total") == Aggregate(None, 0)


def test_a_ratio_of_each_series_pairs_those_of_equal_labels(now: datetime) -> None:
    send(now, "errors_total", {50: 0, 30: 3}, pod="1")
    send(now, "errors_total", {50: 0, 30: 1}, pod="2")
    send(now, "requests_total", {50: 0, 30: 10}, pod="2")
    send(now, "requests_total", {50: 0, 30: 6}, pod="1")
    (answers,) = queries.aggregates(
        [Window("errors_total", "increase", 60, denominator="requests_total", each_series=True)], now=now
    )
    assert [(answer.labels["pod"], answer.value, answer.count) for answer in answers] == [("1", 0.5, 6), ("2", 0.1, 10)]


def test_the_same_window_yesterday(now: datetime) -> None:
    send(now, "load", {10: 8, 86_400 + 10: 2, 86_400 - 10: 100})
    assert ask(now, "load", "mean", 60, back=86_400).value == 2
    assert ask(now, "load", "mean", 60).value == 8


def test_a_sample_that_a_fast_clock_put_ahead_counts_now(now: datetime) -> None:
    send(now, "load", {-5: 8})
    assert ask(now, "load", "mean", 60).value == 8


def test_values_at_the_edge_of_what_a_float_holds_do_not_stop_the_judge(now: datetime) -> None:
    send(now, "wild", {10: 1.7e308, 20: 1.7e308, 30: -1.7e308, 40: 5e-324, 45: 1.7e308, 46: -0.0})
    windows = [
        Window("wild", name, 60) for name in ("mean", "sum", "increase", "rate", "stddev", "p50", "p99", "min", "max")
    ]
    for window, (answer,) in zip(windows, queries.aggregates(windows, now=now), strict=True):
        assert answer.value is not None, window
        assert math.isfinite(answer.value), window
    assert ask(now, "wild", "mean", 60).value == pytest.approx(1.7e308 / 3)
    assert ask(now, "wild", "stddev", 60).value == pytest.approx(float(np.std([1.7, 1.7, -1.7, 0, 1.7, 0])) * 1e308)


def test_a_histogram_metric_counts_observations_not_samples(now: datetime) -> None:
    metrics.define("duration", type="histogram", by=BY)
    shape = {"count": 8, "sum": 14.0, "buckets": [[1, 5], [2, 1], ["+Inf", 2]], "max": 4}
    send(now, "duration", {30: shape, 20: shape, 10: 9.0})
    assert ask(now, "duration", "count", 60).value == 17
    assert ask(now, "duration", "mean", 60).value == pytest.approx((14 + 14 + 9) / 17)
    assert ask(now, "duration", "max", 60).value == 9
    assert ask(now, "duration", "increase", 60).value == 17
    assert ask(now, "duration", "p50", 60).count == 17


def test_percentiles_of_explicit_buckets_are_those_of_histogram_quantile(now: datetime) -> None:
    shape = {"count": 8, "sum": 14.0, "buckets": [[1, 5], [2, 1], [4, 2]]}
    send(now, "duration", {30: shape, 20: shape})
    assert ask(now, "duration", "p50", 60).value == pytest.approx(8 / 10)
    assert ask(now, "duration", "p95", 60).value == pytest.approx(2 + 2 * (15.2 - 12) / 4)


def test_ratings_are_averaged_by_person_not_by_bucket(now: datetime) -> None:
    early = [
        {"metric": "satisfaction", "key": f"a{n}", "value": 5, "time": now - timedelta(seconds=60)} for n in range(9)
    ]
    late = [{"metric": "satisfaction", "key": "b", "value": 1, "time": now - timedelta(seconds=30)}]
    observations.record(early + late, by=BY)
    answer = ask(now, "satisfaction", "mean", 120)
    assert answer.value == pytest.approx(4.6)
    assert answer.count == 10
    assert ask(now, "satisfaction", "p50", 120).value == pytest.approx(5, rel=0.01)
    assert ask(now, "satisfaction", "stddev", 120).value == pytest.approx(1.2, rel=0.05)


def test_the_number_of_queries_does_not_grow_with_the_number_of_windows(now: datetime) -> None:
    names = ("mean", "max", "rate", "increase", "p95", "stddev", "last")
    for pod in range(30):
        send(now, "load", {10: pod, 20: pod}, pod=str(pod))

    def cost(pods: int) -> int:
        windows = [Window("load", name, 60, {"pod": str(pod)}) for name in names for pod in range(pods)]
        with CaptureQueriesContext(
            connection,
        ) as seen:
            answers = queries.aggregates(windows, now=now)
        assert all(answer.count for (answer,) in answers)
        return len(seen)

    assert cost(1) == cost(30) <= 4


def test_windows_that_ask_the_same_get_the_same_answer_from_one_row(now: datetime) -> None:
    send(now, "load", {10: 1, 20: 3})
    answers = queries.aggregates(
        [Window("load", "mean", 60), Window("load", "max", 60), Window("load", "mean", 60)], now=now
    )
    assert [answer.value for (answer,) in answers] == [2, 3, 2]


def test_an_unknown_aggregation_is_named() -> None:
    assert queries.is_aggregation("p99.95")
    assert not queries.is_aggregation("p101")
    with pytest.raises(ValueError, match="'median'"):
        queries.aggregates([Window("load", "median")], now=jobs.database_now())


def test_old_days_are_left_out_of_the_plan(now: datetime) -> None:
    send(now, "load", {10: 1})
    with CaptureQueriesContext(connection) as seen:
        ask(now, "load", "mean", 60)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + seen[-1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    yesterday = f"monitoring_sample_{now - timedelta(days=1):%Y%m%d}"
    assert f"monitoring_sample_{now:%Y%m%d}" in plan
    if now.hour or now.minute > 5:
        assert yesterday not in plan


def test_the_latest_sample_of_each_series(now: datetime) -> None:
    send(now, "load", {90_000: 1, 50: 2, 10: 3}, host="a")
    send(now, "load", {90_000: 7}, host="b")
    series = {one.labels["host"]: one.pk for one in queries.matching("load", {})}
    found = queries.latest(series.values())
    assert {host: found[pk].value for host, pk in series.items()} == {"a": 3, "b": 7}


def test_a_chart_takes_each_step_together(now: datetime) -> None:
    send(now, "load", {55: 1, 52: 3, 45: 10, 5: 7}, host="a")
    (series,) = queries.matching("load", {"host": "a"})
    since = now - timedelta(seconds=60)
    (raw,) = queries.points([series.pk], since=since, until=now)
    assert [point.value for point in raw.points] == [1, 3, 10, 7]
    (line,) = queries.chart([series.pk], since=since, until=now, step=timedelta(seconds=10), now=now).lines
    assert [(point.value, point.low, point.high, point.count) for point in line.points] == [
        (2, 1, 3, 2),
        (10, 10, 10, 1),
        (7, 7, 7, 1),
    ]


def test_labels_are_found_by_their_index_together_with_the_metric() -> None:
    one, other = (Metric.objects.create(name=name) for name in ("one", "other"))
    for metric in (one, other):
        Series.objects.create(metric=metric, labels={"host": "a"}, fingerprint="0" * 32)
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_indexscan = off")
        with CaptureQueriesContext(connection) as seen:
            queries.aggregates([Window("one", "mean", 60, {"host": "a"}, each_series=True)], now=jobs.database_now())
        (statement,) = [one["sql"] for one in seen if "WITH asked" in one["sql"]]
        cursor.execute("EXPLAIN " + statement)
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "series_by_labels" in plan
    assert Sample.objects.count() == 0
