"""What a Prometheus would send, written byte by byte: our own decoder must not be tested with itself."""

import struct
from collections.abc import Iterable, Mapping

import cramjam

STALE = 0x7FF0000000000002


def varint(number: int) -> bytes:
    made = bytearray()
    while number > 0x7F:
        made.append(number & 0x7F | 0x80)
        number >>= 7
    made.append(number)
    return bytes(made)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def stale_marker() -> float:
    marker: float = struct.unpack("<d", struct.pack("<Q", STALE))[0]
    return marker


def series(labels: Mapping[str, str] | Iterable[tuple[str, str]], *samples: tuple[int, float]) -> bytes:
    """A TimeSeries: labels, then (milliseconds, value)."""
    pairs = labels.items() if isinstance(labels, Mapping) else labels
    made = [field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in pairs]
    made += [field(2, _sample(time_ms, value)) for time_ms, value in samples]
    return b"".join(made)


def _sample(time_ms: int, value: float) -> bytes:
    """What is zero is left out, as proto3 does."""
    double = struct.pack("<d", value)
    return (b"\x09" + double if double != bytes(8) else b"") + (b"\x10" + varint(time_ms % 2**64) if time_ms else b"")


def family(name: str, kind: int, *, unit: str = "", help_: str = "") -> bytes:
    """A MetricMetadata."""
    return b"\x08" + varint(kind) + field(2, name.encode()) + field(4, help_.encode()) + field(5, unit.encode())


def request(*rows: bytes, families: Iterable[bytes] = ()) -> bytes:
    """A WriteRequest as it goes over the wire."""
    return block(b"".join(field(1, row) for row in rows) + b"".join(field(3, one) for one in families))


def block(raw: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(raw))
