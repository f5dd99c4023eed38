"""The verbs of a deployment. Every door, sweep and response that changes one ends here."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from django.db import transaction

from portal import audit, jobs, permissions
from portal.audit import Actor, Automaton
from portal.errors import Invalid, Refused, Stale
from portal.models import Environment, User
from rollouts import progress
from rollouts.actions import gates, guardrails, plans, runs, serving
from rollouts.models import NOT_BEGUN, UNDER_WAY, Deployment, DeploymentFlag, Plan, Release
from rollouts.models.deployments import Status

SWEEP = Automaton("deployments sweep")
BY_HAND = "by_hand"


def create(
    release: Release, environment: Environment, plan: Plan, serves: Sequence[Mapping[str, str]], *, by: Actor
) -> Deployment:
    """A draft. It follows its plan's newest version until it begins."""
    permissions.require(by, "deploy", environment=environment, service=release.service)
    flags = serving.named(release, environment, serves, by=by)
    with transaction.atomic():
        plans.one_writer(plan.name)
        newest = Plan.objects.get(name=plan.name, current=True)
        if newest != plan:
            raise Refused(f"{plan} is not the newest version of its plan: {newest} is")
        deployment = Deployment.objects.create(
            release=release,
            service=release.service,
            environment=environment,
            plan=plan,
            plan_hash=plan.hash,
            created_by=by if isinstance(by, User) else None,
            created_by_name=audit.describe(by),
        )
        deployment.refresh_from_db()
        DeploymentFlag.objects.bulk_create(
            DeploymentFlag(
                deployment=deployment,
                flag=flag,
                environment=environment,
                variant=served["variant"],
                baseline=served["baseline"],
            )
            for flag, served in zip(flags, serves, strict=True)
        )
        audit.record(
            "deployment.created",
            deployment,
            by=by,
            after={
                "release": str(release),
                "environment": environment.key,
                "plan": str(plan),
                "plan_hash": plan.hash,
                "serves": [dict(served) for served in serves],
            },
        )
        runs.tell(deployment)
    return deployment


@transaction.atomic
def start(deployment: Deployment, *, by: Actor, because: str = "", expected_plan_hash: str | None = None) -> bool:
    """Ask for the approval that the environment wants, and begin when none is missing. False when it was started."""
    runs.lock(deployment)
    _require(deployment, by, "deploy")
    if deployment.status in {Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.PROGRESSING}:
        return False
    if deployment.status != Status.DRAFT:
        instead = _instead_of_start(deployment)
        raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: {instead}")
    expect_plan(deployment, expected_plan_hash)
    runs.policy_of(deployment)
    runs.must_be_possible(deployment)
    runs.change(deployment, started_by=by if isinstance(by, User) else None, started_by_name=audit.describe(by))
    runs.proceed(deployment, by=by, because=because, now=jobs.database_now())
    return True


def advance(deployment: Deployment, *, by: Actor, because: str = "") -> bool:
    """To the next stage now, by the same conditions as the sweep's. False when somebody has just done it.

    The stage that the caller has seen is the one that is left: of two calls at once, one advances.
    """
    seen = deployment.epoch, deployment.stage_index
    with transaction.atomic():
        runs.lock(deployment)
        _require(deployment, by, "deploy")
        if (deployment.epoch, deployment.stage_index) != seen and seen[1] is not None:
            return False
        if deployment.status == Status.SUCCEEDED and deployment.live:
            return False
        if deployment.status == Status.PAUSED:
            raise Refused(f"deployment {deployment.pk} is paused ({deployment.held_because}): resume it first")
        if deployment.status != Status.PROGRESSING:
            raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: nothing to advance")
        now = jobs.database_now()
        stage = runs.current_stage(deployment)
        checked, facts = gates.check(deployment, stage, now=now), gates.facts(deployment, stage)
        missing = _killed(deployment) + list(progress.blockers(facts, checked, now=now))
        if not missing:
            runs.apply(deployment, progress.next_step(facts, checked, now=now), by=by, because=because, now=now)
            return True
        runs.change(deployment, held_because=missing[0], blockers=missing)
    # What the gates said is kept; only then does the caller hear no.
    raise Refused(f"deployment {deployment.pk} cannot advance: {'; '.join(missing)}")


@transaction.atomic
def pause(deployment: Deployment, *, by: Actor, because: str, reason: str = BY_HAND) -> bool:
    """Stay at this weight until a person resumes it. False when it is paused already."""
    _reason(because)
    runs.lock(deployment)
    _require(deployment, by, "deploy")
    if deployment.status == Status.PAUSED:
        if deployment.paused_reason != "approval" or reason == "approval":
            return False
        # A last vote must not wake up what a person wants to stand still.
        before = {"paused_reason": deployment.paused_reason, "held_because": deployment.held_because}
        runs.change(deployment, paused_reason=reason, held_because=because)
        after = {"paused_reason": reason, "held_because": because}
        audit.record("deployment.paused", deployment, by=by, before=before, after=after, because=because)
        return True
    return runs.pause(deployment, reason, because, [because], by=by)


@transaction.atomic
def resume(deployment: Deployment, *, by: Actor, because: str = "") -> bool:
    """Go on in the same stage; its gates are asked anew, and its patience begins anew. False when it goes on."""
    runs.lock(deployment)
    _require(deployment, by, "deploy")
    if deployment.status == Status.PAUSED:
        off = serving.killed(deployment, still=True)
        if off:
            raise Refused(f"deployment {deployment.pk} cannot be resumed: {', '.join(off)} is still switched off")
        broken = guardrails.broken(deployment)
        if broken:
            # Its response has been given for this alert: going on, nothing would take the run back any more.
            raise Refused(f"deployment {deployment.pk} cannot be resumed: {'; '.join(broken)}; wait until it is over")
        # A flag that was switched off meanwhile bears the mark of it until it is served anew.
        stage = runs.current_stage(deployment)
        serving.serve(deployment, deployment.weight, stage.audience, by=by, because=because or "resumed")
    elif deployment.status != Status.PROGRESSING:
        raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: nothing to resume")
    now = jobs.database_now()
    moved = runs.move(
        deployment,
        Status.PROGRESSING,
        by=by,
        because=because,
        paused_reason="",
        held_because="",
        blockers=[],
        patience_since=now,
        due_at=now,
    )
    jobs.nudge("rollouts.reconcile")
    return moved


@transaction.atomic
def roll_back(deployment: Deployment, *, by: Actor, because: str) -> bool:
    """Everybody gets the baseline back, now. Never gated, and harmless twice: False when it is rolled back."""
    _reason(because)
    runs.lock(deployment)
    _require(deployment, by, "operate")
    if deployment.status == Status.ROLLED_BACK:
        return False
    if deployment.status in NOT_BEGUN:
        raise Refused(f"deployment {deployment.pk} has not begun: cancel it instead")
    if not deployment.live:
        raise Refused(
            f"deployment {deployment.pk} is {deployment.get_status_display()} and no longer live: "
            "deploy the older release instead"
        )
    runs.end_by_roll_back(deployment, by=by, because=because, now=jobs.database_now())
    return True


@transaction.atomic
def cancel(deployment: Deployment, *, by: Actor, because: str) -> bool:
    """Take a run back that has not begun. False when it is cancelled already."""
    _reason(because)
    runs.lock(deployment)
    _require(deployment, by, "deploy")
    if deployment.live:
        raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: roll it back instead")
    now = jobs.database_now()
    return runs.move(
        deployment, Status.CANCELLED, by=by, because=because, held_because="", blockers=[], due_at=None, ended_at=now
    )


@transaction.atomic
def retry(deployment: Deployment, *, by: Actor, because: str = "") -> bool:
    """A new epoch of a run that was rolled back: a draft again, without its votes. False when it is a draft."""
    runs.lock(deployment)
    _require(deployment, by, "deploy")
    if deployment.status == Status.DRAFT:
        return False
    if deployment.status != Status.ROLLED_BACK:
        raise Refused(f"deployment {deployment.pk} is {deployment.get_status_display()}: only what was rolled back")
    plans.one_writer(deployment.plan.name)
    plan = Plan.objects.get(name=deployment.plan.name, current=True)
    return runs.move(
        deployment,
        Status.DRAFT,
        by=by,
        because=because,
        epoch=deployment.epoch + 1,
        plan=plan,
        plan_hash=plan.hash,
        stage_index=None,
        entered_stage_at=None,
        patience_since=None,
        started_by=None,
        started_by_name="",
        started_at=None,
        ended_at=None,
        held_because="",
        blockers=[],
        baseline_captured=[],
    )


@transaction.atomic
def reconcile(deployment: Deployment, *, now: datetime) -> None:
    """Look at it once, and do the one thing that is due. Looking twice does nothing twice."""
    runs.lock(deployment)
    if deployment.status == Status.SCHEDULED:
        _begin_when_due(deployment, now=now)
    elif deployment.status == Status.PROGRESSING:
        _look(deployment, now=now)
    elif deployment.status == Status.SUCCEEDED and deployment.live and deployment.watch_until is not None:
        if deployment.watch_until <= now:
            _end_watch(deployment, now=now)
        else:
            _look_next_at(deployment, deployment.watch_until)
    else:
        _look_next_at(deployment, None)


def expect(deployment: Deployment, tags: Collection[str]) -> None:
    """Inside a transaction: Stale unless the caller has seen the deployment as it is; then it stays so."""
    runs.lock(deployment)
    if deployment.tag not in tags:
        raise Stale(f"deployment {deployment.pk} is not as you have seen it: it is {deployment.get_status_display()}")


def expect_plan(deployment: Deployment, plan_hash: str | None) -> None:
    """Stale unless the caller has seen the plan as it is."""
    if plan_hash is not None and plan_hash != deployment.plan_hash:
        raise Stale(f"the plan is not the one you have seen: its hash is {deployment.plan_hash} now")


def proceed_or_wait(deployment: Deployment, *, by: Actor, because: str, now: datetime) -> None:
    """Begin if it can; what stands in the way keeps it scheduled, and is looked at again."""
    try:
        with transaction.atomic():
            runs.proceed(deployment, by=by, because=because, now=now)
    except Refused as refused:
        runs.lock(deployment)
        runs.schedule(deployment, str(refused), now + 5 * progress.LOOK_EVERY, by=by, because=because)


def _begin_when_due(deployment: Deployment, *, now: datetime) -> None:
    if deployment.due_at is not None and deployment.due_at > now:
        return
    proceed_or_wait(deployment, by=SWEEP, because=f"started by {deployment.started_by_name}", now=now)


def _end_watch(deployment: Deployment, *, now: datetime) -> None:
    off = serving.killed(deployment, still=True)
    if off:
        # What somebody has switched off must not become everybody's.
        why = f"watched on: {', '.join(off)} is switched off; roll back, or switch it on again"
        runs.change(deployment, held_because=why, blockers=[why], due_at=now + 5 * progress.LOOK_EVERY)
    else:
        runs.end_watch(deployment, by=SWEEP, because="its watch is over", now=now)


def _look_next_at(deployment: Deployment, moment: datetime | None) -> None:
    if deployment.due_at != moment:
        deployment.due_at = moment
        deployment.save(update_fields=["due_at"])


def _look(deployment: Deployment, *, now: datetime) -> None:
    off = _killed(deployment)
    if off:
        runs.pause(deployment, "killed", "; ".join(off), off, by=SWEEP)
        return
    stage = runs.current_stage(deployment)
    checked = gates.check(deployment, stage, now=now)
    step = progress.next_step(gates.facts(deployment, stage), checked, now=now)
    proof = "; ".join(gate.verdict.reason for gate in checked) or f"dwell of {stage.dwell} s is over"
    runs.apply(deployment, step, by=SWEEP, because=proof, now=now)


def _killed(deployment: Deployment) -> list[str]:
    return [f"flag {flag} was switched off by hand" for flag in serving.killed(deployment)]


def _require(deployment: Deployment, by: Actor, what: str) -> None:
    permissions.require(by, what, environment=deployment.environment, service=deployment.service)


def _reason(because: str) -> None:
    if not because.strip():
        raise Invalid.of("because", "a reason is needed")


def _instead_of_start(deployment: Deployment) -> str:
    if deployment.status in UNDER_WAY:
        return "resume it"
    return "retry it" if deployment.status == Status.ROLLED_BACK else "make a new one"
