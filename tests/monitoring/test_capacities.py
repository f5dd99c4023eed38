"""Capacities and budgets: when they are reached, what is not known, and every door."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from django.urls import reverse
from pytest_django.fixtures import Settings

from monitoring import limits
from monitoring.actions import capacities
from monitoring.forecasting import Expected, Forecast
from monitoring.histogram import LARGEST
from monitoring.limits import State
from monitoring.models import Capacity
from monitoring.queries import standings
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import AuditEntry
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller, fields
from tests.pages import seats

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
PLACE: dict[str, Any] = {"service": "checkout", "environment": "staging"}
DISK: dict[str, Any] = {"name": "disk", "metric": "disk_used", "limit": 100.0, "matchers": PLACE, "horizon": 30}
COST: dict[str, Any] = {"name": "cost", "kind": "budget", "metric": "cost", "limit": 1000.0, "matchers": PLACE}


def _rising(days: int, *, wide: float = 5) -> Forecast:
    """From 51 on, one more each day."""
    steps = [Expected(MONDAY + n * DAY, 51.0 + n, 51.0 + n - wide, 51.0 + n + wide) for n in range(days)]
    return Forecast("a line", "a line over 30 values", tuple(steps), 30)


def _capacity(found: Forecast, value: float | None = 50.0) -> limits.Standing:
    return limits.capacity(found, limit=100, share=0.9, value=value, until=MONDAY + 60 * DAY)


def test_a_capacity_is_at_risk_from_the_earliest_day_on() -> None:
    found = _capacity(_rising(60))
    assert (found.state, found.at) == (State.AT_RISK, MONDAY + 39 * DAY)
    assert (found.earliest, found.latest) == (MONDAY + 34 * DAY, MONDAY + 44 * DAY)
    assert "90% of 100 is reached on 10 Apr 2026, earliest 05 Apr 2026, latest 15 Apr 2026" in found.reason
    only_the_bound = _capacity(_rising(38))
    assert (only_the_bound.state, only_the_bound.at) == (State.AT_RISK, None)
    assert _capacity(_rising(30)).state is State.WITHIN


def test_what_is_reached_is_over_and_what_is_not_known_is_unknown() -> None:
    assert _capacity(_rising(30), 90).state is State.OVER
    assert _capacity(Forecast("", "3 values are known"), 95).state is State.OVER  # that is known
    assert _capacity(Forecast("", "3 values are known"), 50).state is State.UNKNOWN
    assert _capacity(Forecast("", "nothing is measured"), None).state is State.UNKNOWN


def _budget(spent: float, known: float = 1, *, limit: float = 1000, found: Forecast | None = None) -> limits.Standing:
    steps = tuple(Expected(MONDAY + n * DAY, 30.0, 25.0, 35.0) for n in range(10))
    made = Forecast("a line", "a line over 30 values", steps, 30) if found is None else found
    until = MONDAY + 10 * DAY
    return limits.budget(made, limit=limit, spent=spent, known=known, since=MONDAY, until=until, step=86_400)


def test_a_budget_is_what_is_spent_and_what_is_to_come() -> None:
    kept = _budget(600)
    assert (kept.state, kept.expected, kept.low, kept.high) == (State.WITHIN, 900, 850, 950)
    assert (_budget(680).state, "may exceed" in _budget(680).reason) == (State.AT_RISK, True)
    assert (_budget(800).state, "it exceeds 1000" in _budget(800).reason) == (State.AT_RISK, True)
    assert _budget(1001).state is State.OVER


def test_a_budget_of_which_little_is_known_is_not_kept() -> None:
    few = _budget(10, 0.3)
    assert (few.state, few.reason) == (State.UNKNOWN, "30% of the month's hours so far are known, half are needed")
    assert _budget(1001, 0.3).state is State.OVER  # what is known is enough
    assert "90% of the hours so far are known" in _budget(600, 0.9).reason
    assert _budget(10, found=Forecast("", "3 values are known")).state is State.UNKNOWN


def test_the_month_is_the_portals_own(settings: Settings) -> None:
    settings.PORTAL_ZONE = "Europe/Warsaw"
    since, until = standings.month(datetime(2026, 3, 31, 23, 30, tzinfo=UTC))  # April there, and summer time
    assert (since.isoformat(), until.isoformat()) == ("2026-04-01T00:00:00+02:00", "2026-05-01T00:00:00+02:00")
    since, until = standings.month(datetime(2026, 3, 15, tzinfo=UTC))
    assert (until - since).days == 31
    assert since.utcoffset() != until.utcoffset()


@pytest.mark.django_db
class TestKept:
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        make.service()
        make.environment()

    def test_the_sweep_says_when_it_is_reached(self) -> None:
        dice = np.random.default_rng(1)
        make.hours("disk_used", list(40 + 0.02 * np.arange(24 * 60) + dice.normal(0, 0.3, 24 * 60)), **PLACE)
        capacities.create("disk", DISK | {"horizon": 60}, by=BY)
        assert capacities.keep() == 1
        found = Capacity.objects.get()
        assert found.state == "at_risk", found.reason
        assert found.value == pytest.approx(68.8, abs=1)
        assert found.reached_at is not None
        assert found.earliest_at is not None
        # 21.2 more at 0.48 a day.
        assert abs(found.reached_at - jobs.database_now() - timedelta(days=44)) < timedelta(days=4)
        assert capacities.keep() == 0  # not before a quarter of an hour

    def test_a_young_metric_is_looked_at_by_the_hour(self) -> None:
        make.hours("disk_used", [40.0 + 0.1 * n for n in range(300)], **PLACE)
        made = capacities.create("disk", DISK | {"horizon": 20}, by=BY)
        found, outlook = standings.standing(made, now=jobs.database_now())
        assert outlook.step in (timedelta(hours=1), timedelta(hours=6))
        assert found.state is State.AT_RISK

    def test_old_values_say_nothing_of_what_is_to_come(self) -> None:
        make.hours("disk_used", [40.0] * 500, **PLACE)
        made = capacities.create("disk", DISK, by=BY)
        found, _ = standings.standing(made, now=jobs.database_now() + timedelta(days=5))
        assert (found.state, "the newest value is of" in found.reason) == (State.UNKNOWN, True)

    def test_without_data_it_is_unknown(self) -> None:
        capacities.create("disk", DISK, by=BY)
        capacities.create("cost", COST, by=BY)
        assert capacities.keep() == 2
        assert set(Capacity.objects.values_list("state", flat=True)) == {"unknown"}

    def test_a_month_is_added_up(self) -> None:
        make.hours("cost", [1.0] * (24 * 40), **PLACE)
        made = capacities.create("cost", COST | {"limit": 40_000}, by=BY)
        now = jobs.database_now()
        since, until = standings.month(now)
        found, _ = standings.standing(made, now=now)
        assert found.value is not None
        assert found.expected is not None
        # Sixty samples of 1 in each hour.
        assert found.value == pytest.approx((now - since).total_seconds() // 3600 * 60, abs=61)
        assert found.expected == pytest.approx((until - since).total_seconds() / 3600 * 60, rel=0.05)
        assert found.state is State.AT_RISK

    def test_one_that_cannot_be_judged_does_not_keep_the_others_from_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make.hours("disk_used", [40.0] * 500, **PLACE)
        for key in ("broken", "fine"):
            capacities.create(key, DISK, by=BY)
        Capacity.objects.filter(key="broken").update(state="within", due_at=jobs.database_now() - timedelta(hours=1))
        judged = standings.standing

        def judge(capacity: Capacity, *, now: datetime) -> Any:
            if capacity.key == "broken":
                raise OverflowError
            return judged(capacity, now=now)

        monkeypatch.setattr(standings, "standing", judge)
        assert capacities.keep() == 2
        broken, fine = Capacity.objects.get(key="broken"), Capacity.objects.get(key="fine")
        assert (broken.state, fine.state) == ("unknown", "within")
        assert "could not be looked at" in broken.reason
        assert broken.due_at > jobs.database_now()

    def test_the_largest_numbers_are_spent_and_no_error(self) -> None:
        make.hours("cost", [LARGEST] * (24 * 40), **PLACE)
        made = capacities.create("cost", COST, by=BY)
        found, _ = standings.standing(made, now=jobs.database_now())
        if standings.month(jobs.database_now())[0] < jobs.database_now() - timedelta(hours=3):
            assert (found.state, found.value) == (State.OVER, LARGEST)

    def test_every_fault_is_named(self) -> None:
        with pytest.raises(Invalid) as refused:
            capacities.create("disk", {"limit": 0, "share": 2, "horizon": 0, "aggregation": "sum", "x": 1}, by=BY)
        assert set(refused.value.errors) == {"name", "metric", "limit", "share", "horizon", "aggregation", "x"}
        with pytest.raises(Invalid) as refused:
            capacities.create("cost", COST | {"aggregation": "mean", "matchers": {"service": "nowhere"}}, by=BY)
        assert set(refused.value.errors) == {"aggregation", "matchers.service"}

    def test_who_may_not_configure_there_changes_nothing(self) -> None:
        made = capacities.create("disk", DISK, by=BY)
        with pytest.raises(Refused, match="already"):
            capacities.create("disk", DISK, by=BY)
        captain = make.person("cap", "captain", service=make.service("other"))
        for act in (
            lambda: capacities.create("d2", DISK, by=captain),
            lambda: capacities.change(made, {"limit": 5}, by=captain),
            lambda: capacities.delete(made, by=captain),
        ):
            with pytest.raises(Forbidden):
                act()
        # Nor is it carried off to where one may.
        own = capacities.create("own", DISK | {"matchers": {"service": "other"}}, by=make.person("o", "captain"))
        with pytest.raises(Forbidden):
            capacities.change(own, {"matchers": PLACE}, by=captain)

    def test_every_change_is_on_record(self) -> None:
        made = capacities.create("disk", DISK, by=BY)
        capacities.change(made, {"limit": 200}, by=BY)
        capacities.change(made, {"limit": 200}, by=BY)  # changes nothing
        capacities.delete(made, by=BY, because="moved")
        verbs = list(
            AuditEntry.objects.filter(object_type="monitoring.capacity").order_by("id").values_list("verb", flat=True)
        )
        assert verbs == ["capacity.created", "capacity.changed", "capacity.removed"]
        with pytest.raises(Refused, match="has been removed"):
            capacities.change(made, {"limit": 5}, by=BY)

    def test_by_rest(self) -> None:
        call = Caller("write", "read")
        status, body = call.post("capacities/", {"key": "disk", **DISK})
        assert (status, body["state"], body["share"]) == (201, "unknown", 0.9)
        assert call("PATCH", "capacities/disk/", {"limit": 300})[1]["limit"] == 300
        status, body = call("PATCH", "capacities/disk/", {"limit": -1})
        assert (status, fields(body)) == (400, {"limit"})
        assert call.get("capacities/?kind=budget")["count"] == 0
        assert call.get("capacities/disk/outlook/")["steps"] == []
        other = Caller("write", services=[make.service("other")])
        assert other("GET", "capacities/disk/")[0] == 404
        assert call("DELETE", "capacities/disk/")[0] == 204
        assert call("GET", "capacities/disk/")[0] == 404

    def test_on_pages(self) -> None:
        make.hours("disk_used", [40.0 + 0.02 * n for n in range(24 * 60)], **PLACE)
        capacities.create("disk", DISK | {"horizon": 60}, by=BY)
        capacities.keep()
        viewer = seats.seat(make.person("vic", "viewer"))
        shown = viewer.get(reverse("capacities")).content.decode()
        assert "At risk" in shown
        shown = viewer.get(reverse("capacity", args=["disk"])).content.decode()
        assert "drawing-band" in shown
        assert "90% of 100 is reached on" in shown
