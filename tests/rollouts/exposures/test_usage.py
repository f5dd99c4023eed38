"""Which flags have had their day: by use, not by edit date, and in words."""

from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.actions import exposures
from monitoring.actions.exposures import Shown, minute_of
from portal import jobs
from portal.models import Environment
from rollouts.models import Flag
from tests import make
from tests.monitoring.doors import Caller, fields

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
_batch = iter(range(1, 10_000))


@pytest.fixture
def now() -> datetime:
    return minute_of(jobs.database_now())


@pytest.fixture
def place() -> Environment:
    return make.production()


def old_flag(key: str = "lamp", *, age: int = 200, **fields: Any) -> Flag:
    flag = make.flag(key)
    Flag.objects.filter(pk=flag.pk).update(created_at=jobs.database_now() - age * DAY, **fields)
    return flag


def on_in(flag: Flag, *places: Environment) -> Flag:
    for place in places:
        flag.configs.create(environment=place, enabled=True, off_variant="off", fallthrough={"variant": "on"})
    return flag


def evaluated(flag: str, variant: str, *times: datetime, place: str = "production") -> None:
    exposures.count("web", next(_batch), {(place, flag, variant, minute_of(time)): 1 for time in times}, [])


def counting_since(time: datetime, place: str = "production") -> None:
    evaluated("another", "on", time, place=place)


def found(key: str = "lamp", reader: Caller | None = None) -> dict[str, Any]:
    return (reader or Caller("read")).get(f"flags/{key}/")


def why(key: str = "lamp") -> list[str]:
    return [one["why"] for one in found(key)["stale"]]


def test_a_flag_nobody_evaluates_any_longer_is_stale(now: datetime, place: Environment) -> None:
    on_in(old_flag(), place)
    evaluated("lamp", "on", now - 34 * DAY)
    shown = found()
    assert why() == ["not evaluated in production for 34 d"]
    assert datetime.fromisoformat(shown["last_evaluated_at"]) == now - 34 * DAY
    assert shown["last_exposed_at"] is None
    assert shown["stale"][0]["kind"] == "unused"
    assert shown["stale"][0]["environment"] == "production"
    evaluated("lamp", "on", now)
    assert why() == []


def test_a_flag_that_was_never_evaluated_counts_from_when_it_was_made_or_counting_began(
    now: datetime, place: Environment
) -> None:
    on_in(old_flag("old"), place)
    on_in(old_flag("new", age=10), place)
    old_flag("nowhere")
    assert why("old") == []  # where nothing is counted, nothing can be said
    counting_since(now - 40 * DAY)
    assert why("old") == ["not evaluated in production for 40 d"]
    assert why("new") == why("nowhere") == []


def test_editing_a_flag_does_not_make_it_fresh(now: datetime, place: Environment) -> None:
    flag = on_in(old_flag(), place)
    evaluated("lamp", "on", now - 34 * DAY)
    flag.refresh_from_db()
    status, body = Caller("write")("PATCH", "flags/lamp/", {"owner": "dana"})
    assert status == 200
    assert [one["kind"] for one in body["stale"]] == ["unused"]


def test_one_variant_for_everyone_and_for_long_can_be_removed(now: datetime, place: Environment) -> None:
    on_in(old_flag(), place)
    evaluated("lamp", "off", now - 90 * DAY, now - 61 * DAY)
    evaluated("lamp", "on", now - 90 * DAY, now)
    assert why() == ["serves on to everyone in production for 61 d: can be removed"]
    evaluated("lamp", "off", now - 59 * DAY)
    assert why() == []


def test_a_flag_is_not_settled_while_another_environment_tries_it(now: datetime, place: Environment) -> None:
    on_in(old_flag(), place, make.environment())
    evaluated("lamp", "on", now - 90 * DAY, now)
    evaluated("lamp", "on", now - 5 * DAY, now, place="staging")
    assert why() == []


@pytest.mark.parametrize("purpose", ["ops", "permission"])
def test_switches_and_permissions_may_stay_as_they_are(now: datetime, place: Environment, purpose: str) -> None:
    on_in(old_flag(purpose=purpose), place)
    evaluated("lamp", "on", now - 90 * DAY, now)
    assert why() == []


def test_expired_flags_say_since_when_and_permanent_ones_never_are_stale(now: datetime, place: Environment) -> None:
    old_flag(expires_at=now - 3 * DAY)
    on_in(old_flag("kept", permanent=True, expires_at=None), place)
    evaluated("kept", "on", now - 90 * DAY)
    assert why() == ["expired 3 d ago"]
    assert found()["stale"][0]["environment"] is None
    assert why("kept") == []


def test_the_list_is_filtered_by_it(now: datetime, place: Environment) -> None:
    for number in range(6):
        on_in(old_flag(f"stale-{number}"), place)
        on_in(old_flag(f"fresh-{number}"), place)
        evaluated(f"stale-{number}", "on", now - 40 * DAY)
        evaluated(f"fresh-{number}", "on", now)
    reader = Caller("read")
    assert {row["key"] for row in reader.get("flags/?stale=true")["results"]} == {f"stale-{n}" for n in range(6)}
    assert {row["key"] for row in reader.get("flags/?stale=false")["results"]} == {f"fresh-{n}" for n in range(6)}
    page = reader.get("flags/?stale=true&page_size=2")
    assert (page["count"], len(page["results"])) == (6, 2)
    assert reader.get("flags/?stale=true&search=fresh")["count"] == 0
    status, body = reader("GET", "flags/?stale=perhaps")
    assert (status, fields(body)) == (400, {"stale"})


def test_the_list_costs_the_same_for_two_and_for_twelve(now: datetime, place: Environment) -> None:
    reader, costs = Caller("read"), []
    for size in (2, 12):
        for number in range(size):
            if not Flag.objects.filter(key=f"flag-{number}").exists():
                on_in(old_flag(f"flag-{number}"), place)
                evaluated(f"flag-{number}", "on", now - 40 * DAY)
        for query in ("", "?stale=true"):
            with CaptureQueriesContext(connection) as queries:
                assert reader.get(f"flags/{query}")["count"] == size
            costs.append(len(queries))
    assert costs[:2] == costs[2:]


def test_the_thresholds_are_settings(now: datetime, place: Environment, settings: Any) -> None:
    settings.PORTAL_STALE_UNUSED_DAYS, settings.PORTAL_STALE_SETTLED_DAYS = 2, 3
    on_in(old_flag("unused"), place)
    on_in(old_flag("settled"), place)
    evaluated("unused", "on", now - 3 * DAY)
    evaluated("settled", "on", now - 4 * DAY, now)
    assert [one["kind"] for one in found("unused")["stale"]] == ["unused"]
    assert [one["kind"] for one in found("settled")["stale"]] == ["settled"]


def test_a_key_of_one_environment_hears_of_no_other(now: datetime, place: Environment) -> None:
    on_in(old_flag(), place, make.environment())
    evaluated("lamp", "on", now - 34 * DAY)
    shown = found(reader=Caller("read", environments=[make.environment()]))
    assert (shown["last_evaluated_at"], shown["stale"]) == (None, [])


def test_what_a_flag_does_somewhere_says_how_it_is_used_there(now: datetime, place: Environment) -> None:
    on_in(old_flag(), place, make.environment())
    evaluated("lamp", "on", now - 34 * DAY)
    exposures.count("web", next(_batch), {}, [Shown("production", "lamp", "on", "ann", now - 40 * DAY)])
    reader = Caller("read")
    there = reader.get("flags/lamp/environments/production/")
    assert datetime.fromisoformat(there["last_exposed_at"]) == now - 40 * DAY
    assert [one["kind"] for one in there["stale"]] == ["unused"]
    other = reader.get("flags/lamp/environments/staging/")
    assert (other["last_evaluated_at"], other["last_exposed_at"], other["stale"]) == (None, None, [])


# --- Counts -------------------------------------------------------------------------------------
def test_counts_are_told_by_minute_and_in_total(now: datetime, place: Environment) -> None:
    make.flag()
    for variant, times in (("on", 3), ("off", 1)):
        for ago in range(times):
            evaluated("new-checkout", variant, now - timedelta(minutes=ago))
    shown = [Shown("production", "new-checkout", "on", f"u{n}", now) for n in range(5)]
    exposures.count("web", next(_batch), {}, shown)
    body = Caller("read").get("flags/new-checkout/environments/production/exposures/")
    assert body["totals"] == [
        {"variant": "off", "evaluations": 1, "exposures": 0}, {"variant": "on", "evaluations": 3, "exposures": 5},
    ]  # fmt: skip
    assert len(body["points"]) == 4
    assert [datetime.fromisoformat(point["time"]) for point in body["points"]] == sorted(
        datetime.fromisoformat(point["time"]) for point in body["points"]
    )
    earlier = Caller("read").get(
        f"flags/new-checkout/environments/production/exposures/?until={(now - timedelta(hours=2)).isoformat()}"
    )
    assert earlier["points"] == []


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("since=yesterday", "since"),
        ("until=2030-01-01", "until"),
        ("since=2030-01-02T00:00:00Z&until=2030-01-01T00:00:00Z", "since"),
        ("since=2029-01-01T00:00:00Z&until=2030-01-01T00:00:00Z", "since"),
    ],
)
def test_a_span_that_makes_no_sense_is_named(place: Environment, query: str, field: str) -> None:
    make.flag()
    status, body = Caller("read")("GET", f"flags/new-checkout/environments/production/exposures/?{query}")
    assert (status, fields(body)) == (400, {field})


def test_who_may_not_view_gets_404(place: Environment) -> None:
    make.flag()
    elsewhere = Caller("read", environments=[make.environment()])
    for door in ("exposures/", "why/?unit=ann"):
        assert elsewhere("GET", f"flags/new-checkout/environments/production/{door}")[0] == 404
        assert Caller("read")("GET", f"flags/ghost/environments/production/{door}")[0] == 404
        assert Caller("read")("GET", f"flags/new-checkout/environments/ghost/{door}")[0] == 404
