"""How a run begins, goes from stage to stage, and ends. Callers hold the deployment's row lock."""

from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, transaction

from portal import audit, jobs, live, states
from portal.audit import Actor
from portal.errors import Refused
from portal.models import Environment, Service
from rollouts import progress
from rollouts.actions import guardrails, serving
from rollouts.gates import approval
from rollouts.models import FOUR_EYES, FULL_WEIGHT, Deployment, Gate, Stage
from rollouts.models.deployments import Status

DEFAULT_WATCH = 3600  # seconds that a finished run can still be rolled back, unless its plan says otherwise
Policy = Environment.ApprovalPolicy


def lock(deployment: Deployment) -> None:
    """Inside a transaction: hold the row, and see it as it is."""
    locked = Deployment.objects.select_for_update(of=("self",)).get(pk=deployment.pk)
    for field in Deployment._meta.concrete_fields:
        setattr(deployment, field.attname, getattr(locked, field.attname))


def change(deployment: Deployment, **changes: Any) -> None:
    """Save these fields, and tell the pages."""
    for name, value in changes.items():
        setattr(deployment, name, value)
    deployment.save(update_fields=list(changes))
    tell(deployment)


def move(deployment: Deployment, to: str, *, by: Actor, because: str = "", **changes: Any) -> bool:
    """Change the status, and tell the pages."""
    moved = states.move(deployment, to, by=by, because=because, **changes)
    if moved:
        tell(deployment)
    return moved


def tell(deployment: Deployment) -> None:
    live.announce("deployments", id=deployment.pk, status=deployment.status)


def policy_of(deployment: Deployment) -> str:
    """How the environment wants a run approved; an environment that has not decided starts nothing."""
    environment = Environment.objects.get(pk=deployment.environment_id)
    if environment.approval_policy == Policy.UNDECIDED:
        raise Refused(
            f"{environment} has no approval policy: an owner chooses four eyes, or says that none is required"
        )
    return environment.approval_policy


def must_be_possible(deployment: Deployment) -> None:
    """Refused while something keeps it from beginning, whatever anybody votes."""
    _must_be_alone(deployment)
    if not _others_live(deployment).exists():
        # Beside a watched run the flags are not yet what they will be when this one supersedes it.
        _must_be_servable(deployment)


def proceed(deployment: Deployment, *, by: Actor, because: str = "", now: datetime) -> None:
    """Go on towards the first stage, as far as approval and schedule let it. Refused where something forbids it."""
    if policy_of(deployment) == Policy.FOUR_EYES:
        verdict = approval.verdict(deployment, FOUR_EYES, stage_index=None)
        if not verdict.passed:
            wait = {"held_because": verdict.reason, "blockers": [verdict.reason], "due_at": None}
            if not move(deployment, Status.AWAITING_APPROVAL, by=by, because=because, **wait):
                change(deployment, **wait)
            return
    t0 = deployment.release.t0
    if t0 is not None and t0 > now:
        schedule(deployment, f"scheduled for {t0:%Y-%m-%d %H:%M:%S} UTC", t0, by=by, because=because)
        return
    _begin(deployment, by=by, because=because, now=now)


def schedule(deployment: Deployment, why: str, due_at: datetime, *, by: Actor, because: str = "") -> None:
    """It is approved; the sweep begins it when it is due."""
    wait = {"held_because": why, "blockers": [why], "due_at": due_at}
    if not move(deployment, Status.SCHEDULED, by=by, because=because, **wait):
        change(deployment, **wait)


def apply(deployment: Deployment, step: progress.Step, *, by: Actor, because: str, now: datetime) -> None:
    """Do what the judgement says."""
    match step:
        case progress.Advance():
            following = _stage(deployment, (deployment.stage_index or 0) + 1)
            _enter(deployment, following, by=by, because=because, now=now)
        case progress.Finish():
            _finish(deployment, by=by, because=because, now=now)
        case progress.Pause(reason=reason, why=why, blockers=blockers):
            pause(deployment, reason, why, list(blockers), by=by)
        case progress.Hold(why=why, look_again_at=look_again_at, blockers=blockers):
            if deployment.held_because != why or deployment.blockers != list(blockers):
                change(deployment, held_because=why, blockers=list(blockers), due_at=look_again_at)
            else:
                # Nothing to tell: only the next look is noted.
                deployment.due_at = look_again_at
                deployment.save(update_fields=["due_at"])


def pause(deployment: Deployment, reason: str, why: str, blockers: list[str], *, by: Actor) -> bool:
    return move(
        deployment,
        Status.PAUSED,
        by=by,
        because=why,
        paused_reason=reason,
        held_because=why,
        blockers=blockers,
        due_at=None,
    )


def current_stage(deployment: Deployment) -> Stage:
    """The stage that is being served."""
    return _stage(deployment, deployment.stage_index or 0)


def end_watch(deployment: Deployment, *, by: Actor, because: str, now: datetime) -> None:
    """Nobody watches it any more: what it served to everybody becomes the flags' normal answer."""
    if deployment.weight == FULL_WEIGHT and not current_stage(deployment).audience:
        serving.release(deployment, promote=True, by=by, because=because)
    else:
        serving.leave(deployment, by=by, because=because)
    guardrails.remove(deployment, by=by, because=because)
    change(deployment, live=False, due_at=None, ended_at=now)
    audit.record("deployment.watch_ended", deployment, by=by, after={"weight": deployment.weight}, because=because)


def end_by_roll_back(deployment: Deployment, *, by: Actor, because: str, now: datetime) -> None:
    """Everybody gets the baseline back, in the caller's transaction. Nothing here asks whether it may."""
    move(deployment, Status.ROLLING_BACK, by=by, because=because, weight=0, due_at=now, held_because=because)
    serving.release(deployment, promote=False, by=by, because=because)
    guardrails.remove(deployment, by=by, because=because)
    move(
        deployment,
        Status.ROLLED_BACK,
        by=by,
        because=because,
        live=False,
        due_at=None,
        watch_until=None,
        ended_at=now,
        paused_reason="",
        blockers=[],
    )


def _begin(deployment: Deployment, *, by: Actor, because: str, now: datetime) -> None:
    # Two that begin at once for one service take turns here; the second sees what the first did.
    Service.objects.select_for_update(of=("self",), no_key=True).get(pk=deployment.service_id)
    for watched in _others_live(deployment).filter(status=Status.SUCCEEDED).select_for_update(of=("self",)):
        _supersede(watched, deployment, by=by, now=now)
    _must_be_alone(deployment)
    _must_be_servable(deployment)
    first = _copy_plan(deployment)
    try:
        with transaction.atomic():
            move(
                deployment,
                Status.PROGRESSING,
                by=by,
                because=because,
                live=True,
                started_at=now,
                ended_at=None,
                watch_until=None,
                paused_reason="",
            )
    except IntegrityError:
        raise Refused(f"another deployment of {deployment.service} has just begun there") from None
    serving.claim(deployment)
    _enter(deployment, first, by=by, because=because, now=now)
    change(deployment, baseline_captured=guardrails.install(deployment, now=now))


def _must_be_alone(deployment: Deployment) -> None:
    other = _others_live(deployment).exclude(status=Status.SUCCEEDED).first()
    if other:
        raise Refused(f"{other} is {other.get_status_display()}: one at a time for {deployment.service}")


def _must_be_servable(deployment: Deployment) -> None:
    found = serving.why_not(deployment.flags.select_related("flag", "environment"))
    if found:
        raise Refused("; ".join(found))


def _enter(deployment: Deployment, stage: Stage, *, by: Actor, because: str, now: datetime) -> None:
    before = {"stage": deployment.stage_index, "weight": deployment.weight}
    serving.serve(deployment, stage.weight, stage.audience, by=by, because=because or f"stage {stage.name}")
    change(
        deployment,
        stage_index=stage.index,
        weight=stage.weight,
        entered_stage_at=now,
        patience_since=now,
        due_at=now,
        held_because="",
        blockers=[],
    )
    audit.record(
        "deployment.advanced" if before["stage"] is not None else "deployment.stage_entered",
        deployment,
        by=by,
        before=before,
        after={"stage": stage.index, "weight": stage.weight, "epoch": deployment.epoch},
        because=because,
    )
    jobs.nudge("rollouts.reconcile")


def _finish(deployment: Deployment, *, by: Actor, because: str, now: datetime) -> None:
    watch_until = now + timedelta(seconds=deployment.plan.content.get("watch", DEFAULT_WATCH))
    move(
        deployment,
        Status.SUCCEEDED,
        by=by,
        because=because,
        watch_until=watch_until,
        due_at=watch_until,
        held_because=f"watched until {watch_until:%Y-%m-%d %H:%M:%S} UTC",
        blockers=[],
    )


def _supersede(watched: Deployment, by_which: Deployment, *, by: Actor, now: datetime) -> None:
    """Its watch ends early, because its successor begins."""
    off = serving.killed(watched, still=True)
    if off:
        raise Refused(f"{watched} is watched, and its flag {', '.join(off)} is switched off: roll it back first")
    because = f"{by_which} begins"
    end_watch(watched, by=by, because=because, now=now)
    move(watched, Status.SUPERSEDED, by=by, because=because, held_because="")


def _copy_plan(deployment: Deployment) -> Stage:
    """The plan as it is now becomes this run's own; later versions do not touch it. Returns the first stage."""
    for index, wanted in enumerate(deployment.plan.content["stages"]):
        stage = Stage.objects.create(
            deployment=deployment,
            epoch=deployment.epoch,
            index=index,
            name=wanted["name"],
            weight=round(wanted["weight"] * 1000),
            audience=wanted.get("audience", []),
            dwell=wanted["dwell"],
            max_dwell=wanted.get("max_dwell"),
            min_sample=wanted.get("min_sample"),
        )
        Gate.objects.bulk_create(
            Gate(
                stage=stage,
                position=position,
                kind=gate["kind"],
                params={name: value for name, value in gate.items() if name != "kind"},
            )
            for position, gate in enumerate(wanted["gates"])
        )
    return _stage(deployment, 0)


def _stage(deployment: Deployment, index: int) -> Stage:
    return Stage.objects.get(deployment=deployment, epoch=deployment.epoch, index=index)


def _others_live(deployment: Deployment) -> Any:
    return (
        Deployment.objects.live()
        .filter(service=deployment.service_id, environment=deployment.environment_id)
        .exclude(pk=deployment.pk)
        .select_related("release__service", "environment")
    )
