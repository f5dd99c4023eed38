"""Rollups equal what is recomputed from the samples, whatever came late, twice or in which order."""

import math
import random
import statistics
import threading
from collections import defaultdict
from datetime import datetime, timedelta
from itertools import count
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django.fixtures import Settings

from monitoring import queries, summaries, tasks
from monitoring.actions import metrics, observations, partitions, rollups
from monitoring.histogram import Explicit, Histogram
from monitoring.models import DirtyBucket, HourRollup, Metric, MinuteRollup, Sample, Series
from monitoring.queries.rollups import floor
from monitoring.summaries import Sampled, Summary
from portal import jobs
from portal.audit import Automaton
from portal.models import Heartbeat

BY = Automaton("test")
NUMBER = count(1)
MINUTE = timedelta(minutes=1)
slow = settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


@pytest.fixture
def start() -> datetime:
    """The beginning of an hour four to five hours ago: it and the next two are over."""
    return floor(jobs.database_now(), 3600) - timedelta(hours=4)


def send(metric: str, values: dict[datetime, Any], **labels: str) -> None:
    batch = [{"metric": metric, "value": value, "time": time, "labels": labels} for time, value in values.items()]
    done = metrics.record(batch, by=BY)
    assert done.rejected == 0, done


def series_of(metric: str) -> int:
    return Series.objects.get(metric__name=metric).pk


def minutes(metric: str) -> dict[datetime, MinuteRollup]:
    return {row.time: row for row in MinuteRollup.objects.filter(series=series_of(metric))}


def hours(metric: str) -> dict[datetime, HourRollup]:
    return {row.time: row for row in HourRollup.objects.filter(series=series_of(metric))}


def again(row: MinuteRollup | HourRollup) -> Summary:
    """The row as the summary that it keeps."""
    kept = summaries.distribution(row.histogram, count=row.count, total=row.total, low=row.low, high=row.high)
    return Summary(
        *(row.samples, row.count, row.total, row.squares, row.low, row.high, row.first, row.last),
        *(row.first_time, row.last_time, row.increase, kept),
    )


def recomputed(metric: str, width: int) -> dict[datetime, Summary]:
    """Each bucket from the samples as they lie in the store, by the pure sums."""
    by_bucket: dict[datetime, list[Sampled]] = defaultdict(list)
    for one in Sample.objects.filter(series=series_of(metric)).order_by("time"):
        by_bucket[floor(one.time, width)].append(Sampled(one.time, one.value))
    made, base = {}, None
    for bucket, some in by_bucket.items():
        made[bucket] = summaries.of(some, base=base)
        base = some[-1].value
    return {bucket: summary for bucket, summary in made.items() if summary is not None}


def close(left: float | None, right: float | None) -> bool:
    return left == right or (left is not None and right is not None and math.isclose(left, right, rel_tol=1e-9))


def assert_same(row: MinuteRollup | HourRollup, wanted: Summary) -> None:
    found = again(row)
    for name in ("samples", "count", "low", "high", "first", "last", "first_time", "last_time"):
        assert getattr(found, name) == getattr(wanted, name), name
    for name in ("total", "increase"):
        assert close(getattr(found, name), getattr(wanted, name)), name
    assert found.squares == pytest.approx(wanted.squares, rel=1e-6, abs=1e-6 * max(1.0, abs(wanted.total)))


# --- Against recomputation ----------------------------------------------------------------------
TIMES_AND_VALUES = st.dictionaries(
    st.integers(0, 7_199), st.integers(-1000, 1000).map(lambda n: n / 8), min_size=1, max_size=40
)


@pytest.mark.django_db
@given(values=TIMES_AND_VALUES, seed=st.integers(0, 1000), kind=st.sampled_from(["gauge", "counter"]))
@slow
def test_shuffled_late_and_repeated_samples_come_to_what_the_store_says(
    start: datetime, values: dict[int, float], seed: int, kind: str
) -> None:
    """Invariant 8; and 13: the growth of all buckets is the growth of the whole."""
    metric = f"load_{next(NUMBER)}"
    metrics.define(metric, type=kind, by=BY)
    chance = random.Random(seed)
    order = list(values)
    chance.shuffle(order)
    places = sorted(chance.choices(range(len(order) + 1), k=2))
    parts = [order[: places[0]], order[places[0] : places[1]], order[places[1] :]]
    for part in [*parts, *parts]:
        if part:
            send(metric, {start + timedelta(seconds=second): values[second] for second in part})
            rollups.roll_up()
    assert not DirtyBucket.objects.exists()
    for width, rows in ((60, minutes(metric)), (3600, hours(metric))):
        wanted = recomputed(metric, width)
        assert rows.keys() == wanted.keys()
        for bucket, summary in wanted.items():
            assert_same(rows[bucket], summary)
    growth = summaries.of([Sampled(start + timedelta(seconds=at), values[at]) for at in sorted(values)])
    assert growth is not None
    for rows in (minutes(metric), hours(metric)):
        grown = [row.increase for row in rows.values() if row.increase is not None]
        assert close(math.fsum(grown) if grown else None, growth.increase)


@pytest.mark.django_db
@given(values=st.lists(st.floats(0.001, 1e6) | st.floats(-1e6, -0.001) | st.just(0.0), min_size=1, max_size=60))
@slow
def test_percentiles_of_minutes_and_hours_are_within_one_percent(start: datetime, values: list[float]) -> None:
    metric = f"latency_{next(NUMBER)}"
    send(metric, {start + timedelta(seconds=7 * place): value for place, value in enumerate(values)})
    rollups.roll_up()
    (hour,) = hours(metric).values()
    merged = summaries.merge(again(row) for row in minutes(metric).values())
    ordered = sorted(values)
    for percent in (0, 10, 50, 90, 99, 100):
        true = ordered[int(percent / 100 * (len(ordered) - 1))]
        for found in (again(hour), merged):
            assert found is not None
            value = found.value(f"p{percent}", 3600)
            assert value == pytest.approx(true, rel=0.0101)


@given(left=st.lists(st.floats(-1e9, 1e9)), right=st.lists(st.floats(-1e9, 1e9)))
def test_merged_histograms_are_the_histogram_of_all(left: list[float], right: list[float]) -> None:
    """Invariant 9."""
    both = Histogram.of(left)
    both.merge(Histogram.of(right))
    whole = Histogram.of([*left, *right])
    assert (both.count, both.zero, both.positive, both.negative, both.low, both.high) == (
        *(whole.count, whole.zero, whole.positive, whole.negative, whole.low, whole.high),
    )
    assert both.sum == pytest.approx(whole.sum, abs=1e-3)


@given(values=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50), cuts=st.sets(st.integers(1, 49), max_size=4))
def test_summaries_of_parts_merge_to_the_summary_of_all(values: list[float], cuts: set[int]) -> None:
    began = datetime.fromisoformat("2040-01-01T00:00:00+00:00")
    samples = [Sampled(began + timedelta(seconds=place), value) for place, value in enumerate(values)]
    edges = [0, *sorted(cut for cut in cuts if cut < len(samples)), len(samples)]
    parts = []
    for left, right in zip(edges, edges[1:], strict=False):
        base = samples[left - 1].value if left else None
        if (made := summaries.of(samples[left:right], base=base)) is not None:
            parts.append(made)
    whole, merged = summaries.of(samples), summaries.merge(reversed(parts))
    assert whole is not None
    assert merged is not None
    for name in ("samples", "count", "low", "high", "first", "last", "first_time", "last_time"):
        assert getattr(merged, name) == getattr(whole, name)
    assert merged.total == pytest.approx(whole.total, abs=1e-6)
    assert merged.increase == pytest.approx(whole.increase, abs=1e-6)
    assert merged.deviation() == pytest.approx(statistics.pstdev(values), rel=1e-6, abs=1e-6)
    if merged.distribution is not None and isinstance(whole.distribution, Histogram):
        assert isinstance(merged.distribution, Histogram)
        assert merged.distribution.positive == whole.distribution.positive


# --- Single cases -------------------------------------------------------------------------------
@pytest.mark.django_db
def test_growth_goes_across_edges_and_resets_and_a_late_sample_moves_the_next_base(start: datetime) -> None:
    """Invariant 13."""
    send("hits_total", {start + timedelta(seconds=10): 100, start + timedelta(seconds=70): 130})
    send("hits_total", {start + timedelta(hours=2): 10})  # restarted long after
    rollups.roll_up()
    assert [row.increase for _, row in sorted(minutes("hits_total").items())] == [None, 30, 10]
    send("hits_total", {start + timedelta(seconds=50): 120, start + timedelta(seconds=90): 150})
    rollups.roll_up()
    assert [row.increase for _, row in sorted(minutes("hits_total").items())] == [20, 30, 10]
    assert [row.increase for _, row in sorted(hours("hits_total").items())] == [50, 10]


@pytest.mark.django_db
@pytest.mark.parametrize("values", [[1e308, 1e308, 1.7e308], [-0.0, 0.0], [1e-300, 1e300], [5.0]])
def test_what_is_huge_tiny_or_minus_zero_poisons_nothing(start: datetime, values: list[float]) -> None:
    """Invariant 12, of rollups."""
    send("load", {start + timedelta(seconds=place): value for place, value in enumerate(values)})
    rollups.roll_up()
    for row in (*minutes("load").values(), *hours("load").values()):
        assert row.count == len(values)
        assert (row.low, row.high) == (min(values), max(values))
        assert all(math.isfinite(number) for number in (row.total, row.squares, row.increase or 0.0))


@pytest.mark.django_db
def test_distributions_of_equal_bounds_stay_exact_and_single_values_join_them(start: datetime) -> None:
    metrics.define("seconds", type="histogram", by=BY)
    one = {"count": 3, "sum": 1.5, "buckets": [[0.5, 2], [1, 1]]}
    send("seconds", {start + timedelta(seconds=second): one for second in (0, 30, 60, 4000)})
    rollups.roll_up()
    first = again(minutes("seconds")[start])
    assert (first.samples, first.count, first.total, first.increase) == (2, 6, 3.0, 6)
    assert first.distribution == Explicit((0.5, 1.0), (4, 2, 0), 3.0, first.low, first.high)
    hour = again(hours("seconds")[start])
    assert isinstance(hour.distribution, Explicit)
    assert (hour.count, hour.distribution.counts) == (9, (6, 3, 0))
    send("seconds", {start + timedelta(seconds=5): 0.25})
    rollups.roll_up()
    assert minutes("seconds")[start].count == 7
    assert hours("seconds")[start].count == 10


@pytest.mark.django_db
def test_observations_are_rolled_up_as_one_by_one(start: datetime) -> None:
    given_ = [{"metric": "ratings", "key": str(n), "value": n % 5 + 1, "time": start} for n in range(10)]
    observations.record(given_, by=BY)
    observations.record(given_, by=BY)
    rollups.roll_up()
    row = minutes("ratings")[start]
    assert (row.samples, row.count, row.total, row.low, row.high) == (1, 10, 30, 1, 5)


@pytest.mark.django_db
def test_a_bucket_that_is_not_over_waits_and_one_that_is_over_is_done_once() -> None:
    now = floor(jobs.database_now(), 60)
    send("load", {now - timedelta(seconds=1): 1.0})
    assert rollups.roll_up(now=now) == 0
    assert DirtyBucket.objects.count() == 1
    assert rollups.roll_up(now=now + timedelta(seconds=10)) == 1
    assert rollups.roll_up(now=now + timedelta(seconds=10)) == 0
    assert MinuteRollup.objects.count() == 1
    assert not HourRollup.objects.exists()
    assert rollups.roll_up(now=now + timedelta(hours=1, minutes=2)) == 1
    assert HourRollup.objects.count() == 1


@pytest.mark.django_db
def test_a_batch_sent_three_times_marks_once_and_changes_no_sum(start: datetime) -> None:
    """Invariant 7."""
    values = {start + timedelta(seconds=second): float(second) for second in range(100)}
    send("load", values)
    assert sorted(DirtyBucket.objects.values_list("time", flat=True)) == [start, start + MINUTE]
    rollups.roll_up()
    before = list(MinuteRollup.objects.values())
    for _ in range(2):
        send("load", values)
    assert not DirtyBucket.objects.exists()
    assert rollups.roll_up() == 0
    assert list(MinuteRollup.objects.values()) == before


@pytest.mark.django_db
def test_a_bucket_whose_samples_are_gone_keeps_what_it_holds(start: datetime) -> None:
    """Invariant 10: what is left of the samples never replaces what was rolled up of all."""
    send("load", {start: 1.0, start + timedelta(seconds=1): 3.0})
    rollups.roll_up()
    Sample.objects.filter(time=start).delete()
    DirtyBucket.objects.create(resolution=60, time=start, series=[series_of("load")])
    rollups.roll_up(now=start + timedelta(days=4))
    assert [row.total for row in minutes("load").values()] == [4.0]
    assert not DirtyBucket.objects.exists()


@pytest.mark.django_db
def test_what_is_later_than_the_horizon_is_counted_and_marks_nothing(settings: Settings) -> None:
    """Invariants 10 and 11."""
    now = jobs.database_now()
    old = now - timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS, seconds=1)
    ahead = now + timedelta(seconds=70)
    done = metrics.record([{"metric": "load", "value": 1, "time": time} for time in (old, ahead)], by=BY)
    assert (done.accepted, done.rejected) == (0, 2)
    assert not DirtyBucket.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_samples_that_arrive_while_their_bucket_is_recomputed_are_not_lost(start: datetime) -> None:
    send("load", {start: 1.0})

    def write() -> None:
        try:
            send("load", {start + timedelta(seconds=1): 2.0})
        finally:
            connections.close_all()

    class Meanwhile:
        """When the marks have been read, and before they go, another batch is committed."""

        done = False

        def __call__(self, execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if not self.done and "INSERT INTO monitoring_minuterollup" in sql:
                self.done = True
                result = execute(sql, params, many, context)
                writer = threading.Thread(target=write)
                writer.start()
                writer.join()
                return result
            return execute(sql, params, many, context)

    with connection.execute_wrapper(Meanwhile()):
        rollups.roll_up()
    rollups.roll_up()
    assert [row.total for row in minutes("load").values()] == [3.0]
    assert not DirtyBucket.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_sweep_that_dies_leaves_its_marks(start: datetime) -> None:
    send("load", {start: 1.0})
    with transaction.atomic():
        assert rollups.roll_up() == 2
        transaction.set_rollback(True)
    assert not MinuteRollup.objects.exists()
    assert rollups.roll_up() == 2


@pytest.mark.django_db
def test_the_number_of_statements_does_not_grow_with_the_series(start: datetime) -> None:
    def cost(hosts: int) -> int:
        for host in range(hosts):
            send(f"load_{hosts}", {start: 1.0}, host=str(host))
        with CaptureQueriesContext(connection) as seen:
            rollups.roll_up()
        return len(seen)

    assert cost(2) == cost(12)


@pytest.mark.django_db
def test_rollups_have_their_partitions_and_lose_them_with_their_retention(settings: Settings) -> None:
    noon = datetime.fromisoformat("2040-06-10T12:00:00+00:00")
    settings.PORTAL_MINUTE_RETENTION_DAYS = 3
    partitions.keep(now=noon)
    assert {day.day for day in partitions.days(partitions.MINUTES)} == set(range(8, 14))
    assert {(month.year, month.month) for month in partitions.days(partitions.HOURS)} == {(2040, 6)}
    partitions.keep(now=noon + timedelta(days=2))
    assert {day.day for day in partitions.days(partitions.MINUTES)} == set(range(9, 16))
    later = noon + timedelta(days=settings.PORTAL_HOUR_RETENTION_DAYS + 31)
    partitions.keep(now=later)
    assert (2040, 6) not in {(month.year, month.month) for month in partitions.days(partitions.HOURS)}
    for table in ("minuterollup", "hourrollup"):
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_get_partkeydef(%s::regclass)", [f"monitoring_{table}"])
            assert cursor.fetchone() == ('RANGE ("time")',)


@pytest.mark.django_db
def test_a_sweep_out_of_time_leaves_the_rest_marked_and_tells_how_much(
    start: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rollups, "BUCKETS_AT_ONCE", 4)
    for host in ("a", "b"):
        send("load", {start + place * MINUTE: float(place) for place in range(5)}, host=host)
    assert rollups.roll_up(within=0) == 4 + 2  # one batch of minutes, one of the hours that these are in
    assert MinuteRollup.objects.count() == 4
    assert rollups.backlog() == DirtyBucket.objects.count() == 3
    assert tasks.roll_up() == 0
    assert Heartbeat.objects.get(name="monitoring.roll_up").backlog == 0
    assert MinuteRollup.objects.count() == 10
    assert [row.total for row in HourRollup.objects.all()] == [10.0, 10.0]


@pytest.mark.django_db
def test_the_newest_minutes_take_turns_with_the_oldest(start: datetime, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollups, "MARKED_AT_ONCE", 1)
    send("load", {start + place * MINUTE: float(place) for place in range(5)})
    done: list[datetime] = []

    def note(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "INSERT INTO monitoring_minuterollup" in sql:
            done.extend(params["starts"])
        return execute(sql, params, many, context)

    with connection.execute_wrapper(note):
        rollups.roll_up()
    first_of_each = [at for place, at in enumerate(done) if at not in done[:place]]
    assert [(at - start) // MINUTE for at in first_of_each] == [0, 4, 1, 3, 2]


@pytest.mark.django_db
def test_what_one_minute_is_marked_for_many_times_is_recomputed_once(start: datetime) -> None:
    for second in range(10):
        send("load", {start + timedelta(seconds=second): float(second)})
    assert DirtyBucket.objects.count() == 10
    assert rollups.roll_up() == 2  # the minute and its hour


def test_the_sweep_is_registered() -> None:
    assert jobs.SWEEPS["monitoring.roll_up"].every == 5
    assert tasks.roll_up.name == "monitoring.roll_up"


# --- Charts -------------------------------------------------------------------------------------
def chart(metric: str, **asked: Any) -> list[queries.Point]:
    found = queries.chart([series_of(metric)], now=jobs.database_now(), **asked)
    return found.lines[0].points


@pytest.mark.django_db
@pytest.mark.parametrize("aggregation", ["mean", "min", "max", "sum", "count", "last", "increase", "rate", "stddev"])
@pytest.mark.parametrize("step", [timedelta(minutes=5), timedelta(hours=1)])
def test_a_chart_is_the_same_before_and_after_rolling_up(start: datetime, aggregation: str, step: timedelta) -> None:
    chance = random.Random(5)
    send("load", {start + timedelta(seconds=37 * place): chance.randrange(100) for place in range(200)})
    asked = {"since": start, "until": start + timedelta(hours=3), "step": step, "aggregation": aggregation}
    raw = chart("load", **asked)
    assert not MinuteRollup.objects.exists()
    assert rollups.roll_up(now=start + timedelta(hours=1, minutes=20)) > 60  # part of it
    half = chart("load", **asked)
    rollups.roll_up()
    rolled = chart("load", **asked)
    for other in (half, rolled):
        assert [one.time for one in other] == [one.time for one in raw]
        assert [one.value for one in other] == pytest.approx([one.value for one in raw])
        assert [(one.low, one.high, one.count) for one in other] == [(one.low, one.high, one.count) for one in raw]


@pytest.mark.django_db
def test_a_percentile_chart_is_within_one_percent_and_old_raw_is_not_needed(start: datetime) -> None:
    values = [float(n) for n in range(1, 181)]
    send("load", {start + timedelta(seconds=20 * place): value for place, value in enumerate(values)})
    rollups.roll_up()
    Sample.objects.all().delete()
    (point,) = chart("load", since=start, until=start + timedelta(hours=1), step=timedelta(hours=1), aggregation="p95")
    assert point.value == pytest.approx(171, rel=0.011)
    found = queries.whole([series_of("load")], since=start, until=start + timedelta(hours=2), now=jobs.database_now())
    (summary,) = found.values()
    assert (summary.count, summary.low, summary.high, summary.mean) == (180, 1, 180, 90.5)
    assert summary.deviation() == pytest.approx(statistics.pstdev(values))


@pytest.mark.django_db
def test_a_step_is_raised_to_what_is_kept(start: datetime) -> None:
    now = jobs.database_now()
    Metric.objects.create(name="load")
    for ago, step, raised in (
        (timedelta(minutes=5), 10, 10),
        (timedelta(hours=5), 90, 120),
        (timedelta(days=3), 10, 60),
        (timedelta(days=40), 60, 3600),
        (timedelta(days=1), 7200, 7200),
    ):
        found = queries.chart([], since=now - ago, until=now, step=timedelta(seconds=step), now=now)
        assert found.step == timedelta(seconds=raised)
