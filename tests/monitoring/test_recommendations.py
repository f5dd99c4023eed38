"""Advice: each rule by its figures, what is not known, a person's word, and what was saved."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from monitoring import savings
from monitoring.actions import alerts, recommendations, scaling_policies, thresholds, unit_costs
from monitoring.histogram import LARGEST, summed
from monitoring.models import Alert, DirtyBucket, HourRollup, Metric, Recommendation, Series, Threshold
from monitoring.queries import findings
from monitoring.savings import Price
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import AuditEntry
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller, fields
from tests.pages import seats

PLACE: dict[str, Any] = {"service": "checkout", "environment": "staging"}
JUDGED: dict[str, Any] = {"aggregation": "mean", "operator": ">", "error": 1.0, "window": 60, "matchers": PLACE}
HOUR, DAY, WEEK = timedelta(hours=1), timedelta(days=1), timedelta(days=7)


# --- The rules ----------------------------------------------------------------------------------
def _load(
    values: Sequence[float], *, instances: float | None = 8, price: Price | None = None
) -> savings.Finding | None:
    return savings.over_provisioned(
        "p", "checkout", "staging", values, instances=instances, target=60, minimum=2, price=price
    )


def test_more_instances_than_the_load_needs() -> None:
    found = _load([30.0] * 168, price=Price(40, "EUR"))
    assert found is not None
    assert (found.evidence["needed"], found.expected, found.unit) == (4, 160, "EUR")
    counted = _load([30.0] * 168)
    assert counted is not None
    assert (counted.expected, counted.unit) == (4, "instances")
    by_metric = _load([30.0] * 168, price=Price(None, "USD"))
    assert by_metric is not None
    assert (by_metric.expected, by_metric.unit) == (None, "USD")


def test_a_busy_hour_a_day_needs_its_instances() -> None:
    assert _load(([20.0] * 20 + [60.0] * 4) * 7) is None
    assert _load(([20.0] * 23 + [60.0]) * 7) is not None  # one hour of twenty-four is not the 95th percentile
    assert _load([30.0] * 168, instances=2) is None  # the minimum


def test_of_little_data_nothing_is_advised() -> None:
    assert _load([30.0] * 120) is None
    assert _load([30.0] * 168, instances=None) is None
    assert savings.low_hit_rate("x", "s", "e", hits=None, misses=10_000) is None
    assert savings.low_hit_rate("x", "s", "e", hits=1, misses=900) is None
    assert savings.noisy_threshold(1, "x", "s", "e", alerts=4, false=4) is None
    assert savings.unwatched_metric("x", series=99) is None


def test_a_cache_that_seldom_helps() -> None:
    found = savings.low_hit_rate("cache_hits_total", "s", "e", hits=300, misses=700)
    assert found is not None
    assert found.title.endswith("answers 30% of what it is asked")
    assert savings.low_hit_rate("x", "s", "e", hits=500, misses=500) is None


def test_an_endpoint_that_fails_more_than_the_others() -> None:
    some = {"/pay": (100.0, 2000.0), "/cart": (10.0, 5000.0), "/rare": (50.0, 100.0)}
    found = savings.error_prone("shop", "staging", "errors_total", "route", some)
    assert found is not None
    assert (found.evidence["endpoint"], round(found.evidence["rate"], 3)) == ("/pay", 0.05)
    alike = {"/pay": (100.0, 2000.0), "/cart": (250.0, 5000.0)}
    assert savings.error_prone("shop", "staging", "errors_total", "route", alike) is None


def test_thresholds_that_cry_wolf_or_judge_nothing() -> None:
    found = savings.noisy_threshold(1, "latency", "s", "e", alerts=10, false=6)
    assert found is not None
    assert found.expected == 6
    assert savings.noisy_threshold(1, "latency", "s", "e", alerts=10, false=4) is None
    never = savings.silent_threshold(1, "latency", "s", "e", days=None)
    assert never is not None
    assert "ever been heard of" in never.advice
    assert savings.silent_threshold(1, "latency", "s", "e", days=6) is None


def test_a_saving_is_the_week_after_beside_the_week_before() -> None:
    assert savings.saving(700, 350, words="the cost").saved == 1500
    assert savings.saving(350, 700, words="the cost").saved == -1500
    for lacking in ({"before_known": 0.7}, {"after_known": 0.7}):
        unknown = savings.saving(700, 350, words="the cost", **lacking)
        assert (unknown.saved, unknown.reason.startswith("unknown")) == (None, True)
    assert savings.saving(700, None, words="the cost").saved is None


def test_absurd_figures_end_in_finite_numbers() -> None:
    """What overflows is neither an error nor an infinity, which JSON does not know."""
    far = [LARGEST, LARGEST]
    assert _load([LARGEST] * 168) is None
    assert _load([-LARGEST] * 100 + [30.0] * 68) is not None
    assert _load([30.0] * 168, instances=LARGEST) is None
    missed = savings.low_hit_rate("x", "s", "e", hits=1, misses=LARGEST)
    assert missed is not None
    assert missed.expected == LARGEST
    some = {"/pay": (LARGEST, LARGEST), "/cart": (10.0, LARGEST), "/more": (10.0, LARGEST)}
    savings.error_prone("shop", "staging", "errors_total", "route", some)
    assert savings.saving(LARGEST, -LARGEST, words="the cost").saved == LARGEST
    assert summed(far) == LARGEST
    assert summed([*far, -LARGEST, -LARGEST, 5.0, 2.0**1000]) == 2.0**1000
    assert summed([0.1] * 10) == 1.0


# --- Found, decided, measured -------------------------------------------------------------------
def _past(metric: str, values: Sequence[float], *, first: datetime, growing: bool = False) -> None:
    """Hours of one series from `first` on, one sample each; of a counter the growth of each."""
    if not Series.objects.filter(metric__name=metric, labels=PLACE).exists():
        make.measured(metric, 1.0, ago=0, every=1, **PLACE)
    series = Series.objects.get(metric__name=metric, labels=PLACE)
    DirtyBucket.objects.all().delete()  # what is rolled up is whole, whatever the sample above says
    start = first.replace(minute=0, second=0, microsecond=0)
    HourRollup.objects.bulk_create(
        HourRollup(
            series=series, time=start + n * HOUR, samples=1, count=1, total=value, squares=0, low=value, high=value,
            first=value, last=value, first_time=start + n * HOUR, last_time=start + n * HOUR,
            increase=value if growing else None, histogram=None,
        )
        for n, value in enumerate(values)
    )  # fmt: skip


def _but(name: str) -> dict[str, Any]:
    """The rules but one."""
    return {rule: finds for rule, finds in findings.RULES.items() if rule != name}


@pytest.mark.django_db
class TestAdvice:
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        self.service, self.environment = make.service(), make.environment()
        self.now = jobs.database_now()

    def _policy(self, **given: Any) -> None:
        spec = {**PLACE, "name": "p", "metric": "cpu", "target": 60, "instances_metric": "instances", "lead": 0}
        scaling_policies.create("p", spec | given, by=BY)

    def _over_provisioned(self) -> Recommendation:
        self._policy()
        _past("cpu", [30.0] * 169, first=self.now - WEEK - HOUR)
        _past("instances", [8.0] * 169, first=self.now - WEEK - HOUR)
        recommendations.look(now=self.now)
        return Recommendation.objects.get(rule="over_provisioned")

    def test_what_a_rule_finds_becomes_a_row_once(self) -> None:
        found = self._over_provisioned()
        assert (found.status, found.expected, found.unit) == ("open", 4, "instances")
        assert (found.service, found.environment) == (self.service, self.environment)
        recommendations.look(now=self.now)
        assert Recommendation.objects.count() == 1
        unit_costs.put(self.service, self.environment, {"instance_price": 25.0}, by=BY)
        recommendations.look(now=self.now)
        found.refresh_from_db()
        assert (found.expected, found.unit) == (100, "EUR")

    def test_what_holds_no_longer_is_over(self) -> None:
        found = self._over_provisioned()
        recommendations.look(now=self.now + timedelta(days=3))  # of three days of the week nothing is known
        found.refresh_from_db()
        assert found.status == "obsolete"

    def test_what_is_dismissed_is_not_advised_again_for_ninety_days(self) -> None:
        found = self._over_provisioned()
        operator = make.person("olu", "operator")
        with pytest.raises(Refused, match="say why"):
            recommendations.dismiss(found, by=operator, because="")
        with pytest.raises(Forbidden):
            recommendations.dismiss(found, by=make.person("vic", "viewer"), because="no")
        recommendations.dismiss(found, by=operator, because="a campaign is coming")
        assert (found.status, found.decided_by, found.said) == ("dismissed", "olu", "a campaign is coming")
        recommendations.look(now=self.now)
        assert Recommendation.objects.count() == 1
        Recommendation.objects.update(decided_at=self.now - timedelta(days=91))
        recommendations.look(now=self.now)
        assert Recommendation.objects.count() == 2

    def test_what_was_applied_is_measured_by_the_week_after(self) -> None:
        found = self._over_provisioned()
        recommendations.apply(found, by=BY)
        applied = self.now
        Recommendation.objects.update(applied_at=applied, due_at=applied + DAY + WEEK)
        assert recommendations.measure_due(now=applied + DAY + WEEK - HOUR) == 0
        _past("instances", [5.0] * 200, first=applied + HOUR)
        assert recommendations.measure_due(now=applied + DAY + WEEK + HOUR) == 1
        found.refresh_from_db()
        assert found.saved == pytest.approx(3, abs=0.1)
        assert "instances: 8 in the week before" in found.measured_because
        assert found.due_at is None
        verbs = AuditEntry.objects.filter(object_type="monitoring.recommendation").order_by("id")
        assert list(verbs.values_list("verb", flat=True)) == [
            "recommendation.made", "recommendation.applied", "recommendation.measured",
        ]  # fmt: skip

    def test_one_that_cannot_be_measured_does_not_keep_the_others_from_it(self) -> None:
        found = self._over_provisioned()
        recommendations.apply(found, by=BY)
        broken = Recommendation.objects.create(
            key="low_hit_rate:x", rule="low_hit_rate", title="x", advice="x", evidence={}, unit="misses",
            status="applied", applied_at=self.now, due_at=self.now,
        )  # fmt: skip
        Recommendation.objects.filter(pk=found.pk).update(due_at=self.now + HOUR)
        at = self.now + DAY + WEEK
        assert recommendations.measure_due(now=at) == 2
        found.refresh_from_db()
        broken.refresh_from_db()
        assert (found.measured_at, found.due_at) == (at, None)
        assert (broken.measured_at, broken.due_at) == (None, at + HOUR)

    def test_a_rule_that_fails_ends_nothing_and_keeps_no_other_from_its_findings(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = self._over_provisioned()
        Recommendation.objects.create(
            key="noisy_threshold:1", rule="noisy_threshold", title="x", advice="x", evidence={}, unit="false alerts"
        )

        def fails(now: datetime) -> Any:
            raise OverflowError

        monkeypatch.setattr(findings, "RULES", {"over_provisioned": fails, **_but("over_provisioned")})
        recommendations.look(now=self.now)
        found.refresh_from_db()
        assert found.status == "open"
        assert Recommendation.objects.get(rule="noisy_threshold").status == "obsolete"

    def test_the_largest_numbers_stop_no_rule(self) -> None:
        self._policy()
        _past("cpu", [LARGEST] * 169, first=self.now - WEEK - HOUR)
        _past("instances", [LARGEST] * 169, first=self.now - WEEK - HOUR)
        for metric in ("cache_hits_total", "cache_misses_total"):
            Metric.objects.create(name=metric, type="counter")
            _past(metric, [LARGEST] * 160, first=self.now - timedelta(hours=161), growing=True)
        for finds in findings.RULES.values():
            assert list(finds(self.now)) == []

    def test_in_money_by_the_cost_itself(self) -> None:
        unit_costs.put(self.service, self.environment, {"metric": "cost", "currency": "USD"}, by=BY)
        found = self._over_provisioned()
        assert (found.unit, found.expected) == ("USD", None)
        recommendations.apply(found, by=BY)
        applied = self.now
        Recommendation.objects.update(applied_at=applied, due_at=applied)
        _past("cost", [2.0] * 168 + [2.0] * 24 + [1.5] * 170, first=applied - WEEK)
        recommendations.measure_due(now=applied + DAY + WEEK + HOUR)
        found.refresh_from_db()
        assert found.saved == pytest.approx(0.5 * 168 / 7 * 30, rel=0.02)

    def test_without_data_a_saving_is_unknown_and_not_nought(self) -> None:
        found = self._over_provisioned()
        recommendations.apply(found, by=BY)
        Recommendation.objects.update(due_at=self.now)
        recommendations.measure_due(now=self.now + DAY + WEEK)
        found.refresh_from_db()
        assert found.saved is None
        assert found.measured_because.startswith("unknown: too little is known of instances in the week after")
        [line] = recommendations.totals(Recommendation.objects.all())
        assert (line["saved"], line["measured"], line["unknown"]) == (0.0, 0, 1)

    def test_false_alerts_are_counted(self) -> None:
        spec = JUDGED | {"name": "latency", "metric": "latency"}
        threshold = thresholds.create(spec, by=BY)
        for n in range(6):
            at = self.now - timedelta(days=n)
            made = Alert.objects.create(
                threshold=threshold, group=str(n), level="error", status="resolved", service=self.service,
                environment=self.environment, started_at=at, fired_at=at,
                resolved_at=self.now,
            )  # fmt: skip
            if n < 4:
                alerts.mark_false(made, by=BY, because="nothing was wrong")
        recommendations.look(now=self.now)
        found = Recommendation.objects.get(rule="noisy_threshold")
        assert (found.evidence["alerts"], found.evidence["false"], found.expected) == (6, 4, 4)
        recommendations.apply(found, by=BY)
        Recommendation.objects.update(due_at=self.now)
        recommendations.measure_due(now=self.now + DAY + WEEK)
        found.refresh_from_db()
        assert found.saved == pytest.approx(4 * 30 / 7)

    def test_caches_and_endpoints_are_found_by_their_counters(self) -> None:
        for metric, values in (("cache_hits_total", [2.0] * 160), ("cache_misses_total", [10.0] * 160)):
            Metric.objects.create(name=metric, type="counter")
            _past(metric, values, first=self.now - timedelta(hours=161), growing=True)
        found = list(findings.low_hit_rates(self.now))
        assert [one.rule for one in found] == ["low_hit_rate"]
        assert found[0].evidence["hits"] == 320

    def test_a_threshold_that_has_heard_of_nothing_for_a_week(self) -> None:
        spec = JUDGED | {"name": "latency", "metric": "latency"}
        thresholds.create(spec, by=BY)
        assert list(findings.silent_thresholds(self.now)) == []  # it is young
        Threshold.objects.update(created_at=self.now - timedelta(days=8))
        assert [one.rule for one in findings.silent_thresholds(self.now)] == ["silent_threshold"]
        make.measured("latency", 0.5, ago=0, every=1, **PLACE)
        Series.objects.update(last_time=self.now)
        assert list(findings.silent_thresholds(self.now)) == []

    def test_series_that_nobody_judges(self) -> None:
        for n in range(100):
            make.measured("by_user", 1.0, ago=0, every=1, user=f"u{n}", **PLACE)
        Series.objects.update(last_time=self.now)
        [found] = findings.unwatched_metrics(self.now)
        assert found.expected == 100
        spec = JUDGED | {"name": "x", "metric": "by_user"}
        thresholds.create(spec, by=BY)
        assert list(findings.unwatched_metrics(self.now)) == []

    def test_a_look_costs_the_same_for_two_thresholds_and_twelve(self) -> None:
        costs = []
        for upto in (2, 12):
            for n in range(upto):
                thresholds.create(JUDGED | {"name": f"t{upto}-{n}", "metric": f"m{n}"}, by=BY)
            with CaptureQueriesContext(connection) as queries:
                found = [list(finds(self.now)) for finds in findings.RULES.values()]
            assert len(found) == 6
            costs.append(len(queries))
        assert costs[0] == costs[1]

    def test_every_fault_of_a_cost_is_named(self) -> None:
        with pytest.raises(Invalid) as refused:
            unit_costs.put(self.service, self.environment, {"currency": "euro", "instance_price": -1}, by=BY)
        assert set(refused.value.errors) == {"currency", "instance_price"}
        with pytest.raises(Invalid) as refused:
            unit_costs.put(self.service, self.environment, {}, by=BY)
        assert set(refused.value.errors) == {"instance_price"}
        with pytest.raises(Forbidden):
            unit_costs.put(self.service, self.environment, {"instance_price": 1.0}, by=make.person("v", "viewer"))

    def test_by_rest(self) -> None:
        found = self._over_provisioned()
        call = Caller("write", "read")
        assert [one["id"] for one in call.get("recommendations/?status=open")["results"]] == [found.pk]
        status, body = call.post(f"recommendations/{found.pk}/dismiss/", {})
        assert (status, fields(body)) == (400, {"because"})
        assert call.post(f"recommendations/{found.pk}/accept/", {"because": "yes"})[1]["status"] == "accepted"
        assert call.get("recommendations/savings/")["results"][0]["pending"] == 4
        assert call.post(f"recommendations/{found.pk}/apply/", {})[1]["status"] == "applied"
        assert call.post(f"recommendations/{found.pk}/dismiss/", {"because": "x"})[0] == 409
        assert call.post("unit-costs/", {**PLACE, "instance_price": 40})[1]["currency"] == "EUR"
        other = Caller("write", services=[make.service("other")])
        assert other("GET", f"recommendations/{found.pk}/")[0] == 404
        assert other.get("unit-costs/")["count"] == 0

    def test_on_the_page(self) -> None:
        found = self._over_provisioned()
        operator = seats.seat(make.person("olu", "operator"))
        assert "needs 4 instances, and has 8" in operator.get(reverse("recommendations")).content.decode()
        operator.post(reverse("recommendation-press", args=[found.pk, "apply"]), {"because": "done"})
        shown = operator.get(reverse("recommendations"), {"show": "applied"}).content.decode()
        assert "Its saving is measured on" in shown
