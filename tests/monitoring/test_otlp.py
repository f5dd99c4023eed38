"""OpenTelemetry exports to us: what is kept, how it is counted, what each answer says, and what is refused."""

import gzip
import json
import math
import random
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import OperationalError
from django.test import Client
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service_pb2
from opentelemetry.proto.metrics.v1 import metrics_pb2

from monitoring import growth
from monitoring.actions import cumulative, metrics
from monitoring.histogram import Histogram
from monitoring.models import Metric, Rejection, Sample, Series, Standing
from monitoring.queries.windows import Window, aggregates
from portal import jobs
from tests import make

pytestmark = pytest.mark.django_db
PATH = "/ingest/otlp/v1/metrics"
PROTOBUF, JSON = "application/x-protobuf", "application/json"
DELTA: Any = 1
CUMULATIVE: Any = 2
NS = 10**9


@pytest.fixture
def now() -> int:
    """Nanoseconds, whole seconds."""
    return int(time.time()) * NS


@pytest.fixture
def key() -> str:
    return make.key("ingest")


def send(body: bytes, key: str, kind: str = PROTOBUF, **headers: str) -> Any:
    sent = {"Authorization": f"Bearer {key}", **headers}
    return Client().post(PATH, body, content_type=kind, headers=sent, CONTENT_TYPE=kind)


def request(*made: metrics_pb2.Metric, **resource: str) -> bytes:
    whole = service_pb2.ExportMetricsServiceRequest()
    one = whole.resource_metrics.add()
    for name, value in resource.items():
        one.resource.attributes.add(key=name.replace("_", ".")).value.string_value = value
    one.scope_metrics.add().metrics.extend(made)
    return bytes(whole.SerializeToString())


def point(into: Any, at: int, *, start: int = 0, **facts: Any) -> Any:
    attributes = facts.pop("attributes", {})
    made = into.data_points.add(time_unix_nano=at, start_time_unix_nano=start, **facts)
    for name, value in attributes.items():
        made.attributes.add(key=name).value.string_value = value
    return made


def counter(
    name: str, *points: tuple[int, float], start: int = 0, how: Any = CUMULATIVE, monotonic: bool = True
) -> Any:
    made = metrics_pb2.Metric(name=name, unit="1")
    made.sum.aggregation_temporality, made.sum.is_monotonic = how, monotonic
    for at, value in points:
        point(made.sum, at, start=start, as_double=value)
    return made


def gauge(name: str, at: int, value: float = 1.0, **facts: Any) -> Any:
    made = metrics_pb2.Metric(name=name)
    point(made.gauge, at, as_double=value, **facts)
    return made


def explicit(name: str, at: int, counts: list[int], *, start: int, how: Any = CUMULATIVE) -> Any:
    made = metrics_pb2.Metric(name=name, unit="s")
    made.histogram.aggregation_temporality = how
    point(
        made.histogram,
        at,
        start=start,
        count=sum(counts),
        sum=1.5,
        bucket_counts=counts,
        explicit_bounds=[0.1, 0.5, 1.0],
    )
    return made


def exponential(name: str, at: int, values: list[float], *, start: int, scale: int = 5, how: Any = CUMULATIVE) -> Any:
    """As an SDK would count them: bucket n holds base**n < value <= base**(n+1)."""
    base = 2 ** (2**-scale)
    buckets = [math.ceil(math.log(value, base)) - 1 for value in values]
    low = min(buckets)
    counts = [buckets.count(low + n) for n in range(max(buckets) - low + 1)]
    made = metrics_pb2.Metric(name=name)
    made.exponential_histogram.aggregation_temporality = how
    one = point(made.exponential_histogram, at, start=start, count=len(values), sum=sum(values), scale=scale)
    one.positive.offset = low
    one.positive.bucket_counts.extend(counts)
    return made


def measured(metric: str, aggregation: str, seconds: int = 300) -> float | None:
    return aggregates([Window(metric, aggregation, seconds)], now=jobs.database_now())[0][0].value


# --- What is kept -------------------------------------------------------------------------------
def test_resource_and_attributes_become_labels(now: int, key: str) -> None:
    make.service("checkout")
    make.environment("staging")
    body = request(
        gauge("queue.depth", now, 4.0, attributes={"feature_flag.key": "f", "http.route": "/x"}),
        service_name="checkout",
        deployment_environment_name="staging",
        service_version="1.2",
    )
    answer = send(body, key)
    assert (answer.status_code, answer.content, answer["Content-Type"]) == (200, b"", PROTOBUF)
    series = Series.objects.get()
    assert series.metric.name == "queue_depth"
    assert series.labels == {
        "service": "checkout", "environment": "staging", "release": "1.2", "flag": "f", "http_route": "/x",
    }  # fmt: skip
    assert Sample.objects.get().value == 4.0


def test_a_service_without_a_name_has_no_label(now: int, key: str) -> None:
    assert send(request(gauge("a", now), service_name="unknown_service:python"), key).content == b""
    assert Series.objects.get().labels == {}


def test_json_is_answered_in_json_and_gzip_is_opened(now: int, key: str) -> None:
    document = {
        "resourceMetrics": [{"scopeMetrics": [{"metrics": [
            {"name": "jobs", "sum": {"aggregationTemporality": 2, "isMonotonic": True, "dataPoints": [
                {"timeUnixNano": str(now), "asInt": "7", "later": {"unknown": True}}, {"asInt": "8"},
            ]}}
        ]}]}]
    }  # fmt: skip
    body = gzip.compress(json.dumps(document).encode())
    answer = send(body, key, JSON, **{"Content-Encoding": "gzip"})
    assert (answer.status_code, answer["Content-Type"]) == (200, JSON)
    assert answer.json() == {
        "partialSuccess": {"rejectedDataPoints": "1", "errorMessage": "jobs: a data point has no time"}
    }
    assert Metric.objects.get(name="jobs").type == "counter"
    assert Rejection.objects.get().reason == "jobs: a data point has no time"


def test_what_is_good_is_kept_beside_what_is_not(now: int, key: str) -> None:
    answer = send(request(gauge("a", now), gauge("b", now, float("nan")), gauge("c", now - 90 * 3600 * NS)), key)
    told = service_pb2.ExportMetricsServiceResponse.FromString(answer.content).partial_success
    assert told.rejected_data_points == 2
    assert "finite" in told.error_message
    assert [one.series.metric.name for one in Sample.objects.select_related("series__metric")] == ["a"]


def test_a_point_without_recorded_value_ends_its_series(now: int, key: str) -> None:
    send(request(gauge("a", now - NS)), key)
    gone = metrics_pb2.Metric(name="a")
    point(gone.gauge, now, flags=1)
    assert send(request(gone), key).content == b""
    assert Series.objects.get().stale_at is not None
    assert Sample.objects.count() == 1


def test_a_summary_is_its_quantiles_and_two_counters(now: int, key: str) -> None:
    made = metrics_pb2.Metric(name="took")
    one = point(made.summary, now, start=now - 60 * NS, count=3, sum=6.0)
    one.quantile_values.add(quantile=0.5, value=2.0)
    send(request(made), key)
    found = {str(one.series): one.value for one in Sample.objects.order_by("time").select_related("series__metric")}
    assert found == {'took{quantile="0.5"}': 2.0, "took_count": 3.0, "took_sum": 6.0}


# --- Counters -----------------------------------------------------------------------------------
@pytest.mark.parametrize("how", [DELTA, CUMULATIVE])
def test_the_increase_is_the_same_by_either_temporality_and_however_often_it_is_sent(
    now: int, key: str, how: Any
) -> None:
    steps, total, points = [3.0, 5.0, 5.0, 1.0], 0.0, []
    for n, step in enumerate(steps):
        total += step
        points.append((now - (40 - n * 10) * NS, step if how == DELTA else total))
    body = request(counter("orders", *points, start=now - 50 * NS, how=how))
    for _ in range(3):
        assert send(body, key).content == b""
    assert measured("orders", "increase") == sum(steps)


def test_a_new_start_is_a_reset_even_if_the_value_is_higher(now: int, key: str) -> None:
    send(request(counter("orders", (now - 30 * NS, 10.0), start=now - 60 * NS)), key)
    send(request(counter("orders", (now - 10 * NS, 25.0), start=now - 20 * NS)), key)
    assert measured("orders", "increase") == 35.0


def test_what_a_counter_counted_long_ago_did_not_happen_now(now: int, key: str) -> None:
    long_ago = now - 5 * 3600 * NS
    send(request(counter("orders", (now - 30 * NS, 1000.0), start=long_ago)), key)
    send(request(counter("orders", (now - 10 * NS, 1002.0), start=long_ago)), key)
    assert measured("orders", "increase") == 2.0


def test_a_sum_that_falls_is_a_gauge(now: int, key: str) -> None:
    send(request(counter("open", (now, 5.0), monotonic=False)), key)
    assert Metric.objects.get(name="open").type == "gauge"
    told = send(request(counter("open", (now, 5.0), monotonic=False, how=DELTA)), key).content
    assert service_pb2.ExportMetricsServiceResponse.FromString(told).partial_success.rejected_data_points == 1


# --- Distributions ------------------------------------------------------------------------------
def test_a_cumulative_histogram_is_kept_as_what_came_since(now: int, key: str) -> None:
    start = now - 60 * NS
    first = request(explicit("took", now - 40 * NS, [1, 2, 0, 1], start=start))
    second = request(explicit("took", now - 30 * NS, [1, 5, 1, 1], start=start))
    restarted = request(explicit("took", now - 10 * NS, [2, 6, 2, 2], start=now - 20 * NS))
    for body in (first, second, second, first, restarted, restarted):
        assert send(body, key).content == b""
    kept = [one.histogram["counts"] for one in Sample.objects.order_by("time") if one.histogram]
    assert kept == [[1, 2, 0, 1], [0, 3, 1, 0], [2, 6, 2, 2]]
    assert measured("took", "count") == 20
    assert Metric.objects.get(name="took").type == "histogram"


def test_a_delta_histogram_is_kept_as_it_comes(now: int, key: str) -> None:
    body = request(explicit("took", now - NS, [1, 2, 0, 1], start=now - 60 * NS, how=DELTA))
    send(body, key)
    send(body, key)
    assert measured("took", "count") == 4
    assert not Standing.objects.exists()


def test_a_rejected_histogram_leaves_no_trace_and_counts_when_it_becomes_good(now: int, key: str) -> None:
    start = now - 60 * NS
    body = request(explicit("took", now - 40 * NS, [1, 2, 0, 1], start=start), service_name="later")
    assert send(body, key).content != b""
    assert not Standing.objects.exists()
    make.service("later")
    assert send(body, key).content == b""
    assert measured("took", "count") == 4


@pytest.mark.parametrize("scale", [4, 5, 8])
@pytest.mark.parametrize("how", [DELTA, CUMULATIVE])
def test_a_percentile_of_an_exponential_histogram_is_within_two_percent(
    now: int, key: str, scale: int, how: Any
) -> None:
    random_ = random.Random(7)
    # The finer the buckets, the narrower what an SDK holds in as many of them.
    width = {4: 1.0, 5: 0.7, 8: 0.05}[scale]
    values = [random_.lognormvariate(-1, width) for _ in range(5000)]
    spread = sorted(values)
    send(request(exponential("took", now - NS, values, start=now - 60 * NS, scale=scale, how=how)), key)
    for percent in (50, 90, 95, 99):
        exact = spread[round(percent / 100 * (len(spread) - 1))]
        found = measured("took", f"p{percent}")
        assert found == pytest.approx(exact, rel=0.02), percent


def test_growth_of_an_exponential_histogram_whose_scale_falls(now: int, key: str) -> None:
    start = now - 60 * NS
    few = [0.1, 0.2, 0.3]
    send(request(exponential("took", now - 20 * NS, few, start=start, scale=6)), key)
    send(request(exponential("took", now - 10 * NS, [*few, 8.0, 9.0], start=start, scale=3)), key)
    newest = Sample.objects.order_by("-time")[0].histogram
    assert newest is not None
    assert newest["count"] == 2
    assert measured("took", "count") == 5


def test_buckets_are_spread_without_losing_an_observation() -> None:
    made = growth.logarithmic(-2, 3, {0: 1000, 1: 7}, {5: 2}, 1.0, None, None)
    assert isinstance(made, Histogram)
    assert made.count == 1012
    assert growth.counts_since({1: 5}, {1: 4}) is None
    assert growth.coarser({-3: 1, -2: 1, 4: 2}, 1) == {-2: 1, -1: 1, 2: 2}


# --- What is refused ----------------------------------------------------------------------------
def status_of(answer: Any) -> tuple[int, bytes]:
    return answer.content[1], answer.content[4:] if answer.content[3] < 128 else answer.content[5:]


def test_what_cannot_be_read_is_a_status_in_kind(key: str) -> None:
    answer = send(b"\xff\xff\xff", key)
    assert (answer.status_code, answer["Content-Type"]) == (400, PROTOBUF)
    assert answer.content[:2] == bytes([8, 3])
    assert b"ExportMetricsServiceRequest" in answer.content
    answer = send(b"{nonsense", key, JSON)
    assert (answer.status_code, answer.json()["code"]) == (400, 3)
    assert send(b"x", key, JSON, **{"Content-Encoding": "gzip"}).status_code == 400
    assert send(b"x", key, JSON, **{"Content-Encoding": "br"}).status_code == 415
    assert send(b"x", key, "text/plain").status_code == 415
    assert send(b"", "wrong").status_code == 401
    assert send(b"", make.key("read")).status_code == 403


def test_a_bomb_is_not_unpacked(key: str) -> None:
    answer = send(gzip.compress(bytes(64 * 1024 * 1024)), key, **{"Content-Encoding": "gzip"})
    assert answer.status_code == 413


def test_a_request_of_too_many_parts_is_not_parsed(key: str) -> None:
    whole = service_pb2.ExportMetricsServiceRequest()
    into = whole.resource_metrics.add().scope_metrics.add().metrics.add(name="a").gauge
    for _ in range(50_001):
        into.data_points.add(time_unix_nano=1, as_int=1)
    assert send(gzip.compress(whole.SerializeToString()), key, **{"Content-Encoding": "gzip"}).status_code == 413
    many = bytes([0x0A, 0]) * 500_000
    assert send(gzip.compress(many), key, **{"Content-Encoding": "gzip"}).status_code == 413


def test_too_many_new_series_cost_only_themselves(now: int, key: str, settings: Any) -> None:
    settings.PORTAL_MAX_SERIES = 3
    made = metrics_pb2.Metric(name="a")
    for n in range(5):
        point(made.gauge, now, as_int=1, attributes={"n": str(n)})
    told = service_pb2.ExportMetricsServiceResponse.FromString(send(request(made), key).content).partial_success
    assert told.rejected_data_points == 2
    assert Sample.objects.count() == 3
    assert Rejection.objects.get().count == 2


def test_what_goes_wrong_on_our_side_is_503(now: int, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for error in (OperationalError("gone"), ValueError("a bug")):

        def fail(*_: Any, error: Exception = error, **__: Any) -> None:
            raise error

        monkeypatch.setattr(metrics, "record", fail)
        answer = Client(raise_request_exception=False).post(
            PATH, request(gauge("a", now)), content_type=PROTOBUF, headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status_code == 503
        assert int(answer["Retry-After"]) >= 1
        assert answer.content[1] == 14


def test_another_environment_than_the_keys_is_403(now: int) -> None:
    bound = make.key("ingest", environments=[make.environment("staging")])
    make.environment("qa")
    assert send(request(gauge("a", now), deployment_environment="qa"), bound).status_code == 403
    assert send(request(gauge("a", now)), bound).status_code == 200
    assert Series.objects.get().labels == {"environment": "staging"}


def test_where_series_stood_is_forgotten_with_their_samples(now: int, key: str) -> None:
    from_then = now - 60 * NS
    send(request(explicit("took", now - NS, [1, 0, 0, 0], start=from_then)), key)
    later = datetime.fromtimestamp(now / NS, UTC) + timedelta(hours=49)
    assert cumulative.forget_old(now=later) == 1
