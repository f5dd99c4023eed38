"""OTLP metrics: an ExportMetricsServiceRequest in protobuf or JSON, as samples, distributions and ended series.

Formats after opentelemetry-proto's metrics.proto and the OTLP specification's "OTLP/HTTP".
"""

import math
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any, Final

import orjson
from google.protobuf import json_format
from google.protobuf.message import DecodeError
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as service_pb2

from monitoring.histogram import Explicit
from monitoring.models.metrics import Metric
from monitoring.sources import wire
from monitoring.sources.remote_write import Ended
from monitoring.sources.wire import Malformed, TooLarge

MOST_POINTS: Final = 50_000
# The parser makes an object of 50 bytes and more from 2 bytes of input: what is larger is counted first.
UNCOUNTED_BELOW: Final = 512 * 1024  # bytes
MOST_PARTS: Final = 400_000
MOST_BUCKETS: Final = 400
NO_RECORDED_VALUE: Final = 1
DELTA, CUMULATIVE = 1, 2
# A counter's value stands for all since its start: the start is where it was zero. One that began longer ago than
# this is taken as it is found: what it counted before we heard of it did not happen now.
BEGAN_WITHIN: Final = timedelta(hours=1)
MICROSECOND: Final = timedelta(microseconds=1)
# A resource without a name is called so by the SDKs.
NAMELESS: Final = "unknown_service"

RESOURCE_LABELS: Final = (
    ("service.name", "service"),
    ("deployment.environment.name", "environment"),
    ("deployment.environment", "environment"),
    ("service.version", "release"),
    ("service.namespace", "service_namespace"),
    ("service.instance.id", "instance"),
    ("k8s.pod.name", "instance"),
    ("container.id", "instance"),
    ("host.name", "instance"),
    ("cloud.region", "region"),
)  # of two for one label the first that is there
POINT_LABELS: Final = {
    "feature_flag.key": "flag",
    "feature_flag.result.variant": "variant",
    "feature_flag.variant": "variant",
}
_NOT_IN_METRICS = re.compile(r"[^a-zA-Z0-9_:]+")
_NOT_IN_LABELS = re.compile(r"[^a-zA-Z0-9_]+")


@dataclass(frozen=True, slots=True)
class Exponential:
    """Counts by buckets of base 2**2**-scale: bucket n holds base**n < |value| <= base**(n+1)."""

    scale: int
    zero: int
    positive: dict[int, int]
    negative: dict[int, int]
    sum: float
    low: float | None = None
    high: float | None = None

    @property
    def count(self) -> int:
        return self.zero + sum(self.positive.values()) + sum(self.negative.values())


@dataclass(frozen=True, slots=True)
class Point:
    """A distribution at one time. A cumulative one counts from its start on."""

    metric: str
    labels: dict[str, str]
    start: datetime | None
    time: datetime
    value: Explicit | Exponential
    cumulative: bool


@dataclass(frozen=True, slots=True)
class Described:
    """What a metric is."""

    name: str
    type: str
    unit: str
    description: str


@dataclass(slots=True)
class Exported:
    """A request, read."""

    samples: list[dict[str, Any]] = field(default_factory=list)  # as actions.metrics.record() takes them
    zeros: list[dict[str, Any]] = field(default_factory=list)  # where counters began: they are nobody's data points
    points: list[Point] = field(default_factory=list)
    ended: list[Ended] = field(default_factory=list)
    described: dict[str, Described] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)  # why a data point is not taken, one each
    total: int = 0  # data points


class _Wrong(Exception):
    """What is wrong with this one data point."""


def read(raw: bytes, *, as_json: bool) -> Exported:
    """The request in an unpacked body. Raises TooLarge or Malformed; one wrong data point costs only itself."""
    request = service_pb2.ExportMetricsServiceRequest()
    try:
        if as_json:
            json_format.Parse(raw.decode(), request, ignore_unknown_fields=True)
        else:
            if len(raw) > UNCOUNTED_BELOW and _parts(raw, 0, len(raw), 0, 0) > MOST_PARTS:
                raise TooLarge(f"more than {MOST_PARTS} points, attributes and values at once")
            request.ParseFromString(raw)
    except (DecodeError, json_format.ParseError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"not an ExportMetricsServiceRequest: {str(error)[:300]}") from None
    exported = Exported()
    for resource in request.resource_metrics:
        shared = _resource_labels(resource.resource.attributes)
        for scope in resource.scope_metrics:
            for metric in scope.metrics:
                _read_metric(metric, shared, exported)
    return exported


def _parts(raw: bytes, start: int, end: int, depth: int, count: int) -> int:
    """How many messages the request holds, seven levels deep; stops counting where it is too many."""
    for number, inside, behind in wire.chunks(raw, start, end):
        count += 1
        # The repeated messages on the way to a data point's attributes are numbers 1, 2, 5, 7, 9, 10 and 11.
        if depth < 6 and number in (1, 2, 5, 7, 9, 10, 11) and behind - inside > 8 and raw[inside] & 7 == 2:
            try:
                count = _parts(raw, inside, behind, depth + 1, count)
            except Malformed:
                pass  # a text or packed numbers, not a message
        if count > MOST_PARTS:
            return count
    return count


def _read_metric(metric: Any, shared: dict[str, str], exported: Exported) -> None:
    name = metric_name(metric.name)
    kind = metric.WhichOneof("data")
    if kind is None:
        return
    data = getattr(metric, kind)
    exported.total += len(data.data_points)
    if exported.total > MOST_POINTS:
        raise TooLarge(f"more than {MOST_POINTS} data points at once")
    if data.data_points and len(exported.described) < MOST_POINTS:
        for one in _described(name, kind, metric, data):
            exported.described[one.name] = one
    for point in data.data_points:
        try:
            _read_point(name, kind, data, point, shared, exported)
        except _Wrong as wrong:
            exported.wrong.append(f"{name[:100]}: {wrong}")


def _described(name: str, kind: str, metric: Any, data: Any) -> Iterator[Described]:
    if kind == "summary":
        yield Described(name, Metric.Type.GAUGE, metric.unit, metric.description)
        yield Described(f"{name}_sum", Metric.Type.COUNTER, metric.unit, metric.description)
        yield Described(f"{name}_count", Metric.Type.COUNTER, "", metric.description)
        return
    if kind == "gauge" or (kind == "sum" and not data.is_monotonic):
        type_ = Metric.Type.GAUGE
    else:
        type_ = Metric.Type.COUNTER if kind == "sum" else Metric.Type.HISTOGRAM
    yield Described(name, type_, metric.unit, metric.description)


def _read_point(name: str, kind: str, data: Any, point: Any, shared: dict[str, str], exported: Exported) -> None:
    labels = shared | _point_labels(point.attributes)
    time = _time(point.time_unix_nano)
    if time is None:
        raise _Wrong("a data point has no time")
    if point.flags & NO_RECORDED_VALUE:
        exported.ended.append(Ended(name, labels, time.timestamp()))
        return
    start = _time(point.start_time_unix_nano)
    if kind == "gauge":
        exported.samples.append(_sample(name, labels, time, _number(point)))
    elif kind == "sum":
        _read_sum(name, labels, data, point, start, time, exported)
    elif kind == "summary":
        for one in point.quantile_values:
            if math.isfinite(one.value):
                quantile = labels | {"quantile": f"{one.quantile:g}"}
                exported.samples.append(_sample(name, quantile, time, one.value))
        for ending, value in (("_sum", point.sum), ("_count", float(point.count))):
            _count_up(name + ending, labels, start, time, value, exported)
    else:
        if data.aggregation_temporality not in (DELTA, CUMULATIVE):
            raise _Wrong("a histogram is neither delta nor cumulative")
        value = _explicit(point) if kind == "histogram" else _exponential(point)
        cumulative = data.aggregation_temporality == CUMULATIVE
        exported.points.append(Point(name, labels, start, time, value, cumulative))


def _read_sum(
    name: str, labels: dict[str, str], data: Any, point: Any, start: datetime | None, time: datetime, exported: Exported
) -> None:
    value = _number(point)
    if data.aggregation_temporality == DELTA:
        if not data.is_monotonic:
            raise _Wrong("a delta of a sum that also falls says nothing of where it stands: send it cumulative")
        # A counter that is zero a moment before has grown by just this: no state, and a repetition changes nothing.
        exported.zeros.append(_sample(name, labels, time - MICROSECOND, 0.0))
        exported.samples.append(_sample(name, labels, time, value))
    elif data.aggregation_temporality != CUMULATIVE:
        raise _Wrong("a sum is neither delta nor cumulative")
    elif data.is_monotonic:
        _count_up(name, labels, start, time, value, exported)
    else:
        exported.samples.append(_sample(name, labels, time, value))


def _count_up(
    name: str, labels: dict[str, str], start: datetime | None, time: datetime, value: float, exported: Exported
) -> None:
    """A counter and where it began: a new start is a reset, even if the new value is the higher one."""
    if start is not None and timedelta() < time - start <= BEGAN_WITHIN:
        exported.zeros.append(_sample(name, labels, start, 0.0))
    exported.samples.append(_sample(name, labels, time, value))


def _sample(name: str, labels: dict[str, str], time: datetime, value: float) -> dict[str, Any]:
    return {"metric": name, "labels": labels, "time": time, "value": value}


def _number(point: Any) -> float:
    which = point.WhichOneof("value")
    if which is None:
        raise _Wrong("a data point has no value")
    value = float(getattr(point, which))
    if not math.isfinite(value):
        raise _Wrong("the value must be a finite number")
    return value


def _explicit(point: Any) -> Explicit:
    bounds, counts = tuple(point.explicit_bounds), tuple(point.bucket_counts)
    if len(bounds) > MOST_BUCKETS:
        raise _Wrong(f"at most {MOST_BUCKETS} buckets, not {len(bounds)}")
    if not counts and not bounds:
        counts = (point.count,)
    if len(counts) != len(bounds) + 1:
        raise _Wrong("there must be one bucket count more than bounds")
    if any(not math.isfinite(bound) for bound in bounds) or any(left >= right for left, right in pairwise(bounds)):
        raise _Wrong("the bounds must be finite and rise")
    if sum(counts) != point.count:
        raise _Wrong(f"the buckets hold {sum(counts)} observations, but the count is {point.count}")
    return Explicit(bounds, counts, _finite(point, "sum") or 0.0, _finite(point, "min"), _finite(point, "max"))


def _exponential(point: Any) -> Exponential:
    if not -20 <= point.scale <= 20:
        raise _Wrong(f"the scale must lie between -20 and 20, not {point.scale}")
    sides: list[dict[int, int]] = []
    for side in (point.positive, point.negative):
        if len(side.bucket_counts) > MOST_BUCKETS:
            raise _Wrong(f"at most {MOST_BUCKETS} buckets, not {len(side.bucket_counts)}")
        sides.append({side.offset + n: count for n, count in enumerate(side.bucket_counts) if count})
    made = Exponential(
        point.scale,
        point.zero_count,
        sides[0],
        sides[1],
        _finite(point, "sum") or 0.0,
        _finite(point, "min"),
        _finite(point, "max"),
    )
    if made.count != point.count:
        raise _Wrong(f"the buckets hold {made.count} observations, but the count is {point.count}")
    return made


def _finite(point: Any, name: str) -> float | None:
    value = getattr(point, name) if point.HasField(name) else None
    return value if value is not None and math.isfinite(value) else None


def _time(nanoseconds: int) -> datetime | None:
    if not nanoseconds:
        return None
    seconds, rest = divmod(nanoseconds, 10**9)
    try:
        return datetime.fromtimestamp(seconds, UTC) + timedelta(microseconds=rest // 1000)
    except (OverflowError, ValueError, OSError):
        raise _Wrong("the time must be nanoseconds since 1970 of a date in our days") from None


def metric_name(name: str) -> str:
    """With underscores for what a metric's name may not have; no unit or _total is added."""
    made = _NOT_IN_METRICS.sub("_", name)
    return f"_{made}" if made[:1].isdigit() else made


def label_name(name: str) -> str:
    made = _NOT_IN_LABELS.sub("_", name).lstrip("_")
    return f"key_{made}" if not made or made[0].isdigit() else made


def _resource_labels(attributes: Iterable[Any]) -> dict[str, str]:
    said = {one.key: _text(one.value) for one in attributes}
    labels: dict[str, str] = {}
    for attribute, label in RESOURCE_LABELS:
        value = said.get(attribute)
        if value and not (attribute == "service.name" and value.startswith(NAMELESS)):
            labels.setdefault(label, value)
    return labels


def _point_labels(attributes: Iterable[Any]) -> dict[str, str]:
    labels: dict[str, str] = {}
    for one in attributes:
        name, value = POINT_LABELS.get(one.key) or label_name(one.key), _text(one.value)
        if not value:
            continue
        # As Prometheus does with two attributes that come to one name.
        labels[name] = f"{labels[name]};{value}" if name in labels else value
    return labels


def _text(value: Any) -> str:
    kind = value.WhichOneof("value")
    if kind is None:
        return ""
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind in ("array_value", "kvlist_value"):
        return orjson.dumps(json_format.MessageToDict(value)).decode()
    return str(getattr(value, kind))
