"""Votes: who may cast them, what they stand on, and what the last one sets going."""

from typing import Any

from django.db import transaction

from portal import audit, jobs, permissions
from portal.audit import Actor
from portal.errors import Forbidden, Invalid, Refused
from portal.models import User
from rollouts.actions import deployments, runs
from rollouts.models import FOUR_EYES, Deployment, Plan, Vote
from rollouts.models.deployments import Status


@transaction.atomic
def vote(
    deployment: Deployment, rule: str, value: str, *, by: Actor, expected_plan_hash: str, comment: str = ""
) -> Vote:
    """Cast it, or change it while it still counts. A no-go rejects; the go that was missing sets the run going."""
    runs.lock(deployment)
    person = _voter(deployment, by)
    deployments.expect_plan(deployment, expected_plan_hash)
    asked = asked_for(deployment)
    if not asked:
        raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: nothing to vote on")
    if rule not in asked:
        raise Invalid.of("rule", f"deployment {deployment.pk} asks for {', '.join(asked)}")
    now = jobs.database_now()
    place: dict[str, Any] = {
        "deployment": deployment,
        "epoch": deployment.epoch,
        "stage_index": _stage_of_votes(deployment),
    }
    said = {"value": value, "comment": comment, "plan_hash": deployment.plan_hash}
    mine = Vote.objects.filter(**place, person=person, plan_hash=deployment.plan_hash)
    if value == Vote.Value.GO and mine.exclude(rule=rule).filter(value=Vote.Value.GO).exists():
        raise Refused(f"{person} has voted go under another rule: one person fills one rule")
    before = mine.filter(rule=rule).values("value", "comment", "plan_hash").first()
    cast, _ = Vote.objects.update_or_create(**place, rule=rule, person=person, defaults=said | {"at": now})
    if before != said:
        audit.record("deployment.voted", deployment, by=by, before=before, after=said | {"rule": rule}, because=comment)
        runs.tell(deployment)
        _act_on(deployment, cast, by=by)
    return cast


def asked_for(deployment: Deployment) -> list[str]:
    """The rules under which somebody may vote now."""
    if deployment.status == Status.AWAITING_APPROVAL:
        return [FOUR_EYES]
    if deployment.status in {Status.PROGRESSING, Status.PAUSED}:
        asked = runs.current_stage(deployment).gates.filter(kind="approval").order_by("position")
        return list(dict.fromkeys(gate.params["rule"] for gate in asked))
    return []


def _act_on(deployment: Deployment, cast: Vote, *, by: Actor) -> None:
    said = f"{cast.person} voted {cast.get_value_display()}" + (f": {cast.comment}" if cast.comment else "")
    if deployment.status == Status.AWAITING_APPROVAL:
        if cast.value == Vote.Value.NO_GO:
            now = jobs.database_now()
            runs.move(
                deployment,
                Status.REJECTED,
                by=by,
                because=said,
                held_because=said,
                blockers=[said],
                due_at=None,
                ended_at=now,
            )
        else:
            deployments.proceed_or_wait(deployment, by=by, because=said, now=jobs.database_now())
    elif deployment.status == Status.PROGRESSING or deployment.paused_reason == "approval":
        _look_again(deployment, because=said, by=by)


def _look_again(deployment: Deployment, *, because: str, by: Actor) -> None:
    """In mid-run a vote opens or shuts a gate; the sweep asks all of them."""
    now = jobs.database_now()
    if not runs.move(
        deployment,
        Status.PROGRESSING,
        by=by,
        because=because,
        paused_reason="",
        held_because=because,
        patience_since=now,
        due_at=now,
    ):
        runs.change(deployment, due_at=now)
    jobs.nudge("rollouts.reconcile")


def _voter(deployment: Deployment, by: Actor) -> User:
    if not isinstance(by, User):
        raise Forbidden(f"{audit.describe(by)} may not vote: only people do")
    permissions.require(by, "approve", environment=deployment.environment, service=deployment.service)
    if by.pk in {deployment.created_by_id, deployment.started_by_id}:
        raise Refused(f"{by} made or started this deployment: somebody else has to approve it")
    if Plan.objects.filter(name=deployment.plan.name, version__lte=deployment.plan.version, author=by).exists():
        raise Refused(f"{by} has edited the plan {deployment.plan.name}: somebody else has to approve it")
    return by


def _stage_of_votes(deployment: Deployment) -> int | None:
    return None if deployment.status == Status.AWAITING_APPROVAL else deployment.stage_index
