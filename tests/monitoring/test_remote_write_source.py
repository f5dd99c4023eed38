"""Reading what a Prometheus writes: forged lengths, bombs and random bytes included."""

import math
import struct
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.sources import remote_write
from monitoring.sources.remote_write import Malformed, TooLarge, Written
from tests.monitoring.prometheus import block, request, series, stale_marker, varint


def read(body: bytes) -> Written:
    return remote_write.read(remote_write.unpack(body))


NOW_MS = 1_795_321_908_555


def test_samples_come_with_their_labels_and_milliseconds() -> None:
    written = read(request(series({"__name__": "up", "job": "shop"}, (NOW_MS, 1.5), (NOW_MS + 1000, 2.0))))
    assert written.samples == [
        {"metric": "up", "value": 1.5, "time": 1_795_321_908.555, "labels": {"job": "shop"}},
        {"metric": "up", "value": 2.0, "time": 1_795_321_909.555, "labels": {"job": "shop"}},
    ]
    assert written.series == [0, 0]


def test_what_proto3_leaves_out_is_zero() -> None:
    assert read(request(series({"__name__": "up"}, (0, 0.0)))).samples == [
        {"metric": "up", "value": 0.0, "time": 0.0, "labels": {}}
    ]


def test_an_empty_request_is_one() -> None:
    written = read(block(b""))
    assert (written.samples, written.wrong) == ([], [])


def test_a_staleness_marker_ends_a_series_and_is_no_sample() -> None:
    written = read(request(series({"__name__": "up", "job": "shop"}, (NOW_MS, 1.0), (NOW_MS + 1, stale_marker()))))
    assert len(written.samples) == 1
    assert [(one.metric, one.labels, one.time) for one in written.ended] == [
        ("up", {"job": "shop"}, (NOW_MS + 1) / 1000)
    ]
    assert written.skipped == 0


def test_a_series_that_went_on_within_the_request_has_not_ended() -> None:
    written = read(request(series({"__name__": "up"}, (NOW_MS, stale_marker()), (NOW_MS + 1, 1.0))))
    assert not written.ended


@pytest.mark.parametrize("value", [math.nan, -math.nan, math.inf, -math.inf])
def test_other_values_that_are_no_numbers_are_counted_and_left_out(value: float) -> None:
    written = read(request(series({"__name__": "q"}, (NOW_MS, value), (NOW_MS, 1.0))))
    assert (len(written.samples), written.skipped, len(written.ended)) == (1, 1, 0)


@pytest.mark.parametrize(
    ("labels", "field"),
    [
        ([("job", "shop")], "metric"),
        ([], "metric"),
        ([("__name__", "")], "metric"),
        ([("__name__", "up"), ("job", "a"), ("job", "b")], "labels"),
        ([("__name__", "up"), ("__name__", "down")], "labels"),
        ([("__name__", "up"), ("job", "a"), ("job", "a")], "labels"),
    ],
)
def test_a_wrong_series_costs_only_itself(labels: list[tuple[str, str]], field: str) -> None:
    good = series({"__name__": "up"}, (NOW_MS, 1.0))
    written = read(request(good, series(labels, (NOW_MS, 1.0), (NOW_MS + 1, 1.0)), good))
    assert [(one.index, one.field, one.samples) for one in written.wrong] == [(1, field, 2)]
    assert written.series == [0, 2]


def test_native_histograms_and_exemplars_are_counted() -> None:
    raw = series({"__name__": "up"}) + b"\x1a\x02\x08\x01" + b"\x22\x02\x08\x01" * 2
    written = read(request(raw))
    assert (written.exemplars, written.histograms, written.samples) == (1, 2, [])


def test_metadata_alone_is_a_request() -> None:
    family = b"\x08\x01" + b"\x12\x03foo" + b"\x22\x04Help" + b"\x2a\x01s"
    unknown_type = b"\x08\xff\xff\xff\xff\x0f" + b"\x12\x03bar"
    written = read(block(b"".join(b"\x1a" + varint(len(one)) + one for one in (family, unknown_type))))
    assert [(one.name, one.type, one.unit, one.help) for one in written.families] == [
        ("foo", "counter", "s", "Help"),
        ("bar", "unknown", "", ""),
    ]


# --- Bombs and forgeries ------------------------------------------------------------------------
def test_a_claimed_size_beyond_the_limit_is_refused_unopened() -> None:
    with pytest.raises(TooLarge, match="4294967295"):
        read(varint(2**32 - 1) + b"\0" * 10)
    with pytest.raises(TooLarge, match=str(remote_write.MAX_DECODED + 1)):
        read(varint(remote_write.MAX_DECODED + 1))
    with pytest.raises(TooLarge):
        read(b"\0" * (remote_write.MAX_COMPRESSED + 1))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff",
        b"\xff" * 20,
        varint(100),
        varint(1000) + b"abc",
        block(b"hello")[:-1],
        b"\x05" + block(b"hello!")[1:],  # says 5, is 6
        b"\xff\x06\x00\x00sNaPpY",  # the framed format
        block(b"\x0a\xff"),  # a field that ends nowhere
        block(b"\x0a\xff\xff\xff\xff\x0f"),  # a length of 4 GiB
        block(b"\x0a\x05\x0a\xff\xff\xff\x0f"),
        block(b"\x0b\x00"),  # a group
        block(b"\x0a\x04\x0a\x02\x0a\x05"),
        block(series([("__name__", "x")])[:-1] + b"\xff"),
        block(b"\x0a\x06\x0a\x04\x0a\x02\xff\xfe"),  # a name that is no UTF-8
        block(b"\x80" * 2_000_000),
    ],
)
def test_forged_and_truncated_bytes_are_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        read(body)


@pytest.mark.parametrize(
    "raw",
    [
        b"\x0a\x00" * 16_000_000,  # series without anything
        b"\x1a\x00" * 16_000_000,  # metadata without anything
        b"\x0a" + varint(20_000_000) + b"\x0a\x00" * 10_000_000,  # one series of empty labels
        b"\x0a" + varint(20_000_000) + b"\x12\x00" * 10_000_000,  # one series of empty samples
    ],
    ids=["series", "metadata", "labels", "samples"],
)
def test_a_small_body_that_would_become_millions_of_objects_is_refused(raw: bytes) -> None:
    body = block(raw)
    assert len(body) < remote_write.MAX_COMPRESSED
    with pytest.raises(TooLarge):
        read(body)


def test_more_samples_than_are_taken_at_once_are_refused() -> None:
    many = series({"__name__": "up"}, *((NOW_MS + n, 1.0) for n in range(remote_write.MOST_SAMPLES + 1)))
    with pytest.raises(TooLarge, match="samples"):
        read(request(many))


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(body: bytes) -> None:
    read_or_refuse(body)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_random_bytes_in_a_sound_block_are_read_or_refused(raw: bytes) -> None:
    read_or_refuse(block(raw))


@settings(deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_a_request_with_one_byte_changed_is_read_or_refused(place: int, byte: int) -> None:
    raw = bytearray(b"".join(b"\x0a" + varint(len(SOUND)) + SOUND for _ in range(3)))
    raw[place % len(raw)] = byte
    read_or_refuse(block(bytes(raw)))


SOUND = series({"__name__": "http_requests_total", "job": "shop", "code": "200"}, (NOW_MS, 12.5), (NOW_MS + 1, -0.0))


def read_or_refuse(body: bytes) -> Any:
    try:
        return read(body)
    except (Malformed, TooLarge):
        return None


def test_reading_is_fast() -> None:
    rows = [
        series(
            {"__name__": "http_requests_total", **{f"label_{n}": f"value_{row}_{n}" for n in range(8)}}, (NOW_MS, row)
        )
        for row in range(500)
    ]
    body = request(*rows)
    began = time.process_time()
    for _ in range(10):
        assert len(read(body).samples) == 500
    print(f"\n500 series: {(time.process_time() - began) * 100:.1f} ms of CPU, {len(body)} bytes on the wire")


def test_the_marker_is_recognised_by_its_bits() -> None:
    assert struct.pack("<d", stale_marker()) == struct.pack("<Q", 0x7FF0000000000002)
