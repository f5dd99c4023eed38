"""Prometheus remote_write 1.0: a snappy block with a protobuf WriteRequest in it, as samples."""

import math
import struct
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import cramjam
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.message import DecodeError

from monitoring.sources import wire
from monitoring.sources.wire import Malformed, TooLarge

MAX_COMPRESSED: Final = 4 * 1024 * 1024  # bytes
MAX_DECODED: Final = 32 * 1024 * 1024  # bytes
# The parser makes an object of 50 bytes and more from 2 bytes of input: what is larger is counted first.
UNCOUNTED_BELOW: Final = 1024 * 1024  # bytes
MOST_PARTS: Final = 500_000  # series, labels, samples in one request
MOST_SAMPLES: Final = 100_000
# "This series has ended", as a NaN of its own. The second is what hardware makes of it that quiets NaNs.
STALE: Final = frozenset({0x7FF0000000000002, 0x7FF8000000000002})
NAME: Final = "__name__"

Field = descriptor_pb2.FieldDescriptorProto
_WIRE: Final = {
    # Series are read one by one, and not at all where they are known by their bytes.
    "WriteRequest": [("timeseries", 1, "*"), ("metadata", 3, "MetricMetadata")],
    # Exemplars and native histograms are counted, not read.
    "TimeSeries": [("labels", 1, "Label"), ("samples", 2, "Sample"), ("exemplars", 3, "*"), ("histograms", 4, "*")],
    "Label": [("name", 1, Field.TYPE_STRING), ("value", 2, Field.TYPE_STRING)],
    "Sample": [("value", 1, Field.TYPE_DOUBLE), ("timestamp", 2, Field.TYPE_INT64)],
    "MetricMetadata": [
        ("type", 1, Field.TYPE_INT32),
        ("metric_family_name", 2, Field.TYPE_STRING),
        ("help", 4, Field.TYPE_STRING),
        ("unit", 5, Field.TYPE_STRING),
    ],
}
# MetricMetadata.MetricType, by number.
FAMILY_TYPES: Final = (
    "unknown", "counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Wrong:
    """A series that cannot be taken at all."""

    index: int  # its place in the request
    field: str
    message: str
    samples: int  # how many it cost


@dataclass(frozen=True, slots=True)
class Ended:
    """A series that its source no longer has."""

    metric: str
    labels: dict[str, str]
    time: float  # Unix seconds


@dataclass(frozen=True, slots=True)
class Family:
    """What the source says of its metrics of one name."""

    name: str
    type: str
    unit: str
    help: str


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """A request whose series are still bytes."""

    series: list[bytes]
    families: list[Family]


@dataclass(slots=True)
class Written:
    """A request, read."""

    samples: list[dict[str, Any]] = field(default_factory=list)  # as actions.metrics.record() takes them
    series: list[int] = field(default_factory=list)  # of each sample: the place of its series in the request
    ended: list[Ended] = field(default_factory=list)
    families: list[Family] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    skipped: int = 0  # NaN and infinities: Prometheus has them, an average over them has no sense
    histograms: int = 0
    exemplars: int = 0


def unpack(body: bytes) -> Packed:
    """The series in a body, each as its bytes. Raises TooLarge or Malformed."""
    raw = decompress(body)
    if len(raw) > UNCOUNTED_BELOW and _parts(raw) > MOST_PARTS:
        raise TooLarge(f"more than {MOST_PARTS} series, labels and samples at once")
    request = _parsed(_WriteRequest, raw)
    families = [Family(one.metric_family_name, _type(one.type), one.unit, one.help) for one in request.metadata]
    return Packed(list(request.timeseries), families)


def read(packed: Packed, places: Iterable[int] | None = None, *, beside: int = 0) -> Written:
    """What it holds, or its series at these places alone, of which `beside` others hold a sample each.

    Raises TooLarge or Malformed; one wrong series costs only itself.
    """
    written = Written(families=packed.families)
    for index in range(len(packed.series)) if places is None else places:
        _read_series(index, _parsed(_TimeSeries, packed.series[index]), written)
        if len(written.samples) + beside > MOST_SAMPLES:
            raise TooLarge(f"more than {MOST_SAMPLES} samples at once")
    return written


def is_all_labels(raw: bytes) -> bool:
    """Whether these first bytes of a series are labels and nothing else.

    Then what follows them is read as if it stood alone: messages that follow each other are one.
    """
    try:
        read = _TimeSeries.FromString(raw)
    except DecodeError:
        return False
    return not (read.samples or read.exemplars or read.histograms)


def _parsed(message: Any, raw: bytes) -> Any:
    try:
        return message.FromString(raw)
    except DecodeError as error:
        raise Malformed(f"not a WriteRequest: {error}") from None


def decompress(body: bytes) -> bytes:
    """A snappy block. It begins with the length that it will have: a bomb is known before it is opened."""
    if len(body) > MAX_COMPRESSED:
        raise TooLarge(f"the body is larger than {MAX_COMPRESSED} bytes")
    length, _ = wire.varint(body, 0)
    if length > MAX_DECODED:
        raise TooLarge(f"the body unpacks to {length} bytes, more than {MAX_DECODED}")
    try:
        return bytes(cramjam.snappy.decompress_raw(body))
    except cramjam.DecompressionError as error:
        raise Malformed(f"not a snappy block: {error}") from None


def _parts(raw: bytes) -> int:
    """How many messages the request holds, two levels deep; stops counting where it is too many."""
    count = 0
    for number, start, end in wire.chunks(raw, 0, len(raw)):
        count += 1
        if number == 1:
            for _ in wire.chunks(raw, start, end):
                count += 1
                if count > MOST_PARTS:
                    return count
        if count > MOST_PARTS:
            return count
    return count


def _read_series(index: int, series: Any, written: Written) -> None:
    written.exemplars += len(series.exemplars)
    written.histograms += len(series.histograms)
    samples = series.samples
    if not samples:
        return
    labels = {one.name: one.value for one in series.labels}
    metric = labels.pop(NAME, None)
    if len(labels) + (metric is not None) != len(series.labels):
        names = [one.name for one in series.labels]
        twice = next(name for name in names if names.count(name) > 1)
        written.wrong.append(Wrong(index, "labels", f"the label '{twice[:100]}' is there twice", len(samples)))
        return
    if not metric:
        written.wrong.append(Wrong(index, "metric", f"the label {NAME} is missing", len(samples)))
        return
    ends: float | None = None
    last = 0.0
    for sample in samples:
        value, time = sample.value, sample.timestamp / 1000
        if math.isfinite(value):
            written.samples.append({"metric": metric, "value": value, "time": time, "labels": labels})
            written.series.append(index)
        elif struct.unpack("<Q", struct.pack("<d", value))[0] in STALE:
            ends = time
        else:
            written.skipped += 1
            continue
        last = max(last, time)
    # One that went on within the request has not ended.
    if ends is not None and ends >= last:
        written.ended.append(Ended(metric, labels, ends))


def _type(number: int) -> str:
    return FAMILY_TYPES[number] if 0 <= number < len(FAMILY_TYPES) else FAMILY_TYPES[0]


def _made() -> tuple[Any, Any]:
    """The classes of WriteRequest and TimeSeries, from the table above."""
    file = descriptor_pb2.FileDescriptorProto(name="remote_write.proto", package="remote_write", syntax="proto3")
    for name, fields in _WIRE.items():
        message = file.message_type.add(name=name)
        for field_name, number, kind in fields:
            one = message.field.add(name=field_name, number=number, label=Field.LABEL_OPTIONAL)
            if kind == "*":
                one.type, one.label = Field.TYPE_BYTES, Field.LABEL_REPEATED
            elif isinstance(kind, str):
                one.type, one.type_name, one.label = Field.TYPE_MESSAGE, f".remote_write.{kind}", Field.LABEL_REPEATED
            else:
                one.type = kind
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    found = [pool.FindMessageTypeByName(f"remote_write.{name}") for name in ("WriteRequest", "TimeSeries")]
    return message_factory.GetMessageClass(found[0]), message_factory.GetMessageClass(found[1])


_WriteRequest, _TimeSeries = _made()
