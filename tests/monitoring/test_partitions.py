"""Days made ahead, dropped when they are over, and DEFAULT for what nobody expected."""

import threading
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.core.management import call_command
from django.db import OperationalError, connection, connections
from pytest_django.fixtures import Settings

from monitoring import tasks
from monitoring.actions import metrics, partitions
from monitoring.models import Sample
from portal import jobs
from portal.audit import Automaton
from portal.models import Heartbeat

BY = Automaton("test")
NOON = datetime(2040, 6, 10, 12, tzinfo=UTC)


def where() -> dict[datetime, str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT time, tableoid::regclass::text FROM monitoring_sample")
        return dict(cursor.fetchall())


@pytest.mark.django_db
def test_a_fresh_database_has_the_days_from_the_oldest_kept_to_three_ahead() -> None:
    # It was made when the tests began, which may have been before midnight.
    today = jobs.database_now().date()
    assert any(
        {day + timedelta(days=n) for n in range(-2, 4)} <= partitions.days()
        for day in (today, today - timedelta(days=1))
    )


@pytest.mark.django_db
def test_days_are_made_ahead_and_dropped_when_they_are_over() -> None:
    partitions.keep(now=NOON)
    assert partitions.days() == {date(2040, 6, day) for day in range(8, 14)}
    assert partitions.keep(now=NOON) == 0
    # A day more of samples and of minutes' rollups, a day less of samples: those are kept shorter.
    assert partitions.keep(now=NOON + timedelta(days=1)) == 3
    assert partitions.days() == {date(2040, 6, day) for day in range(9, 15)}


@pytest.mark.django_db
def test_the_samples_of_a_dropped_day_are_gone_and_the_others_kept() -> None:
    partitions.keep(now=NOON)
    metrics.record(
        [{"metric": "load", "value": 1, "time": NOON - timedelta(hours=47)}, {"metric": "load", "value": 2}],
        by=BY,
        now=NOON,
    )
    partitions.keep(now=NOON + timedelta(hours=13))
    assert list(Sample.objects.values_list("value", flat=True)) == [2]


@pytest.mark.django_db
def test_a_longer_retention_keeps_more_days(settings: Settings) -> None:
    settings.PORTAL_RAW_RETENTION_HOURS = 24 * 7
    partitions.keep(now=NOON)
    assert min(partitions.days()) == date(2040, 6, 3)


@pytest.mark.django_db
def test_a_day_whose_samples_lie_in_default_takes_them_over() -> None:
    for hours in (0, 1, 30):
        metrics.record([{"metric": "load", "value": hours}], by=BY, now=NOON - timedelta(hours=hours))
    assert set(where().values()) == {"monitoring_sample_default"}
    assert partitions.make(NOON.date())
    assert where() == {
        NOON: "monitoring_sample_20400610",
        NOON - timedelta(hours=1): "monitoring_sample_20400610",
        NOON - timedelta(hours=30): "monitoring_sample_default",
    }
    assert not partitions.make(NOON.date())


@pytest.mark.django_db
def test_what_is_too_old_leaves_default_too() -> None:
    metrics.record([{"metric": "load", "value": 1}], by=BY, now=NOON - timedelta(days=5))
    partitions.keep(now=NOON)
    assert not Sample.objects.exists()


@pytest.mark.django_db
def test_a_new_day_has_the_key_and_the_checks_of_the_whole_table() -> None:
    partitions.make(NOON.date())
    with connection.cursor() as cursor:
        cursor.execute("SELECT conname FROM pg_constraint WHERE conrelid = 'monitoring_sample_20400610'::regclass")
        names = {name for (name,) in cursor.fetchall()}
    assert {"sample_is_finite", "sample_says_something", "monitoring_sample_20400610_pkey"} <= names


@pytest.mark.django_db(transaction=True)
def test_two_sweeps_at_once_make_each_day_once() -> None:
    try:
        failed: list[Exception] = []

        def sweep() -> None:
            try:
                partitions.keep(now=NOON)
            except Exception as error:
                failed.append(error)
            finally:
                connections.close_all()

        threads = [threading.Thread(target=sweep) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert failed == []
        assert partitions.days() == {date(2040, 6, day) for day in range(8, 14)}
    finally:
        for store in partitions.STORES:
            for day in partitions.days(store):
                partitions.drop(day, store)
        partitions.keep()


@pytest.mark.django_db(transaction=True)
def test_a_long_query_makes_the_sweep_give_up_rather_than_hold_up_ingest() -> None:
    parameters = connection.get_connection_params()
    chosen = {name: parameters[name] for name in ("dbname", "user", "password", "host", "port") if name in parameters}
    partitions.keep()  # the tests may have begun before midnight
    day = jobs.database_now().date() + timedelta(days=3)
    with psycopg.connect(**chosen) as other:
        other.execute("SELECT count(*) FROM monitoring_sample")
        with pytest.raises(OperationalError, match="lock timeout"):
            partitions.drop(day)
    assert partitions.drop(day)
    partitions.keep()
    assert day in partitions.days()


@pytest.mark.django_db(transaction=True)
def test_an_emptied_database_takes_samples_at_once_and_remembers_no_series() -> None:
    metrics.record([{"metric": "load", "value": 1}], by=BY)
    partitions.drop(jobs.database_now().date())
    call_command("flush", interactive=False, verbosity=0)
    assert jobs.database_now().date() in partitions.days()
    assert metrics.record([{"metric": "load", "value": 1}], by=BY).accepted == 1
    assert "monitoring_sample_default" not in where().values()


@pytest.mark.django_db
def test_the_sweep_is_poked_every_minute_and_writes_its_heartbeat() -> None:
    assert jobs.SWEEPS["monitoring.keep_partitions"].every == 60
    partitions.keep()  # the tests may have begun before midnight
    task: Any = tasks.keep_partitions
    assert task() == 0
    assert Heartbeat.objects.filter(name="monitoring.keep_partitions").exists()
