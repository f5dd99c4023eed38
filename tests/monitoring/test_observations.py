"""Observations: each counted once, however often and however simultaneously it is sent."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring.actions import metrics, observations
from monitoring.models import Metric, Observation, Sample, Series
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Environment

BY = Automaton("test")
AT = datetime(2040, 6, 10, 12, 0, 3, tzinfo=UTC)
NOW = AT + timedelta(minutes=1)


def rating(key: str, value: Any = 5, time: Any = AT, **labels: str) -> dict[str, Any]:
    return {"metric": "satisfaction", "key": key, "value": value, "time": time, "labels": labels}


def record(*given: Any) -> tuple[int, int, int, int]:
    done = observations.record(given, by=BY, now=NOW)
    return done.accepted, done.duplicates, done.conflicts, done.rejected


def histogram_of(sample: Sample) -> dict[str, Any]:
    assert sample.histogram is not None
    return {name: sample.histogram[name] for name in ("count", "sum", "min", "max")}


@pytest.mark.django_db
def test_ratings_of_the_same_instant_all_count() -> None:
    assert record(*[rating(f"k{n}", n) for n in (1, 2, 3, 4, 5)]) == (5, 0, 0, 0)
    sample = Sample.objects.get()
    assert sample.time == AT.replace(second=0)
    assert sample.value == 3
    assert histogram_of(sample) == {"count": 5, "sum": 15, "min": 1, "max": 5}
    observations.record([rating("a") | {"metric": "ease"}], by=BY, now=NOW)
    assert Metric.objects.get(name="ease").type == "histogram"


@pytest.mark.django_db
def test_the_same_batch_three_times_gives_the_same_sums() -> None:
    batch = [rating(f"k{n}", n % 5 + 1, AT + timedelta(seconds=n)) for n in range(40)]
    results, sums = [], []
    for _ in range(3):
        results.append(record(*batch))
        sums.append([histogram_of(sample) for sample in Sample.objects.order_by("time")])
    assert results == [(40, 0, 0, 0), (0, 40, 0, 0), (0, 40, 0, 0)]
    assert sums[0] == sums[1] == sums[2]
    assert sum(one["count"] for one in sums[0]) == 40


@pytest.mark.django_db
def test_a_late_observation_is_added_to_its_bucket() -> None:
    record(rating("a", 5))
    record(rating("b", 1, AT + timedelta(seconds=6)))
    record(rating("c", 1, AT + timedelta(seconds=7)))
    assert [histogram_of(one)["count"] for one in Sample.objects.order_by("time")] == [2, 1]


@pytest.mark.django_db
def test_the_same_key_with_another_value_is_a_conflict_and_the_first_is_kept() -> None:
    assert record(rating("a", 5), rating("a", 4), rating("a", 5)) == (1, 1, 1, 0)
    assert record(rating("a", 4)) == (0, 0, 1, 0)
    assert record(rating("a", 5, AT + timedelta(seconds=1))) == (0, 0, 1, 0)
    assert record(rating("a", 5, None)) == (0, 1, 0, 0)
    assert Observation.objects.get().value == 5


@pytest.mark.django_db
def test_a_key_is_its_series_own() -> None:
    assert record(rating("a", variant="on"), rating("a", variant="off")) == (2, 0, 0, 0)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("given", "field"),
    [
        (rating("a", "x"), "value"),
        (rating("a", {"count": 1, "sum": 1, "buckets": []}), "value"),
        (rating("a", float("nan")), "value"),
        (rating("", 1), "key"),
        (rating("k" * 201, 1), "key"),
        (rating("a\0b", 1), "key"),
        (rating(7, 1), "key"),  # type: ignore[arg-type]
        ({"metric": "satisfaction", "value": 1}, "key"),
        (rating("a", 1, NOW + timedelta(seconds=61)), "time"),
        (rating("a", 1, NOW - timedelta(hours=49)), "time"),
        (rating("a", 1, service="nowhere"), "labels.service"),
    ],
)
def test_a_wrong_observation_is_rejected_by_its_field_and_its_neighbour_kept(given: Any, field: str) -> None:
    done = observations.record([given, rating("good")], by=BY, now=NOW)
    assert (done.accepted, done.rejected) == (1, 1)
    assert (done.errors[0].index, done.errors[0].field) == (0, field)


@pytest.mark.django_db
def test_a_counter_takes_no_observations() -> None:
    metrics.record([{"metric": "clicks_total", "value": 1}], by=BY)
    done = observations.record([{"metric": "clicks_total", "key": "a", "value": 1}], by=BY)
    assert done.errors[0].message == "metric 'clicks_total' is a counter: it takes samples, no observations"


@pytest.mark.django_db(transaction=True)
def test_four_senders_at_once_into_one_bucket_lose_none_and_double_none() -> None:
    done: list[Any] = []

    def send(place: int) -> None:
        try:
            # Half of each batch is the sender's own, half is everybody's.
            own = [rating(f"{place}-{n}", 2) for n in range(50)]
            shared = [rating(f"all-{n}", 4) for n in range(50)]
            done.append(observations.record(own + shared, by=BY, now=NOW))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send, args=(place,)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(one.accepted for one in done) == 250
    assert sum(one.duplicates for one in done) == 150
    assert histogram_of(Sample.objects.get()) == {"count": 250, "sum": 600.0, "min": 2, "max": 4}


@pytest.mark.django_db(transaction=True)
def test_a_series_deleted_behind_our_back_is_made_anew() -> None:
    record(rating("a"))
    Series.objects.all().delete()
    assert record(rating("a"), rating("b")) == (2, 0, 0, 0)
    assert Observation.objects.count() == 2


@pytest.mark.django_db
def test_the_number_of_queries_does_not_grow_with_the_number_of_observations() -> None:
    def cost(size: int, metric: str) -> int:
        given = [
            {
                "metric": metric,
                "key": str(n),
                "value": n,
                "time": AT + timedelta(milliseconds=n),
                "labels": {"p": str(n % 9)},
            }
            for n in range(size)
        ]
        with CaptureQueriesContext(connection) as seen:
            assert observations.record(given, by=BY, now=NOW).accepted == size
        return len(seen)

    assert cost(1, "few") == cost(500, "many")


@pytest.mark.django_db
def test_old_observations_are_forgotten_a_day_after_their_bucket_closed() -> None:
    record(rating("a", time=NOW - timedelta(hours=47)), rating("b"))
    assert observations.forget_old(now=NOW + timedelta(hours=24)) == 0
    assert observations.forget_old(now=NOW + timedelta(hours=26)) == 1
    assert Observation.objects.get().key == "b"


@pytest.mark.django_db
def test_the_door_answers_as_the_samples_door_does() -> None:
    Environment.objects.create(key="production")
    key = keys.create("app", scopes=["ingest"], by=BY, environments=list(Environment.objects.all()))[1]
    now = jobs.database_now()

    def post(*given: Any) -> Any:
        return Client().post(
            "/api/v1/observations/",
            orjson.dumps({"observations": given}),
            content_type="application/json",
            headers={"X-API-Key": key},
        )

    good = rating("a", time=now.isoformat())
    assert post(good).json() == {"accepted": 1, "duplicates": 0, "conflicts": 0, "rejected": 0, "errors": []}
    answer = post(good, rating("b", "x", time=now.timestamp()), 5)
    assert answer.status_code == 400
    body = answer.json()
    assert [body[name] for name in ("accepted", "duplicates", "conflicts", "rejected")] == [0, 1, 0, 2]
    assert [(error["index"], error["field"]) for error in body["errors"]] == [(1, "value"), (2, "")]
    assert Series.objects.get().labels == {"environment": "production"}
    assert post(rating("c", environment="staging")).status_code == 403
    assert Client().get("/api/v1/observations/", headers={"X-API-Key": key}).status_code in (403, 405)
