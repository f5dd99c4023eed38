"""Prometheus writes to us: what is kept, what is refused and how, and what a repetition does."""

import math
import time
from typing import Any

import pytest
from django.db import OperationalError, connection
from django.test import Client
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from monitoring.actions import metrics
from monitoring.models import Metric, Sample, Series
from monitoring.sources import remote_write
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Environment, Service
from tests.monitoring.prometheus import block, family, request, series, stale_marker, varint

pytestmark = pytest.mark.django_db
BY = Automaton("test")
PATH = "/ingest/prometheus/api/v1/write"
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "User-Agent": "Prometheus/2.42.0+ds",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}


def key(*scopes: str, environments: list[str] | None = None) -> str:
    bound = None if environments is None else Environment.objects.filter(key__in=environments)
    return keys.create("prometheus", scopes=scopes or ("ingest",), by=BY, environments=bound)[1]


def write(body: bytes, raw: str | None = None, **headers: str) -> Any:
    sent = HEADERS | {"Authorization": f"Bearer {key() if raw is None else raw}"} | headers
    kind = sent.pop("Content-Type")
    # Said once more: the test client drops the type of an empty body.
    return Client().post(PATH, body, content_type=kind, headers=sent, CONTENT_TYPE=kind)


@pytest.fixture
def now_ms() -> int:
    return int(jobs.database_now().timestamp() * 1000)


# --- Kept ---------------------------------------------------------------------------------------
def test_samples_are_kept_and_the_answer_is_empty(now_ms: int) -> None:
    answer = write(
        request(
            series({"__name__": "up", "job": "shop"}, (now_ms - 2000, 1.0), (now_ms - 1000, 0.0)),
            series({"__name__": "http_requests_total", "code": "200"}, (now_ms, 12.5)),
        )
    )
    assert (answer.status_code, answer.content) == (204, b"")
    assert answer["X-Prometheus-Remote-Write-Samples-Written"] == "3"
    assert {one.metric.name: one.labels for one in Series.objects.select_related("metric")} == {
        "up": {"job": "shop"},
        "http_requests_total": {"code": "200"},
    }
    assert Metric.objects.get(name="http_requests_total").type == "counter"
    up = Sample.objects.filter(series__metric__name="up").order_by("time")
    assert [one.value for one in up] == [1.0, 0.0]
    assert [round(one.time.timestamp() * 1000) for one in up] == [now_ms - 2000, now_ms - 1000]


def test_the_same_request_again_changes_nothing(now_ms: int) -> None:
    """Invariant 7, at the door."""
    raw = key()
    body = request(series({"__name__": "up"}, (now_ms, 1.0), (now_ms + 1, 2.0)))
    assert [write(body, raw).status_code for _ in range(3)] == [204] * 3
    assert Sample.objects.count() == 2


def test_samples_may_come_out_of_order(now_ms: int) -> None:
    raw = key()
    for offset in (0, -3000, -1000):
        assert write(request(series({"__name__": "up"}, (now_ms + offset, 1.0))), raw).status_code == 204
    assert Sample.objects.count() == 3


@pytest.mark.parametrize("header", ["Authorization", "X-API-Key"])
def test_the_key_comes_in_either_header(header: str, now_ms: int) -> None:
    raw = key()
    value = f"Bearer {raw}" if header == "Authorization" else raw
    answer = Client().post(
        PATH,
        request(series({"__name__": "up"}, (now_ms, 1.0))),
        content_type="application/x-protobuf",
        headers={"Content-Encoding": "snappy", header: value},
    )
    assert answer.status_code == 204


def test_the_environment_is_the_keys_own(now_ms: int) -> None:
    Environment.objects.create(key="staging")
    write(request(series({"__name__": "up"}, (now_ms, 1.0))), key(environments=["staging"]))
    assert Series.objects.get().labels == {"environment": "staging"}


def test_an_empty_request_is_well() -> None:
    assert write(block(b"")).status_code == 204


def test_ten_thousand_series_at_once(now_ms: int) -> None:
    rows = [series({"__name__": "m", "n": str(n), "job": "shop"}, (now_ms, float(n))) for n in range(10_000)]
    began = time.process_time()
    assert write(request(*rows)).status_code == 204
    print(f"\n10 000 new series: {time.process_time() - began:.1f} s of CPU here")
    assert Series.objects.count() == Sample.objects.count() == 10_000
    began = time.process_time()
    again = [series({"__name__": "m", "n": str(n), "job": "shop"}, (now_ms + 1, float(n))) for n in range(10_000)]
    assert write(request(*again)).status_code == 204
    print(f"10 000 known series: {time.process_time() - began:.1f} s of CPU here")
    assert Sample.objects.count() == 20_000


# --- Not numbers --------------------------------------------------------------------------------
def test_nan_and_infinity_are_left_out_and_not_held_against_the_sender(now_ms: int) -> None:
    body = request(
        series({"__name__": "q", "quantile": "0.99"}, (now_ms, math.nan)),
        series({"__name__": "limit"}, (now_ms, math.inf), (now_ms + 1, -math.inf)),
        series({"__name__": "up"}, (now_ms, 1.0)),
    )
    assert write(body).status_code == 204
    assert [one.series.metric.name for one in Sample.objects.select_related("series__metric")] == ["up"]


@pytest.mark.django_db(transaction=True)
def test_a_staleness_marker_ends_the_series_until_it_is_heard_of_again(now_ms: int) -> None:
    raw = key()
    labels = {"__name__": "up", "job": "shop"}
    write(request(series(labels, (now_ms - 9000, 1.0)), series({"__name__": "other"}, (now_ms - 9000, 1.0))), raw)
    assert write(request(series(labels, (now_ms - 8000, stale_marker()))), raw).status_code == 204
    assert Sample.objects.count() == 2, "the marker is no sample"
    assert _ended("up") == now_ms - 8000
    assert _ended("other") is None

    write(request(series(labels, (now_ms - 7000, 1.0))), raw)
    assert _ended("up") is None
    write(request(series(labels, (now_ms - 8000, stale_marker()))), raw)
    assert _ended("up") is None, "a marker that comes again is older than what was heard since"


def _ended(metric: str) -> int | None:
    at = Series.objects.get(metric__name=metric).stale_at
    return None if at is None else round(at.timestamp() * 1000)


def test_a_key_ends_no_series_beyond_its_reach(now_ms: int) -> None:
    Environment.objects.create(key="staging")
    Environment.objects.create(key="production")
    labels = {"__name__": "up", "environment": "production"}
    write(request(series(labels, (now_ms - 2000, 1.0))))
    assert (
        write(request(series(labels, (now_ms - 1000, stale_marker()))), key(environments=["staging"])).status_code
        == 204
    )
    assert Series.objects.get().stale_at is None


def test_a_marker_for_what_was_never_heard_of_is_passed_over(now_ms: int) -> None:
    assert write(request(series({"__name__": "up"}, (now_ms, stale_marker())))).status_code == 204
    assert not Series.objects.exists()


# --- Metadata -----------------------------------------------------------------------------------
def test_metadata_alone_says_what_metrics_are() -> None:
    before = set(Metric.objects.values_list("name", flat=True))
    answer = write(
        request(
            families=[
                family("http_requests_total", 1, unit="requests", help_="All of them"),
                family("temperature", 2, unit="celsius"),
                family("latency_seconds", 3, help_="How long"),
                family("rpc_seconds", 5),
                family("grown", 1),
                family("bad name", 1),
            ]
        )
    )
    assert answer.status_code == 204
    assert {one.name: one.type for one in Metric.objects.exclude(name__in=before)} == {
        "http_requests_total": "counter",
        "temperature": "gauge",
        "latency_seconds_bucket": "counter",
        "latency_seconds_count": "counter",
        "latency_seconds_sum": "counter",
        "rpc_seconds": "gauge",
        "rpc_seconds_count": "counter",
        "rpc_seconds_sum": "counter",
        "grown": "counter",
    }
    total = Metric.objects.get(name="http_requests_total")
    assert (total.unit, total.description) == ("requests", "All of them")


def test_metadata_corrects_what_was_only_supposed(now_ms: int) -> None:
    raw = key()
    write(request(series({"__name__": "latency_seconds_count"}, (now_ms, 1.0))), raw)
    assert Metric.objects.get(name="latency_seconds_count").type == "gauge"
    for _ in range(2):
        write(request(families=[family("latency_seconds", 3, help_="How long")]), raw)
    metric = Metric.objects.get(name="latency_seconds_count")
    assert (metric.type, metric.description) == ("counter", "How long")


def test_metadata_does_not_touch_what_a_person_has_defined(now_ms: int) -> None:
    metrics.define("grown", type="gauge", by=BY)
    write(request(families=[family("grown", 1, help_="Something else")]))
    metric = Metric.objects.get(name="grown")
    assert (metric.type, metric.description) == ("gauge", "")


def test_a_request_that_is_refused_says_nothing_of_metrics_either(now_ms: int) -> None:
    for name in ("staging", "production"):
        Environment.objects.create(key=name)
    write(request(series({"__name__": "grown"}, (now_ms, 1.0))))
    body = request(
        series({"__name__": "up", "environment": "production"}, (now_ms, 1.0)),
        families=[family("grown", 1, help_="Something else"), family("made", 2)],
    )
    assert write(body, key(environments=["staging"])).status_code == 403
    assert (Metric.objects.get(name="grown").type, Metric.objects.filter(name="made").exists()) == ("gauge", False)


def test_metadata_makes_no_more_metrics_than_there_may_be(settings: Any) -> None:
    settings.PORTAL_MAX_METRICS = Metric.objects.count() + 2
    assert write(request(families=[family(f"m{n}", 2) for n in range(5)])).status_code == 204
    assert Metric.objects.count() == settings.PORTAL_MAX_METRICS


# --- Refused ------------------------------------------------------------------------------------
def test_bad_series_are_named_and_the_good_ones_kept(now_ms: int) -> None:
    Service.objects.create(key="shop")
    answer = write(
        request(
            series({"__name__": "up", "service": "shop"}, (now_ms, 1.0)),
            series({"__name__": "up", "service": "nowhere"}, (now_ms, 1.0), (now_ms + 1, 1.0)),
            series({"job": "nameless"}, (now_ms, 1.0)),
            series({"__name__": "future"}, (now_ms + 3_600_000, 1.0)),
            series({"__name__": "past"}, (0, 1.0), (-(2**63), 1.0), (2**63 - 1, 1.0)),
            series({"__name__": "up", "bad-name": "x"}, (now_ms, 1.0)),
            series([("__name__", "up"), ("a", "1"), ("a", "2")], (now_ms, 1.0)),
            series({"__name__": "up", "": "x"}, (now_ms, 1.0)),
            series({"__name__": "up", "nul": "a\0b"}, (now_ms, 1.0)),
            series({"__name__": "up", "long": "x" * 5000}, (now_ms, 1.0)),
            series({"__name__": "żółw"}, (now_ms, 1.0)),
            series({"__name__": "up", "place": "last"}, (now_ms, 1.0)),
        )
    )
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    told = answer.json()
    assert (told["accepted"], told["rejected"]) == (2, 13)
    assert told["detail"] == "13 of 15 samples rejected; series 1: labels.service: no service named 'nowhere'"
    faults = {one["index"]: one["field"] for one in told["errors"]}
    assert faults == {
        1: "labels.service", 2: "metric", 3: "time", 4: "time", 5: "labels", 6: "labels",
        7: "labels", 8: "labels.nul", 9: "labels.long", 10: "metric",
    }  # fmt: skip
    assert len(answer.content.splitlines()) == 1, "Prometheus logs one line"
    assert Sample.objects.count() == 2


def test_a_long_list_of_faults_is_cut(now_ms: int) -> None:
    answer = write(request(*(series({"job": str(n)}, (now_ms, 1.0)) for n in range(5000))))
    assert answer.status_code == 400
    assert answer.json()["rejected"] == 5000
    assert len(answer.content) < 5000


def test_a_conflicting_value_is_counted_and_the_first_kept(now_ms: int) -> None:
    raw = key()
    write(request(series({"__name__": "up"}, (now_ms, 1.0))), raw)
    assert write(request(series({"__name__": "up"}, (now_ms, 2.0))), raw).status_code == 204
    assert Sample.objects.get().value == 1.0


def test_another_environment_is_beyond_the_keys_reach(now_ms: int) -> None:
    Environment.objects.create(key="staging")
    Environment.objects.create(key="production")
    body = request(
        series({"__name__": "up", "environment": "production"}, (now_ms, 1.0)), series({"__name__": "up"}, (now_ms, 1))
    )
    assert write(body, key(environments=["staging"])).status_code == 403
    assert not Sample.objects.exists()


@pytest.mark.parametrize("scope", ["read", "write", "feedback", "evidence"])
def test_another_scope_does_not_write(scope: str, now_ms: int) -> None:
    assert write(request(series({"__name__": "up"}, (now_ms, 1.0))), key(scope)).status_code == 403
    assert write(request(families=[family("m", 1)]), key(scope)).status_code == 403


@pytest.mark.parametrize("raw", ["", "fd_wrong"])
def test_without_a_key_it_is_401(raw: str) -> None:
    assert write(block(b""), raw).status_code == 401


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "application/json"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"},
        {"Content-Type": 'application/x-protobuf;proto="io.prometheus.write.v2.Request"'},
        {"Content-Encoding": "gzip"},
        {"Content-Encoding": "zstd"},
        {"Content-Encoding": ""},
    ],
)
def test_another_protocol_is_415(headers: dict[str, str]) -> None:
    assert write(block(b""), **headers).status_code == 415


@pytest.mark.parametrize(
    "headers",
    [{"Content-Type": "application/x-protobuf;proto=prometheus.WriteRequest"}, {"Content-Encoding": "Snappy"}],
)
def test_the_same_protocol_in_other_words_is_taken(headers: dict[str, str]) -> None:
    assert write(block(b""), **headers).status_code == 204


@pytest.mark.parametrize("method", ["get", "put", "delete", "patch"])
def test_another_method_is_405(method: str) -> None:
    assert getattr(Client(), method)(PATH, headers={"X-API-Key": key("ingest", "read")}).status_code == 405


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"not snappy", 400),
        (varint(100), 400),
        (block(b"\x0a\xff\xff\xff\xff\x0f"), 400),
        (varint(2**32 - 1) + b"\0\0", 413),
        (block(b"\x0a\x00" * 16_000_000), 413),
        (b"\0" * (remote_write.MAX_COMPRESSED + 1), 413),
    ],
    ids=["nothing", "no snappy", "cut off", "no protobuf", "4 GiB claimed", "millions of series", "too large a body"],
)
def test_bombs_and_forgeries_are_answered(body: bytes, status: int) -> None:
    """Invariant 20, at the door."""
    answer = write(body)
    assert answer.status_code == status
    assert answer.json()["status"] == status
    assert len(answer.content) < 1000


@hypothesis_settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.binary(max_size=60), st.booleans())
def test_random_bytes_are_never_our_fault(body: bytes, packed: bool) -> None:
    assert write(block(body) if packed else body).status_code in (204, 400, 413)


@pytest.mark.django_db(transaction=True)
def test_a_store_that_does_not_answer_is_503_so_that_the_sender_repeats(monkeypatch: Any, now_ms: int) -> None:
    body = request(series({"__name__": "up"}, (now_ms, 1.0)))
    raw = key()

    def hang(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if "monitoring_sample" in sql:
            raise OperationalError("the server closed the connection unexpectedly")
        return execute(sql, params, many, context)

    with connection.execute_wrapper(hang):
        answer = write(body, raw)
    assert answer.status_code == 503
    assert answer["Retry-After"].isdigit()
    assert write(body, raw).status_code == 204
    assert Sample.objects.count() == 1
