"""The health score: what lowers it, and that nothing known is not health."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from monitoring.actions import slos, watchdogs
from monitoring.judging import Level
from monitoring.models import Alert, AlertState, Slo, Threshold
from monitoring.queries.scores import healths
from monitoring.scores import Budget, Factor, Firing, score
from portal import jobs
from portal.audit import Automaton
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller

BY = Automaton("test")


def test_where_nothing_is_seen_there_is_no_score() -> None:
    assert score([], [], seen=0, unseen=[]).value is None
    assert score([], [Budget("checkout", None)], seen=0, unseen=["latency"]).reason == "no threshold has data"


def test_a_service_that_is_seen_and_well_has_100() -> None:
    found = score([], [Budget("checkout", 1.0)], seen=2, unseen=[])
    assert (found.value, found.reason, found.factors) == (100, "nothing stands against it", ())


def test_each_thing_takes_its_points_and_says_why_the_worst_first() -> None:
    firing = [Firing("cpu", Level.WARNING, "92 % > 90 %"), Firing("errors", Level.CRITICAL, "9 % > 5 %")]
    found = score(firing, [Budget("checkout", 0.25)], seen=2, unseen=["d", "c", "b", "a"])
    assert found.value == 100 - 40 - 15 - 10 - 8
    assert found.reason == "critical: errors: 9 % > 5 %"
    assert found.factors[1:] == (
        Factor(15, "25% of the budget of checkout is left"),
        Factor(10, "warning: cpu: 92 % > 90 %"),
        Factor(8, "without data: a, b, c and 1 more"),
    )


def test_a_score_ends_at_0_and_an_overspent_budget_takes_no_more_than_a_spent_one() -> None:
    assert score([Firing("x", Level.CRITICAL, "y")] * 3, [], seen=1, unseen=[]).value == 0
    assert score([], [Budget("x", -4.0)], seen=1, unseen=[]).value == 80
    assert score([], [], seen=1, unseen=["x"] * 90).value == 80


@pytest.fixture
def watched(db: None) -> Threshold:
    """One threshold of checkout in staging that was judged, one without data; one of search that nobody knows of."""
    make.service("search")
    rows = [watching.threshold("errors"), watching.threshold("delay")]
    watching.threshold("depth", matchers={"service": "search", "environment": "staging"})
    AlertState.objects.update_or_create(threshold=rows[0], group="", defaults={"outcome": "passed"})
    AlertState.objects.update_or_create(threshold=rows[1], group="", defaults={"outcome": "inconclusive"})
    return rows[0]


def _fires(threshold: Threshold, **fields: object) -> Alert:
    return Alert.objects.create(
        threshold=threshold, status="firing", level="critical", reason="9 > 5", service=threshold.service,
        environment=threshold.environment, started_at=jobs.database_now(), **fields,
    )  # fmt: skip


def test_scores_are_read_by_service_and_environment(watched: Threshold) -> None:
    _fires(watched)
    found = Caller("read").get("health-scores/")["results"]
    assert [(one["service"], one["environment"], one["score"]) for one in found] == [
        ("checkout", "staging", 58),
        ("search", "staging", None),
    ]
    assert found[0]["factors"][0] == {"points": 40, "reason": "critical: errors: 9 > 5"}
    assert Caller("read").get("health-scores/?service=search")["count"] == 1
    assert Caller("read", environments=[make.environment("qa")]).get("health-scores/")["count"] == 0


def test_what_others_judge_is_not_without_data(watched: Threshold) -> None:
    service, environment = watched.service, watched.environment
    watchdogs.create({"key": "backup", "service": service, "environment": environment}, by=BY)
    assert Caller("read").get("health-scores/?service=checkout")["results"][0]["score"] == 98


def test_a_false_alert_stands_against_nobody(watched: Threshold) -> None:
    _fires(watched, false_at=jobs.database_now())
    assert Caller("read").get("health-scores/?service=checkout")["results"][0]["score"] == 98


def test_scores_cost_four_queries_whatever_their_number(watched: Threshold) -> None:
    spec = {"kind": "uptime", "metric": "up", "objective": 99.0, "matchers": {"service": "search"}}
    slos.create("up", {"name": "search is up", **spec}, by=BY)
    Slo.objects.update(remaining=0.5)
    with CaptureQueriesContext(connection) as asked:
        found = healths(Threshold.objects.all(), Alert.objects.all(), Slo.objects.all())
    assert len(asked) == 4
    assert {(one.service, one.environment): one.score.value for one in found}["search", ""] == 90
