"""Errors taken in: each kept once and counted once, grouped, masked, measured; back when they come again."""

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from pytest_django.fixtures import Settings

from monitoring.actions import capping, error_groups, errors, judging, library, thresholds
from monitoring.models import (
    Alert,
    ErrorGroup,
    ErrorHour,
    ErrorOccurrence,
    ErrorRelease,
    ErrorUnit,
    Incident,
    Metric,
    Rejection,
    Sample,
    Series,
    Threshold,
)
from portal import jobs
from portal.audit import Automaton
from portal.errors import Forbidden, Invalid
from portal.models import ApiKey, AuditEntry, Environment
from tests import make

BY = Automaton("test")
AT = datetime(2040, 6, 10, 12, 0, 3, tzinfo=UTC)
NOW = AT + timedelta(minutes=1)
STACK = 'Traceback (most recent call last):\n  File "/srv/shop/cart.py", line 12, in total\nKeyError: 7\n'


def report(key: str = "", **told: Any) -> dict[str, Any]:
    whole = {"type": "KeyError", "message": "'7'", "stack": STACK, "service": "shop", "environment": "staging"}
    return {**whole, "time": AT, **({"key": key} if key else {}), **told}


def record(*given: Any, by: Any = BY, now: datetime = NOW) -> tuple[int, int, int]:
    done = errors.record(given, by=by, now=now)
    return done.accepted, done.duplicates, done.rejected


def faults(*given: Any, by: Any = BY) -> list[tuple[int, str, str]]:
    return [(one.index, one.field, one.message) for one in errors.record(given, by=by, now=NOW).errors]


def counted() -> float:
    """What the samples say: how many errors there were."""
    return sum(sample.histogram["sum"] for sample in Sample.objects.all() if sample.histogram)


@pytest.fixture
def places(db: None) -> None:
    make.service("shop")
    make.environment("staging")


@pytest.mark.usefixtures("places")
def test_reports_that_differ_in_lines_and_values_are_one_group() -> None:
    told = [
        report("a", unit="u1", release="1.0"),
        report("b", message="'8'", stack=STACK.replace("12", "99"), unit="u2", time=AT + timedelta(hours=-1)),
        report("c", severity="fatal", unit="u1", release="1.1", time=AT + timedelta(seconds=2)),
        report("d", type="ValueError"),
    ]
    assert record(*told) == (4, 0, 0)
    group = ErrorGroup.objects.get(type="KeyError")
    assert (group.count, group.users, group.severity, group.status) == (3, 2, "critical", "open")
    assert (group.first_seen, group.last_seen) == (AT - timedelta(hours=1), AT + timedelta(seconds=2))
    assert (group.first_release, group.last_release) == ("1.0", "1.1")
    assert group.culprit == "total in shop/cart.py"
    assert [(hour.hour, hour.count) for hour in group.hours.all()] == [
        (datetime(2040, 6, 10, 11, tzinfo=UTC), 1),
        (datetime(2040, 6, 10, 12, tzinfo=UTC), 2),
    ]
    assert sorted(group.releases.values_list("release", "count")) == [("1.0", 1), ("1.1", 1)]


@pytest.mark.usefixtures("places")
def test_a_replay_changes_nothing_whatever_it_says() -> None:
    batch = [report(f"k{n}", unit=f"u{n % 7}", time=AT - timedelta(seconds=n)) for n in range(40)]
    seen = []
    for again in range(3):
        done = record(*[one | {"message": f"attempt {again}"} for one in batch])
        group = ErrorGroup.objects.get()
        seen.append((group.count, group.users, group.hours.count(), ErrorOccurrence.objects.count(), counted()))
        assert done == ((40, 0, 0) if not again else (0, 40, 0))
    assert set(seen) == {(40, 7, 2, 40, 40.0)}
    # Also within one batch, and although it would be in another group now.
    assert record(report("new"), report("new"), report("k1", type="Other")) == (1, 2, 0)
    assert ErrorGroup.objects.count() == 1


@pytest.mark.usefixtures("places")
def test_what_is_wrong_is_named_and_the_rest_is_kept() -> None:
    make.service("other")
    wrong = [
        "no object",
        report(type=""),
        report(type=None),
        report(severity="bad"),
        report(service="nowhere"),
        report(environment="nowhere"),
        report(environment=None),
        report(time=NOW + timedelta(seconds=90)),
        report(time=NOW - timedelta(days=9)),
        report(labels={"1x": "y"}),
        report(labels={"team": "y" * 201}),
        report(labels={"release": "1"}),
        report(key="x" * 201),
        report(message=5),
        report(fingerprint=[1]),
        report(frames=[{"function": 1}]),
        report(extra=1),
        report(unit="\0"),
    ]
    assert record(*wrong, report("good")) == (1, 0, len(wrong))
    named = [field for _, field, _ in faults(*wrong)]
    assert named == [
        "", "type", "type", "severity", "service", "environment", "environment", "time", "time", "labels",
        "labels.team", "labels.release", "key", "message", "fingerprint[0]", "frames[0].function", "extra", "unit",
    ]  # fmt: skip
    assert ErrorOccurrence.objects.get().key == "good"


@pytest.mark.usefixtures("places")
def test_the_environment_is_the_keys_own_and_no_other_is_written_to() -> None:
    make.environment("lab")
    make.key("ingest", environments=[make.environment("staging")])
    key = ApiKey.objects.get()
    assert record(report("a", environment=None), by=key) == (1, 0, 0)
    assert ErrorGroup.objects.get().environment.key == "staging"
    with pytest.raises(Forbidden, match="'lab'"):
        record(report("b"), report("c", environment="lab"), by=key)
    # Also when what names it is wrong besides.
    with pytest.raises(Forbidden, match="'lab'"):
        record(report("b", environment="lab", severity="bad"), by=key)
    assert ErrorOccurrence.objects.count() == 1
    make.key("read")
    with pytest.raises(Forbidden):
        record(report("b"), by=ApiKey.objects.get(scopes=["read"]))


@pytest.mark.usefixtures("places")
def test_what_is_sensitive_is_masked_before_it_is_kept(settings: Settings) -> None:
    settings.PORTAL_CONTEXT_MASK = ["password", "token", "email", "targetingKey"]
    told = report(
        "a",
        message="login of bob@example.com failed: password=hunter2",
        stack=STACK + '    api(token="s3cret", user=1)\nAuthorization: Bearer abcdefgh\n',
        labels={"access_token": "t0ken", "token": "t0ken", "team": "web"},
        url="https://u:pw@shop.example.com/?token=zzz",
        unit="bob",
    )
    assert record(told) == (1, 0, 0)
    kept = ErrorOccurrence.objects.get()
    whole = " ".join([kept.message, kept.stack, kept.url, str(kept.labels), kept.unit, kept.group.message])
    for secret in ("bob@", "hunter2", "s3cret", "abcdefgh", ":pw@", "zzz", "bob"):
        assert secret not in whole
    assert kept.labels["token"] == "[masked]"
    assert kept.unit.startswith("masked-")
    assert "user=1" in kept.stack
    assert ErrorUnit.objects.get().digest not in ("", "bob")


@pytest.mark.usefixtures("places")
def test_an_address_as_the_unit_is_kept_under_a_pseudonym_and_counted() -> None:
    told = [report(key, unit=unit) for key, unit in (("a", "bob@example.com"), ("b", "bob@example.com"), ("c", "u-1"))]
    assert record(*told) == (3, 0, 0)
    first, second, third = ErrorOccurrence.objects.order_by("key").values_list("unit", flat=True)
    assert (first, third) == (second, "u-1")
    assert first.startswith("masked-")
    assert ErrorGroup.objects.get().users == 2


@pytest.mark.usefixtures("places")
def test_what_is_too_long_is_cut_and_not_lost() -> None:
    assert record(report("a", message="m" * 9_000, stack="s" * 100_000 + "\0", url="u" * 3_000)) == (1, 0, 0)
    kept = ErrorOccurrence.objects.get()
    assert (len(kept.message), len(kept.stack), len(kept.url)) == (8_000, 65_536, 2_000)
    assert kept.message.endswith("… (cut)")


@pytest.mark.usefixtures("places")
def test_frames_make_the_stack_where_there_is_no_text() -> None:
    frames = [{"function": "total", "file": "cart.py", "line": 3, "in_app": True}, {"module": "library"}]
    record(report("a", stack=None, frames=frames))
    assert ErrorOccurrence.objects.get().stack == "    at total (cart.py:3)\n    at <unknown> (library)"


@pytest.mark.usefixtures("places")
def test_one_that_was_resolved_is_back_when_it_comes_again_in_a_newer_release() -> None:
    record(report("a", release="1.9"))
    group = ErrorGroup.objects.get()
    error_groups.resolve(group, by=BY, because="mended in 1.10")
    ErrorGroup.objects.update(resolved_at=AT)
    later = AT + timedelta(seconds=10)
    # The old release still runs somewhere, and something arrives late.
    record(report("b", release="1.9", time=later), report("c", release="1.10", time=AT - timedelta(seconds=1)))
    group.refresh_from_db()
    assert (group.status, group.count, group.regressed_at) == ("resolved", 3, None)
    ErrorRelease.objects.filter(release="1.10").delete()
    record(report("d", release="1.8", time=later))
    assert ErrorGroup.objects.get().status == "resolved"
    record(report("e", release="1.10", time=later), report("f", release="1.10", time=later))
    group.refresh_from_db()
    assert (group.status, group.regressed_at, group.status_because) == ("open", NOW, "it came again in 1.10")
    line = AuditEntry.objects.get(verb="errorgroup.open")
    assert (line.actor, line.because) == ("errors", "it came again in 1.10")
    # Resolved once more, nothing is left of it.
    error_groups.resolve(group, by=BY)
    assert ErrorGroup.objects.get().regressed_at is None


@pytest.mark.usefixtures("places")
def test_one_that_is_ignored_is_counted_and_measured_no_more() -> None:
    record(report("a"))
    group = ErrorGroup.objects.get()
    with pytest.raises(Invalid):
        error_groups.ignore(group, by=BY, because=" ")
    assert error_groups.ignore(group, by=BY, because="a robot")
    assert not error_groups.ignore(group, by=BY, because="a robot")
    record(report("b"))
    group.refresh_from_db()
    assert (group.status, group.count, counted()) == ("ignored", 2, 1.0)
    error_groups.reopen(group, by=BY)
    record(report("c"))
    assert counted() == 2.0


@pytest.mark.usefixtures("places")
def test_whose_it_is_goes_on_record() -> None:
    record(report("a"))
    group, olga = ErrorGroup.objects.get(), make.person("olga", "operator")
    assert error_groups.assign(group, olga, by=olga)
    assert not error_groups.assign(group, olga, by=olga)
    assert ErrorGroup.objects.get().assignee == olga
    assert AuditEntry.objects.get(verb="errorgroup.assigned").after == {"assignee": "olga"}
    vic = make.person("vic", "viewer")
    for verb in (error_groups.resolve, error_groups.reopen):
        with pytest.raises(Forbidden):
            verb(group, by=vic)
    with pytest.raises(Forbidden):
        error_groups.assign(group, None, by=vic)


@pytest.mark.usefixtures("places")
def test_old_occurrences_go_and_the_counts_stay(settings: Settings) -> None:
    record(report("a"), report("b"))
    ErrorOccurrence.objects.filter(key="a").update(created_at=jobs.database_now() - timedelta(days=31))
    assert errors.forget_old() == 1
    group = ErrorGroup.objects.get()
    assert (group.count, ErrorHour.objects.get().count, ErrorOccurrence.objects.get().key) == (2, 2, "b")
    # A shorter time than raw samples are taken would let a retry count twice.
    settings.PORTAL_ERROR_RETENTION_DAYS = 1
    ErrorOccurrence.objects.update(created_at=jobs.database_now() - timedelta(days=2))
    assert errors.forget_old() == 0
    ErrorOccurrence.objects.update(created_at=jobs.database_now() - timedelta(days=4))
    ErrorHour.objects.update(hour=AT - timedelta(days=9_000))
    ErrorGroup.objects.update(last_seen=AT - timedelta(days=9_000))
    assert errors.forget_old() >= 3
    assert not ErrorGroup.objects.exists()


@pytest.mark.usefixtures("places")
def test_a_metric_of_the_name_that_takes_no_observations_costs_no_error() -> None:
    Metric.objects.create(name=errors.METRIC, type="counter")
    assert record(report("a")) == (1, 0, 0)
    assert "is a counter" in Rejection.objects.get(source="errors").example
    assert not Sample.objects.exists()


@pytest.mark.usefixtures("places")
def test_of_a_service_so_many_releases_are_told_apart_in_the_metric(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capping, "MOST_ERROR_RELEASES", 3)
    make.service("bank")

    def labels(service: str) -> set[str | None]:
        return {
            one.get("release") for one in Series.objects.filter(service__key=service).values_list("labels", flat=True)
        }

    record(*(report(f"a{n}", release=f"1.{n}") for n in range(5)), report("plain"))
    assert labels("shop") == {"1.0", "1.1", "1.2", "other", None}
    capping.forget_all()  # another process, or this one after a restart
    record(report("b", release="2.0"), report("c", release="1.2"), report("d", release="2.0", service="bank"))
    assert (labels("shop"), labels("bank")) == ({"1.0", "1.1", "1.2", "other", None}, {"2.0"})
    assert counted() == 9
    assert ErrorGroup.objects.get(service__key="shop").releases.count() == 6
    # What was not heard of for a week makes room.
    Series.objects.update(last_time=None, created_at=jobs.database_now() - timedelta(days=8))
    capping.forget_all()
    record(report("e", release="3.0"))
    assert "3.0" in labels("shop")


@pytest.mark.usefixtures("places")
def test_a_batch_costs_the_same_for_two_reports_and_fifty() -> None:
    def cost(many: int, mark: str) -> int:
        told = [report(f"{mark}{n}", type=f"{mark}{n}", unit=f"u{n}", release=f"{mark}.{n}") for n in range(many)]
        with CaptureQueriesContext(connection) as queries:
            assert record(*told) == (many, 0, 0)
        return len(queries)

    cost(1, "first")
    assert cost(50, "a") == cost(2, "b")


@pytest.mark.django_db(transaction=True)
def test_two_who_send_the_same_at_once_count_it_once() -> None:
    make.service("shop")
    make.environment("staging")
    batch = [report(f"k{n}", type=f"E{n % 5}", unit=f"u{n}") for n in range(60)]
    ready, results = threading.Barrier(4), []

    def send(order: int) -> None:
        try:
            ready.wait(20)
            for turn in range(5):
                own = [report(f"{order}-{turn}-{n}", type=f"E{n % 5}", unit=f"u{n}") for n in range(10)]
                whole = [*batch, *own]
                results.append(errors.record(whole if order % 2 else whole[::-1], by=BY, now=NOW).accepted)
        finally:
            connections.close_all()

    threads = [threading.Thread(target=send, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    total = 60 + 4 * 5 * 10
    assert sum(results) == total
    assert len(results) == 4 * 5
    assert sum(ErrorGroup.objects.values_list("count", flat=True)) == total
    assert sum(ErrorHour.objects.values_list("count", flat=True)) == total
    assert sum(ErrorGroup.objects.values_list("users", flat=True)) == 60
    assert counted() == total


def beside(work: Callable[[], Any]) -> tuple[threading.Thread, list[Any]]:
    """In a thread with a connection of its own; what came of it, or what it raised. Begun, and waiting for a lock."""
    results: list[Any] = []

    def run() -> None:
        try:
            results.append(work())
        except Exception as error:
            results.append(error)
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    for _ in range(400):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' "
                "AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone()[0]:
                return thread, results
        time.sleep(0.05)
    raise AssertionError(f"it waited for nobody: {results}")


@pytest.mark.django_db(transaction=True)
def test_tidying_leaves_a_group_that_has_just_come_back() -> None:
    make.service("shop")
    make.environment("staging")
    record(report("a"))
    ErrorOccurrence.objects.all().delete()
    ErrorGroup.objects.update(last_seen=AT - timedelta(days=9_000))
    with transaction.atomic():
        record(report("b"))
        thread, results = beside(errors.forget_old)
    thread.join(60)
    assert results == [0]
    assert (ErrorGroup.objects.get().count, ErrorOccurrence.objects.get().key) == (2, "b")


@pytest.mark.django_db(transaction=True)
def test_a_group_that_is_tidied_away_while_it_comes_back_is_made_anew() -> None:
    make.service("shop")
    make.environment("staging")
    record(report("a"), report("x", type="Other"))
    with transaction.atomic():
        ErrorGroup.objects.get(type="KeyError").delete()
        thread, results = beside(lambda: record(report("b"), report("y", type="Other")))
    thread.join(60)
    assert results == [(2, 0, 0)]
    assert dict(ErrorGroup.objects.values_list("type", "count")) == {"KeyError": 1, "Other": 2}


# --- From errors to an incident -----------------------------------------------------------------
def look(at: datetime) -> None:
    Threshold.objects.update(due_at=at)
    with TestCase.captureOnCommitCallbacks(execute=True):
        judging.run(now=at)


@pytest.mark.usefixtures("places")
@pytest.mark.parametrize("way", ["library", "by hand"])
def test_ten_critical_errors_in_an_hour_open_an_incident(way: str) -> None:
    place = make.service("shop"), Environment.objects.get(key="staging")
    if way == "library":
        library.take(*place, ["critical-errors"], by=BY)
    else:
        spec = {
            "name": "10 critical errors in 1 h", "metric": errors.METRIC, "aggregation": "sum", "operator": ">=",
            "critical": 10, "window": 3600, "no_data": "ok",
            "matchers": {"service": "shop", "environment": "staging", "severity": "critical"},
        }  # fmt: skip
        thresholds.create(spec, by=BY)
    now = jobs.database_now()

    def send(first: int, last: int, **told: Any) -> None:
        told = {"severity": "fatal", **told}
        batch = [report(f"k{n}", time=now - timedelta(minutes=6 * (n % 9)), **told) for n in range(first, last)]
        with TestCase.captureOnCommitCallbacks(execute=True):
            assert errors.record(batch, by=BY, now=now).rejected == 0

    send(0, 9)
    send(100, 130, severity="error")
    send(0, 9)  # a replay
    make.environment("lab")
    send(200, 230, environment="lab")
    look(now)
    assert not Alert.objects.filter(level="critical").exists()
    send(9, 10)
    look(now + timedelta(seconds=1))
    alert = Alert.objects.get(status="firing")
    incident = Incident.objects.get()
    assert (alert.level, alert.incident, incident.service.key) == ("critical", incident, "shop")  # type: ignore[union-attr]
    # The hour passes without another one: nothing is left to count, and that is well.
    look(now + timedelta(hours=2))
    assert Alert.objects.get(pk=alert.pk).status == "resolved"
