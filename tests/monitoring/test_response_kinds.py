"""What an incident may have done: proposed, from a level on, by a machine outside, kept for later, not too often."""

import json
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.test import TestCase

from monitoring.actions import channels, definitions, errors, incidents, outbox, responses
from monitoring.models import Channel, Incident, IncidentAttachment, OutboxMessage, ResponseRun
from monitoring.models.incidents import HOOKED
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.monitoring import watching
from tests.monitoring.doors import Caller
from tests.monitoring.receiver import Receiver, Reply
from tests.monitoring.watching import BY, Clock, Deeds, the_incident
from tests.pages import seats

pytestmark = pytest.mark.django_db


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


@pytest.fixture
def deeds() -> Deeds:
    return watching.deeds()


def define(*named: str, **fields: Any) -> None:
    definitions.create("d", {"name": "D", "rank": 1, "responses": list(named), **fields}, by=BY)


def runs() -> dict[str, str]:
    return {run.name: run.status for run in ResponseRun.objects.order_by("id")}


def test_what_is_proposed_waits_for_a_persons_word_and_is_done_once(clock: Clock, deeds: Deeds) -> None:
    define("propose_take_back")
    watching.threshold(target="deployment:7")
    clock.look(1, 500)
    assert (runs(), deeds.targets) == ({"take_back": "proposed"}, [])
    run, dana = ResponseRun.objects.get(), make.person("dana", "operator")
    with pytest.raises(Forbidden):
        responses.confirm(run, by=make.person("vera", "viewer"))
    with TestCase.captureOnCommitCallbacks(execute=True):
        responses.confirm(run, by=dana)
    assert (runs(), deeds.targets) == ({"take_back": "done"}, ["deployment:7"])
    with pytest.raises(Refused, match="does not wait"):
        responses.confirm(run, by=dana)
    run.refresh_from_db()
    assert "(confirmed by dana)" in run.because
    kinds = list(the_incident().timeline.values_list("kind", flat=True))
    assert [kind for kind in kinds if kind.startswith("response")] == [
        "response.proposed",
        "response.confirmed",
        "response.done",
    ]


def test_nothing_is_done_any_more_for_an_incident_that_is_over(clock: Clock, deeds: Deeds) -> None:
    define("propose_take_back")
    watching.threshold(target="deployment:7")
    clock.look(1, 500)
    incidents.resolve(the_incident(), by=BY, because="by hand", despite_alerts=True)
    with pytest.raises(Refused, match="nothing is done"):
        responses.confirm(ResponseRun.objects.get(), by=BY)


def test_a_response_may_wait_for_a_level(clock: Clock, deeds: Deeds) -> None:
    define("take_back@critical", "capture_diagnostics")
    watching.threshold(critical=1000, target="deployment:7")
    clock.look(1, 500)
    assert runs() == {"capture_diagnostics": "done"}
    clock.look(62, 5000)
    assert runs() == {"capture_diagnostics": "done", "take_back": "done"}


@pytest.mark.parametrize("name", ["take_back@fatal", "propose_nothing", "propose_propose_take_back"])
def test_a_response_that_there_is_not_is_refused_by_its_place(deeds: Deeds, name: str) -> None:
    with pytest.raises(Invalid) as refusal:
        define("take_back", name)
    assert set(refusal.value.errors) == {"responses[1]"}


def test_what_was_done_a_moment_ago_cools_down(clock: Clock, deeds: Deeds) -> None:
    define("take_back", cool_down=600)
    watching.threshold(target="deployment:7")
    clock.look(1, 500)
    incidents.resolve(the_incident(), by=BY, because="by hand", despite_alerts=True)
    clock.look(12, 500)
    assert deeds.targets == ["deployment:7"]
    second = ResponseRun.objects.latest("id")
    assert (second.status, "cooling down" in second.outcome) == ("refused", True)
    # A person may have it done all the same.
    with TestCase.captureOnCommitCallbacks(execute=True):
        responses.retry(second, by=BY)
    assert deeds.targets == ["deployment:7"] * 2


class TestMachinesOutside:
    @pytest.fixture
    def hook(self, receiver: Receiver) -> Channel:
        config = {"url": receiver.url, "responses": ["shed_load"]}
        return channels.create({"name": "edge", "kind": "webhook", "config": config, "secret": "sesame"}, by=BY)

    def asked(self, clock: Clock) -> ResponseRun:
        define("shed_load")
        watching.threshold()
        clock.look(1, 500)
        return ResponseRun.objects.get()

    def test_it_is_told_the_desired_state_and_its_answer_ends_the_run(
        self, clock: Clock, hook: Channel, receiver: Receiver
    ) -> None:
        run = self.asked(clock)
        assert run.status == "asked"
        outbox.deliver()
        run.refresh_from_db()
        assert (run.status, run.outcome) == ("done", "edge took it")
        (call,) = receiver.calls
        assert json.loads(call.body)["desired"] == {
            "response": "shed_load",
            "state": "on",
            "target": "service:checkout@staging",
            "service": "checkout",
            "environment": "staging",
        }
        assert "X-Signature-256" in call.headers
        assert the_incident().status == "triggered"

    @pytest.mark.parametrize("state", ["20%", "8", "half-open"])
    def test_the_state_to_be_reached_stands_behind_the_name(
        self, clock: Clock, hook: Channel, receiver: Receiver, state: str
    ) -> None:
        define(f"shed_load:{state}@error")
        watching.threshold()
        clock.look(1, 500)
        outbox.deliver()
        (call,) = receiver.calls
        desired = json.loads(call.body)["desired"]
        assert (desired["response"], desired["state"]) == ("shed_load", state)
        run = ResponseRun.objects.get()
        assert (run.name, run.status) == (f"shed_load:{state}", "done")

    @pytest.mark.parametrize("state", ["", "a b", "x" * 101, "-1", "a:b"])
    def test_a_state_that_cannot_be_one_is_refused(self, state: str) -> None:
        with pytest.raises(Invalid) as refusal:
            define(f"shed_load:{state}")
        assert set(refusal.value.errors) == {"responses[0]"}

    def test_it_is_asked_again_with_the_same_key_until_it_answers(
        self, clock: Clock, hook: Channel, receiver: Receiver
    ) -> None:
        answers = [Reply(500), Reply(200)]
        receiver.answer = lambda call: answers.pop(0)
        run = self.asked(clock)
        for _ in range(2):
            OutboxMessage.objects.update(due_at=run.created_at)
            outbox.deliver()
        run.refresh_from_db()
        assert (run.status, len(receiver.keys), len(set(receiver.keys))) == ("done", 2, 1)

    def test_one_that_says_no_is_a_failure_that_somebody_is_told_of(
        self, clock: Clock, hook: Channel, receiver: Receiver
    ) -> None:
        receiver.answer = lambda call: Reply(400, body=b"no such state")
        run = self.asked(clock)
        outbox.deliver()
        run.refresh_from_db()
        assert run.status == "failed"
        assert "400" in run.outcome
        assert the_incident().timeline.filter(kind="response.failed").count() == 1

    def test_without_anybody_to_ask_it_is_refused_in_words(self, clock: Clock) -> None:
        run = self.asked(clock)
        assert (run.status, "no webhook takes shed_load" in run.outcome) == ("refused", True)

    @pytest.mark.parametrize("responses", ["shed_load", ["roll_back"], [7]])
    def test_a_channel_takes_only_what_machines_do(self, responses: Any) -> None:
        config = {"url": "https://example.com/", "responses": responses}
        with pytest.raises(Invalid) as refusal:
            channels.create({"name": "edge", "kind": "webhook", "config": config}, by=BY)
        assert set(refusal.value.errors) == {"config.responses"}
        assert "roll_back" not in HOOKED


def test_the_last_hour_is_attached_and_can_never_be_changed(clock: Clock) -> None:
    define("capture_diagnostics")
    watching.threshold()
    make.environment("lab")
    failed = {"type": "KeyError", "message": "'x'", "severity": "critical", "release": "1.0", **watching.LABELS}
    hour_ago = clock.at(-3700)
    for told in ({}, {}, {"type": "Timeout"}, {"type": "Late", "time": hour_ago}, {"environment": "lab"}):
        assert errors.record([failed | told], by=BY).accepted == 1
    clock.look(1, 480, 500)
    attachment = IncidentAttachment.objects.get()
    kept = attachment.content["errors"]
    assert [(one["type"], one["count"], one["new"], one["release"]) for one in kept] == [
        ("KeyError", 2, True, "1.0"),
        ("Timeout", 1, True, "1.0"),
    ]
    page = seats.captain().get(f"/incidents/{attachment.incident_id}/attachments/{attachment.pk}/").content.decode()
    assert f'<a href="/errors/{kept[0]["id"]}/"><strong>KeyError</strong></a>' in page
    series = attachment.content["series"][0]
    assert (series["metric"], series["labels"]) == ("latency_ms", watching.LABELS)
    assert max(value for _, value in series["points"]) <= 500
    assert attachment.content["firing"][0]["threshold"] == "latency"
    with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
        IncidentAttachment.objects.update(name="x")
    listed = Caller("read").get(f"incidents/{the_incident().pk}/attachments/")
    assert listed["results"][0]["sha256"] == attachment.sha256


def test_by_rest_a_proposal_is_confirmed_where_one_may_operate(clock: Clock, deeds: Deeds) -> None:
    define("propose_take_back")
    watching.threshold(target="deployment:7")
    clock.look(1, 500)
    run = ResponseRun.objects.get()
    path = f"incidents/{Incident.objects.get().pk}/responses/{run.pk}/confirm/"
    assert Caller("read").post(path)[0] == 403
    assert Caller("write").post(path)[0] == 200
    assert Caller("write").post(path)[0] == 409
