"""Signs of life that others owe us: their absence opens an incident, and only theirs."""

import threading
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from monitoring import tasks
from monitoring.actions import reported, watchdogs
from monitoring.models import Alert, Incident, ReportedAlert, Threshold, Watchdog
from monitoring.sources import alertmanager
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import ApiKey, AuditEntry, Heartbeat
from tests import make
from tests.make import BY

pytestmark = pytest.mark.django_db
ALWAYS = {"alertname": "Watchdog", "severity": "none", "cluster": "eu"}
MINUTE = timedelta(minutes=1)


def job(key: str = "backup", **fields: Any) -> Watchdog:
    return watchdogs.create({"key": key, "every": 60, "grace": 60, **fields}, by=BY)


def again(watchdog: Watchdog) -> Watchdog:
    return Watchdog.objects.select_related("service", "environment").get(pk=watchdog.pk)


def noticed(now: datetime, after: timedelta) -> int:
    return watchdogs.notice_silence(now=now + after)


def report(now: datetime, *, way: str = "api", end: timedelta | None = 4 * MINUTE, **labels: str) -> None:
    """As a Prometheus posts it (api) or an Alertmanager (webhook); `end` before now: it is over."""
    text = (now + (end or timedelta(0))).isoformat()
    one: dict[str, Any] = {"labels": {**ALWAYS, **labels}, "startsAt": (now - 60 * MINUTE).isoformat()}
    if way == "webhook":
        over = end is not None and end <= timedelta(0)
        one |= {"status": "resolved" if over else "firing", "endsAt": text if over else "0001-01-01T00:00:00Z"}
    else:
        one |= {"endsAt": text}
    read = alertmanager.of_webhook if way == "webhook" else alertmanager.of_api
    taken = reported.take([one], read, by=BY, way=way, now=now)
    assert taken.faults == []


# --- A job that calls ---------------------------------------------------------------------------
def test_who_is_heard_in_time_is_alive_and_who_is_not_opens_one_incident() -> None:
    place: dict[str, Any] = {"service": make.service(), "environment": make.environment()}
    dog, now = job(**place), jobs.database_now()
    watchdogs.beat(dog, by=BY, said="3 GB", now=now)
    dog = again(dog)
    assert (dog.status, dog.said, dog.heard_from) == ("alive", "3 GB", str(BY))
    assert dog.due_at == now + 2 * MINUTE
    assert noticed(now, 1.9 * MINUTE) == 0
    assert [noticed(now, 2 * MINUTE) for _ in range(3)] == [1, 0, 0]
    incident, alert = Incident.objects.get(), Alert.objects.get()
    assert (incident.severity, incident.status) == ("SEV1", "triggered")
    assert (str(incident.service), str(incident.environment)) == (str(place["service"]), str(place["environment"]))
    assert "not heard since" in alert.reason
    assert "owed every 60 s, and may be 60 s late" in alert.reason
    assert alert.level == "critical"
    watchdogs.beat(again(dog), by=BY, now=now + 3 * MINUTE)
    assert again(dog).status == "alive"
    assert Incident.objects.get().status == "resolved"
    assert Alert.objects.get().reason.endswith("is heard again") or Alert.objects.get().status == "resolved"


def test_who_was_never_heard_is_missed_too() -> None:
    dog = job(level="error")
    assert dog.status == "waiting"
    assert noticed(dog.created_at, 3 * MINUTE) == 1
    assert Alert.objects.get().reason.startswith("backup: never heard")
    assert Incident.objects.get().severity == "SEV2"


def test_who_says_that_it_failed_fires_at_once_and_its_silence_keeps_the_incident_open() -> None:
    dog, now = job(), jobs.database_now()
    watchdogs.beat(dog, by=BY, failed=True, said="disk full", now=now)
    assert (again(dog).state, Alert.objects.get().reason) == ("failing", "backup says that it failed: disk full")
    assert noticed(now, 3 * MINUTE) == 1
    assert again(dog).status == "silent"
    assert Incident.objects.get().status == "triggered"
    assert "not heard since" in Alert.objects.get().reason
    watchdogs.beat(again(dog), by=BY, now=now + 4 * MINUTE)
    assert Incident.objects.get().status == "resolved"


def test_after_we_were_away_ourselves_everybody_has_time_again() -> None:
    """Nobody was listening: that nobody was heard says nothing. Who stays silent is told of after that."""
    dog = job()
    now = dog.created_at + 10 * MINUTE
    Heartbeat.objects.update_or_create(name=watchdogs.SWEEP, defaults={"at": dog.created_at, "cycle_ms": 1})
    assert watchdogs.notice_silence(now=now) == 0
    assert again(dog).due_at == now + 2 * MINUTE
    Heartbeat.objects.filter(name=watchdogs.SWEEP).update(at=now + 2 * MINUTE)
    assert watchdogs.notice_silence(now=now + 2 * MINUTE) == 1


def test_the_sweep_is_one_of_those_that_are_watched() -> None:
    tasks.watch_reports()
    assert Heartbeat.objects.filter(name=watchdogs.SWEEP).exists()
    assert watchdogs.SWEEP in jobs.SWEEPS


def test_paused_it_owes_nothing_and_its_alert_ends_resumed_it_has_its_time_anew() -> None:
    dog = job()
    noticed(dog.created_at, 3 * MINUTE)
    paused = watchdogs.change(dog, {"active": False}, by=BY, because="moving")
    assert (paused.state, paused.due_at) == ("paused", None)
    assert not Alert.objects.firing().exists()
    # That it is not watched proves nothing: a person says when it is over.
    assert Incident.objects.get().status == "triggered"
    watchdogs.beat(paused, by=BY)
    assert again(dog).due_at is None
    resumed = watchdogs.change(again(dog), {"active": True}, by=BY)
    assert (resumed.state, noticed(jobs.database_now(), timedelta(0))) == ("waiting", 0)
    assert noticed(jobs.database_now(), 3 * MINUTE) == 1
    assert Alert.objects.firing().count() == 1


def test_deleted_it_leaves_its_alerts_and_its_key_may_be_used_again() -> None:
    dog = job()
    noticed(dog.created_at, 3 * MINUTE)
    watchdogs.delete(dog, by=BY, because="gone")
    assert (Alert.objects.get().status, Watchdog.objects.count()) == ("resolved", 0)
    dog = job()
    assert noticed(dog.created_at, 3 * MINUTE) == 1
    assert Threshold.objects.filter(source=watchdogs.SOURCE).count() == 1


def test_an_edit_that_lengthens_its_patience_counts_from_when_it_was_heard_last() -> None:
    dog, now = job(), jobs.database_now()
    watchdogs.beat(dog, by=BY, now=now)
    changed = watchdogs.change(dog, {"every": 600, "name": "Backup"}, by=BY)
    assert (changed.due_at, changed.threshold.name) == (now + 11 * MINUTE, "Backup (backup)")
    assert noticed(now, 3 * MINUTE) == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("key", "no spaces"), ("every", 4), ("every", 10**9), ("every", True), ("grace", -1), ("level", "warning"),
        ("matchers", {"": "x"}), ("matchers", [1]), ("name", "x" * 201), ("active", "yes"), ("runbook", "a\0b"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(field: str, value: Any) -> None:
    with pytest.raises(Invalid) as refused:
        watchdogs.create({"key": "job", field: value}, by=BY)
    assert [name for name in refused.value.errors if name.startswith(field)]
    assert not Watchdog.objects.exists()


def test_one_key_one_watchdog_and_the_key_stays() -> None:
    dog = job()
    with pytest.raises(Refused, match="backup already"):
        job()
    with pytest.raises(Invalid):
        watchdogs.change(dog, {"key": "other"}, by=BY)
    with pytest.raises(Invalid):
        watchdogs.change(dog, {"due_at": None}, by=BY)


@pytest.mark.django_db(transaction=True)
def test_a_sign_and_the_notice_of_silence_at_once_end_in_one_truth() -> None:
    dog = job()
    late = dog.created_at + 3 * MINUTE
    ready, failed = threading.Barrier(2), []

    def run(work: Any) -> None:
        try:
            ready.wait()
            work()
        except Exception as error:
            failed.append(error)
        finally:
            connections.close_all()

    works = (lambda: watchdogs.notice_silence(now=late), lambda: watchdogs.beat(dog, by=BY, now=late))
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    assert again(dog).status == "alive"
    assert not Alert.objects.firing().exists()
    assert Incident.objects.exclude(status="resolved").count() == 0


# --- An alert that always fires -----------------------------------------------------------------
@pytest.mark.parametrize(("way", "patience"), [("api", 5 * MINUTE), ("webhook", 250 * MINUTE)])
def test_the_alert_of_that_name_makes_its_watchdog_and_is_no_alert(way: str, patience: timedelta) -> None:
    now = jobs.database_now()
    report(now, way=way)
    dog = Watchdog.objects.get()
    assert (dog.name, dog.status, dog.matchers, dog.level) == ("Watchdog cluster=eu", "alive", ALWAYS, "critical")
    assert not ReportedAlert.objects.exists()
    assert not Incident.objects.exists()
    report(now + MINUTE, way=way)
    assert Watchdog.objects.get().heard_at == now + MINUTE
    assert noticed(now + MINUTE, patience - MINUTE / 2) == 0
    assert noticed(now + MINUTE, patience) == 1
    assert Incident.objects.get().title == f"Watchdog cluster=eu ({dog.key}): critical"
    report(now + MINUTE + patience, way=way)
    assert Incident.objects.get().status == "resolved"


def test_two_clusters_are_two_and_what_is_deleted_comes_back_with_its_alert() -> None:
    now = jobs.database_now()
    report(now)
    report(now, cluster="us")
    assert Watchdog.objects.count() == 2
    watchdogs.delete(Watchdog.objects.first(), by=BY)  # type: ignore[arg-type]
    report(now)
    assert Watchdog.objects.count() == 2


def test_a_paused_one_is_not_made_anew() -> None:
    now = jobs.database_now()
    report(now)
    watchdogs.change(Watchdog.objects.get(), {"active": False}, by=BY)
    report(now + MINUTE)
    assert (Watchdog.objects.get().state, Watchdog.objects.get().heard_at) == ("paused", now + MINUTE)


def test_that_its_end_is_told_is_silence_at_once() -> None:
    now = jobs.database_now()
    report(now, way="webhook")
    report(now + MINUTE, way="webhook", end=-MINUTE / 6)
    assert Watchdog.objects.get().status == "silent"
    assert "sign of life has ended" in Alert.objects.get().reason


def test_a_watchdog_by_chosen_labels_takes_any_alert_for_a_sign() -> None:
    make.service()
    dog = job("dead-mans-switch", matchers={"alertname": "DeadMansSwitch"}, every=300)
    now = jobs.database_now()
    report(now, alertname="DeadMansSwitch", service="checkout")
    assert again(dog).status == "alive"
    report(now, alertname="HighErrors", severity="critical")
    assert (ReportedAlert.objects.count(), Incident.objects.count(), Watchdog.objects.count()) == (1, 1, 1)


def test_the_names_are_a_setting(settings: Any) -> None:
    settings.PORTAL_WATCHDOGS = []
    report(jobs.database_now())
    assert (Watchdog.objects.count(), ReportedAlert.objects.count()) == (0, 1)


def test_a_request_of_signs_of_life_costs_the_same_however_many_watchdogs_there_are() -> None:
    now = jobs.database_now()
    report(now)

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            report(now)
        return len(queries)

    cost()
    few = cost()
    for n in range(20):
        job(f"job-{n}", matchers={"alertname": f"Other{n}"})
    assert cost() == few


@pytest.mark.parametrize("end", [4 * MINUTE, -MINUTE])
def test_a_key_of_another_environment_neither_feeds_nor_silences_a_watchdog(end: timedelta) -> None:
    dog, now = (
        job("prometheus-eu", matchers={"alertname": "Watchdog"}, environment=make.production()),
        jobs.database_now(),
    )
    watchdogs.beat(dog, by=BY, now=now)
    make.key("ingest", environments=[make.environment("lab")])
    lab = ApiKey.objects.order_by("-pk")[0]
    sent = {"labels": ALWAYS, "startsAt": (now - MINUTE).isoformat(), "endsAt": (now + end).isoformat()}
    reported.take([sent], alertmanager.of_api, by=lab, way="api", now=now + MINUTE)
    assert (again(dog).status, again(dog).heard_at) == ("alive", now)
    # One that fires is a sign of life of its own place.
    own = Watchdog.objects.exclude(pk=dog.pk)
    assert [str(one.environment) for one in own] == (["lab"] if end > timedelta(0) else [])


# --- Doors --------------------------------------------------------------------------------------
def test_a_job_calls_with_a_key_that_may_only_be_heard() -> None:
    dog = job()
    headers = {"Authorization": f"Bearer {make.key('ingest')}"}
    address = f"/api/v1/watchdogs/{dog.key}/beat/"
    assert Client().post(address).status_code == 401
    assert Client().generic("POST", address, headers=headers).status_code == 204
    body = '{"status": "failed", "message": "no space"}'
    assert Client().post(address, body, content_type="application/json", headers=headers).status_code == 204
    assert again(dog).state == "failing"
    wrong = Client().post(address, '{"status": "dead"}', content_type="application/json", headers=headers)
    assert (wrong.status_code, wrong.json()["errors"][0]["field"]) == (400, "status")
    assert Client().generic("POST", "/api/v1/watchdogs/other/beat/", headers=headers).status_code == 404
    read = {"Authorization": f"Bearer {make.key('read')}"}
    assert Client().generic("POST", address, headers=read).status_code == 403


def test_a_key_of_another_place_is_not_heard_here_and_a_viewer_makes_none() -> None:
    dog = job(environment=make.environment("staging"))
    elsewhere = make.key("ingest", environments=[make.environment("lab")])
    headers = {"Authorization": f"Bearer {elsewhere}"}
    refused = Client().generic("POST", f"/api/v1/watchdogs/{dog.key}/beat/", headers=headers)
    assert refused.status_code == 403
    viewer = make.person("vic", "viewer")
    before = AuditEntry.objects.count()
    for act in (
        lambda: watchdogs.create({"key": "mine"}, by=viewer),
        lambda: watchdogs.change(dog, {"active": False}, by=viewer),
        lambda: watchdogs.delete(dog, by=viewer),
        lambda: watchdogs.beat(dog, by=viewer),
    ):
        with pytest.raises(Forbidden):
            act()
    assert AuditEntry.objects.count() == before


def test_a_sign_of_life_that_is_in_time_writes_no_history() -> None:
    dog = job()
    watchdogs.beat(dog, by=BY)
    before = AuditEntry.objects.count()
    watchdogs.beat(dog, by=BY)
    assert AuditEntry.objects.count() == before
