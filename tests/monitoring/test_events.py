"""Events at their door: each kept once under its own key, each fault named with its place."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connections

from monitoring.actions import events, exposures
from monitoring.models import Event, Exposure, VariantCount, VariantUse
from portal import jobs
from tests import make
from tests.monitoring.doors import Caller

BY = make.BY
AT = datetime(2040, 6, 10, 12, 30, 3, tzinfo=UTC)
NOW = AT + timedelta(minutes=1)


def event(name: str = "order_placed", **said: Any) -> dict[str, Any]:
    return {"name": name, "unit": "ann", **said}


def exposure(unit: str = "ann", **said: Any) -> dict[str, Any]:
    return {"name": "exposure", "unit": unit, "flag": "lamp", "variant": "on", "environment": "staging", **said}


def record(*given: Any, now: datetime = NOW) -> tuple[int, int, int, int]:
    done = events.record(given, by=BY, now=now)
    return done.accepted, done.duplicates, done.conflicts, done.rejected


@pytest.fixture
def caller(db: None) -> Caller:
    return Caller("ingest", environments=[make.environment()])


def test_a_batch_is_kept_and_read_back(caller: Caller) -> None:
    make.service("shop")
    given = event(
        id="o-1", time="2040-06-10T12:00:00Z", service="shop", flag="lamp", variant="on", value=42.5,
        properties={"currency": "EUR", "email": "ann@example.com"},
    )  # fmt: skip
    given["time"] = jobs.database_now().isoformat()
    status, body = caller.post("events/", {"events": [given, event("seen", idempotency_key="s-1")]})
    assert (status, body) == (200, {"accepted": 2, "duplicates": 0, "conflicts": 0, "rejected": 0, "errors": []})
    reader = Caller("read")
    (found,) = reader.get("events/?name=order_placed")["results"]
    assert datetime.fromisoformat(found.pop("time")) == datetime.fromisoformat(given["time"])
    assert found == {
        "id": "o-1", "name": "order_placed", "unit": "ann", "environment": "staging", "service": "shop",
        "flag": "lamp", "variant": "on", "value": 42.5, "properties": {"currency": "EUR", "email": "[masked]"},
    }  # fmt: skip
    assert reader.get("events/?unit=ann")["count"] == 2
    assert reader.get("events/?unit=bob")["count"] == 0
    assert "ann@example.com" not in str(list(Event.objects.values()))


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ("text", ""),
        ({}, "name"),
        ({"name": 7, "unit": "u"}, "name"),
        ({"name": " ", "unit": "u"}, "name"),
        ({"name": "n" * 201, "unit": "u"}, "name"),
        ({"name": "n"}, "unit"),
        ({"name": "n", "unit": 7}, "unit"),
        ({"name": "n", "unit": ""}, "unit"),
        ({"name": "n", "unit": "a\0b"}, "unit"),
        ({"name": "n", "unit": "u" * 513}, "unit"),
        ({"name": "n", "unit": "u", "time": "yesterday"}, "time"),
        ({"name": "n", "unit": "u", "time": 4e9}, "time"),
        ({"name": "n", "unit": "u", "time": 0}, "time"),
        ({"name": "n", "unit": "u", "id": ""}, "id"),
        ({"name": "n", "unit": "u", "id": ["a"]}, "id"),
        ({"name": "n", "unit": "u", "id": "a", "idempotency_key": "b"}, "idempotency_key"),
        ({"name": "n", "unit": "u", "service": "ghost"}, "service"),
        ({"name": "n", "unit": "u", "environment": 3}, "environment"),
        ({"name": "n", "unit": "u", "flag": "a/b"}, "flag"),
        ({"name": "n", "unit": "u", "variant": "on"}, "flag"),
        ({"name": "n", "unit": "u", "value": "5"}, "value"),
        ({"name": "n", "unit": "u", "value": True}, "value"),
        ({"name": "n", "unit": "u", "properties": []}, "properties"),
        ({"name": "n", "unit": "u", "properties": {"a": "b\0c"}}, "properties"),
        ({"name": "n", "unit": "u", "properties": {"a": "x" * 9000}}, "properties"),
        ({"name": "n", "unit": "u", "properties": {f"p{n}": n for n in range(101)}}, "properties"),
        ({"name": "n", "unit": "u", "properties": {"a": [[[[[[[[[1]]]]]]]]]}}, "properties"),
        ({"name": "n", "unit": "u", "colour": "red"}, "colour"),
        ({"name": "exposure", "unit": "u", "flag": "lamp"}, "variant"),
        ({"name": "feature_flag.evaluation", "unit": "u"}, "flag"),
    ],
)
def test_what_is_wrong_is_named_and_the_rest_is_kept(caller: Caller, wrong: Any, field: str) -> None:
    status, body = caller.post("events/", {"events": [event(), wrong, event()]})
    assert status == 400
    assert (body["accepted"], body["rejected"]) == (2, 1)
    (error,) = body["errors"]
    assert (error["index"], error["field"]) == (1, field)
    assert error["message"]
    assert Event.objects.count() == 2


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        (b"", 400, "events"),
        (b"[]", 400, ""),
        (b'{"events": {}}', 400, "events"),
        (b'{"events": [], "more": 1}', 400, "more"),
        (b'{"events": [{"name": "n", "unit": "u", "value": NaN}]}', 400, "value"),
        (b'{"events": [{"name": "n", "unit": "\\ud800"}]}', 400, "unit"),
        (b'{"events": [{"name": "n", "unit": "u", "properties": {"a": "\\ud800"}}]}', 400, "properties"),
    ],
)
def test_a_body_that_is_no_batch_is_refused(caller: Caller, body: bytes, status: int, field: str) -> None:
    found, problem = caller("POST", "events/", body)
    assert found == status
    assert [error["field"] for error in problem["errors"]] == [field]


def test_only_keys_that_may_write_there_are_let_in(caller: Caller) -> None:
    make.environment("production")
    assert caller.post("events/", {"events": [event(environment="production")]})[0] == 403
    assert Caller("read").post("events/", {"events": []})[0] == 403
    assert Caller("evaluate", environments=[make.environment()]).post("events/", {"events": []})[0] == 403
    assert caller("GET", "events/")[0] == 403
    assert Caller("ingest").post("events/", {"events": [exposure(environment="")]})[1]["errors"][0]["field"] == (
        "environment"
    )
    assert Event.objects.count() == 0


@pytest.mark.django_db
def test_the_same_batch_three_times_is_kept_once() -> None:
    make.environment()
    batch = [event(id=f"e{n}", value=n) for n in range(5)] + [exposure(f"u{n}") for n in range(5)]
    assert [record(*batch, now=NOW + timedelta(seconds=n)) for n in range(3)] == [
        (10, 0, 0, 0), (0, 10, 0, 0), (0, 10, 0, 0),
    ]  # fmt: skip
    assert record(event(id="e1", value=7)) == (0, 0, 1, 0)
    assert record(event("other", id="e1", value=1)) == (1, 0, 0, 0)
    assert record(event(id="twice"), event(id="twice"), event(), event()) == (3, 1, 0, 0)
    assert VariantCount.objects.get().exposures == 5


@pytest.mark.django_db
def test_an_exposure_counts_once_in_its_window() -> None:
    make.environment()
    make.environment("production")
    seconds = [0, 5, 600]
    for number, later in enumerate(seconds):
        assert record(exposure(id=f"x{number}", time=AT + timedelta(seconds=later)), now=NOW + timedelta(hours=2))[0]
    assert Event.objects.count() == 3
    assert Exposure.objects.get().time == AT
    record(exposure(time=AT + timedelta(hours=1)), now=NOW + timedelta(hours=2))
    record(exposure("bob"), exposure(variant="off"), exposure(environment="production"))
    counts = VariantCount.objects.values_list("environment__key", "variant", "minute__hour", "exposures", "evaluations")
    assert sorted(counts) == [
        ("production", "on", 12, 1, 0), ("staging", "off", 12, 1, 0), ("staging", "on", 12, 1, 0),
        ("staging", "on", 12, 1, 0), ("staging", "on", 13, 1, 0),
    ]  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_one_exposure_told_by_many_at_once_counts_once() -> None:
    make.environment()
    found: list[tuple[int, int, int, int]] = []

    def tell(number: int) -> None:
        found.append(record(*[exposure(f"u{n}", id=f"{number}-{n}") for n in range(20)]))
        connections.close_all()

    threads = [threading.Thread(target=tell, args=(number,)) for number in range(6)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    assert found == [(20, 0, 0, 0)] * 6
    assert Exposure.objects.count() == 20
    assert sum(VariantCount.objects.values_list("exposures", flat=True)) == 20


@pytest.mark.django_db
def test_a_revision_that_the_client_was_told_is_kept() -> None:
    make.environment()
    record(exposure(properties={"revision": 7}), exposure("bob", properties={"revision": "x"}))
    assert dict(Exposure.objects.values_list("unit", "revision")) == {"ann": 7, "bob": None}


# --- Counting evaluations -----------------------------------------------------------------------
@pytest.mark.django_db
def test_a_batch_of_counts_that_is_sent_again_is_not_counted_again() -> None:
    make.environment()
    cell = ("staging", "lamp", "on", AT.replace(second=0))
    assert exposures.count("web1", 1, {cell: 5}, []) is True
    assert exposures.count("web1", 1, {cell: 5}, []) is False
    assert exposures.count("web2", 1, {cell: 5, ("ghost", *cell[1:]): 1}, []) is True
    assert exposures.count("web1", 2, {cell: 1}, []) is True
    assert VariantCount.objects.get().evaluations == 11


@pytest.mark.django_db
def test_minutes_of_older_days_become_hours_and_end_with_retention(settings: Any) -> None:
    settings.PORTAL_RAW_RETENTION_HOURS, settings.PORTAL_EXPOSURE_RETENTION_DAYS = 48, 90
    make.environment()
    hour = AT.replace(minute=0, second=0)
    cells = {("staging", "lamp", "on", hour + timedelta(minutes=n)): n + 1 for n in range(90)}
    exposures.count("web1", 1, cells, [])
    total = sum(cells.values())
    exposures.tidy(now=hour + timedelta(hours=47))
    assert VariantCount.objects.count() == 90
    exposures.tidy(now=hour + timedelta(hours=49))
    assert VariantCount.objects.filter(hourly=True).get().evaluations == sum(range(1, 61))
    exposures.count("web1", 2, {("staging", "lamp", "on", hour + timedelta(minutes=7)): 1}, [])
    exposures.tidy(now=hour + timedelta(hours=51))
    counts = list(VariantCount.objects.order_by("minute").values_list("minute", "evaluations", "hourly"))
    assert [(minute, hourly) for minute, _, hourly in counts] == [(hour, True), (hour + timedelta(hours=1), True)]
    assert sum(evaluations for _, evaluations, _ in counts) == total + 1
    exposures.tidy(now=hour + timedelta(days=91))
    assert VariantCount.objects.count() == 0
    assert VariantUse.objects.get().last_evaluated_at == hour + timedelta(minutes=89)


@pytest.mark.django_db
def test_since_when_and_until_when_a_variant_was_in_use() -> None:
    make.environment()
    minute = AT.replace(second=0)
    record(exposure(time=AT))
    assert VariantUse.objects.values_list("first_evaluated_at", "last_evaluated_at", "last_exposed_at").get() == (
        None, None, minute,
    )  # fmt: skip
    for number, later in enumerate([5, 1, 3], 1):
        exposures.count("web", number, {("staging", "lamp", "on", minute + timedelta(minutes=later)): 1}, [])
    assert VariantUse.objects.values_list("first_evaluated_at", "last_evaluated_at", "last_exposed_at").get() == (
        minute + timedelta(minutes=5), minute + timedelta(minutes=5), minute,
    )  # fmt: skip


@pytest.mark.django_db
def test_events_and_exposures_are_forgotten_after_their_time(settings: Any) -> None:
    settings.PORTAL_EXPOSURE_RETENTION_DAYS = 30
    make.environment()
    record(exposure(), event())
    later = jobs.database_now() + timedelta(days=29)
    assert events.forget_old(now=later) == 0
    assert events.forget_old(now=later + timedelta(days=2)) == 2
    exposures.tidy(now=AT + timedelta(days=29))
    assert Exposure.objects.count() == 1
    exposures.tidy(now=AT + timedelta(days=31))
    assert (Event.objects.count(), Exposure.objects.count()) == (0, 0)
