"""Whatever people, sweeps, clocks and measurements do in whatever order, the promises of a deployment hold."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.db import transaction
from django.db.models import F
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from monitoring.models import Sample
from portal import audit, jobs
from portal.errors import Invalid, Refused, Stale
from rollouts.actions import approvals, deployments, flags
from rollouts.models import NOT_BEGUN, UNDER_WAY, Deployment, FlagConfig
from rollouts.models.deployments import Status
from tests import make

GATE = {
    "kind": "metric",
    "metric": "latency",
    "aggregation": "last",
    "operator": "<",
    "value": 2,
    "window": 3600,
}
DWELL = 100  # seconds
TIMES = ("entered_stage_at", "patience_since", "due_at", "watch_until")


class Run(RuleBasedStateMachine):
    """One deployment, four stages, in the hands of everybody at once."""

    def __init__(self) -> None:
        super().__init__()
        self.atomic = transaction.atomic()
        self.atomic.__enter__()
        self.taken_back: set[int] = set()
        self.latency: float | None = None
        self.seen = (1, 0)

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.atomic.__exit__(None, None, None)

    @initialize(policy=st.sampled_from(["not_required", "four_eyes"]))
    def make_it(self, policy: str) -> None:
        self.place = make.environment(f"place-{policy}", policy=policy)
        self.anna = make.person("", "approver")
        self.run = make.deployment(
            environment=self.place,
            stages=[5, 20, 50, 100],
            gates=[GATE],
            dwell=DWELL,
            max_dwell=10 * DWELL,
            watch=DWELL,
        )
        self.flag = self.run.flags.get().flag
        self.start()
        self.vote("go")

    @precondition(lambda self: self._now().status in NOT_BEGUN)
    @rule()
    def start(self) -> None:
        self._do(lambda one: deployments.start(one, by=make.BY))

    @rule(stages=st.integers(1, 4))
    def go_through_good_stages(self, stages: int) -> None:
        for _ in range(stages):
            self.measure(1.0)
            self.let_time_pass(DWELL)
            self.sweep()

    @rule(latency=st.none() | st.just(9.0))
    def go_through_a_bad_stage(self, latency: float | None) -> None:
        self.lose_measurements() if latency is None else self.measure(latency)
        self.let_time_pass(DWELL)
        self.sweep()

    @rule()
    def advance(self) -> None:
        self._do(lambda one: deployments.advance(one, by=make.BY))

    @rule()
    def pause(self) -> None:
        self._do(lambda one: deployments.pause(one, by=make.BY, because="hm"))

    @rule()
    def resume(self) -> None:
        self._do(lambda one: deployments.resume(one, by=make.BY))

    @rule()
    def roll_back(self) -> None:
        self._do(lambda one: deployments.roll_back(one, by=make.BY, because="bad"))

    @precondition(lambda self: self._now().status in UNDER_WAY)
    @rule()
    def cancel(self) -> None:
        self._do(lambda one: deployments.cancel(one, by=make.BY, because="no"))

    @precondition(lambda self: self._now().status == Status.ROLLED_BACK)
    @rule()
    def retry(self) -> None:
        self._do(lambda one: deployments.retry(one, by=make.BY))
        self.start()
        self.vote("go")

    @rule(value=st.sampled_from(["go", "abstain"]))
    def vote(self, value: str) -> None:
        self._do(
            lambda one: bool(
                approvals.vote(one, "four_eyes", value, by=self.anna, expected_plan_hash=one.plan_hash).pk
            ),
            twice=False,
        )

    @rule()
    def sweep(self) -> None:
        now = jobs.database_now()
        self._do(lambda one: deployments.reconcile(one, now=now))

    @rule()
    def kill(self) -> None:
        flags.kill(self.flag, self.place, by=make.BY, because="smoke")

    @rule()
    def switch_on(self) -> None:
        flags.switch_on(self.flag, self.place, by=make.BY)

    @rule(seconds=st.sampled_from([-30, 30, DWELL, 12 * DWELL]))
    def let_time_pass(self, seconds: int) -> None:
        """Also backwards, as clocks do."""
        by = timedelta(seconds=seconds)
        Deployment.objects.filter(pk=self.run.pk).update(**{name: F(name) - by for name in TIMES})

    @rule(latency=st.sampled_from([1.0, 9.0]))
    def measure(self, latency: float) -> None:
        make.measured("latency", latency, service="checkout", environment=self.place.key)
        self.latency = latency

    @rule()
    def lose_measurements(self) -> None:
        Sample.objects.all().delete()
        self.latency = None

    @invariant()
    def after_a_roll_back_nobody_gets_it_in_that_epoch(self) -> None:
        now = self._now()
        if now.epoch in self.taken_back:
            assert now.weight == 0
            assert self._rollout() == 0

    @invariant()
    def users_get_what_the_deployment_says(self) -> None:
        now = self._now()
        if now.live:
            assert self._rollout() == now.weight
        elif now.status != Status.SUCCEEDED:
            assert (self._rollout(), now.weight) == (0, 0)

    @invariant()
    def a_live_one_waits_for_a_moment_or_for_somebody(self) -> None:
        now = self._now()
        assert now.due_at is not None or now.status not in {Status.PROGRESSING, Status.SCHEDULED}
        assert now.held_because or now.status not in {Status.PAUSED, Status.AWAITING_APPROVAL}

    def _do(self, verb: Callable[[Deployment], Any], *, twice: bool = True) -> None:
        """Do it on the row as somebody has it in hand; then once more, which must change nothing."""
        before = self._now()
        may_rise = self._may_rise(before)
        in_hand = [Deployment.objects.get(pk=self.run.pk) for _ in range(2)]
        self._try(verb, in_hand[0])
        after = self._now()
        if after.epoch == before.epoch and after.weight > before.weight:
            assert may_rise, f"{before.weight} → {after.weight}"
        if after.status == Status.ROLLED_BACK:
            self.taken_back.add(after.epoch)
        if twice:
            entries = audit.of(self.run).count()
            self._try(verb, in_hand[1])
            again = self._now()
            assert (again.status, again.weight, again.stage_index, again.epoch) == (
                after.status,
                after.weight,
                after.stage_index,
                after.epoch,
            )
            assert audit.of(self.run).count() == entries

    def _try(self, verb: Callable[[Deployment], Any], deployment: Deployment) -> None:
        try:
            verb(deployment)
        except (Refused, Invalid, Stale):
            pass  # a no is an answer; what it left behind is checked

    def _may_rise(self, before: Deployment) -> bool:
        """Told apart from how the product tells: from the start, or past a stage that is proven."""
        config = FlagConfig.objects.of(self.flag, self.place)
        if config is None or config.killed:
            return False
        if before.stage_index is None:
            return True
        assert before.entered_stage_at is not None
        served = (jobs.database_now() - before.entered_stage_at).total_seconds()
        proven = self.latency is not None and self.latency < 2 and served >= DWELL - 5
        return proven and before.status == Status.PROGRESSING

    def _now(self) -> Deployment:
        return Deployment.objects.get(pk=self.run.pk)

    def _rollout(self) -> int:
        config = FlagConfig.objects.get(flag=self.flag, environment=self.place)
        return int(config.reserved[0]["serve"]["rollout"]) if config.reserved else 0


@pytest.mark.django_db
def test_the_promises_of_a_deployment_hold() -> None:
    run_state_machine_as_test(
        Run,
        settings=settings(
            max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
