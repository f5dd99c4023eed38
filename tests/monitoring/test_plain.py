"""Series that are known by their bytes: taken without reading their labels, and never mistaken for others."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.test import TestCase
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring.actions import incoming, plain, remote_write, series
from monitoring.actions.batches import Recorded
from monitoring.actions.incoming import Times
from monitoring.actions.series import Known
from monitoring.models import DueThreshold, Sample, Series
from monitoring.sources import remote_write as source
from monitoring.sources.remote_write import Malformed, Packed, Written
from portal import audit, jobs, keys
from portal.audit import Automaton
from portal.errors import Forbidden
from portal.models import ApiKey, Environment
from tests.monitoring import watching
from tests.monitoring.prometheus import block, request, stale_marker, varint
from tests.monitoring.prometheus import series as written

BY = Automaton("test")


@pytest.fixture(autouse=True)
def _nothing_known() -> Iterator[None]:
    series.forget_all()
    yield
    series.forget_all()


@pytest.fixture
def now_ms(db: None) -> int:
    return int(jobs.database_now().timestamp() * 1000)


def take(*rows: bytes, by: audit.Actor = BY) -> tuple[Recorded, Written]:
    with TestCase.captureOnCommitCallbacks(execute=True):
        return remote_write.take(source.unpack(request(*rows)), by=by)


def known(*rows: bytes, by: audit.Actor = BY) -> None:
    """Have these series known by their bytes: within a test the second time believes in the first."""
    for _ in range(2):
        take(*rows, by=by)


def values() -> list[float]:
    return sorted(value for value in Sample.objects.values_list("value", flat=True) if value is not None)


UP = {"__name__": "up", "job": "shop"}


# --- Taken --------------------------------------------------------------------------------------
@pytest.mark.parametrize("value", [1.5, 0.0, -1e300, 5e-324, 123_456_789.125])
def test_a_known_series_is_not_read_again(value: float, now_ms: int) -> None:
    known(written(UP, (now_ms - 5000, 1.0)))
    recorded, read = take(written(UP, (now_ms, value)))
    assert (recorded.accepted, read.samples) == (1, [])
    sample = Sample.objects.latest("time")
    assert (sample.value, round(sample.time.timestamp() * 1000)) == (0.0 if abs(value) < 1e-300 else value, now_ms)
    assert Series.objects.get().labels == {"job": "shop"}


def test_what_is_new_beside_it_is_read(now_ms: int) -> None:
    known(written(UP, (now_ms - 5000, 1.0)))
    recorded, read = take(
        written({"__name__": "new"}, (now_ms, 7.0)),
        written(UP, (now_ms, 2.0)),
        written({**UP, "pod": "b"}, (now_ms, 3.0), (now_ms + 1, 4.0)),
    )
    assert (recorded.accepted, [one["value"] for one in read.samples]) == (4, [7.0, 3.0, 4.0])
    assert values() == [1.0, 2.0, 3.0, 4.0, 7.0]


def test_a_series_that_always_comes_with_two_samples_is_read_each_time(now_ms: int) -> None:
    for ago in (4000, 2000):
        recorded, read = take(written(UP, (now_ms - ago, 1.0), (now_ms - ago + 1, 2.0)))
        assert (recorded.accepted, len(read.samples)) == (2, 2)


def test_it_is_heard_of_and_its_thresholds_are_due(now_ms: int) -> None:
    threshold = watching.threshold(metric="up", matchers={})
    known(written(UP, (now_ms - 60_000, 1.0)))
    DueThreshold.objects.all().delete()
    take(written(UP, (now_ms, 2.0)))
    row = Series.objects.get()
    assert row.last_time is not None
    assert (round(row.last_time.timestamp() * 1000), row.last_value) == (now_ms, 2.0)
    assert DueThreshold.objects.get().threshold_id == threshold.pk


def test_a_replay_changes_nothing_and_another_value_is_a_conflict(now_ms: int) -> None:
    other = {"__name__": "other"}
    known(written(UP, (now_ms - 5000, 1.0)), written(other, (now_ms - 5000, 1.0)))
    rows = [written(UP, (now_ms, 2.0)), written(other, (now_ms, 3.0))]
    assert take(*rows)[0].accepted == 2
    again, _ = take(*rows)
    assert (again.accepted, again.duplicates, again.conflicts) == (0, 2, 0)
    partly, _ = take(written(UP, (now_ms, 9.0)), written(other, (now_ms + 1, 4.0)))
    assert (partly.accepted, partly.duplicates, partly.conflicts) == (1, 0, 1)
    assert values() == [1.0, 1.0, 2.0, 3.0, 4.0]


@pytest.mark.parametrize("plain_first", [True, False])
def test_of_two_values_in_one_request_the_first_is_kept_whichever_way_they_come(now_ms: int, plain_first: bool) -> None:
    known(written(UP, (now_ms - 5000, 1.0)))
    rows = [written(UP, (now_ms, 2.0)), written(UP, (now_ms, 3.0), (now_ms + 1, 4.0))]
    recorded, _ = take(*(rows if plain_first else reversed(rows)))
    assert (recorded.accepted, recorded.conflicts) == (2, 1)
    assert values() == [1.0, 2.0 if plain_first else 3.0, 4.0]


def test_a_series_deleted_behind_our_back_is_made_anew(now_ms: int) -> None:
    other = {"__name__": "other"}
    known(written(UP, (now_ms - 5000, 1.0)), written(other, (now_ms - 5000, 1.0)))
    Series.objects.filter(metric__name="up").delete()
    recorded, _ = take(written(other, (now_ms, 2.0)), written(UP, (now_ms, 3.0)))
    assert (recorded.accepted, recorded.rejected) == (2, 0)
    assert Sample.objects.get(series__metric__name="up").value == 3.0
    assert take(written(UP, (now_ms + 1, 4.0)))[0].accepted == 1
    assert Sample.objects.filter(series__metric__name="up").count() == 2


# --- Refused ------------------------------------------------------------------------------------
def test_a_time_out_of_bounds_is_named_by_its_place(now_ms: int) -> None:
    other = {"__name__": "other"}
    known(written(UP, (now_ms - 5000, 1.0)), written(other, (now_ms - 5000, 1.0)))
    recorded, _ = take(written(other, (now_ms, 2.0)), written(UP, (now_ms + 3_600_000, 3.0)), written(UP, (1, 1.0)))
    assert (recorded.accepted, recorded.rejected) == (1, 2)
    assert [(fault.index, fault.field) for fault in recorded.errors] == [(1, "time"), (2, "time")]


def test_what_is_no_number_is_left_out_and_a_marker_ends_the_series(now_ms: int) -> None:
    known(written(UP, (now_ms - 5000, 1.0)))
    recorded, read = take(written(UP, (now_ms - 4000, math.nan)), written(UP, (now_ms - 3000, math.inf)))
    assert (recorded.accepted, recorded.rejected, read.skipped) == (0, 0, 2)
    take(written(UP, (now_ms - 2000, stale_marker())))
    assert Series.objects.get().stale_at is not None
    take(written(UP, (now_ms, 2.0)))
    assert Series.objects.get().stale_at is None


def key(*places: str) -> ApiKey:
    return keys.create("k", scopes=["ingest"], by=BY, environments=list(Environment.objects.filter(key__in=places)))[0]


def test_the_same_bytes_by_another_key_are_another_series_or_none_of_its_business(now_ms: int) -> None:
    for name in ("staging", "production", "qa"):
        Environment.objects.create(key=name)
    staging, production = key("staging"), key("production")
    known(written(UP, (now_ms - 5000, 1.0)), by=staging)
    take(written(UP, (now_ms, 2.0)), by=production)
    take(written(UP, (now_ms, 3.0)))
    assert {one.labels.get("environment") for one in Series.objects.all()} == {"staging", "production", None}

    named = {**UP, "environment": "production"}
    known(written(named, (now_ms - 5000, 1.0)), by=key("staging", "production"))
    count = Sample.objects.count()
    known(written(named, (now_ms - 4000, 1.0)))
    for by in (staging, key("staging", "qa")):
        with pytest.raises(Forbidden):
            take(written(named, (now_ms, 2.0)), by=by)
    assert Sample.objects.count() == count + 1


def test_more_than_are_taken_at_once_are_refused_however_they_come(now_ms: int, monkeypatch: Any) -> None:
    known(written(UP, (now_ms - 5000, 1.0)))
    monkeypatch.setattr(source, "MOST_SAMPLES", 3)
    with pytest.raises(source.TooLarge):
        take(*(written(UP, (now_ms + n, 1.0)) for n in range(3)), written({"__name__": "new"}, (now_ms, 1.0)))
    assert Sample.objects.count() == 1


# --- Never mistaken -----------------------------------------------------------------------------
NOW = datetime(2030, 1, 31, 12, tzinfo=UTC)
MS = int(NOW.timestamp() * 1000)
TIMES = Times.around(NOW, retention=timedelta(hours=48))
ROWS = [
    written({"__name__": "up", "job": "shop"}, (MS, 1.5)),
    written({"__name__": "up"}, (MS, 0.0)),
    written({"__name__": "up", "a": "b", "c": "dd"}, (MS - 1, -2.0)),
]


def told(packed: Packed, known_: plain.Plain, read: Written, times: Times) -> list[Any]:
    """Every sample, whichever way it came: its place, its series, its time and value."""
    columns = zip(known_.places, known_.known, known_.times(), known_.columns.values.tolist(), strict=True)
    found = [(place, one.metric, dict(one.labels), time, value) for place, one, time, value in columns]
    for place, sample in zip(read.series, read.samples, strict=True):
        try:
            at = times.read(sample["time"])
        except incoming.Wrong:
            continue
        found.append((place, sample["metric"], sample["labels"], at, incoming.number(sample["value"])))
    return sorted(found, key=lambda one: (one[0], one[3]))


def learned(rows: list[bytes]) -> None:
    read = source.read(Packed(rows, []))
    for number, sample in enumerate(read.samples):
        one = Known(number + 1, sample["metric"], "gauge", sample["labels"])
        series.memory.put((sample["metric"], tuple(sample["labels"].items()), None), one)
    samples = dict(zip(read.series, read.samples, strict=True))
    plain.learn(dict(enumerate(rows)), samples, None)


def both_ways(rows: list[bytes], times: Times = TIMES) -> tuple[Any, Any]:
    """What these come to for who knows some of them, and for who reads them all."""
    packed = Packed(rows, [])
    known_ = plain.split(rows, times, None)
    try:
        quick: Any = told(packed, known_, source.read(packed, known_.rest), times)
    except Malformed:
        quick = Malformed
    try:
        slow: Any = told(packed, plain.NONE, source.read(packed), times)
    except Malformed:
        slow = Malformed
    return quick, slow


def test_known_series_are_taken_at_sight() -> None:
    learned(ROWS)
    assert plain.split(ROWS, TIMES, None).places == [0, 1, 2]
    assert plain.split(ROWS, TIMES, "staging").places == []
    quick, slow = both_ways(ROWS)
    assert quick == slow
    assert len(quick) == 3


@settings(deadline=None, max_examples=300)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 60), st.integers(0, 255), st.sampled_from(["put", "cut", "add"])),
        max_size=4,
    )
)
def test_whatever_bytes_are_changed_both_ways_read_the_same(changes: list[tuple[int, int, int, str]]) -> None:
    learned(ROWS)
    rows = [bytearray(row) for row in ROWS]
    for which, place, byte, how in changes:
        row = rows[which]
        at = place % (len(row) + 1)
        if how == "put" and at < len(row):
            row[at] = byte
        elif how == "cut":
            del row[at : at + 1 + byte % 20]
        else:
            row.insert(at, byte)
    quick, slow = both_ways([bytes(row) for row in rows])
    assert quick == slow


@pytest.mark.parametrize("which", range(len(ROWS)))
def test_whichever_bit_is_turned_both_ways_read_the_same(which: int) -> None:
    learned(ROWS)
    for bit in range(8 * len(ROWS[which])):
        row = bytearray(ROWS[which])
        row[bit // 8] ^= 1 << bit % 8
        quick, slow = both_ways([bytes(row), *ROWS])
        assert quick == slow, bit


def test_what_holds_more_than_labels_before_its_last_sample_is_read_whole() -> None:
    name, sample = written({"__name__": "up"}), written({}, (MS, 1.0))
    rows = [name + sample + written({}, (MS + 1, 2.0)), name + b"\x1a\x00" + sample, name + b"\x22\x00" + sample]
    learned(rows)
    assert plain.split(rows, TIMES, None).places == []
    quick, slow = both_ways(rows)
    assert quick == slow
    assert len(quick) == 4


def test_a_label_that_ends_like_a_sample_is_no_sample() -> None:
    """The real sample comes first, which is allowed; behind it stands a label whose text looks like another."""
    looks = b"\x12\x10\x09" + b"a number" + b"\x10" + "\u00e9\u20ac5".encode()
    digits = np.frombuffer(looks[-6:], "u1").astype(object) & 0x7F
    at = sum(int(digit) << 7 * place for place, digit in enumerate(digits))
    times = Times.around(datetime.fromtimestamp(at / 1000, UTC), retention=timedelta(hours=48))
    name, sample = written({"__name__": "up"}), written({}, (at, 1.0))
    label = b"\x0a\x01a\x12" + varint(len(looks)) + looks
    odd = sample + name + b"\x0a" + varint(len(label)) + label
    for rows in ([odd], [name + sample, odd], [sample + name]):
        series.forget_all()
        learned(rows)
        quick, slow = both_ways(rows, times)
        assert quick == slow
        assert len(quick) == len(rows)


def test_a_request_of_known_series_costs_no_more_statements_the_more_they_are(
    now_ms: int, django_assert_num_queries: Any
) -> None:
    rows = [written({**UP, "n": str(n)}, (now_ms - 90_000, 1.0)) for n in range(50)]
    known(*rows)
    for count in (1, 50):
        again = [written({**UP, "n": str(n)}, (now_ms + count, 1.0)) for n in range(count)]
        # The clock, a transaction (here a savepoint) of two statements and the COPY, who was heard of, what is due.
        with django_assert_num_queries(8, exact=False):
            assert take(*again)[0].accepted == count


def test_nothing_is_read_of_an_empty_request(db: None) -> None:
    assert remote_write.take(source.unpack(block(b"")), by=BY)[0].accepted == 0
