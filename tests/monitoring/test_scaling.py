"""Scaling: what is decided by load and forecast, what is not known, and what becomes of a decision."""

import json
from datetime import timedelta
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction
from django.test import TestCase
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from monitoring.actions import channels, outbox, scaling, scaling_policies
from monitoring.channels import Retry
from monitoring.channels.webhook import signature
from monitoring.histogram import LARGEST
from monitoring.models import Channel, OutboxMessage, ScalingDecision, ScalingPolicy
from monitoring.scaling import Ahead, Bounds, Code, Decision, Urgency, Way, decide
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from tests import make
from tests.make import BY
from tests.monitoring.doors import Caller, fields
from tests.monitoring.receiver import Receiver, Reply
from tests.pages import seats

BOUNDS = Bounds(target=60, minimum=2, maximum=10, up_step=4, down_step=1)
PLACE: dict[str, Any] = {"service": "checkout", "environment": "staging"}
SPEC: dict[str, Any] = {**PLACE, "name": "checkout by CPU", "metric": "cpu", "target": 60, "instances": 4}


def _decide(value: float | None, instances: int | None = 4, ahead: Ahead | None = None, **after: float) -> Decision:
    return decide(BOUNDS, instances=instances, value=value, ahead=ahead, **after)


@pytest.mark.parametrize(
    ("value", "instances", "way", "wanted", "urgency", "code"),
    [
        (60, 4, Way.NONE, 4, Urgency.LOW, Code.STEADY),
        (65, 4, Way.NONE, 4, Urgency.LOW, Code.STEADY),  # within the tolerance of 10 %
        (75, 4, Way.UP, 5, Urgency.NORMAL, Code.LOAD),
        (90, 4, Way.UP, 6, Urgency.HIGH, Code.LOAD),
        (300, 4, Way.UP, 8, Urgency.HIGH, Code.LOAD),  # 20 would be needed: four more at once
        (300, 8, Way.UP, 10, Urgency.HIGH, Code.LOAD),  # no more than the maximum
        (300, 10, Way.NONE, 10, Urgency.HIGH, Code.AT_MAXIMUM),
        (30, 8, Way.DOWN, 7, Urgency.LOW, Code.IDLE),  # one at a time
        (1, 2, Way.NONE, 2, Urgency.LOW, Code.STEADY),  # the minimum
        (60, 1, Way.UP, 2, Urgency.HIGH, Code.BELOW_MINIMUM),
        (60, 12, Way.DOWN, 10, Urgency.LOW, Code.ABOVE_MAXIMUM),
        (None, 4, Way.NONE, 4, Urgency.LOW, Code.NO_DATA),
        (60, None, Way.NONE, None, Urgency.LOW, Code.NO_COUNT),
    ],
)
def test_the_number(
    value: float | None, instances: int | None, way: Way, wanted: int | None, urgency: Urgency, code: Code
) -> None:
    found = _decide(value, instances)
    assert (found.way, found.instances, found.urgency, found.code) == (way, wanted, urgency, code), found.reason


def test_absurd_loads_ask_for_no_more_than_there_may_be() -> None:
    assert _decide(LARGEST).instances == 8
    assert _decide(-LARGEST, 8).instances == 7
    assert decide(Bounds(1e-9, 2, 10, 4, 1), instances=4, value=LARGEST).instances == 8


def test_the_forecast_scales_up_before_it_is_needed_and_keeps_from_scaling_down() -> None:
    soon = _decide(60, ahead=Ahead(120, 140, "120 expected at 12:00"))
    assert (soon.way, soon.instances, soon.urgency, soon.code) == (Way.UP, 8, Urgency.LOW, Code.FORECAST)
    assert "120 expected at 12:00" in soon.reason
    assert _decide(30, 8, Ahead(30, 58, "30 expected")).way is Way.NONE  # its upper bound needs all eight
    assert _decide(30, 8, Ahead(30, 40, "30 expected")).way is Way.DOWN


def test_a_change_cools_down() -> None:
    hot = _decide(90, up_after=30)
    assert (hot.way, hot.code, hot.urgency) == (Way.NONE, Code.COOLING, Urgency.HIGH)
    assert "cools down for 30 s yet" in hot.reason
    assert _decide(30, down_after=30).code is Code.COOLING
    assert _decide(90, down_after=30).way is Way.UP


def test_decisions_settle_instead_of_swinging() -> None:
    """A load of 300 in all, shared by the instances: it ends within the tolerance and stays there."""
    instances, seen = 3, []
    for _ in range(12):
        found = _decide(300 / instances, instances)
        instances = found.instances or instances
        seen.append(instances)
    assert seen[-6:] == [5] * 6


@pytest.mark.django_db
class TestDecided:
    @pytest.fixture(autouse=True)
    def _place(self) -> None:
        make.service()
        make.environment()

    def _policy(self, **fields: Any) -> ScalingPolicy:
        return scaling_policies.create("checkout", SPEC | fields, by=BY)

    def _look(self, value: float | None = None, *, later: int = 0) -> ScalingDecision | None:
        """One look, `later` seconds from now."""
        if value is not None:
            make.measured("cpu", value, ago=0, every=1, **PLACE)
        ScalingPolicy.objects.update(due_at=jobs.database_now() - timedelta(seconds=1))
        assert scaling.run(now=jobs.database_now() + timedelta(seconds=later)) == 1
        return ScalingDecision.objects.first()

    def test_a_decision_with_its_reason_and_evidence(self) -> None:
        self._policy()
        found = self._look(90.0)
        assert found is not None
        assert (found.way, found.before, found.wanted, found.urgency) == ("scale_up", 4, 6, "high")
        assert (found.status, found.evidence["value"], found.evidence["target"]) == ("advised", 90, 60)
        assert found.evidence["trend"]["direction"] == "unknown"
        assert ScalingPolicy.objects.get().reason == found.reason

    def test_the_sweep_comes_again_within_two_minutes(self) -> None:
        policy = self._policy()
        scaling.run()
        policy.refresh_from_db()
        assert policy.due_at - jobs.database_now() <= timedelta(seconds=60)
        assert scaling.run() == 0
        with pytest.raises(Invalid) as refused:
            scaling_policies.change(policy, {"interval": 91}, by=BY)
        assert set(refused.value.errors) == {"interval"}

    def test_without_data_nothing_is_decided_and_that_is_said_once(self) -> None:
        self._policy()
        for _ in range(3):
            found = self._look()
        assert found is not None
        assert (found.way, found.code, found.status) == ("none", "no_data", "noted")
        assert "no data" in found.reason
        assert ScalingDecision.objects.count() == 1

    def test_the_same_advice_is_one_row_and_other_advice_takes_its_place(self) -> None:
        self._policy(tolerance=0, window=30)
        first = self._look(90.0)
        again = self._look(90.0)
        assert first == again
        second = self._look(180.0)
        assert second is not None
        assert first is not None
        first.refresh_from_db()
        assert (first.status, second.status) == ("superseded", "advised")

    def test_a_metric_may_say_how_many_there_are(self) -> None:
        self._policy(instances_metric="instances", instances=None)
        make.measured("cpu", 90.0, ago=0, every=1, **PLACE)
        found = self._look()
        assert found is not None
        assert found.code == "no_count"
        make.measured("instances", 3.0, ago=0, every=1, **PLACE)
        found = self._look()
        assert found is not None
        assert (found.before, found.wanted) == (3, 5)

    def test_a_person_accepts_and_it_cools_down(self) -> None:
        self._policy()
        found = self._look(90.0)
        assert found is not None
        with pytest.raises(Forbidden):
            scaling.accept(found, by=make.person("vera", "viewer"))
        scaling.accept(found, by=make.person("olu", "operator"), because="busy hour")
        assert (found.status, found.decided_by, found.said) == ("accepted", "olu", "busy hour")
        assert ScalingPolicy.objects.get().instances == 6
        with pytest.raises(Refused, match="does not wait"):
            scaling.accept(found, by=BY)
        assert self._look(120.0) == found
        assert ScalingPolicy.objects.get().reason.endswith("s yet")
        after = self._look(120.0, later=200)
        assert after is not None
        assert (after.way, after.before) == ("scale_up", 6)

    @pytest.mark.parametrize(("count", "wanted"), [(1.0, 2), (12.0, 10)])
    def test_what_is_out_of_bounds_is_said_once_until_it_has_cooled_down(self, count: float, wanted: int) -> None:
        self._policy(instances_metric="instances", instances=None, down_cool_down=180)
        make.measured("instances", count, ago=0, every=1, **PLACE)
        found = self._look(60.0)
        assert found is not None
        assert (found.status, found.wanted) == ("advised", wanted)
        scaling.accept(found, by=BY)
        assert self._look(later=60) == found  # the metric says the same: its instances are on their way
        after = self._look(later=200)
        assert after is not None
        assert (after == found, after.wanted) == (False, wanted)

    def test_what_is_declined_is_not_advised_again_at_once(self) -> None:
        self._policy()
        found = self._look(90.0)
        assert found is not None
        with pytest.raises(Refused, match="say why"):
            scaling.decline(found, by=BY, because="")
        scaling.decline(found, by=make.person("olu", "operator"), because="a test runs")
        assert (found.status, ScalingPolicy.objects.get().instances) == ("declined", 4)
        assert self._look(90.0) == found
        assert self._look(90.0, later=200) != found

    def test_what_was_decided_cannot_be_rewritten(self) -> None:
        self._policy()
        found = self._look(90.0)
        assert found is not None
        changes: list[dict[str, Any]] = [{"wanted": 9}, {"evidence": {}}, {"reason": "other"}]
        for change in changes:
            with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
                ScalingDecision.objects.filter(pk=found.pk).update(**change)
        with pytest.raises(IntegrityError, match="append-only"), transaction.atomic():
            ScalingDecision.objects.filter(pk=found.pk).delete()

    def test_one_that_cannot_be_judged_does_not_keep_the_others_from_it(self) -> None:
        broken = self._policy()
        make.service("payments")
        scaling_policies.create("payments", SPEC | {"service": "payments", "lead": 0}, by=BY)
        ScalingPolicy.objects.filter(pk=broken.pk).update(
            aggregation="nonsense", due_at=jobs.database_now() - timedelta(hours=1)
        )
        assert scaling.run() == 2
        broken.refresh_from_db()
        assert (broken.way, broken.reason) == ("none", "it could not be looked at: ValueError")
        assert broken.due_at > jobs.database_now()
        assert ScalingPolicy.objects.get(key="payments").looked_at is not None
        assert scaling.run() == 0

    @pytest.mark.parametrize("values", [[LARGEST] * 180, [60.0] * 179 + [LARGEST], [-LARGEST, LARGEST] * 90])
    def test_the_largest_numbers_are_decided_upon(self, values: list[float]) -> None:
        self._policy(instances_metric="instances", instances=None)
        make.measured("instances", 4.0, ago=0, every=1, **PLACE)
        make.measured("cpu", *values, ago=0, every=900, **PLACE)
        found = self._look(LARGEST)
        assert found is not None
        assert (found.way, found.wanted) == ("scale_up", 8)
        make.measured("instances", LARGEST, ago=0, every=1, **PLACE)
        found = self._look()
        assert found is not None
        assert found.code == "no_count"

    def test_every_fault_is_named(self) -> None:
        wrong = {"target": 0, "minimum": 5, "maximum": 2, "mode": "send", "matchers": {"service": "x"}, "service": "no"}
        with pytest.raises(Invalid) as refused:
            scaling_policies.create("p", wrong, by=BY)
        assert set(refused.value.errors) == {
            "name", "metric", "target", "maximum", "instances", "channel", "matchers.service", "service", "environment",
        }  # fmt: skip
        self._policy()
        with pytest.raises(Refused, match="already"):
            scaling_policies.create("second", SPEC, by=BY)

    def test_a_policy_that_is_removed_decides_no_more(self) -> None:
        policy = self._policy()
        found = self._look(90.0)
        assert found is not None
        scaling_policies.delete(policy, by=BY, because="moved")
        found.refresh_from_db()
        assert found.status == "superseded"
        assert scaling.run() == 0

    def test_the_forecast_is_part_of_the_evidence(self) -> None:
        """A load that has grown every day at this hour: what is to come is looked at, not only what is."""
        self._policy(lead=3600)
        make.hours("cpu", [20.0 + 40 * n / 168 for n in range(168)], every=1, **PLACE)
        found = self._look(60.0)
        policy = ScalingPolicy.objects.get()
        assert policy.foreseen["made_at"]
        assert found is not None
        assert found.evidence["forecast"]["reason"]

    def test_by_rest(self) -> None:
        call = Caller("write", "read")
        status, body = call.post("scaling-policies/", {"key": "checkout", **SPEC})
        assert (status, body["way"], body["channel"]) == (201, None, "")
        found = self._look(90.0)
        assert found is not None
        listed = call.get("scaling-decisions/?status=advised&policy=checkout")["results"]
        assert [one["id"] for one in listed] == [found.pk]
        status, body = call.post(f"scaling-decisions/{found.pk}/decline/", {})
        assert (status, fields(body)) == (400, {"because"})
        status, body = call.post(f"scaling-decisions/{found.pk}/accept/", {"because": "yes"})
        assert (status, body["status"]) == (200, "accepted")
        assert call.post(f"scaling-decisions/{found.pk}/accept/", {})[0] == 409
        other = Caller("write", services=[make.service("other")])
        assert other("GET", f"scaling-decisions/{found.pk}/")[0] == 404
        assert other("GET", "scaling-policies/checkout/")[0] == 404

    def test_on_the_page(self) -> None:
        self._policy()
        found = self._look(90.0)
        assert found is not None
        operator = seats.seat(make.person("olu", "operator"))
        assert "4 → 6 instances" in operator.get(reverse("scaling")).content.decode()
        operator.post(reverse("scaling-press", args=[found.pk, "decline"]), {"because": "a test runs"})
        found.refresh_from_db()
        assert found.status == "declined"
        assert "a test runs" in operator.get(reverse("scaling")).content.decode()

    def test_a_look_costs_the_same_whatever_was_decided_before(self) -> None:
        self._policy(lead=0)
        costs = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                self._look()
            costs.append(len(queries))
        assert costs[1] <= costs[0]


@pytest.mark.django_db(transaction=True)
class TestSent:
    @pytest.fixture
    def hook(self, receiver: Receiver) -> Channel:
        make.service()
        make.environment()
        return channels.create(
            {"name": "scaler", "kind": "webhook", "config": {"url": receiver.url}, "secret": "s3cret"}, by=BY
        )

    def _decided(self, hook: Channel, **fields: Any) -> ScalingDecision:
        scaling_policies.create("checkout", SPEC | {"channel": hook.name, **fields}, by=BY)
        make.measured("cpu", 90.0, ago=0, every=1, **PLACE)
        with TestCase.captureOnCommitCallbacks(execute=False):
            scaling.run()
        return ScalingDecision.objects.get()

    def test_the_desired_state_goes_out_signed_and_once(self, hook: Channel, receiver: Receiver) -> None:
        found = self._decided(hook, mode="send")
        assert found.status == "sending"
        outbox.deliver()
        outbox.deliver()
        [call] = receiver.calls
        body = json.loads(call.body)
        assert body["desired"] == {"service": "checkout", "environment": "staging", "replicas": 6}
        assert (body["urgency"], body["policy"]) == ("high", "checkout")
        stamp = call.headers["X-Flightdeck-Timestamp"]
        assert call.headers["X-Signature-256"] == signature("s3cret", stamp, call.body)
        assert receiver.keys == [f"scaling.desired:{found.pk}:{hook.pk}"]
        found.refresh_from_db()
        assert (found.status, found.outcome) == ("sent", "scaler took it")
        assert ScalingPolicy.objects.get().instances == 6

    def test_what_nobody_takes_has_failed(self, hook: Channel, receiver: Receiver) -> None:
        receiver.answer = lambda call: Reply(400)
        found = self._decided(hook, mode="send")
        outbox.deliver()
        found.refresh_from_db()
        assert found.status == "failed"
        assert found.outcome.startswith("scaler: ")
        assert ScalingPolicy.objects.get().instances == 4

    def test_what_a_person_accepts_is_sent_too(self, hook: Channel, receiver: Receiver) -> None:
        found = self._decided(hook)
        assert (found.status, receiver.calls) == ("advised", [])
        scaling.accept(found, by=BY)
        outbox.deliver()
        found.refresh_from_db()
        assert (found.status, len(receiver.calls)) == ("sent", 1)

    @pytest.mark.parametrize("mode", ["removed", "advise", "changed"])
    def test_what_is_desired_no_longer_is_not_sent(self, hook: Channel, receiver: Receiver, mode: str) -> None:
        found = self._decided(hook, mode="send")
        policy = ScalingPolicy.objects.get()
        if mode == "removed":
            scaling_policies.delete(policy, by=BY, because="moved")
        else:
            scaling_policies.change(policy, {"mode": "advise"} if mode == "advise" else {"maximum": 5}, by=BY)
        outbox.deliver()
        found.refresh_from_db()
        assert (found.status, receiver.calls) == ("superseded", [])
        assert OutboxMessage.objects.get().state == "dropped"

    def test_a_newer_decision_takes_the_place_of_what_waits(self, hook: Channel, receiver: Receiver) -> None:
        found = self._decided(hook, mode="send")
        self._look_again(later=100, value=10.0)  # long before it would be scaled down
        found.refresh_from_db()
        assert found.status == "superseded"
        newer = ScalingDecision.objects.get(way="scale_down")
        assert newer.status == "sending"
        outbox.deliver()
        assert receiver.keys == [f"scaling.desired:{newer.pk}:{hook.pk}"]

    def test_what_is_still_desired_waits_and_is_not_put_twice(self, hook: Channel) -> None:
        found = self._decided(hook, mode="send")
        self._look_again(later=200, value=90.0)
        assert ScalingDecision.objects.get() == found
        assert OutboxMessage.objects.get().state == "pending"

    def test_what_is_being_sent_is_told_as_it_ends_and_not_tried_again(self, hook: Channel, receiver: Receiver) -> None:
        found = self._decided(hook, mode="send")
        taken = outbox.lease()
        assert taken is not None
        scaling_policies.delete(ScalingPolicy.objects.get(), by=BY, because="moved")
        found.refresh_from_db()
        assert found.status == "sending"
        outbox.settle(taken, Retry("nobody is there"))
        found.refresh_from_db()
        assert found.status == "failed"
        outbox.deliver()
        assert receiver.calls == []

    def _look_again(self, *, later: int, value: float) -> None:
        """When so many seconds have gone by, and the load alone is another."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM monitoring_sample")
        make.measured("cpu", value, ago=0, every=1, **PLACE)
        with TestCase.captureOnCommitCallbacks(execute=False):
            assert scaling.run(now=jobs.database_now() + timedelta(seconds=later)) == 1

    def test_its_channel_can_be_deleted_once_no_policy_names_it(self, hook: Channel) -> None:
        self._decided(hook)
        with pytest.raises(Refused, match="scaling policies: checkout by CPU"):
            channels.delete(hook, by=BY)
        policy = ScalingPolicy.objects.get()
        scaling_policies.delete(policy, by=BY, because="moved")
        policy.refresh_from_db()
        assert policy.channel is None
        ScalingPolicy.objects.update(channel=hook)  # as removed ones were left before
        channels.delete(hook, by=BY)
        assert not Channel.objects.exists()

    def test_advice_is_never_sent_by_itself(self, hook: Channel) -> None:
        self._decided(hook)
        assert not OutboxMessage.objects.exists()
