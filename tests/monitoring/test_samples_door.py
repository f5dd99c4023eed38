"""POST and GET /api/v1/samples/: the contract's answers, and a clear word for all that is wrong."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from monitoring.models import Metric, Sample, Series
from portal import jobs, keys
from portal.audit import Automaton
from portal.models import Environment, Grant, Service, User

pytestmark = pytest.mark.django_db
BY = Automaton("test")
PATH = "/api/v1/samples/"


@pytest.fixture(autouse=True)
def _places() -> None:
    Service.objects.create(key="checkout")
    for name in ("production", "staging", "dev"):
        Environment.objects.create(key=name)


def key_for(*environments: str, scope: str = "ingest", services: tuple[str, ...] = ()) -> str:
    bound = list(Environment.objects.filter(key__in=environments)) if environments else None
    whose = list(Service.objects.filter(key__in=services)) if services else None
    return keys.create("agent", scopes=[scope], by=BY, environments=bound, services=whose)[1]


def post(body: Any, *, key: str | None = None, path: str = PATH, **headers: str) -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return Client().post(
        path,
        data,
        content_type="application/json",
        headers={"Authorization": f"Bearer {key or key_for()}"} | headers,
    )


def send(*samples: Any, key: str | None = None) -> Any:
    return post({"samples": list(samples)}, key=key)


def counts(answer: Any) -> tuple[int, int, int, int]:
    body = answer.json()
    return body["accepted"], body["duplicates"], body["conflicts"], body["rejected"]


def test_a_good_batch_is_answered_with_the_counts() -> None:
    answer = send({"metric": "cpu", "value": 0.5, "labels": {"host": "a"}}, {"metric": "cpu", "value": 1})
    assert answer.status_code == 200
    assert answer.json() == {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "errors": []}


def test_the_good_samples_of_a_bad_batch_are_kept_and_the_bad_named() -> None:
    good = {"metric": "cpu", "value": 1}
    answer = send(good, {"metric": "cpu", "value": "x"}, {"metric": "cpu"}, {"metric": "mem", "value": 2})
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert counts(answer) == (2, 0, 0, 2)
    assert answer.json()["errors"] == [
        {"index": 1, "field": "value", "message": "must be a number"},
        {"index": 2, "field": "value", "message": "is required"},
    ]
    assert answer.json()["detail"] == "2 of 4 samples were rejected; the others are kept"
    assert Sample.objects.count() == 2


HUGE = 10**400
BAD = [
    ({"metric": "m", "value": True}, "value"),
    ({"metric": "m", "value": None}, "value"),
    ({"metric": "m", "value": "1"}, "value"),
    ({"metric": "m", "value": "NaN"}, "value"),
    ({"metric": "m", "value": "-Infinity"}, "value"),
    ({"metric": "m", "value": [1]}, "value"),
    ({"metric": "m", "value": {}}, "value.count"),
    ({"metric": "m", "value": {"count": 1, "sum": 1}}, "value.buckets"),
    ({"metric": "m", "value": {"count": 1, "sum": 1, "buckets": [], "p99": 3}}, "value.p99"),
    ({"metric": "m", "value": {"count": 1, "sum": 1, "buckets": [[1, 2]]}}, "value.buckets"),
    ({"metric": "m", "value": {"count": 2, "sum": 1, "buckets": [[2, 1], [1, 1]]}}, "value.buckets"),
    ({"metric": "m", "value": {"count": -1, "sum": 1, "buckets": []}}, "value.count"),
    ({"metric": "m", "value": {"count": 1.5, "sum": 1, "buckets": []}}, "value.count"),
    ({"metric": "m", "value": {"count": 1, "sum": 1, "buckets": [[None, 1]]}}, "value.buckets[0]"),
    ({"metric": "m", "value": {"count": 1, "sum": 1, "buckets": [[1, 1]], "min": 2, "max": 1}}, "value.min"),
    ({"value": 1}, "metric"),
    ({"metric": "", "value": 1}, "metric"),
    ({"metric": "a b", "value": 1}, "metric"),
    ({"metric": "1a", "value": 1}, "metric"),
    ({"metric": "a\n", "value": 1}, "metric"),
    ({"metric": "m" * 201, "value": 1}, "metric"),
    ({"metric": 7, "value": 1}, "metric"),
    ({"metric": ["m"], "value": 1}, "metric"),
    ({"metric": {"m": 1}, "value": 1}, "metric"),
    ({"metric": "m", "value": 1, "labels": []}, "labels"),
    ({"metric": "m", "value": 1, "labels": "x"}, "labels"),
    ({"metric": "m", "value": 1, "labels": False}, "labels"),
    ({"metric": "m", "value": 1, "labels": {"a-b": "x"}}, "labels"),
    ({"metric": "m", "value": 1, "labels": {"": "x"}}, "labels"),
    ({"metric": "m", "value": 1, "labels": {"__name__": "x"}}, "labels"),
    ({"metric": "m", "value": 1, "labels": {"a": 1}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"a": None}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"a": {"b": "c"}}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"a": ["x"]}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"a": "x" * 201}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"a": "x\0y"}}, "labels.a"),
    ({"metric": "m", "value": 1, "labels": {"service": ""}}, "labels.service"),
    ({"metric": "m", "value": 1, "labels": {f"l{n}": "x" for n in range(31)}}, "labels"),
    ({"metric": "m", "value": 1, "time": True}, "time"),
    ({"metric": "m", "value": 1, "time": "yesterday"}, "time"),
    ({"metric": "m", "value": 1, "time": "2026-11-22"}, "time"),
    ({"metric": "m", "value": 1, "time": "2026-11-22T10:00:00"}, "time"),
    ({"metric": "m", "value": 1, "time": "2026-13-45T99:00:00Z"}, "time"),
    ({"metric": "m", "value": 1, "time": "1700000000"}, "time"),
    ({"metric": "m", "value": 1, "time": 1e300}, "time"),
    ({"metric": "m", "value": 1, "time": -5}, "time"),
    ({"metric": "m", "value": 1, "time": [1]}, "time"),
    ({"metric": "m", "value": 1, "timestamp": 1}, "timestamp"),
    (5, ""),
    (None, ""),
    ([], ""),
    ("m 1", ""),
]


@pytest.mark.parametrize(("bad", "field"), BAD, ids=lambda case: str(case)[:60])
def test_each_wrong_sample_is_rejected_by_its_field_and_its_neighbour_kept(bad: Any, field: str) -> None:
    answer = send({"metric": "good", "value": 1}, bad)
    assert answer.status_code == 400
    assert counts(answer) == (1, 0, 0, 1)
    (error,) = answer.json()["errors"]
    assert (error["index"], error["field"]) == (1, field)
    assert Series.objects.exclude(metric__name="good").count() == 0


@pytest.mark.parametrize(
    ("text", "field"),
    [
        (b'{"metric":"m","value":NaN}', "value"),
        (b'{"metric":"m","value":Infinity}', "value"),
        (b'{"metric":"m","value":1e999}', "value"),
        (b'{"metric":"m","value":1' + b"0" * 400 + b"}", "value"),
        (b'{"metric":"m","value":1,"time":NaN}', "time"),
        (b'{"metric":"m","value":1,"time":-Infinity}', "time"),
        (b'{"metric":"m","value":1,"time":1' + b"0" * 30 + b"}", "time"),
        (b'{"metric":"m","value":1,"labels":{"a":"\\ud800"}}', "labels.a"),
        (b'{"metric":"m","value":1,"labels":{"\\ud800":"a"}}', "labels"),
        (b'{"metric":"m","value":1,"\\ud800":"a"}', "\\ud800"),
    ],
)
def test_what_only_lax_json_can_say_is_rejected_by_its_sample_too(text: bytes, field: str) -> None:
    answer = post(b'{"samples":[{"metric":"good","value":1},' + text + b"]}")
    assert answer.status_code == 400
    assert counts(answer) == (1, 0, 0, 1)
    assert answer.json()["errors"][0]["field"] == field


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"", "samples"),
        (b"{}", "samples"),
        (b"[]", ""),
        (b'"x"', ""),
        (b"null", ""),
        (b'{"samples":{}}', "samples"),
        (b'{"samples":null}', "samples"),
        (b'{"samples":[],"time":1}', "time"),
    ],
)
def test_a_body_of_another_shape_is_a_problem(body: bytes, field: str) -> None:
    answer = post(body)
    assert answer.status_code == 400
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "body", [b"{", b"samples", b"\xff\xfe", b'{"samples":[}', b"[" * 100_000, b'{"samples":[' + b"1" * 5000 + b"]}"]
)
def test_what_is_no_json_is_said_to_be_none(body: bytes) -> None:
    answer = post(body)
    assert answer.status_code == 400
    assert "not JSON" in answer.json()["detail"]


def test_an_empty_batch_is_fine() -> None:
    assert counts(send()) == (0, 0, 0, 0)


def test_too_many_samples_are_413_with_the_limit() -> None:
    answer = send(*[{"metric": "m", "value": 1}] * 10_001)
    assert answer.status_code == 413
    assert answer.json()["detail"] == "samples: at most 10000 in one request, not 10001"
    assert Sample.objects.count() == 0


def test_too_large_a_body_is_413(settings: Settings) -> None:
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 2000
    assert send({"metric": "m", "value": 1, "labels": {"a": "x" * 3000}}).status_code == 413


@pytest.mark.parametrize(
    "as_sent",
    [
        lambda t: t.isoformat(),
        lambda t: t.isoformat().replace("+00:00", "Z"),
        lambda t: t.isoformat().replace("+00:00", "z").replace("T", "t"),
        lambda t: (t + timedelta(hours=2)).isoformat().replace("+00:00", "+02:00"),
        lambda t: t.timestamp(),
    ],
)
def test_times_are_taken_as_rfc_3339_or_unix_seconds(as_sent: Any) -> None:
    at = datetime.now(UTC) - timedelta(hours=1)
    assert counts(send({"metric": "m", "value": 1, "time": as_sent(at)})) == (1, 0, 0, 0)
    assert abs((Sample.objects.get().time - at).total_seconds()) < 1e-5


@pytest.mark.parametrize(("ahead", "taken"), [(50, True), (70, False), (-47 * 3600, True), (-49 * 3600, False)])
def test_times_too_far_ahead_or_older_than_raw_samples_are_kept_are_rejected(ahead: int, taken: bool) -> None:
    answer = send({"metric": "m", "value": 1, "time": (jobs.database_now() + timedelta(seconds=ahead)).timestamp()})
    assert answer.status_code == (200 if taken else 400)
    assert counts(answer) == ((1, 0, 0, 0) if taken else (0, 0, 0, 1))
    if not taken:
        assert answer.json()["errors"][0]["field"] == "time"


def test_an_unknown_service_is_rejected_by_its_name_and_the_others_kept() -> None:
    answer = send(
        {"metric": "m", "value": 1, "labels": {"service": "checkout"}},
        {"metric": "m", "value": 1, "labels": {"service": "chekout"}},
        {"metric": "m", "value": 1, "labels": {"environment": "prod"}},
    )
    assert counts(answer) == (1, 0, 0, 2)
    assert answer.json()["errors"] == [
        {"index": 1, "field": "labels.service", "message": "no service named 'chekout'"},
        {"index": 2, "field": "labels.environment", "message": "no environment named 'prod'"},
    ]
    assert Series.objects.get().service == Service.objects.get(key="checkout")


def test_the_environment_defaults_from_a_key_of_one_environment() -> None:
    send({"metric": "m", "value": 1}, key=key_for("production"))
    series = Series.objects.get()
    assert series.labels == {"environment": "production"}
    assert series.environment is not None
    assert series.environment.key == "production"


@pytest.mark.parametrize("environments", [(), ("production", "staging")])
def test_a_key_of_several_environments_adds_none(environments: tuple[str, ...]) -> None:
    send({"metric": "m", "value": 1}, key=key_for(*environments))
    assert Series.objects.get().labels == {}


def test_the_series_of_two_keys_are_not_confused_though_they_send_the_same() -> None:
    for name in ("production", "staging"):
        send({"metric": "m", "value": 1}, key=key_for(name))
    assert sorted(one.labels["environment"] for one in Series.objects.all()) == ["production", "staging"]


@pytest.mark.parametrize("foreign", ["staging", "nowhere"])
@pytest.mark.parametrize("value", [2, "wrong for another reason, too"])
def test_a_label_against_the_keys_environments_is_403_and_nothing_is_kept(foreign: str, value: Any) -> None:
    answer = send(
        {"metric": "m", "value": 1},
        {"metric": "m", "value": value, "labels": {"environment": foreign}},
        key=key_for("production"),
    )
    assert answer.status_code == 403
    assert f"'{foreign}'" in answer.json()["detail"]
    assert Sample.objects.count() == Series.objects.count() == Metric.objects.filter(name="m").count() == 0


def test_a_label_against_the_keys_services_is_403() -> None:
    Service.objects.create(key="search")
    key = key_for(services=("checkout",))
    assert send({"metric": "m", "value": 1, "labels": {"service": "checkout"}}, key=key).status_code == 200
    assert send({"metric": "m", "value": 1, "labels": {"service": "search"}}, key=key).status_code == 403


@pytest.mark.parametrize("scope", ["read", "write", "evaluate", "feedback", "evidence"])
def test_only_an_ingest_key_may_send(scope: str) -> None:
    key = key_for("production", scope=scope)
    assert send({"metric": "m", "value": 1}, key=key).status_code == 403


def test_a_person_may_send_only_where_she_operates() -> None:
    person = User.objects.create_user("vera", password="x")
    Grant.objects.create(user=person, role="operator", environment=Environment.objects.get(key="staging"))
    client = Client()
    client.force_login(person)

    def status(environment: str) -> int:
        body = {"samples": [{"metric": "m", "value": 1, "labels": {"environment": environment}}]}
        return client.post(PATH, body, content_type="application/json").status_code

    assert status("staging") == 200
    assert status("production") == 403


def test_unknown_metrics_are_made_by_what_their_name_and_first_value_say() -> None:
    send({"metric": "a", "value": 1}, {"metric": "b_total", "value": 1})
    send({"metric": "c", "value": {"count": 1, "sum": 1, "buckets": [[1, 1]]}})
    made = Metric.objects.filter(name__in=["a", "b_total", "c"])
    assert dict(made.values_list("name", "type")) == {"a": "gauge", "b_total": "counter", "c": "histogram"}


def test_a_distribution_for_a_gauge_is_rejected_and_a_number_for_a_histogram_is_one_observation() -> None:
    shape = {"count": 4, "sum": 10, "buckets": [[1, 1], [5, 2]], "min": 0.5}
    now = datetime.now(UTC).timestamp()
    answer = send({"metric": "a", "value": 1}, {"metric": "a", "value": shape}, {"metric": "h", "value": shape})
    assert counts(answer) == (2, 0, 0, 1)
    assert answer.json()["errors"][0]["message"] == "metric 'a' is a gauge: its value is a number"
    assert counts(send({"metric": "h", "value": 3, "time": now - 5})) == (1, 0, 0, 0)
    kept = Sample.objects.get(series__metric__name="h", histogram__isnull=False)
    assert kept.histogram == {"count": 4, "sum": 10.0, "min": 0.5, "bounds": [1.0, 5.0], "counts": [1, 2, 1]}
    assert kept.value == 2.5


def test_an_interval_without_observations_is_kept_without_a_value() -> None:
    send({"metric": "h", "value": {"count": 0, "sum": 0, "buckets": [[1, 0]]}})
    assert Sample.objects.get().value is None


def test_empty_labels_are_absent_and_the_order_of_labels_does_not_matter() -> None:
    send({"metric": "m", "value": 1, "time": None, "labels": {"a": "1", "b": "2", "c": ""}})
    send({"metric": "m", "value": 1, "labels": {"b": "2", "a": "1"}}, {"metric": "m", "value": 1, "labels": None})
    assert [one.labels for one in Series.objects.order_by("id")] == [{"a": "1", "b": "2"}, {}]


def test_values_at_the_edge_are_kept() -> None:
    now = datetime.now(UTC).timestamp()
    values = [1.7976931348623157e308, -1.7976931348623157e308, 5e-324, -0.0, 2**60]
    answer = send(*[{"metric": "m", "value": value, "time": now - place} for place, value in enumerate(values)])
    assert counts(answer) == (5, 0, 0, 0)
    kept = list(Sample.objects.order_by("-time").values_list("value", flat=True))
    assert kept == [values[0], values[1], 0.0, 0.0, float(2**60)]
    assert not any(math.isnan(value or 0) for value in kept)


def test_the_same_batch_three_times_counts_once() -> None:
    now = datetime.now(UTC).timestamp()
    batch = [{"metric": "m", "value": n, "time": now - n, "labels": {"host": str(n % 3)}} for n in range(20)]
    key = key_for()
    assert [counts(send(*batch, key=key)) for _ in range(3)] == [(20, 0, 0, 0), (0, 20, 0, 0), (0, 20, 0, 0)]
    assert sum(Sample.objects.values_list("value", flat=True)) == sum(range(20))  # type: ignore[arg-type]


def test_another_value_for_the_same_time_is_a_conflict_and_the_first_is_kept() -> None:
    now = datetime.now(UTC).timestamp()
    one, other = ({"metric": "m", "value": value, "time": now} for value in (1, 2))
    assert counts(send(one, other, one)) == (1, 1, 1, 0)
    assert send(other).status_code == 200
    assert counts(send(other)) == (0, 0, 1, 0)
    assert Sample.objects.get().value == 1


def test_a_write_with_an_idempotency_key_is_answered_again() -> None:
    key = key_for()
    body = {"samples": [{"metric": "m", "value": 1}, {"metric": "m", "value": "x"}]}
    first, second = (post(body, key=key, **{"Idempotency-Key": "one"}) for _ in range(2))
    assert (first.status_code, second.status_code) == (400, 400)
    assert first.json() == second.json()
    assert Sample.objects.count() == 1


def test_full_metrics_refuse_new_series_and_go_on_taking_the_old(settings: Settings) -> None:
    settings.PORTAL_MAX_SERIES = 2
    samples = [{"metric": "m", "value": 1, "labels": {"host": str(n)}} for n in range(4)]
    answer = send(*samples)
    assert counts(answer) == (2, 0, 0, 2)
    assert answer.json()["errors"][0]["message"] == "metric 'm' has 2 series already: no more are made"
    assert counts(send({"metric": "other", "value": 1}, {"metric": "m", "value": 1, "labels": {"host": "9"}}))[0] == 1
    assert Series.objects.filter(metric__name="m").count() == 2


def test_a_full_catalogue_refuses_new_metrics(settings: Settings) -> None:
    Metric.objects.all().delete()
    settings.PORTAL_MAX_METRICS = 1
    answer = send({"metric": "a", "value": 1}, {"metric": "b", "value": 1}, {"metric": "b", "value": 2})
    assert counts(answer) == (1, 0, 0, 2)
    assert answer.json()["errors"][0]["message"] == "there are 1 metrics already: no more are made"


def test_the_number_of_queries_does_not_grow_with_the_number_of_samples() -> None:
    key = key_for("production")
    now = datetime.now(UTC).timestamp()

    def cost(size: int, metric: str) -> int:
        batch = [
            {"metric": metric, "value": n, "time": now - n, "labels": {"host": str(n % 50), "service": "checkout"}}
            for n in range(size)
        ]
        with CaptureQueriesContext(connection) as seen:
            assert counts(send(*batch, key=key)) == (size, 0, 0, 0)
        return len(seen)

    assert cost(1, "few") == cost(1000, "many")


def test_samples_are_read_back_as_they_were_sent() -> None:
    at = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=5)
    send(
        {"metric": "m", "value": 2, "time": (at + timedelta(seconds=1)).isoformat(), "labels": {"host": "a"}},
        {"metric": "m", "value": 1, "time": at.isoformat(), "labels": {"host": "a", "service": "checkout"}},
        {"metric": "m", "value": 3, "time": at.isoformat(), "labels": {"host": "b"}},
        {"metric": "other", "value": 4},
    )
    headers = {"X-API-Key": key_for(scope="read")}
    body = Client().get(PATH, {"metric": "m", "label": "host:a"}, headers=headers).json()
    assert body["count"] == 2
    assert [(row["value"], row["labels"], row["metric"]) for row in body["results"]] == [
        (1, {"host": "a", "service": "checkout"}, "m"),
        (2, {"host": "a"}, "m"),
    ]
    assert body["results"][0]["time"] == at.isoformat().replace("+00:00", "Z")
    body = Client().get(PATH, {"metric": "m", "service": "checkout"}, headers=headers).json()
    assert body["count"] == 1
    later = {"metric": "m", "since": (at + timedelta(seconds=1)).isoformat()}
    assert Client().get(PATH, later, headers=headers).json()["count"] == 1


@pytest.mark.parametrize(
    "query",
    [{}, {"metric": "m", "since": "x"}, {"metric": "m", "label": "host"}, {"metric": "m\0"}]
    + [
        {"metric": "m", "until": "2026-01-01"},
        {"metric": "m", "since": "2026-01-02T00:00:00Z", "until": "2026-01-01T00:00:00Z"},
    ],
)
def test_a_wrong_question_is_400(query: dict[str, str]) -> None:
    assert Client().get(PATH, query, headers={"X-API-Key": key_for(scope="read")}).status_code == 400


def test_a_reader_sees_only_the_samples_of_her_environments() -> None:
    for name in ("production", "staging"):
        send({"metric": "m", "value": 1}, key=key_for(name))
    seen = Client().get(PATH, {"metric": "m"}, headers={"X-API-Key": key_for("staging", scope="read")}).json()
    assert [row["labels"] for row in seen["results"]] == [{"environment": "staging"}]
    assert Client().get(PATH, {"metric": "m"}, headers={"X-API-Key": key_for(scope="ingest")}).status_code == 403
