"""/api/v1/metrics/: definitions, and the lines of a chart."""

from datetime import timedelta
from typing import Any

import orjson
import pytest
from django.test import Client

from monitoring.actions import metrics
from monitoring.models import Metric
from portal import audit, jobs, keys
from portal.audit import Automaton

pytestmark = pytest.mark.django_db
BY = Automaton("test")
PATH = "/api/v1/metrics/"
DEFINITION = {
    "name": "latency_seconds",
    "type": "histogram",
    "unit": "s",
    "direction": "lower_is_better",
    "description": "time to first byte",
}


@pytest.fixture
def key() -> str:
    return keys.create("ci", scopes=["write"], by=BY)[1]


def call(method: str, path: str, key: str, body: Any = None) -> Any:
    data = b"" if body is None else orjson.dumps(body)
    return getattr(Client(), method)(path, data, content_type="application/json", headers={"X-API-Key": key})


def test_a_metric_is_defined_read_changed_and_on_record(key: str) -> None:
    made = call("post", PATH, key, DEFINITION)
    assert made.status_code == 201
    assert made.json() | DEFINITION == made.json()
    path = f"{PATH}latency_seconds/"
    changed = call("patch", path, key, {"unit": "ms", "type": "gauge"}).json()
    assert (changed["unit"], changed["type"]) == ("ms", "gauge")
    assert Client().get(path, headers={"X-API-Key": key}).json() == changed
    assert [entry.verb for entry in audit.of(Metric.objects.get(name="latency_seconds"))] == [
        "metric.changed",
        "metric.defined",
    ]


def test_a_metric_is_defined_once(key: str) -> None:
    assert [call("post", PATH, key, DEFINITION).status_code for _ in range(2)] == [201, 409]


def test_the_type_stays_once_there_are_samples(key: str) -> None:
    metrics.record([{"metric": "load", "value": 1}], by=BY)
    refused = call("patch", f"{PATH}load/", key, {"type": "counter"})
    assert refused.status_code == 409
    assert refused.json()["detail"] == "metric 'load' has samples: it stays a gauge"
    assert call("patch", f"{PATH}load/", key, {"type": "gauge", "unit": "1"}).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "name"),
        ({"name": "a b"}, "name"),
        ({"name": "x" * 201}, "name"),
        ({"name": "x", "type": "summary"}, "type"),
        ({"name": "x", "direction": "up"}, "direction"),
        ({"name": "x", "unit": "u" * 51}, "unit"),
        ({"name": "x", "colour": "red"}, "colour"),
        ({"name": "x\0"}, "name"),
    ],
)
def test_a_wrong_definition_is_400_by_its_field(key: str, body: Any, field: str) -> None:
    answer = call("post", PATH, key, body)
    assert answer.status_code == 400
    assert field in [error["field"] for error in answer.json()["errors"]]


def test_an_unknown_metric_is_404(key: str) -> None:
    for name in ("nothing", "a%00b"):
        assert call("get", f"{PATH}{name}/", key).status_code == 404
        assert call("patch", f"{PATH}{name}/", key, {"unit": "s"}).status_code == 404


def test_only_writers_define(key: str) -> None:
    reader = keys.create("ci", scopes=["read"], by=BY)[1]
    assert call("post", PATH, reader, DEFINITION).status_code == 403
    assert call("get", PATH, reader).status_code == 200


def test_a_chart_is_one_line_for_each_series(key: str) -> None:
    now = jobs.database_now()
    batch = [
        {"metric": "load", "value": n, "time": now - timedelta(seconds=n), "labels": {"host": host}}
        for host in ("a", "b")
        for n in (5, 12, 14)
    ]
    metrics.record(batch, by=BY)
    since = (now - timedelta(seconds=20)).isoformat()
    raw = Client().get(f"{PATH}load/points/", {"since": since}, headers={"X-API-Key": key}).json()
    assert [line["labels"] for line in raw["series"]] == [{"host": "a"}, {"host": "b"}]
    assert [value for _, value in raw["series"][0]["points"]] == [14, 12, 5]
    query = {"since": since, "until": now.isoformat(), "step": "10", "label": "host:b"}
    (line,) = Client().get(f"{PATH}load/points/", query, headers={"X-API-Key": key}).json()["series"]
    assert [point[1:] for point in line["points"]] == [[13, 12, 14, 2], [5, 5, 5, 1]]


@pytest.mark.parametrize("step", ["0", "-1", "x", "1e3", "99999999999"])
def test_a_wrong_step_is_400(key: str, step: str) -> None:
    metrics.record([{"metric": "load", "value": 1}], by=BY)
    assert Client().get(f"{PATH}load/points/", {"step": step}, headers={"X-API-Key": key}).status_code == 400
