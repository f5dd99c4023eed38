"""Instant queries to an HTTP API of Prometheus' shape: Prometheus, Thanos, Mimir, VictoriaMetrics.

Of a system that has outgrown one machine the portal keeps only what it asks for. An empty answer is no data, not zero.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import orjson

from monitoring.channels.http import MAX_URL
from monitoring.sources import asking, fields
from monitoring.sources.asking import Failed, Stopwatch
from monitoring.sources.registry import MOST_SAMPLES, Asked, Pulled
from monitoring.sources.remote_write import NAME, Written, Wrong
from portal.errors import Invalid

MAX_BODY: Final = 4 * 1024 * 1024  # bytes
MOST_QUERIES: Final = 50
LONGEST_QUERY: Final = 5000  # characters
LOOKBACK: Final = 300  # seconds: an older sample is no longer how things stand

Labels = dict[str, str]
Identity = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Value:
    """One line of an answer."""

    labels: Labels
    time: float  # Unix seconds
    value: float


@dataclass(frozen=True, slots=True)
class Answer:
    values: list[Value]
    scalar: bool


def read(status: int, body: bytes) -> Answer:
    """The answer to an instant query; raises Failed with what the server says."""
    try:
        told = orjson.loads(body)
    except ValueError:
        raise Failed(f"HTTP {status}: the answer is not JSON") from None
    if not isinstance(told, dict) or told.get("status") not in ("success", "error"):
        raise Failed(f"HTTP {status}: the answer is not one of Prometheus' API")
    if told["status"] == "error" or status != 200:
        raise Failed(f"HTTP {status} {told.get('errorType', '')}: {str(told.get('error', ''))[:300]}")
    data: Any = told.get("data")
    kind = data.get("resultType") if isinstance(data, dict) else None
    try:
        if kind == "vector":
            rows = data["result"]
            if len(rows) > MOST_SAMPLES:
                raise Failed(f"answers with more than {MOST_SAMPLES} series")
            return Answer([Value(dict(row["metric"]), *_pair(row["value"])) for row in rows if "value" in row], False)
        if kind == "scalar":
            return Answer([Value({}, *_pair(data["result"]))], True)
    except (KeyError, TypeError, ValueError, IndexError):
        raise Failed("the answer is not one of Prometheus' API") from None
    raise Failed(f"answers with a {kind or 'thing'}: only a vector or a scalar says how things stand now")


def _pair(raw: Any) -> tuple[float, float]:
    return float(raw[0]), float(raw[1])


def take(
    answer: Answer, stamps: Answer | None, query: Mapping[str, Any], *, now: float, lookback: float, into: Written
) -> None:
    """The answer as samples, each at the time of the sample that it comes from: the same one again is a duplicate.

    `stamps` answers timestamp(query). What is older than `lookback` seconds says nothing of now: it is left out.
    """
    times = {_identity(one.labels): one.value for one in stamps.values} if stamps is not None else {}
    for one in answer.values:
        labels = {name: value for name, value in one.labels.items() if name != NAME}
        metric = query.get("metric") or one.labels.get(NAME)
        if not metric:
            into.wrong.append(Wrong(0, "metric", f"'{query['query'][:100]}' gives series without a name: name it", 1))
            continue
        time = times.get(_identity(one.labels), one.time)
        if not math.isfinite(one.value) or not math.isfinite(time) or now - time > lookback:
            into.skipped += 1
            continue
        into.samples.append({"metric": metric, "value": one.value, "time": time, "labels": labels})


def _identity(labels: Labels) -> Identity:
    return tuple(sorted((name, value) for name, value in labels.items() if name != NAME))


class PromQL:
    name = "prometheus"
    probes = False
    own = False

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        made = fields.http(config, "queries", "lookback")
        queries = config.get("queries")
        if not isinstance(queries, list) or not 1 <= len(queries) <= MOST_QUERIES:
            raise Invalid.of("queries", f'must be a list of 1 to {MOST_QUERIES}: [{{"query": "…", "metric": "…"}}]')
        made["queries"] = [_query(one, f"queries[{n}]") for n, one in enumerate(queries)]
        made["lookback"] = fields.whole(config, "lookback", least=1, most=86_400, otherwise=LOOKBACK)
        return made

    def instance(self, config: Mapping[str, Any]) -> str:
        return fields.place(config["url"])

    def pull(self, asked: Asked) -> Pulled:
        pulled, watch = Pulled(), Stopwatch()
        failed: list[str] = []
        lookback = asked.config.get("lookback", LOOKBACK)
        for n, query in enumerate(asked.config["queries"], 1):
            try:
                answer = self._ask(query["query"], asked, watch, pulled)
                # An expression's value has the time of the evaluation; a plain series' own age only this one tells.
                stamps = None
                if answer.values and not answer.scalar:
                    stamps = self._ask(f"timestamp({query['query']})", asked, watch, pulled)
                take(answer, stamps, query, now=asked.time, lookback=lookback, into=pulled.written)
            except Failed as error:
                failed.append(f"query {n}: {error}")
        if len(pulled.written.samples) > MOST_SAMPLES:
            pulled.written = Written()
            failed.append(f"has more than {MOST_SAMPLES} samples")
        pulled.error = "; ".join(failed)
        return pulled

    def _ask(self, query: str, asked: Asked, watch: Stopwatch, pulled: Pulled) -> Answer:
        left = asked.timeout - watch.seconds
        if left <= 0:
            raise Failed(f"no time is left of {asked.timeout:g} s")
        form = {"query": query, "time": f"{asked.time:.3f}", "timeout": f"{max(1, int(left))}s"}
        got = asking.ask(
            asked.config,
            asked.secret,
            url=f"{asked.config['url'].rstrip('/')}/api/v1/query",
            method="POST",
            content=urlencode(form).encode(),
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept-Encoding": "gzip"},
            timeout=left,
            at_most=MAX_BODY,
        )
        if pulled.skew is None:
            pulled.skew = asking.skew(got, asked.time, watch.seconds)
        if got.status // 100 == 3:
            raise Failed(asking.refusal(got))
        return read(got.status, asking.opened(got, at_most=MAX_BODY))


def _query(given: Any, at: str) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise Invalid.of(at, 'must be an object {"query": "…", "metric": "…"}')
    unknown = sorted(set(given) - {"query", "metric"})
    if unknown:
        raise Invalid.of(f"{at}.{unknown[0]}", "unknown field")
    query, metric = given.get("query"), given.get("metric") or ""
    if not isinstance(query, str) or not query.strip() or len(query) > LONGEST_QUERY or "\0" in query:
        raise Invalid.of(f"{at}.query", f"must be PromQL of at most {LONGEST_QUERY} characters")
    if not isinstance(metric, str) or len(metric) > MAX_URL:
        raise Invalid.of(f"{at}.metric", "must be the name of a metric")
    return {"query": query.strip()} | ({"metric": metric} if metric else {})
