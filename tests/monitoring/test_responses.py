"""What an incident does by itself: at once, once, and whatever happens to the process that does it."""

import os
import signal
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from unittest.mock import ANY

import pytest
from django.db import connection

from monitoring import responses as registry
from monitoring.actions import definitions, incidents, judging, responses, thresholds
from monitoring.models import Alert, Incident, ResponseRun, TimelineEntry
from portal import audit, jobs
from portal.errors import Forbidden, Refused
from portal.models import Environment, Service
from tests import make
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, Deeds, the_incident

pytestmark = pytest.mark.django_db
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


@pytest.fixture
def deeds() -> Deeds:
    """The response `take_back`."""
    return watching.deeds()


def the_run() -> ResponseRun:
    return ResponseRun.objects.get()


def kinds() -> list[str]:
    return list(TimelineEntry.objects.order_by("incident", "seq").values_list("kind", flat=True))


def test_a_firing_alert_does_its_response_at_once_and_the_incident_is_mitigated(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back", target="deployment:42")
    clock.look(1, 500)
    assert deeds.targets == ["deployment:42"]
    assert (the_run().status, the_run().outcome) == ("done", "took deployment:42 back")
    assert the_run().because == "latency 500 > 300 over the last 1 min (n=1)"
    assert the_incident().status == "mitigated"
    assert kinds() == ["opened", "response.queued", "response.done", "mitigated"]
    assert audit.of(the_run()).get().verb == "responserun.done"


def test_it_is_done_once_an_incident_however_often_the_alert_rises(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back", target="deployment:42", critical=1000)
    watching.threshold("other", response="take_back", target="deployment:42")
    clock.look(1, 500)
    clock.look(2, 5000)
    responses.execute_due()
    assert deeds.targets == ["deployment:42"]
    assert the_incident().alerts.count() == 2


def test_an_alert_that_joins_brings_its_own_response(clock: Clock, deeds: Deeds) -> None:
    watching.threshold("silent")
    watching.threshold("loud", response="take_back", error=1000)
    clock.look(1, 500)
    assert deeds.targets == []
    clock.look(2, 5000)
    assert Incident.objects.count() == 1
    assert deeds.targets == ["service:checkout@staging"]


def test_without_a_target_it_is_for_the_service_in_the_alerts_environment(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back", matchers={"service": "checkout"})
    clock.look(1, 500)
    assert deeds.targets == ["service:checkout@staging"]


def test_with_nothing_to_act_on_it_is_refused_in_sight(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back", matchers={})
    clock.send(1, 500, labels={"host": "a"})
    clock.look(2)
    assert deeds.targets == []
    assert the_run().status == "refused"
    assert "name what to act on" in the_run().outcome
    assert kinds() == ["opened", "response.refused"]
    with pytest.raises(Refused):
        responses.retry(the_run(), by=BY)


def test_a_warning_does_nothing(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(warning=100, error=1000, response="take_back")
    clock.look(1, 500)
    assert (Alert.objects.get().level, deeds.targets) == ("warning", [])
    clock.look(2, 5000)
    assert deeds.targets == ["service:checkout@staging"]


def test_a_definition_has_responses_of_its_own(clock: Clock, deeds: Deeds) -> None:
    definitions.create("x", {"name": "x", "rank": 1, "responses": ["take_back"]}, by=BY)
    watching.threshold()
    clock.look(1, 500)
    assert deeds.targets == ["service:checkout@staging"]


def test_a_refusal_is_final_and_stands_in_the_timeline(clock: Clock, deeds: Deeds) -> None:
    deeds.refuse = "checkout has no live deployment"
    watching.threshold(response="take_back")
    clock.look(1, 500)
    assert (the_run().status, the_run().outcome) == ("refused", "checkout has no live deployment")
    assert the_incident().status == "triggered"
    assert kinds() == ["opened", "response.queued", "response.refused"]
    assert responses.execute_due() == 0


def test_a_failure_is_tried_again_and_leaves_nothing_half_done(clock: Clock, deeds: Deeds) -> None:
    deeds.fail = "the store hiccups"
    watching.threshold(response="take_back")
    before = jobs.database_now()
    clock.look(1, 500)
    run = the_run()
    assert (run.status, run.attempts, run.outcome) == ("pending", 1, "RuntimeError: the store hiccups")
    assert run.due_at >= before + timedelta(seconds=1)
    # A busy machine may let that second pass before the next line is run.
    ResponseRun.objects.update(due_at=run.due_at + timedelta(minutes=5))
    assert responses.execute_due() == 0
    deeds.fail = ""
    ResponseRun.objects.update(due_at=jobs.database_now())
    assert responses.execute_due() == 1
    assert (the_run().status, the_incident().status) == ("done", "mitigated")


def test_what_a_failing_response_wrote_is_undone(clock: Clock) -> None:
    def half(run: ResponseRun) -> registry.Outcome:
        Service.objects.create(key="half-done")
        raise RuntimeError("and then it broke")

    watching.deeds("half_done", half)
    watching.threshold(response="half_done")
    clock.look(1, 500)
    assert the_run().attempts == 1
    assert not Service.objects.filter(key="half-done").exists()


def test_after_many_failures_it_is_given_up_in_sight_and_a_person_tries_it_anew(clock: Clock, deeds: Deeds) -> None:
    deeds.fail = "no"
    watching.threshold(response="take_back")
    clock.look(1, 500)
    for _ in range(responses.MAX_ATTEMPTS):
        ResponseRun.objects.filter(status="pending").update(due_at=jobs.database_now() - timedelta(seconds=1))
        responses.execute_due()
    assert (the_run().status, len(deeds.targets)) == ("failed", responses.MAX_ATTEMPTS)
    assert kinds()[-1] == "response.failed"
    with pytest.raises(Forbidden):
        responses.retry(the_run(), by=make.person("vera", "viewer"))
    deeds.fail = ""
    responses.retry(the_run(), by=make.person("dana", "operator"), because="store repaired")
    assert the_run().status == "pending"
    responses.execute_due()
    assert the_run().status == "done"


def test_a_response_that_nobody_registered_any_more_is_refused_in_sight(clock: Clock, deeds: Deeds) -> None:
    threshold = watching.threshold(response="take_back")
    type(threshold).objects.update(response="gone")
    clock.look(1, 500)
    assert (the_run().status, the_run().outcome) == ("refused", "nothing in this portal answers to gone")


def test_a_response_that_only_holds_does_not_mitigate(clock: Clock, deeds: Deeds) -> None:
    watching.deeds("hold_still", lambda run: registry.Outcome("held", mitigates=False))
    watching.threshold(response="hold_still")
    clock.look(1, 500)
    assert (the_run().status, the_incident().status) == ("done", "triggered")


def test_a_mitigated_incident_resolves_on_evidence(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back")
    clock.look(1, 500)
    clock.look(100, 100)
    assert the_incident().status == "resolved"


def test_a_response_that_removes_the_threshold_leaves_the_incident_mitigated(clock: Clock) -> None:
    def tidy(run: ResponseRun) -> registry.Outcome:
        thresholds.remove(owner="deployment:42", by=BY, because="rolled back")
        return registry.Outcome("rolled back")

    watching.deeds("tidy_up", tidy)
    watching.threshold(owner="deployment:42", response="tidy_up", target="deployment:42")
    clock.look(1, 500)
    assert (the_run().status, Alert.objects.get().status, the_incident().status) == ("done", "resolved", "mitigated")
    assert kinds() == ["opened", "response.queued", "alert.resolved", "response.done", "mitigated"]


def test_a_lost_hand_over_is_made_good_by_the_sweep(clock: Clock, deeds: Deeds) -> None:
    watching.threshold(response="take_back")
    clock.send(1, 500)
    judging.run(now=clock.at(2))  # nothing happens after this commit: as if the process had died in it
    assert (the_run().status, deeds.targets) == ("pending", [])
    assert responses.execute_due() == 1
    assert (the_run().status, deeds.targets) == ("done", ["service:checkout@staging"])


def test_two_responses_of_one_name_are_a_mistake() -> None:
    watching.deeds()
    with pytest.raises(ValueError, match="take_back"):
        registry.register("take_back")(ANY)


def test_a_target_elsewhere_needs_rights_elsewhere() -> None:
    staging = make.environment("staging")
    make.production()
    service = make.service("checkout")
    if "reach" not in registry.known():
        registry.register("reach", place=lambda _, target: _place(target))(ANY)
    captain = make.person("cap", "captain", environment=staging)
    spec = {"name": "x", "metric": "m", "aggregation": "mean", "operator": ">", "error": 1, "response": "reach"}
    matchers = {"service": service.key, "environment": staging.key}
    thresholds.create({**spec, "matchers": matchers, "target": "place:staging"}, by=captain)
    for target in ("place:production", "place:everywhere"):
        with pytest.raises(Forbidden):
            thresholds.create({**spec, "matchers": matchers, "target": target}, by=captain)


def _place(target: str) -> registry.Place:
    key = target.partition(":")[2]
    return Environment.objects.filter(key=key).first(), Service.objects.first() if key != "everywhere" else None


@pytest.mark.django_db(transaction=True)
def test_eight_processes_that_race_for_it_do_it_once(deeds: Deeds) -> None:
    incident = incidents.open_by_hand("x", by=BY)
    run = ResponseRun.objects.create(incident=incident, name="take_back", target="deployment:1", because="x")
    gate = threading.Barrier(8)

    def race() -> None:
        gate.wait()
        responses.execute(run.pk)
        connection.close()

    threads = [threading.Thread(target=race) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert deeds.targets == ["deployment:1"]
    assert the_run().status == "done"


KILLED = """
import os, signal, django
django.setup()
from monitoring import responses as registry
from monitoring.actions import responses
from portal.models import Service

@registry.register("take_back")
def take_back(run):
    Service.objects.create(key="written-before-the-kill")
    os.kill(os.getpid(), signal.SIGKILL)

responses.execute_due()
"""


@pytest.mark.django_db(transaction=True)
def test_a_process_killed_in_the_middle_leaves_it_to_be_done(deeds: Deeds) -> None:
    incident = incidents.open_by_hand("x", by=BY)
    ResponseRun.objects.create(incident=incident, name="take_back", target="deployment:1", because="x")
    killed = subprocess.run(
        [sys.executable, "-c", KILLED],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": watching.database_url()},
        timeout=60,
    )
    assert killed.returncode == -signal.SIGKILL
    assert (the_run().status, Service.objects.count()) == ("pending", 0)
    assert responses.execute_due() == 1
    assert (the_run().status, deeds.targets) == ("done", ["deployment:1"])
