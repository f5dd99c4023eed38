"""Objectives: budgets from what is known, burn alerts through the machine of all alerts, and every door."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitoring import budgets
from monitoring.actions import judging, slos
from monitoring.budgets import TIERS, Hour, Tally, burn
from monitoring.histogram import Explicit, Histogram, share_up_to
from monitoring.models import Alert, HourRollup, Incident, Series, Slo, Threshold
from monitoring.queries import indicators
from monitoring.queries.rollups import floor
from portal.errors import Invalid, Refused
from portal.verdicts import Outcome
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller, fields
from tests.monitoring.watching import BY, Clock

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
SPEC: dict[str, Any] = {
    "name": "checkout availability", "kind": "availability", "metric": "requests_total", "bad": "errors_total",
    "objective": 99.9, "matchers": watching.LABELS,
}  # fmt: skip


def _hours(count: int, good: float, total: float) -> list[Hour]:
    return [Hour(NOON - timedelta(hours=n), Tally(good, total)) for n in range(count, 0, -1)]


def _budget(hours: list[Hour], objective: float = 99.0, days: int = 1) -> budgets.Budget:
    return budgets.budget("a", hours, objective=objective, window=days * 86_400, now=NOON)


def test_the_tiers_are_those_of_the_workbook() -> None:
    known = [(14.4, 3600, 300), (6, 21_600, 1800), (3, 86_400, 7200), (1, 259_200, 21_600)]
    assert [(one.factor, one.long, one.short) for one in TIERS] == known
    # Of a budget of 30 days they fire at 2, 5, 10 and 10 % spent.
    assert [round(one.factor * one.long / (30 * 86_400), 3) for one in TIERS] == [0.02, 0.05, 0.1, 0.1]


def test_burning_is_against_what_is_allowed() -> None:
    assert burn(Tally(90, 100), 99) == pytest.approx(10)
    assert burn(Tally(100, 100), 99) == 0
    assert burn(Tally(0, 0), 99) is None


def test_a_budget_is_kept_spent_or_not_known() -> None:
    half = _budget(_hours(24, 99.5, 100))
    assert half.remaining == pytest.approx(0.5)
    assert half.verdict.outcome is Outcome.PASSED
    assert half.left == timedelta(hours=24)
    over = _budget(_hours(24, 98, 100))
    assert over.remaining == pytest.approx(-1)
    assert (over.verdict.outcome, "the budget is spent" in over.verdict.reason) == (Outcome.FAILED, True)


def test_no_data_is_no_kept_budget() -> None:
    nothing = _budget([])
    assert (nothing.verdict.outcome, nothing.remaining) == (Outcome.INCONCLUSIVE, None)
    silent = _budget(_hours(24, 0, 0))
    assert (silent.verdict.outcome, silent.coverage) == (Outcome.INCONCLUSIVE, 0)
    few = _budget(_hours(6, 100, 100))
    assert few.verdict.outcome is Outcome.INCONCLUSIVE
    assert "only 6 of 24 h are known" in few.verdict.reason
    # What is spent is spent, however little is known.
    assert _budget(_hours(2, 0, 100)).verdict.outcome is Outcome.FAILED


def test_a_bad_hour_of_a_new_service_is_an_hours_worth_of_the_budget() -> None:
    new = _budget(_hours(1, 90, 100))  # ten times what is allowed, for one hour of 24
    assert new.remaining == pytest.approx(1 - 10 / 24)
    assert new.verdict.outcome is Outcome.INCONCLUSIVE


def test_the_course_ends_where_the_budget_stands() -> None:
    hours = [*_hours(3, 100, 100)[:2], Hour(NOON - timedelta(hours=1), Tally(97, 100))]
    course = budgets.course(hours, objective=99, window=3 * 3600)
    assert [round(left, 6) for _, left in course] == [1, 1, 0]
    assert course[-1][0] == NOON


def test_a_share_under_a_bound_is_read_from_the_distribution() -> None:
    explicit = Explicit((0.1, 0.3, 1.0), (50, 30, 15, 5), 20.0)
    assert share_up_to(explicit, 0.3) == 0.8
    assert share_up_to(explicit, 0.2) == pytest.approx(0.65)
    assert share_up_to(explicit, 5) == 0.95  # what is above the last bound is above any
    plain = Histogram.of([0.1] * 90 + [2.0] * 10)
    assert share_up_to(plain, 0.5) == 0.9
    assert share_up_to(Histogram(), 1) == 0


@pytest.mark.django_db
class TestJudged:
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        watching.place()
        self.clock = Clock()

    def _send(self, minutes_ago: float, requests: float, errors: float) -> None:
        self.clock.send(-60 * minutes_ago, requests, metric="requests_total")
        self.clock.send(-60 * minutes_ago, errors, metric="errors_total")

    def _judge(self, second: float = 1) -> None:
        Threshold.objects.update(due_at=self.clock.at(second))
        judging.run(now=self.clock.at(second))

    def test_a_fast_burn_pages_and_is_over_when_the_short_window_is(self) -> None:
        slo = slos.create("availability", SPEC, by=BY)
        for ago, requests, errors in ((50, 0, 0), (30, 1000, 50), (4, 2000, 100), (1, 3000, 150)):
            self._send(ago, requests, errors)
        self._judge()
        fast = Alert.objects.get(threshold__slo=slo, threshold__window=3600)
        assert (fast.status, fast.level) == ("firing", "critical")
        assert fast.reason.startswith("checkout availability: budget burn over 1 h 50 ×")
        assert "50 × over 1 h, 50 × over 5 min" in fast.reason
        assert Incident.objects.get().severity == "SEV1"
        assert Alert.objects.get(threshold__slo=slo, threshold__window=259_200).level == "warning"
        later = 9 * 60.0
        self.clock.send(later - 60, 4000, metric="requests_total")
        self.clock.send(later - 60, 150, metric="errors_total")
        self._judge(later)
        fast.refresh_from_db()
        assert fast.status == "resolved", fast.reason

    def test_a_short_blip_alone_does_not_page(self) -> None:
        slos.create("availability", SPEC, by=BY)
        for ago, requests, errors in ((50, 0, 0), (30, 100_000, 0), (4, 100_100, 0), (1, 100_200, 20)):
            self._send(ago, requests, errors)
        self._judge()
        assert not Alert.objects.filter(threshold__window=3600).exists()

    def test_without_data_nothing_burns_and_nothing_is_kept(self) -> None:
        slo = slos.create("availability", SPEC, by=BY)
        self._judge()
        states = [watching.state(one) for one in slo.thresholds.all()]
        assert {(one.phase, one.outcome) for one in states} == {("inactive", "inconclusive")}
        assert slos.keep_budgets(now=self.clock.at(1)) == 1
        slo.refresh_from_db()
        assert (slo.remaining, slo.outcome) == (None, "inconclusive")

    def test_a_counter_of_errors_that_was_never_heard_of_says_nothing(self) -> None:
        slo = slos.create("availability", SPEC, by=BY)
        self.clock.send(-120, 0, metric="requests_total")
        self.clock.send(-60, 1000, metric="requests_total")
        assert indicators.tallies([slo], {slo.pk: {3600}}, now=self.clock.at(1))[slo.pk, 3600] == Tally()

    def test_uptime_is_what_a_probe_says(self) -> None:
        slo = slos.create("up", {**SPEC, "kind": "uptime", "metric": "probe_up", "bad": ""}, by=BY)
        for second, value in enumerate((1, 1, 1, 0)):
            self.clock.send(-60 + second, value, metric="probe_up")
        assert indicators.tallies([slo], {slo.pk: {3600}}, now=self.clock.at(1))[slo.pk, 3600] == Tally(3, 4)

    def test_latency_is_the_share_under_the_bound(self) -> None:
        spec = {**SPEC, "kind": "latency", "metric": "latency_seconds", "bad": "", "bound": 0.3}
        slo = slos.create("fast", spec, by=BY)
        for second, value in enumerate((0.1, 0.2, 0.25, 0.9)):
            self.clock.send(-60 + second, value, metric="latency_seconds")
        found = indicators.tallies([slo], {slo.pk: {3600}}, now=self.clock.at(1))[slo.pk, 3600]
        assert (found.good, found.total) == (3, 4)

    def test_the_budget_is_kept_up_from_the_hours_of_the_window(self) -> None:
        slo = slos.create("up", {**SPEC, "kind": "uptime", "metric": "probe_up", "bad": "", "window": 86_400}, by=BY)
        self.clock.send(0, 1, metric="probe_up")
        series, this = Series.objects.get(), floor(self.clock.at(1), 3600)
        HourRollup.objects.bulk_create(
            HourRollup(
                series=series, time=time, samples=100, count=100, total=99.95, squares=0, low=0, high=1, first=1,
                last=1, first_time=time, last_time=time, increase=None, histogram=None,
            )
            for time in (this - timedelta(hours=n) for n in range(1, 24))
        )  # fmt: skip
        slos.keep_budgets(now=self.clock.at(1))
        slo.refresh_from_db()
        assert slo.remaining == pytest.approx(0.5, abs=0.01)
        assert (slo.outcome, slo.coverage) == ("passed", 1.0)
        assert slos.keep_budgets(now=self.clock.at(2)) == 0  # it is not due again


@pytest.mark.django_db
def test_an_edit_keeps_the_alerts_and_a_removal_ends_them() -> None:
    watching.place()
    slo = slos.create("availability", SPEC, by=BY)
    before = set(slo.thresholds.values_list("pk", flat=True))
    slo = slos.change(slo, {"objective": 99.5}, by=BY)
    assert (slo.version, set(slo.thresholds.values_list("pk", flat=True))) == (2, before)
    assert slos.change(slo, {"objective": 99.5}, by=BY).version == 2
    slos.delete(slo, by=BY)
    assert not Threshold.objects.active().exists()
    with pytest.raises(Refused, match="has been removed"):
        slos.change(slo, {"objective": 99}, by=BY)
    assert slos.create("availability", SPEC, by=BY).pk != slo.pk


BAD = [
    ({"kind": "luck"}, "kind"), ({"objective": 100}, "objective"), ({"objective": 0}, "objective"),
    ({"objective": None}, "objective"), ({"window": 90_000}, "window"), ({"window": 91 * 86_400}, "window"),
    ({"bad": ""}, "bad"), ({"good": "fine_total"}, "bad"), ({"bound": 3}, "bound"), ({"metric": "9"}, "metric"),
    ({"kind": "latency"}, "bound"), ({"kind": "uptime"}, "bad"), ({"colour": 1}, "colour"),
    ({"matchers": {"service": "none"}}, "matchers.service"),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("change", "field"), BAD)
def test_what_makes_no_sense_is_named(change: dict[str, Any], field: str) -> None:
    watching.place()
    with pytest.raises(Invalid) as caught:
        slos.create("x", {**SPEC, **change}, by=BY)
    assert field in caught.value.errors


@pytest.mark.django_db
def test_by_rest_it_is_made_read_changed_and_taken_away() -> None:
    watching.place()
    call = Caller("write")
    status, made = call.post("slos/", {"key": "availability", **SPEC})
    assert status == 201, made
    assert [one["factor"] for one in made["burns"]] == [14.4, 6, 3, 1]
    assert (made["remaining"], made["outcome"]) == (None, None)
    assert call.get("slos/?service=checkout")["count"] == 1
    assert call("PATCH", "slos/availability/", {"objective": 99.5})[1]["objective"] == 99.5
    budget = call.get("slos/availability/budget/")
    assert (budget["outcome"], budget["hours"]) == ("inconclusive", [])
    burning = call.get(f"thresholds/{made['burns'][0]['threshold']}/")
    assert burning["condition"] == "burn rate > 14.4 over 1h and 5m"
    assert call("PATCH", f"thresholds/{burning['id']}/", {"error": 1})[0] == 409
    assert "objective" in fields(call("PATCH", "slos/availability/", {"objective": 200})[1])
    assert call("DELETE", "slos/availability/")[0] == 204
    assert call.get("slos/")["count"] == 0


@pytest.mark.django_db
def test_a_key_of_another_environment_neither_sees_nor_makes_it() -> None:
    watching.place()
    slos.create("availability", SPEC, by=BY)
    bound = Caller("write", environments=[make.production()])
    assert bound.get("slos/")["count"] == 0
    assert bound("GET", "slos/availability/budget/")[0] == 404
    assert bound.post("slos/", {"key": "x", **SPEC})[0] == 403
    assert Slo.objects.count() == 1
