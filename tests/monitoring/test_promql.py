"""Answers of Prometheus' HTTP API, read."""

from typing import Any

import orjson
import pytest

from monitoring.sources import promql
from monitoring.sources.asking import Failed
from monitoring.sources.remote_write import Written

NOW = 1_800_000_000.0


def vector(*rows: tuple[dict[str, str], float, str]) -> bytes:
    result = [{"metric": labels, "value": [time, value]} for labels, time, value in rows]
    return orjson.dumps({"status": "success", "data": {"resultType": "vector", "result": result}})


def taken(answer: bytes, stamps: bytes | None = None, **query: str) -> Written:
    into = Written()
    read = promql.read(200, answer), stamps and promql.read(200, stamps)
    promql.take(read[0], read[1] or None, {"query": "q", **query}, now=NOW, lookback=300, into=into)
    return into


def test_each_sample_has_the_time_of_what_it_comes_from() -> None:
    written = taken(
        vector(({"__name__": "up", "job": "a"}, NOW, "1"), ({"__name__": "up", "job": "b"}, NOW, "0")),
        vector(({"job": "a"}, NOW, str(NOW - 7)), ({"job": "b"}, NOW, str(NOW - 301))),
    )
    assert written.samples == [{"metric": "up", "value": 1.0, "time": NOW - 7, "labels": {"job": "a"}}]
    assert written.skipped == 1  # five minutes old: it says nothing of now


def test_no_number_is_no_sample() -> None:
    written = taken(vector(*(({"n": value}, NOW, value) for value in ("NaN", "+Inf", "-Inf", "2.5"))), metric="m")
    assert [one["value"] for one in written.samples] == [2.5]
    assert written.skipped == 3


def test_an_empty_answer_is_no_data() -> None:
    assert taken(vector()).samples == []


def test_a_scalar_needs_a_name() -> None:
    scalar = orjson.dumps({"status": "success", "data": {"resultType": "scalar", "result": [NOW, "3"]}})
    assert taken(scalar, metric="three").samples == [{"metric": "three", "value": 3.0, "time": NOW, "labels": {}}]
    assert [one.field for one in taken(scalar).wrong] == ["metric"]


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, {"status": "error", "errorType": "bad_data", "error": "parse error"}, "HTTP 400 bad_data: parse error"),
        (422, {"status": "error", "errorType": "execution", "error": "too many"}, "HTTP 422 execution: too many"),
        (503, {"status": "error", "errorType": "timeout", "error": "slow"}, "HTTP 503 timeout: slow"),
        (200, {"hello": "world"}, "HTTP 200: the answer is not one of Prometheus' API"),
        (200, {"status": "success", "data": {"resultType": "matrix", "result": []}}, "answers with a matrix"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [{"value": 3}]}}, "is not one of"),
        (200, {"status": "success", "data": {"resultType": "vector", "result": [7]}}, "is not one of"),
        (200, {"status": "success", "data": []}, "only a vector or a scalar"),
        (502, b"<html>bad gateway</html>", "HTTP 502: the answer is not JSON"),
    ],
)
def test_what_is_no_answer(status: int, body: Any, words: str) -> None:
    raw = body if isinstance(body, bytes) else orjson.dumps(body)
    with pytest.raises(Failed, match=words):
        promql.read(status, raw)
