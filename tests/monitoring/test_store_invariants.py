"""What the store promises whatever comes in, by the invariants' numbers: those that no other file tries."""

import tracemalloc
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from monitoring.actions import judging, metrics
from monitoring.models import Alert, AlertState, DueThreshold, Sample, Series, Threshold
from monitoring.sources import remote_write
from monitoring.sources.wire import TooLarge
from portal import jobs
from portal.audit import Automaton
from tests.monitoring.prometheus import varint

BY = Automaton("test")


@pytest.mark.django_db
def test_10_a_breach_that_comes_late_is_kept_and_never_fires() -> None:
    """Invariant 10: what is judged is how things are now."""
    threshold = Threshold.objects.create(
        name="load", metric="load", aggregation="max", operator=">", critical=1.0, window=60, created_by="test"
    )
    now = jobs.database_now()
    late = {"metric": "load", "value": 99, "time": now - timedelta(hours=2)}
    fine = {"metric": "load", "value": 0.5, "time": now}
    assert metrics.record([late, fine], by=BY).accepted == 2
    DueThreshold.objects.get_or_create(threshold=threshold)
    assert judging.run() == 1
    assert AlertState.objects.get(threshold=threshold).value == 0.5
    assert not Alert.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize("off", [timedelta(days=-1), timedelta(days=1)])
def test_11_a_wrong_clock_of_this_host_changes_nothing(off: timedelta, monkeypatch: pytest.MonkeyPatch) -> None:
    """Invariant 11: what is early, late or now is the database's to say."""
    wrong = timezone.now() + off
    monkeypatch.setattr(timezone, "now", lambda: wrong)
    monkeypatch.setattr("time.time", wrong.timestamp)
    now = jobs.database_now()
    times: list[Any] = [now, None, now + timedelta(seconds=50), now + timedelta(seconds=90), now - timedelta(days=400)]
    done = metrics.record(
        [{"metric": "load", "value": 1, "time": at, "labels": {"n": str(n)}} for n, at in enumerate(times)], by=BY
    )
    assert (done.accepted, [fault.index for fault in done.errors]) == (3, [3, 4])
    assert abs(Sample.objects.get(series__labels={"n": "1"}).time - now) < timedelta(seconds=30)


@pytest.mark.django_db
def test_20_a_hundred_times_too_many_series_make_no_more_than_there_may_be(settings: Any) -> None:
    """Invariant 20: the cap holds, what is beyond it is counted, and what was known goes on."""
    settings.PORTAL_MAX_SERIES = 20
    known = {"metric": "load", "value": 1, "labels": {"pod": "0"}}
    metrics.record([known], by=BY)
    many = [{"metric": "load", "value": 1, "labels": {"pod": str(n)}} for n in range(2_000)]
    done = metrics.record(many, by=BY)
    assert (done.accepted, done.rejected, Series.objects.count()) == (20, 1_980, 20)
    assert metrics.record([known], by=BY).rejected == 0


@pytest.mark.django_db
def test_20_a_label_of_ten_megabytes_is_refused_and_the_rest_kept() -> None:
    """Invariant 20."""
    huge = {"metric": "load", "value": 1, "labels": {"path": "x" * 10_000_000}}
    done = metrics.record([huge, {"metric": "load", "value": 1}], by=BY)
    assert (done.accepted, done.rejected) == (1, 1)
    assert done.errors[0].field == "labels.path"
    assert len(done.errors[0].message) < 200


@pytest.mark.parametrize("claimed", [64 * 1024 * 1024, 2**32 - 1, 2**40])
def test_20_a_bomb_is_refused_before_any_memory_is_taken_for_it(claimed: int) -> None:
    """Invariant 20."""
    body = varint(claimed) + b"\x00" * 1_000
    tracemalloc.start()
    try:
        with pytest.raises(TooLarge):
            remote_write.read(remote_write.unpack(body))
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
