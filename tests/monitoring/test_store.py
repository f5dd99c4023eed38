"""The store itself: COPY on the way in, partitions by day, idempotent under concurrency, never deadlocked."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext
from psycopg import pq
from pytest_django.fixtures import Settings

from monitoring.actions import metrics, observations, samples, series
from monitoring.actions.batches import Recorded
from monitoring.models import DueThreshold, Metric, Sample, Series, Threshold
from portal import jobs
from portal.audit import Automaton

BY = Automaton("test")


def batch(now: datetime, size: int, *, metric: str = "load", hosts: int = 10) -> list[dict[str, Any]]:
    return [
        {
            "metric": metric,
            "value": n,
            "time": now - timedelta(milliseconds=10 * n),
            "labels": {"host": str(n % hosts)},
        }
        for n in range(size)
    ]


def at_once(*works: Callable[[], Recorded]) -> list[Recorded]:
    """Each in its own thread and connection, begun together."""
    ready, done, failed = threading.Barrier(len(works)), [], []

    def run(work: Callable[[], Recorded]) -> None:
        try:
            ready.wait()
            done.append(work())
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    return done


@pytest.fixture
def other() -> Iterator[psycopg.Connection[Any]]:
    """A second session of the same database."""
    parameters = connection.get_connection_params()
    chosen = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}
    with psycopg.connect(**chosen, autocommit=True) as session:
        yield session


# --- COPY ---------------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_the_servers_own_view_of_copies_in_progress_shows_ours(other: psycopg.Connection[Any]) -> None:
    now = jobs.database_now()
    (known,) = _series("load")
    ours = ("COPY FROM", "PIPE", "staged_sample", True)
    seen: list[Any] = []

    class Watched(list[samples.Row]):
        """Before the first row is sent, ask the server from another session what it is doing."""

        looked_at = False

        def __iter__(self) -> Iterator[samples.Row]:
            if not self.looked_at:
                self.looked_at = True  # whether there is a distribution among them
                return super().__iter__()
            deadline = time.monotonic() + 60  # the server says that it is ready a moment before it says for what
            while ours not in seen and time.monotonic() < deadline:
                seen.extend(
                    other.execute(
                        "SELECT p.command, p.type, c.relname, n.nspname LIKE 'pg\\_temp%%' "
                        "FROM pg_stat_progress_copy p "
                        "JOIN pg_class c ON c.oid = p.relid JOIN pg_namespace n ON n.oid = c.relnamespace "
                        "WHERE p.pid = %s",
                        [pid],
                    )
                )
            return super().__iter__()

    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()
    one = {"count": 1, "positive": {"1": 1}}
    rows: list[samples.Row] = [(known.pk, now - timedelta(seconds=n), float(n), one) for n in range(100)]
    assert samples.store(rows[:50]).accepted == 50  # the session's temporary table is now in the catalogue
    assert samples.store(Watched(rows)).accepted == 50
    assert ours in seen


@pytest.mark.django_db
def test_a_batch_is_one_copy_on_the_wire_and_no_insert_of_values(tmp_path: Path) -> None:
    now = jobs.database_now()
    metrics.record(batch(now, 10), by=BY)
    trace = tmp_path / "wire"
    driver = connection.connection.pgconn
    with trace.open("w") as file:
        driver.trace(file.fileno())
        driver.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        metrics.record(batch(now - timedelta(hours=1), 500), by=BY)
        driver.untrace()
    wire = trace.read_text()
    assert wire.count("CopyInResponse") == 1
    assert "COPY 500" in wire
    assert "INSERT INTO monitoring_sample" not in wire, "what is all new needs no second step"
    with trace.open("w") as file:
        driver.trace(file.fileno())
        driver.set_trace_flags(pq.Trace.SUPPRESS_TIMESTAMPS)
        metrics.record(batch(now - timedelta(hours=1, seconds=1), 600), by=BY)
        driver.untrace()
    wire = trace.read_text()
    assert wire.count("CopyInResponse") == 2
    assert "INSERT INTO monitoring_sample (series_id, time, value, histogram) SELECT" in wire
    assert "VALUES" not in wire
    assert Sample.objects.count() == 710


def _series(*names: str) -> list[Series]:
    return [
        Series.objects.create(metric=Metric.objects.create(name=name), fingerprint=series.fingerprint({}))
        for name in names
    ]


# --- Partitions ---------------------------------------------------------------------------------
@pytest.mark.django_db
def test_each_sample_lies_in_the_partition_of_its_day() -> None:
    now = jobs.database_now()
    times = [now - timedelta(days=days) for days in (0, 1)] + [now - timedelta(hours=47)]
    metrics.record([{"metric": "load", "value": 1, "time": time} for time in times], by=BY)
    with connection.cursor() as cursor:
        cursor.execute("SELECT time, tableoid::regclass::text FROM monitoring_sample")
        found = dict(cursor.fetchall())
        cursor.execute(
            "SELECT partstrat, pg_get_partkeydef(partrelid) FROM pg_partitioned_table "
            "WHERE partrelid = 'monitoring_sample'::regclass"
        )
        assert cursor.fetchall() == [("r", 'RANGE ("time")')]
    assert found == {time: f"monitoring_sample_{time:%Y%m%d}" for time in times}


@pytest.mark.django_db
def test_a_sample_of_a_day_without_partition_is_kept_in_default() -> None:
    noon = datetime.fromisoformat("2040-06-01T12:00:00+00:00")
    assert metrics.record([{"metric": "load", "value": 1}], by=BY, now=noon).accepted == 1
    with connection.cursor() as cursor:
        cursor.execute("SELECT tableoid::regclass::text FROM monitoring_sample")
        assert cursor.fetchall() == [("monitoring_sample_default",)]


@pytest.mark.django_db
@pytest.mark.parametrize("value", ["'NaN'", "'Infinity'", "'-Infinity'"])
def test_the_database_itself_keeps_out_what_would_poison_an_average(value: str) -> None:
    (known,) = _series("load")
    with pytest.raises(Exception, match="sample_is_finite"), connection.cursor() as cursor:
        cursor.execute(f"INSERT INTO monitoring_sample VALUES ({known.pk}, now(), {value})")


# --- Concurrency --------------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_the_same_batch_from_four_senders_at_once_is_one_set() -> None:
    samples_ = batch(jobs.database_now(), 2000)
    done = at_once(*[lambda: metrics.record(samples_, by=BY)] * 4)
    assert sum(one.accepted for one in done) == 2000
    assert sum(one.duplicates for one in done) == 6000
    assert sum(one.conflicts + one.rejected for one in done) == 0
    assert Sample.objects.count() == 2000
    assert Series.objects.count() == 10
    assert Metric.objects.filter(name="load").count() == 1


@pytest.mark.django_db(transaction=True)
def test_batches_that_overlap_in_opposite_orders_do_not_deadlock() -> None:
    now = jobs.database_now()
    for place in range(5):
        samples_ = batch(now - timedelta(minutes=5 * place), 1000, metric=f"m{place}", hosts=100)
        backwards = samples_[::-1]
        done = at_once(*[lambda: metrics.record(samples_, by=BY), lambda: metrics.record(backwards, by=BY)] * 2)  # noqa: B023
        assert sum(one.accepted for one in done) == 1000
    assert Sample.objects.count() == 5000


@pytest.mark.django_db(transaction=True)
def test_of_two_values_sent_at_once_exactly_one_is_kept() -> None:
    now = jobs.database_now()
    batches = [[{"metric": "load", "value": value, "time": now}] for value in range(4)]
    done = at_once(*[lambda one=one: metrics.record(one, by=BY) for one in batches])
    assert sorted((one.accepted, one.conflicts) for one in done) == [(0, 1)] * 3 + [(1, 0)]
    assert Sample.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_somebody_who_holds_the_series_does_not_hold_up_ingest(other: psycopg.Connection[Any]) -> None:
    now = jobs.database_now()
    metrics.record(batch(now - timedelta(minutes=5), 10), by=BY)
    with other.transaction(), connection.cursor() as cursor:
        other.execute("SELECT FROM monitoring_series FOR UPDATE")
        cursor.execute("SET lock_timeout = '500ms'")
        try:
            assert metrics.record(batch(now, 10), by=BY).accepted == 10
        finally:
            cursor.execute("RESET lock_timeout")


# --- What a process remembers -------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
def test_a_known_series_costs_no_query_to_find() -> None:
    now = jobs.database_now()

    def cost(ago: int) -> int:
        with CaptureQueriesContext(connection) as seen:
            metrics.record(batch(now - timedelta(hours=ago), 10), by=BY)
        assert ago or any('"monitoring_metric"' in one["sql"] for one in seen)
        return sum("monitoring_metric" in one["sql"] for one in seen)

    assert cost(0) > 0
    assert cost(1) == 0


@pytest.mark.django_db(transaction=True)
def test_a_series_deleted_behind_our_back_is_made_anew_and_no_sample_is_lost() -> None:
    now = jobs.database_now()
    metrics.record(batch(now - timedelta(hours=1), 10), by=BY)
    Series.objects.filter(labels={"host": "3"}).delete()
    done = metrics.record(batch(now, 20), by=BY)
    assert (done.accepted, done.duplicates, done.conflicts) == (20, 0, 0)
    kept = Sample.objects.filter(series__labels={"host": "3"}).values_list("value", flat=True)
    assert set(kept) == {3, 13}


@pytest.mark.django_db(transaction=True)
def test_a_series_of_a_transaction_that_was_rolled_back_is_not_remembered() -> None:
    now = jobs.database_now()
    with transaction.atomic():
        metrics.record(batch(now, 10), by=BY)
        transaction.set_rollback(True)
    assert Series.objects.count() == 0
    assert metrics.record(batch(now, 10), by=BY).accepted == 10
    assert Sample.objects.filter(series__metric__name="load").count() == 10


@pytest.mark.django_db(transaction=True)
def test_memory_forgets_the_series_that_were_quiet_longest() -> None:
    memory: series.Memory[series.Key] = series.Memory(2)
    knowns = {n: series.Known(n, "m", "gauge", {}) for n in range(4)}
    for n in (0, 1):
        memory.put(("m", (("n", str(n)),), None), knowns[n])
    assert memory.get(("m", (("n", "0"),), None)) is knowns[0]
    for n in (2, 3):
        memory.put(("m", (("n", str(n)),), None), knowns[n])
        assert memory.get(("m", (("n", "0"),), None)) is knowns[0]
    assert len(memory.young) + len(memory.old) <= 4
    assert memory.get(("m", (("n", "1"),), None)) is None


@pytest.mark.django_db(transaction=True)
def test_a_series_says_when_it_was_last_heard_of() -> None:
    now = jobs.database_now()
    metrics.record(batch(now, 20, hosts=1), by=BY)
    heard = Series.objects.get()
    assert (heard.last_time, heard.last_value) == (now, 0)
    metrics.record([{"metric": "load", "value": 7, "time": now - timedelta(hours=1), "labels": {"host": "0"}}], by=BY)
    assert Series.objects.get().last_time == now


@pytest.mark.django_db(transaction=True)
def test_a_full_metric_takes_new_series_once_old_ones_are_heard_of_no_more(settings: Settings) -> None:
    settings.PORTAL_MAX_SERIES = 10
    now = jobs.database_now()
    metrics.record(batch(now, 10), by=BY)
    new = [{"metric": "load", "value": 1, "labels": {"host": f"new-{n}"}} for n in range(4)]
    assert metrics.record(new, by=BY).rejected == 4
    quiet = now - timedelta(days=settings.PORTAL_MINUTE_RETENTION_DAYS + 1)
    Series.objects.filter(labels__host__in=["0", "1", "2"]).update(last_time=quiet, created_at=quiet)
    # Made long ago, and heard of still: it counts.
    Series.objects.filter(labels={"host": "3"}).update(created_at=quiet)
    assert (metrics.record(new, by=BY).accepted, Series.objects.count()) == (3, 13)
    # One that comes back goes on.
    assert metrics.record(batch(now + timedelta(seconds=1), 10), by=BY).accepted == 10


@pytest.mark.django_db(transaction=True)
def test_series_of_which_nothing_is_left_are_deleted_and_come_back_as_new_ones(settings: Settings) -> None:
    now = jobs.database_now()
    metrics.record(batch(now, 10), by=BY)
    observed = [{"metric": "wait", "key": "k", "value": 1, "labels": {"host": "o"}}]
    observations.record(observed, by=BY)
    old = now - timedelta(days=settings.PORTAL_HOUR_RETENTION_DAYS + 1)
    Series.objects.update(last_time=old, created_at=old)
    assert series.forget_old() == 0  # their samples are there, and the observation
    Sample.objects.all().delete()
    kept = {labels["host"]: id_ for labels, id_ in Series.objects.values_list("labels", "pk")}
    Series.objects.filter(labels={"host": "0"}).update(last_time=now)
    Series.objects.filter(labels={"host": "1"}).update(stale_at=now)
    Series.objects.filter(labels={"host": "2"}).update(created_at=now)
    with connection.cursor() as cursor:
        for table, host in (("minute", "3"), ("hour", "4")):
            cursor.execute(
                f"INSERT INTO monitoring_{table}rollup (series_id, time, samples, count, total, squares, first_time, "
                "last_time) VALUES (%s, %s, 1, 1, 1, 0, %s, %s)",
                [kept[host], now, now, now],
            )
    assert series.forget_old() == 5
    assert {labels["host"] for labels in Series.objects.values_list("labels", flat=True)} == {*"01234", "o"}
    # This process remembers them still.
    again = metrics.record(batch(now + timedelta(seconds=5), 10), by=BY)
    assert (again.accepted, Series.objects.count()) == (10, 11)
    assert not Sample.objects.exclude(series__in=Series.objects.all()).exists()


@pytest.mark.django_db(transaction=True)
def test_a_cycle_deletes_so_many_series_and_those_left_are_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(series, "FORGOTTEN_AT_ONCE", 4)
    metric = Metric.objects.create(name="load")
    old = jobs.database_now() - timedelta(days=1_000)
    for n in range(6):
        Series.objects.create(metric=metric, labels={"n": str(n)}, fingerprint=uuid.uuid4(), created_at=old)
    Series.objects.update(created_at=old)
    assert [series.forget_old() for _ in range(3)] == [4, 2, 0]


# --- What follows -------------------------------------------------------------------------------
def _threshold(metric: str, **fields: Any) -> Threshold:
    given = {"aggregation": "mean", "operator": ">", "error": 1.0, "created_by": "test"} | fields
    return Threshold.objects.create(name=metric, metric=metric, **given)


@pytest.mark.django_db(transaction=True)
def test_a_new_series_is_heard_of_with_its_first_number_and_written_once() -> None:
    now = jobs.database_now()
    with CaptureQueriesContext(connection) as seen:
        metrics.record(batch(now, 20), by=BY)
    assert not [one for one in seen if "UPDATE monitoring_series" in one["sql"]]
    assert {(one.labels["host"], one.last_value) for one in Series.objects.all()} == {(str(n), n) for n in range(10)}
    metrics.record([{**one, "time": now + timedelta(seconds=40)} for one in batch(now, 10)], by=BY)
    assert {one.last_time for one in Series.objects.all()} == {now + timedelta(seconds=40)}


@pytest.mark.django_db(transaction=True)
def test_the_thresholds_on_a_metric_are_due_once_its_samples_are_committed() -> None:
    watched, divided = _threshold("load"), _threshold("errors_total", denominator="load")
    _threshold("other")
    _threshold("load", active=False)
    with transaction.atomic():
        metrics.record(batch(jobs.database_now(), 5), by=BY)
        assert not DueThreshold.objects.exists()
    marked = set(DueThreshold.objects.values_list("threshold_id", flat=True))
    assert marked == {watched.pk, divided.pk}


@pytest.mark.django_db(transaction=True)
def test_a_rejected_batch_marks_nothing() -> None:
    _threshold("load")
    metrics.record([{"metric": "load", "value": "x"}], by=BY)
    assert not DueThreshold.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_server_that_dies_in_mid_copy_is_an_operational_error_of_the_store(other: psycopg.Connection[Any]) -> None:
    now = jobs.database_now()
    (known,) = _series("load")
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    class Deadly(list[samples.Row]):
        looked_at = 0

        def __iter__(self) -> Iterator[samples.Row]:
            self.looked_at += 1
            for place, row in enumerate(super().__iter__()):
                if place == 5000 and self.looked_at > 1:
                    other.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
                yield row

    one = {"count": 1, "positive": {"1": 1}}
    rows = Deadly((known.pk, now - timedelta(milliseconds=n), 1.0, one) for n in range(20_000))
    with pytest.raises(OperationalError):
        samples.store(rows)
    connection.close()
    assert Sample.objects.count() == 0
    assert samples.store(list(rows[:10])).accepted == 10
