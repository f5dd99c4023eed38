"""From a sample that breaches to the alert, its incident, and the evidence that it is over."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from monitoring.actions import judging, thresholds
from monitoring.judging import Event
from monitoring.models import Alert, AlertState, DueThreshold, Incident, Threshold, TimelineEntry
from portal import audit, jobs
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, state, the_alert, the_incident

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


def test_a_breach_fires_and_opens_an_incident_that_says_why(clock: Clock) -> None:
    threshold = watching.threshold("latency")
    clock.look(1, 200, 500)
    alert, incident = the_alert(), the_incident()
    assert (alert.status, alert.level, alert.value) == ("firing", "error", 350)
    assert alert.reason == "latency 350 > 300 over the last 1 min (n=2)"
    assert (str(alert.service), str(alert.environment), alert.incident) == ("checkout", "staging", incident)
    assert (incident.status, incident.severity) == ("triggered", "SEV2")
    assert incident.title == "latency: error on checkout in staging"
    assert [(entry.seq, entry.kind, entry.text) for entry in incident.timeline.all()] == [(1, "opened", alert.reason)]
    assert audit.of(alert).get().verb == "alert.firing"
    assert audit.of(incident).get().because == alert.reason
    assert state(threshold).phase == "firing"


def test_a_healthy_metric_is_judged_and_nothing_else_happens(clock: Clock) -> None:
    threshold = watching.threshold()
    clock.look(1, 200)
    assert not Alert.objects.exists()
    assert (state(threshold).outcome, state(threshold).reason) == (
        "passed",
        "latency 200 ≤ 300 over the last 1 min (n=1)",
    )


def test_without_any_data_the_verdict_is_inconclusive_never_passed(clock: Clock) -> None:
    threshold = watching.threshold()
    clock.look(1)
    assert (state(threshold).outcome, state(threshold).value) == ("inconclusive", None)


def test_with_for_the_alert_is_pending_first_and_goes_away_unfired(clock: Clock) -> None:
    watching.threshold(hold=20)
    clock.look(1, 500)
    assert (the_alert().status, Incident.objects.count()) == ("pending", 0)
    clock.look(11, 0)
    assert not Alert.objects.exists()


def test_with_for_it_fires_when_the_time_was_seen(clock: Clock) -> None:
    watching.threshold(hold=20)
    for second in (1, 11, 20.9):
        clock.look(second, 500)
        assert the_alert().status == "pending"
    clock.look(21, 500)
    alert = the_alert()
    assert alert.status == "firing"
    assert (alert.started_at, alert.fired_at) == (clock.at(1), clock.at(21))


def test_a_warning_fires_without_an_incident(clock: Clock) -> None:
    watching.threshold(warning=100, error=1000)
    clock.look(1, 200)
    assert (the_alert().status, the_alert().level) == ("firing", "warning")
    assert not Incident.objects.exists()


def test_a_warning_that_becomes_an_error_opens_one(clock: Clock) -> None:
    watching.threshold(warning=100, error=1000)
    clock.look(1, 200)
    clock.look(2, 5000)
    assert (the_alert().level, the_incident().severity) == ("error", "SEV2")


def test_a_worse_level_raises_the_alert_and_the_severity_of_its_incident(clock: Clock) -> None:
    watching.threshold(error=300, critical=1000)
    clock.look(1, 500)
    clock.look(2, 5000)
    assert (the_alert().level, the_incident().severity) == ("critical", "SEV1")
    assert [entry.kind for entry in TimelineEntry.objects.all()] == ["opened", "alert.raised"]


def test_evidence_resolves_the_alert_and_with_the_last_one_the_incident(clock: Clock) -> None:
    watching.threshold()
    clock.look(1, 500)
    clock.look(100, 200)
    alert, incident = the_alert(), the_incident()
    assert (alert.status, alert.resolved_at) == ("resolved", clock.at(100))
    assert alert.resolved_because == "latency 200 ≤ 300 over the last 1 min (n=1)"
    assert incident.status == "resolved"
    assert [entry.kind for entry in incident.timeline.all()] == ["opened", "alert.resolved", "resolved"]


def test_silence_resolves_nothing(clock: Clock) -> None:
    watching.threshold()
    clock.look(1, 500)
    for second in (100, 1000, 100_000):
        clock.look(second)
    assert (the_alert().status, the_incident().status) == ("firing", "triggered")


def test_two_alerts_of_a_service_are_one_incident_which_waits_for_both(clock: Clock) -> None:
    watching.threshold("mean")
    watching.threshold("worst", aggregation="max", error=1000)
    clock.look(1, 500)
    clock.look(2, 5000)
    incident = the_incident()
    assert incident.alerts.count() == 2
    assert "alert.joined" in [entry.kind for entry in incident.timeline.all()]
    clock.look(100, 900)
    assert [alert.status for alert in incident.alerts.order_by("id")] == ["firing", "resolved"]
    incident.refresh_from_db()
    assert incident.status == "triggered"
    clock.look(200, 10)
    incident.refresh_from_db()
    assert incident.status == "resolved"


def test_a_resolved_incident_takes_no_new_alerts(clock: Clock) -> None:
    """Invariant 18."""
    watching.threshold()
    clock.look(1, 500)
    clock.look(100, 200)
    clock.look(200, 500)
    assert [incident.status for incident in Incident.objects.order_by("id")] == ["resolved", "triggered"]
    assert [alert.incident_id for alert in Alert.objects.order_by("id")] == list(
        Incident.objects.order_by("id").values_list("id", flat=True)
    )


def test_the_same_look_twice_changes_nothing(clock: Clock) -> None:
    """Invariant 4."""
    watching.threshold()
    clock.look(1, 500)
    counts = (Alert.objects.count(), TimelineEntry.objects.count())
    clock.look(1)
    clock.look(2)
    assert (Alert.objects.count(), TimelineEntry.objects.count()) == counts


def test_an_edit_while_firing_keeps_the_alert_and_judges_by_the_new_bound(clock: Clock) -> None:
    """Invariant 15."""
    threshold = watching.threshold()
    clock.look(1, 500)
    thresholds.change(threshold, {"for": 600, "error": 400}, by=BY, partly=True)
    clock.look(11, 500)
    assert the_alert().status == "firing"
    clock.look(100, 350)
    assert the_alert().status == "resolved"


def test_an_edit_while_pending_begins_the_wait_anew(clock: Clock) -> None:
    threshold = watching.threshold(hold=15)
    clock.look(1, 500)
    thresholds.change(threshold, {"error": 310}, by=BY, partly=True)
    clock.look(11, 500)
    clock.look(21, 500)
    assert the_alert().status == "pending"
    clock.look(26, 500)
    assert the_alert().status == "firing"


def test_a_removed_threshold_ends_its_alert_but_proves_nothing_about_the_incident(clock: Clock) -> None:
    threshold = watching.threshold(owner="deployment:42")
    other = watching.threshold("pending", owner="deployment:42", hold=600)
    clock.look(1, 500)
    assert thresholds.remove(owner="deployment:42", by=BY, because="deployment 42 was rolled back") == 2
    alert = Alert.objects.get(threshold=threshold)
    assert (alert.status, alert.resolved_because) == (
        "resolved",
        "threshold removed: deployment 42 was rolled back",
    )
    assert not Alert.objects.filter(threshold=other).exists()
    assert the_incident().status == "triggered"
    assert [entry.kind for entry in the_incident().timeline.all()] == ["opened", "alert.resolved"]
    clock.look(11, 500)
    assert Alert.objects.count() == 1
    assert thresholds.remove(owner="deployment:42", by=BY) == 0


def test_a_judge_that_measured_before_the_removal_is_too_late(clock: Clock) -> None:
    threshold = watching.threshold()
    clock.send(1, 500)
    claimed = judging.load([one.id for one in judging.claim(now=clock.at(2))])
    assert [one.pk for one in claimed] == [threshold.pk]
    thresholds.delete(threshold, by=BY)
    looks = judging.measure(claimed, now=clock.at(2))
    fresh = judging._states(claimed)[threshold.pk]
    reading, step = judging._look(claimed[0], fresh, looks[threshold.pk], clock.at(2))
    assert step.event == "fired"
    judging._take([judging.Turn(claimed[0], fresh, step, reading, clock.at(2))])
    assert not Alert.objects.exists()


def test_a_ratio_is_judged_on_increases_with_the_count_on_the_denominator(clock: Clock) -> None:
    threshold = watching.threshold(
        "error rate",
        metric="http_errors_total",
        denominator="http_requests_total",
        aggregation="increase",
        error=0.02,
        min_count=100,
    )
    for second, errors, requests in ((1, 0, 1000), (10, 7, 1090)):
        clock.send(second, errors, metric="http_errors_total")
        clock.send(second, requests, metric="http_requests_total")
    clock.look(11)
    assert state(threshold).reason == "error rate: 90 over the last 1 min are too few to judge, 100 are needed"
    clock.send(20, 7, metric="http_errors_total")
    clock.send(20, 1100, metric="http_requests_total")
    clock.look(21)
    assert the_alert().reason == "error rate 7 % > 2 % over the last 1 min (n=100)"


ARM = {"flag": "new-checkout", "variant": "on"}


def _arms(clock: Clock, second: float, **values: float) -> None:
    for variant, value in values.items():
        clock.send(second, value, labels={**watching.LABELS, "flag": "new-checkout", "variant": variant})


@pytest.mark.parametrize("baseline", [{"kind": "arm"}, {"kind": "arm", "flag": "new-checkout", "variant": "off"}])
def test_an_arm_is_compared_with_the_other(clock: Clock, baseline: dict[str, str]) -> None:
    threshold = watching.threshold(matchers={**watching.LABELS, **ARM}, error=1.5, baseline=baseline)
    _arms(clock, 1, on=100)
    clock.look(2)
    assert state(threshold).outcome == "inconclusive"
    _arms(clock, 3, on=100, off=90)
    clock.look(4)
    assert state(threshold).outcome == "passed"
    _arms(clock, 5, on=400, off=110)
    clock.look(6)
    assert the_alert().reason.startswith("latency 2 × (200 against 100 of ")
    assert "variant off) > 1.5 ×" in the_alert().reason


def test_with_several_other_arms_one_must_be_named(clock: Clock) -> None:
    threshold = watching.threshold(matchers={**watching.LABELS, **ARM}, error=1.5, baseline={"kind": "arm"})
    _arms(clock, 1, on=400, off=100, blue=100)
    clock.look(2)
    assert (state(threshold).outcome, Alert.objects.count()) == ("inconclusive", 0)
    assert "one of 2 other arms" in state(threshold).reason


def test_series_without_an_arm_are_compared_with_nothing(clock: Clock) -> None:
    threshold = watching.threshold(error=1.5, baseline={"kind": "arm", "flag": "new-checkout", "variant": "off"})
    clock.look(1, 500)
    assert (state(threshold).outcome, Alert.objects.count()) == ("inconclusive", 0)


def test_the_same_metric_some_time_ago_is_a_baseline(clock: Clock) -> None:
    watching.threshold(error=100, baseline={"kind": "offset", "seconds": 600, "change": "difference"})
    clock.send(0, 200)
    clock.look(601, 350)
    assert the_alert().reason == (
        "latency +150 (350 against 200 of 10 min ago) > 100 over the last 1 min (n=1, baseline n=1)"
    )


def test_the_previous_release_is_a_baseline_even_when_it_runs_no_more(clock: Clock) -> None:
    watching.threshold(error=1.5, baseline={"kind": "previous_release"})
    for second in (0, 1):
        clock.send(second, 100, labels={**watching.LABELS, "release": "1.0"})
    clock.send(2, 1, labels={**watching.LABELS, "release": "1.1"})
    clock.send(900, 300, labels={**watching.LABELS, "release": "1.1"})
    clock.look(901)
    assert the_alert().reason.startswith("latency 3 × (300 against 100 of release 1.0)")


def test_a_mark_has_a_threshold_judged_before_it_is_due(clock: Clock) -> None:
    threshold = watching.threshold(interval=3600)
    clock.look(1, 200)
    assert judging.run(now=clock.at(2)) == 0
    clock.send(2, 5000)
    assert DueThreshold.objects.get().threshold == threshold
    assert judging.run(now=clock.at(3)) == 1
    assert the_alert().status == "firing"
    assert not DueThreshold.objects.exists()
    assert judging.run(now=clock.at(4)) == 0
    assert judging.run(now=clock.at(3603)) == 1


def test_for_ends_when_it_ends_and_not_at_the_next_interval(clock: Clock) -> None:
    watching.threshold(hold=7, keep_firing_for=3, interval=3600)
    clock.look(1, 500)
    assert judging.run(now=clock.at(7.9)) == 0
    assert judging.run(now=clock.at(8)) == 1
    assert the_alert().status == "firing"
    clock.look(100, 10)
    assert (the_alert().status, judging.run(now=clock.at(102.9))) == ("firing", 0)
    assert judging.run(now=clock.at(103)) == 1
    assert the_alert().status == "resolved"


@pytest.mark.parametrize("is_marked", [True, False])
def test_a_judge_killed_with_what_it_claimed_delays_it_by_seconds(clock: Clock, is_marked: bool) -> None:
    watching.threshold(interval=3600)
    if is_marked:
        clock.look(1, 200)
        clock.send(2, 5000)
    else:
        clock.send(1, 500)
    assert len(judging.claim(now=clock.at(3))) == 1  # and it dies
    assert judging.run(now=clock.at(4)) == 0
    assert judging.run(now=clock.at(14)) == 1
    assert the_alert().status == "firing"
    assert judging.run(now=clock.at(3613)) == 0
    assert judging.run(now=clock.at(3614)) == 1


def test_one_open_alert_a_threshold_is_the_databases_promise(clock: Clock) -> None:
    watching.threshold()
    clock.look(1, 500)
    alert = the_alert()
    alert.pk = None
    with pytest.raises(IntegrityError), transaction.atomic():
        alert.save()


def test_what_was_missed_is_not_replayed(clock: Clock) -> None:
    watching.threshold()
    for second in (1, 100, 200):
        clock.send(second, 5000)
    clock.look(10_000, 100)
    assert not Alert.objects.exists()


def test_an_infinite_change_is_an_alert_that_can_be_stored(clock: Clock) -> None:
    watching.threshold(matchers={**watching.LABELS, **ARM}, error=1.5, baseline={"kind": "arm"})
    _arms(clock, 1, on=100, off=0)
    clock.look(2)
    assert (the_alert().status, the_alert().value) == ("firing", None)


def test_a_pass_costs_the_same_queries_for_two_thresholds_and_for_twelve(
    clock: Clock, django_assert_max_num_queries: Any
) -> None:
    for number in range(12):
        watching.threshold(f"t{number}", metric=f"metric_{number % 3}", aggregation=["mean", "p95", "rate"][number % 3])
        clock.send(1, 100, metric=f"metric_{number % 3}", labels={**watching.LABELS, "n": str(number)})
    clock.look(2)
    Threshold.objects.filter(name__in=("t0", "t1")).update(due_at=clock.at(3))
    with django_assert_max_num_queries(16) as few:
        assert judging.run(now=clock.at(3)) == 2
    Threshold.objects.update(due_at=clock.at(4))
    with django_assert_max_num_queries(len(few) + 3):
        assert judging.run(now=clock.at(4)) == 12


def _together(*works: Any) -> list[BaseException]:
    """All at once, each on its own connection."""
    failures: list[BaseException] = []
    gate = threading.Barrier(len(works))

    def run(work: Any) -> None:
        try:
            gate.wait()
            work()
        except BaseException as failure:  # shown by the test that asked
            failures.append(failure)
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


@pytest.mark.django_db(transaction=True)
def test_eight_racing_judges_make_one_alert_each_and_one_incident() -> None:
    """Invariant 3."""
    clock = Clock()
    for number in range(10):
        watching.threshold(f"t{number}")
    clock.send(0, 500)
    now = jobs.database_now()

    def judge() -> None:
        looks = list(Threshold.objects.active().select_related("service", "environment"))
        measured = judging.measure(looks, now=now)
        states = judging._states(looks)
        turns = []
        for threshold in looks:
            reading, step = judging._look(threshold, states[threshold.pk], measured[threshold.pk], now)
            # Who looks when another has committed sees that it fires already: nothing turns.
            if step.event is not Event.NONE:
                turns.append(judging.Turn(threshold, states[threshold.pk], step, reading, now))
        judging._take(turns)

    assert _together(*[judge] * 8) == []
    assert Alert.objects.filter(status="firing").count() == 10
    assert Alert.objects.count() == 10
    incident = the_incident()
    assert incident.alerts.count() == 10
    said = list(incident.timeline.order_by("seq").values_list("seq", "kind"))
    assert said == [(1, "opened"), *((seq, "alert.joined") for seq in range(2, 11))]


@pytest.mark.django_db(transaction=True)
def test_eight_racing_sweeps_judge_each_threshold_once() -> None:
    clock = Clock()
    for number in range(20):
        watching.threshold(f"t{number}", interval=3600)
    clock.send(0, 500)
    judged: list[int] = []
    assert _together(*[lambda: judged.append(judging.run())] * 8) == []
    assert sum(judged) == 20
    assert Alert.objects.filter(status="firing").count() == 20
    assert Incident.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_firing_and_removing_at_once_leave_no_alert_behind() -> None:
    clock = Clock()
    for number in range(10):
        watching.threshold(f"t{number}", owner="deployment:1")
    clock.send(0, 500)
    failures = _together(judging.run, judging.run, lambda: thresholds.remove(owner="deployment:1", by=BY), judging.run)
    assert failures == []
    assert not Alert.objects.open().exists()
    assert not AlertState.objects.exclude(phase="inactive").exists()


@pytest.mark.django_db(transaction=True)
def test_ingest_marks_while_the_judge_claims_and_no_mark_is_lost() -> None:
    clock = Clock()
    watching.threshold(interval=3600)
    judging.run()
    stop = threading.Event()

    def judge() -> None:
        while not stop.is_set():
            judging.run()

    def send() -> None:
        for number in range(40):
            clock.send(number * 0.001, 10)
        clock.send(1.0, 100_000)
        stop.wait(0.2)
        stop.set()

    assert _together(judge, judge, send) == []
    judging.run()
    assert the_alert().status == "firing"
    assert (jobs.database_now() - the_alert().created_at) < timedelta(minutes=1)
