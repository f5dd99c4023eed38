"""Four eyes: who may vote, on what, and what a vote sets going."""

from datetime import timedelta
from typing import Any

import pytest

from portal import audit, jobs, keys
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import ApiKey, User
from rollouts.actions import approvals, deployments
from rollouts.models import Deployment, Vote
from rollouts.models.deployments import Status
from tests import make

pytestmark = pytest.mark.django_db


def waiting(**options: Any) -> Deployment:
    """Made and started by Cleo, in production."""
    cleo = make.person("cleo", "captain", "approver")
    options.setdefault("plan", make.plan("guarded", stages=[5, 100], dwell=600))
    draft = make.deployment(environment=make.production(), by=cleo, **options)
    deployments.start(draft, by=cleo)
    draft.refresh_from_db()
    return draft


def vote(deployment: Deployment, by: Any, value: str = "go", **options: Any) -> Vote:
    seen = options.pop("seen", deployment.plan_hash)
    return approvals.vote(
        deployment, options.pop("rule", "four_eyes"), value, by=by, expected_plan_hash=seen, **options
    )


def test_a_protected_environment_waits_for_somebody_else() -> None:
    deployment = waiting()
    assert (deployment.status, deployment.weight, deployment.live) == (Status.AWAITING_APPROVAL, 0, False)
    assert deployment.blockers == [deployment.held_because]
    assert deployment.held_because.startswith("an approver who is not the author")


def test_the_go_of_another_approver_sets_it_going() -> None:
    deployment = waiting()
    vote(deployment, make.person("anna", "approver"), comment="read it")
    deployment.refresh_from_db()
    assert (deployment.status, deployment.weight) == (Status.PROGRESSING, 5_000)
    entry = audit.of(deployment).filter(verb="deployment.voted").get()
    assert (entry.actor, entry.because) == ("anna", "read it")


def test_a_no_go_rejects_for_good() -> None:
    deployment = waiting()
    vote(deployment, make.person("anna", "approver"), "no_go", comment="not on a Friday")
    deployment.refresh_from_db()
    assert deployment.status == Status.REJECTED
    assert deployment.held_because == "anna voted no-go: not on a Friday"
    with pytest.raises(Refused):
        vote(deployment, make.person("ben", "approver"))


def test_an_abstention_changes_nothing() -> None:
    deployment = waiting()
    vote(deployment, make.person("anna", "approver"), "abstain")
    deployment.refresh_from_db()
    assert deployment.status == Status.AWAITING_APPROVAL


@pytest.mark.parametrize("superuser", [False, True])
def test_who_made_it_does_not_approve_it(superuser: bool) -> None:
    deployment = waiting()
    cleo = User.objects.get(username="cleo")
    cleo.is_superuser = superuser
    cleo.save()
    with pytest.raises(Refused, match="somebody else"):
        vote(deployment, cleo)
    assert not Vote.objects.exists()


def test_who_started_it_does_not_approve_it() -> None:
    draft = make.deployment(environment=make.production())
    starter = make.person("stan", "captain", "approver")
    deployments.start(draft, by=starter)
    draft.refresh_from_db()
    with pytest.raises(Refused, match="somebody else"):
        vote(draft, starter)


@pytest.mark.parametrize("edited", ["first", "later"])
def test_who_has_edited_the_plan_does_not_approve_it_superuser_included(edited: str) -> None:
    editor = make.person("eddy", is_superuser=True)
    make.plan("shared", stages=[5, 100], by=editor if edited == "first" else make.BY)
    plan = make.plan("shared", stages=[10, 100], by=editor if edited == "later" else make.BY)
    deployment = waiting(plan=plan)
    with pytest.raises(Refused, match="edited the plan"):
        vote(deployment, editor)


@pytest.mark.parametrize("scope", ["write", "admin"])
def test_a_key_never_votes(scope: str) -> None:
    deployment = waiting()
    make.key(scope)
    with pytest.raises(Forbidden, match="only people"):
        vote(deployment, ApiKey.objects.get())
    assert keys.PREFIX


@pytest.mark.parametrize("role", ["viewer", "operator", "captain", "owner"])
def test_only_approvers_vote(role: str) -> None:
    with pytest.raises(Forbidden):
        vote(waiting(), make.person("olga", role))


def test_an_approver_of_another_environment_does_not_vote() -> None:
    with pytest.raises(Forbidden):
        vote(waiting(), make.person("anna", "approver", environment=make.environment("qa")))


def test_a_vote_on_another_plan_than_there_is_is_stale_and_leaves_no_trace() -> None:
    deployment = waiting()
    seen = deployment.plan_hash
    make.plan("guarded", stages=[50, 100], dwell=600)
    with pytest.raises(Stale):
        vote(deployment, make.person("anna", "approver"), seen=seen)
    assert not Vote.objects.exists()


def test_an_edit_of_the_plan_voids_the_votes_that_were_cast() -> None:
    t0 = jobs.database_now() + timedelta(hours=1)
    deployment = waiting(release=make.release(t0=t0))
    anna = make.person("anna", "approver")
    vote(deployment, anna)
    deployment.refresh_from_db()
    assert deployment.status == Status.SCHEDULED
    make.plan("guarded", stages=[50, 100], dwell=600)
    again = make.reconciled(deployment)
    assert again.status == Status.AWAITING_APPROVAL
    vote(again, anna)
    again.refresh_from_db()
    assert again.status == Status.SCHEDULED
    assert Vote.objects.count() == 1


def test_a_retry_needs_a_new_vote() -> None:
    deployment, anna = waiting(), make.person("anna", "approver")
    vote(deployment, anna)
    deployments.roll_back(deployment, by=make.BY, because="bad")
    deployments.retry(deployment, by=make.BY)
    deployments.start(deployment, by=make.BY)
    deployment.refresh_from_db()
    assert deployment.status == Status.AWAITING_APPROVAL
    vote(deployment, anna)
    deployment.refresh_from_db()
    assert (deployment.status, deployment.epoch) == (Status.PROGRESSING, 2)


def test_the_vote_of_somebody_who_has_left_counts_no_more() -> None:
    t0 = jobs.database_now() + timedelta(hours=1)
    deployment, anna = waiting(release=make.release(t0=t0)), make.person("anna", "approver")
    vote(deployment, anna)
    anna.is_active = False
    anna.save()
    deployments.reconcile(deployment, now=t0 + timedelta(seconds=1))
    deployment.refresh_from_db()
    assert deployment.status == Status.AWAITING_APPROVAL


def test_an_unknown_rule_is_named_beside_those_that_are_asked_for() -> None:
    with pytest.raises(Invalid, match="asks for four_eyes"):
        vote(waiting(), make.person("anna", "approver"), rule="legal")


def test_nothing_is_voted_on_where_nothing_is_asked() -> None:
    with pytest.raises(Refused, match="nothing to vote on"):
        vote(make.progressing(dwell=600), make.person("anna", "approver"))


def test_what_stands_in_the_way_of_an_approved_one_keeps_it_scheduled() -> None:
    deployment = waiting()
    running = make.deployment(environment=make.production(), flags=[])
    Deployment.objects.filter(pk=running.pk).update(status=Status.PROGRESSING, live=True)
    vote(deployment, make.person("anna", "approver"))
    deployment.refresh_from_db()
    assert deployment.status == Status.SCHEDULED
    assert "one at a time" in deployment.held_because
    assert deployment.due_at is not None


def gated(*rules: str) -> Deployment:
    gates = [{"kind": "approval", "rule": rule} for rule in rules]
    first = {"name": "a few", "weight": 5, "dwell": 0, "gates": gates}
    return make.progressing(stages=[first, {"name": "all", "weight": 100, "dwell": 600}])


def test_a_stage_that_only_people_can_open_pauses_for_them_and_goes_on_with_their_vote() -> None:
    deployment = make.reconciled(gated("four_eyes"))
    assert (deployment.status, deployment.paused_reason) == (Status.PAUSED, "approval")
    vote(deployment, make.person("anna", "approver"))
    assert make.reconciled(deployment).weight == 100_000


def test_a_pause_by_hand_outlives_the_last_vote() -> None:
    deployment = make.reconciled(gated("four_eyes"))
    deployments.pause(deployment, by=make.BY, because="the sales team asked")
    vote(deployment, make.person("anna", "approver"))
    still = make.reconciled(deployment)
    assert (still.status, still.paused_reason, still.weight) == (Status.PAUSED, "by_hand", 5_000)


def test_a_no_go_in_mid_run_keeps_the_stage_shut() -> None:
    deployment = make.reconciled(gated("four_eyes"))
    vote(deployment, make.person("anna", "approver"), "no_go")
    held = make.reconciled(deployment)
    assert (held.status, held.weight) == (Status.PAUSED, 5_000)
    assert held.held_because == "approval: anna voted no-go (four_eyes)"


def test_one_person_fills_one_rule() -> None:
    deployment, anna = make.reconciled(gated("legal", "sales")), make.person("anna", "approver")
    vote(deployment, anna, rule="legal")
    with pytest.raises(Refused, match="one person fills one rule"):
        vote(deployment, anna, rule="sales")
    assert make.reconciled(deployment).weight == 5_000
    vote(deployment, make.person("ben", "approver"), rule="sales")
    assert make.reconciled(deployment).weight == 100_000


def test_a_vote_of_one_stage_opens_no_other() -> None:
    gate = {"kind": "approval"}
    stages = [{"name": str(weight), "weight": weight, "dwell": 0, "gates": [gate]} for weight in (5, 50, 100)]
    deployment, anna = make.reconciled(make.progressing(stages=stages)), make.person("anna", "approver")
    vote(deployment, anna)
    following = make.reconciled(deployment, times=2)
    assert (following.weight, following.paused_reason) == (50_000, "approval")


def test_a_vote_can_be_changed_while_it_counts_and_the_record_keeps_both() -> None:
    deployment, anna = make.reconciled(gated("four_eyes", "legal")), make.person("anna", "approver")
    vote(deployment, anna, "no_go")
    vote(deployment, anna, "go", comment="they fixed it")
    assert Vote.objects.get().value == "go"
    assert audit.of(deployment).filter(verb="deployment.voted").count() == 2
