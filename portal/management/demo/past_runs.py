"""The deployments of the month: each with its release, stages, gates, guardrails, flag revisions and audit lines."""

import hashlib
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from monitoring.actions import specs
from monitoring.judging import Condition, Level, Measurement, judge
from monitoring.models import Threshold
from portal import audit
from portal.audit import Actor, Automaton
from portal.demo import scene
from portal.management.demo import plan_book
from portal.management.demo.past_flags import Pasts
from portal.management.demo.past_places import World
from portal.management.demo.past_traffic import Line, Lines, p95
from portal.management.demo.story import Ending, Run, build_of
from rollouts.actions import guardrails, plan_content, plans
from rollouts.actions.deployments import SWEEP
from rollouts.gates import arms
from rollouts.models import Deployment, DeploymentFlag, Gate, Plan, Release, Stage
from rollouts.models.deployments import Status

RESPONSE = Automaton("incident response")


@dataclass(slots=True)
class Past:
    """One run as it is told: the story's facts and the rows that came of them."""

    run: Run
    release: Release
    plan: Plan
    deployment: Deployment
    thresholds: list[Threshold] = field(default_factory=list)
    # Why it was taken back; known once its incident has a number.
    because: str = ""


def write_plans(world: World) -> dict[str, Plan]:
    """The plans by which the month's releases went out, as their first versions."""
    contents = {scene.PLANS[build]: plan_book.canary(build, quick=False) for build in scene.BUILDS}
    contents |= {"standard": plan_book.standard(), "straight": plan_book.straight()}
    found = {}
    for place, (name, content) in enumerate(contents.items()):
        at, by = world.began + timedelta(hours=3, minutes=7 * place), world.people["olga"]
        cleaned = plan_content.clean(content)
        plan = Plan.objects.create(
            name=name,
            version=1,
            hash=plans.content_hash(cleaned),
            content=cleaned,
            author=by,
            author_name=str(by),
            created_at=at,
        )
        after = {"hash": plan.hash, "content": cleaned}
        world.chronicle.tell("plan.created", plan, at=at, by=by, after=after)
        found[name] = plan
    return found


def write_rows(world: World, story: Sequence[Run], known_plans: dict[str, Plan]) -> list[Past]:
    """Releases and deployments as rows, in the order of their time; what happened to them is told afterwards."""
    releases: dict[tuple[str, str], Release] = {}
    for run in story:
        if (run.service, run.version) not in releases:
            releases[run.service, run.version] = Release(
                service=world.services[run.service],
                version=run.version,
                commit=commit_of(run.service, run.version),
                risk=run.risk,
                notes=run.notes,
                captain=run.captain,
                created_at=run.created_at - timedelta(minutes=25),
            )
    Release.objects.bulk_create(sorted(releases.values(), key=lambda release: release.created_at))
    pasts = []
    for run in story:
        plan, release = known_plans[run.plan], releases[run.service, run.version]
        pasts.append(Past(run, release, plan, _deployment(world, run, release, plan)))
    Deployment.objects.bulk_create(past.deployment for past in pasts)
    flags = {flag.key: flag for flag in _flags_of(world)}
    DeploymentFlag.objects.bulk_create(
        DeploymentFlag(
            deployment=past.deployment,
            flag=flags[build_of(past.run.service)],
            environment=world.environments[past.run.environment],
            variant=past.run.build,
            baseline=past.run.baseline,
        )
        for past in pasts
    )
    _write_thresholds(world, pasts)
    return pasts


def commit_of(service: str, version: str) -> str:
    return hashlib.sha1(f"{service} {version}".encode()).hexdigest()


def tell(world: World, pasts: Sequence[Past], flags: Pasts, lines: Lines) -> None:
    """Stages, gates, revisions and audit lines. The incidents are written: a run that was taken back knows why."""
    dice = random.Random(49)
    stages: list[Stage] = []
    gates: list[Gate] = []
    told: set[int] = set()
    for past in pasts:
        if past.release.pk not in told:
            told.add(past.release.pk)
            _tell_release(world, past)
        _tell_one(world, past, flags, lines, stages, gates, dice)
    Stage.objects.bulk_create(stages)
    Gate.objects.bulk_create(gates)
    Deployment.objects.bulk_update(
        [past.deployment for past in pasts], ["held_because", "baseline_captured"], batch_size=100
    )


def _flags_of(world: World) -> Any:
    return (flag for service in world.services.values() for flag in service.flags.all())


def _deployment(world: World, run: Run, release: Release, plan: Plan) -> Deployment:
    back = run.ending == Ending.ROLLED_BACK
    captain = world.people[run.captain]
    ended = run.ended_at if back else run.watch_ended_at
    return Deployment(
        release=release,
        service=world.services[run.service],
        environment=world.environments[run.environment],
        plan=plan,
        plan_hash=plan.hash,
        status=Status.ROLLED_BACK if back else Status.SUCCEEDED,
        stage_index=len(run.entered) - 1,
        weight=0 if back else 100_000,
        created_by=captain,
        created_by_name=str(captain),
        started_by=captain,
        started_by_name=str(captain),
        created_at=run.created_at,
        started_at=run.started_at,
        entered_stage_at=run.entered[-1],
        patience_since=run.entered[-1],
        watch_until=None if back else run.watch_ended_at,
        ended_at=ended,
    )


def _write_thresholds(world: World, pasts: Sequence[Past]) -> None:
    """The guardrails that each run had; they were taken away at its end."""
    rows = []
    for past in pasts:
        for guardrail in past.plan.content["guardrails"]:
            spec = {name: value for name, value in guardrail.items() if name != "kind"}
            spec["matchers"] = arms.placed(spec.get("matchers") or {}, past.deployment)
            owner = guardrails.owner(past.deployment)
            spec |= {"response": guardrails.RESPONSE, "target": owner}
            threshold = Threshold(
                **specs.clean(spec),
                owner=owner,
                active=False,
                version=2,
                created_by=str(guardrails.BY),
                created_at=past.run.started_at,
                due_at=past.run.started_at,
            )
            past.thresholds.append(threshold)
            rows.append(threshold)
    Threshold.objects.bulk_create(rows)


def _tell_release(world: World, past: Past) -> None:
    release = past.release
    after = {
        name: getattr(release, name) for name in ("version", "commit", "type", "risk", "notes", "captain", "zone", "t0")
    }
    world.chronicle.tell(
        "release.created", release, at=release.created_at, by=world.people[past.run.captain], after=after
    )


def _tell_one(
    world: World,
    past: Past,
    flags: Pasts,
    lines: Lines,
    stages: list[Stage],
    gates: list[Gate],
    dice: random.Random,
) -> None:
    run, deployment = past.run, past.deployment
    captain = world.people[run.captain]
    flag = flags[build_of(run.service), run.environment]
    serves = [{"flag": flag.flag.key, "variant": run.build, "baseline": run.baseline}]
    tell = world.chronicle.tell
    tell(
        "deployment.created",
        deployment,
        at=run.created_at,
        by=captain,
        after={
            "release": str(past.release),
            "environment": run.environment,
            "plan": str(past.plan),
            "plan_hash": past.plan.hash,
            "serves": serves,
        },
    )
    started = {"live": True, "started_at": run.started_at, "ended_at": None, "watch_until": None, "paused_reason": ""}
    tell(
        "deployment.progressing",
        deployment,
        at=run.started_at,
        by=captain,
        before={"status": "draft"} | dict.fromkeys(started) | {"live": False, "paused_reason": ""},
        after={"status": "progressing"} | started,
    )
    for threshold in past.thresholds:
        tell("threshold.created", threshold, at=run.started_at, by=guardrails.BY, after=specs.of(threshold))
    deployment.baseline_captured = _captured(past, lines, dice)
    because = ""
    by: Actor = captain
    for index, at in enumerate(run.entered):
        wanted = past.plan.content["stages"][index]
        _enter(world, past, flag, index, at=at, by=by, because=because)
        left_at = run.entered[index + 1] if index + 1 < len(run.entered) else run.ended_at
        stage = _stage(deployment, index, wanted)
        stages.append(stage)
        asked = _gates(stage, wanted, run, lines, at=left_at, dice=dice)
        gates.extend(asked)
        because, by = "; ".join(gate.reason for gate in asked), SWEEP
    for index in range(len(run.entered), len(past.plan.content["stages"])):
        wanted = past.plan.content["stages"][index]
        stages.append(stage := _stage(deployment, index, wanted))
        gates.extend(_gate(stage, place, gate) for place, gate in enumerate(wanted["gates"]))
    if run.ending == Ending.ROLLED_BACK:
        _tell_rollback(world, past, flag)
    else:
        _tell_success(world, past, flag, because)


def _enter(world: World, past: Past, flag: Any, index: int, *, at: datetime, by: Actor, because: str) -> None:
    weight = round(past.plan.content["stages"][index]["weight"] * 1000)
    rule = {
        "id": f"deployment:{past.deployment.pk}",
        "deployment": past.deployment.pk,
        "live": True,
        "all": [],
        "serve": {"variant": past.run.build, "rollout": weight},
        "baseline": past.run.baseline,
    }
    stage = past.plan.content["stages"][index]["name"]
    because_of_whom = f"{audit.describe(by)}: {because or f'stage {stage}'}"
    flag.serve(world, rule, at=at, by=_as(past.deployment), because=because_of_whom)
    weight_before = round(past.plan.content["stages"][index - 1]["weight"] * 1000) if index else 0
    world.chronicle.tell(
        "deployment.advanced" if index else "deployment.stage_entered",
        past.deployment,
        at=at,
        by=by,
        before={"stage": index - 1 if index else None, "weight": weight_before},
        after={"stage": index, "weight": weight, "epoch": 1},
        because=because,
    )


def _tell_success(world: World, past: Past, flag: Any, because: str) -> None:
    run, deployment, tell = past.run, past.deployment, world.chronicle.tell
    until = run.watch_ended_at
    deployment.held_because = f"watched until {until:%Y-%m-%d %H:%M:%S} UTC"
    fields = {"watch_until": until, "due_at": until, "held_because": deployment.held_because, "blockers": []}
    tell(
        "deployment.succeeded",
        deployment,
        at=run.ended_at,
        by=SWEEP,
        before={"status": "progressing", "watch_until": None, "due_at": None, "held_because": "", "blockers": []},
        after={"status": "succeeded"} | fields,
        because=because,
    )
    over = "its watch is over"
    flag.release(world, run.build, at=until, by=_as(deployment), because=f"{SWEEP}: {over}")
    for threshold in past.thresholds:
        tell("threshold.removed", threshold, at=until, by=SWEEP, before=specs.of(threshold), because=over)
    tell("deployment.watch_ended", deployment, at=until, by=SWEEP, after={"weight": 100_000}, because=over)


def _tell_rollback(world: World, past: Past, flag: Any) -> None:
    run, deployment, tell = past.run, past.deployment, world.chronicle.tell
    because, at = past.because, run.ended_at
    deployment.held_because = because
    weight = round(past.plan.content["stages"][len(run.entered) - 1]["weight"] * 1000)
    tell(
        "deployment.rolling_back",
        deployment,
        at=at,
        by=RESPONSE,
        before={"status": "progressing", "weight": weight, "due_at": None, "held_because": ""},
        after={"status": "rolling_back", "weight": 0, "due_at": at, "held_because": because},
        because=because,
    )
    flag.release(world, None, at=at, by=_as(deployment), because=f"{RESPONSE}: {because}")
    for threshold in past.thresholds:
        tell("threshold.removed", threshold, at=at, by=RESPONSE, before=specs.of(threshold), because=because)
    ended: dict[str, Any] = {"live": False, "due_at": None, "watch_until": None, "ended_at": at}
    ended |= {"paused_reason": "", "blockers": []}
    tell(
        "deployment.rolled_back",
        deployment,
        at=at,
        by=RESPONSE,
        before={"status": "rolling_back"} | ended | {"live": True, "due_at": at, "ended_at": None},
        after={"status": "rolled_back"} | ended,
        because=because,
    )


def _as(deployment: Deployment) -> Automaton:
    """Whoever turns a deployment, its flags are turned by itself."""
    return Automaton(f"deployment {deployment.pk}")


def _captured(past: Past, lines: Lines, dice: random.Random) -> list[dict[str, Any]]:
    """How the baseline stood at the start."""
    run, found = past.run, []
    for threshold in past.thresholds:
        seen = _seen(run, threshold.metric, threshold.window, lines, arm=run.baseline, at=run.started_at, dice=dice)
        found.append(
            {
                "threshold": threshold.pk,
                "name": threshold.name,
                "value": seen.value,
                "count": seen.count,
                "at": run.started_at.isoformat(),
            }
        )
    return found


def _stage(deployment: Deployment, index: int, wanted: dict[str, Any]) -> Stage:
    return Stage(
        deployment=deployment,
        epoch=1,
        index=index,
        name=wanted["name"],
        weight=round(wanted["weight"] * 1000),
        dwell=wanted["dwell"],
        max_dwell=wanted.get("max_dwell"),
        min_sample=wanted.get("min_sample"),
    )


def _gates(
    stage: Stage, wanted: dict[str, Any], run: Run, lines: Lines, *, at: datetime, dice: random.Random
) -> list[Gate]:
    """What the stage's gates said when it was left."""
    found = []
    for place, asked in enumerate(wanted["gates"]):
        gate = _gate(stage, place, asked)
        gate.checked_at = at
        if asked["kind"] == "soak":
            gate.outcome, gate.reason = "passed", f"served for {asked['seconds']} s"
        else:
            seen = _seen(run, asked["metric"], asked["window"], lines, arm=run.build, at=at, dice=dice)
            condition = Condition(
                name=asked["metric"],
                operator=asked["operator"],
                bounds={Level.ERROR: asked["value"]},
                window=asked["window"],
                min_count=asked["min_count"],
                unit="" if asked.get("denominator") else "s",
                is_share=bool(asked.get("denominator")),
            )
            reading = judge(condition, seen)
            # A gate's bound is what opens it: the judge of thresholds calls that a breach.
            gate.outcome = "passed" if reading.level else "failed"
            gate.reason, gate.count = reading.verdict.reason, seen.count
        found.append(gate)
    return found


def _gate(stage: Stage, place: int, asked: dict[str, Any]) -> Gate:
    params = {name: value for name, value in asked.items() if name != "kind"}
    return Gate(stage=stage, position=place, kind=asked["kind"], params=params)


def _seen(
    run: Run, metric: str, window: int, lines: Lines, *, arm: str, at: datetime, dice: random.Random
) -> Measurement:
    """From the samples where they are still kept, else what a day without trouble would have shown."""
    if metric == "satisfaction":
        return Measurement(None, 0)
    line = lines.get((run.service, arm)) or lines.get((run.service, ""))
    a_second, usual, median = scene.GOOD_DAYS[run.service]
    if line is not None and run.environment == scene.ENVIRONMENT and line.times[0] < at - timedelta(seconds=window):
        return _measured(line, metric, at, window)
    count = round(a_second * scene.tide(at) * window * dice.gauss(0.3, 0.02))
    if metric == scene.LATENCY:
        return Measurement(median * 2.1 * dice.lognormvariate(0, 0.04), count)
    return Measurement(usual * dice.lognormvariate(0, 0.15), count)


def _measured(line: Line, metric: str, at: datetime, window: int) -> Measurement:
    requests, errors = line.growth(at - timedelta(seconds=window), at)
    if metric == scene.LATENCY:
        return Measurement(p95(line, at) if requests else None, requests)
    return Measurement(errors / requests if requests else None, requests)
