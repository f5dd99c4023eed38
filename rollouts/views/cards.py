"""A deployment as a page shows it: its stages, what holds it, and what a person may do with it now."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.utils import timezone

from portal import permissions
from portal.models import User
from portal.verdicts import Outcome
from rollouts.models import FOUR_EYES, NOT_BEGUN, UNDER_WAY, Deployment, Gate, Plan, Stage, Vote
from rollouts.models.deployments import Status

# What decides how a stage stands, the worst first.
URGENCY = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PENDING, Outcome.PASSED)
DWELL = "dwell:"


@dataclass(frozen=True, slots=True)
class Step:
    """One segment of the stage rail."""

    name: str
    weight: int  # thousandths of a percent
    state: str  # done, now, next; back where the run was taken back
    dwell: int
    gates: Sequence[Gate] = ()


@dataclass(frozen=True, slots=True)
class Verb:
    """One button. `why_not` says in words why it cannot be pressed now."""

    name: str
    label: str
    look: str = ""
    reason: str = "maybe"  # needed, maybe, none
    note: str = ""
    why_not: str = ""
    missing: tuple[str, ...] = ()


@dataclass(slots=True)
class Card:
    deployment: Deployment
    steps: list[Step]
    verbs: list[Verb]
    outcome: str
    verdict: str
    # The stage's dwell, while it runs.
    dwell_from: datetime | None = None
    dwell_until: datetime | None = None
    dwell: int = 0
    votes: list[Vote] = field(default_factory=list)
    asks: list[str] = field(default_factory=list)  # the rules that somebody may vote on now
    why_no_vote: str = ""
    voted: list[str] = field(default_factory=list)  # the rules on which this person's word stands

    @property
    def id(self) -> str:
        """What the ids of its elements begin with."""
        return f"deployment-{self.deployment.pk}"

    @property
    def stage(self) -> Step | None:
        return next((step for step in self.steps if step.state in ("now", "back")), None)

    @property
    def may_vote(self) -> bool:
        return bool(self.asks) and not self.why_no_vote

    @property
    def waits_for_me(self) -> bool:
        return self.may_vote and not self.voted


def shown(rows: "QuerySet[Deployment]") -> "QuerySet[Deployment]":
    """With everything that a card prints, in a fixed number of queries."""
    stages = Stage.objects.prefetch_related(Prefetch("gates", Gate.objects.order_by("position")))
    return rows.select_related("release__service", "service", "environment", "plan").prefetch_related(
        Prefetch("stages", stages),
        "flags__flag",
        Prefetch("votes", Vote.objects.select_related("person")),
    )


def cards(rows: Iterable[Deployment], person: User) -> list[Card]:
    """The cards of rows that `shown` has fetched, as this person sees them."""
    found = list(rows)
    edited = _edited(person, {one.plan.name for one in found})
    return [_card(one, person, edited) for one in found]


def _card(deployment: Deployment, person: User, edited: dict[str, int]) -> Card:
    stages = [stage for stage in deployment.stages.all() if stage.epoch == deployment.epoch]
    current = next((stage for stage in stages if stage.index == deployment.stage_index), None)
    gates = list(current.gates.all()) if current and deployment.status in UNDER_WAY else []
    card = Card(deployment, _steps(deployment, stages), [], *_verdict(deployment, gates))
    if deployment.status == Status.PROGRESSING and current and deployment.entered_stage_at:
        card.dwell, card.dwell_from = current.dwell, deployment.entered_stage_at
        until = deployment.entered_stage_at + timedelta(seconds=current.dwell)
        card.dwell_until = until if until > timezone.now() else None
    card.asks = _asks(deployment, gates)
    card.votes = [vote for vote in deployment.votes.all() if _stands(vote, deployment)]
    card.voted = [vote.rule for vote in card.votes if vote.person_id == person.pk]
    card.why_no_vote = _why_no_vote(deployment, person, edited) if card.asks else ""
    card.verbs = _verbs(deployment, person)
    return card


def _steps(deployment: Deployment, stages: Sequence[Stage]) -> list[Step]:
    if not stages:
        # The plan is copied when the run begins; until then it is the plan's newest version that will be.
        planned: list[dict[str, Any]] = deployment.plan.content["stages"]
        return [Step(one["name"], round(one["weight"] * 1000), "next", one["dwell"]) for one in planned]
    ended = deployment.status in {Status.SUCCEEDED, Status.SUPERSEDED}
    taken_back = deployment.status in {Status.ROLLING_BACK, Status.ROLLED_BACK}
    at = deployment.stage_index if deployment.stage_index is not None else -1
    steps = []
    for stage in stages:
        if ended or stage.index < at:
            state = "done"
        elif stage.index == at:
            state = "back" if taken_back else "now"
        else:
            state = "next"
        steps.append(Step(stage.name, stage.weight, state, stage.dwell, list(stage.gates.all())))
    return steps


def _verdict(deployment: Deployment, gates: Sequence[Gate]) -> tuple[str, str]:
    """How it stands: the state whose glyph is shown, and the sentence beside it."""
    held = deployment.held_because
    match deployment.status:
        case Status.PROGRESSING:
            blockers: list[str] = deployment.blockers
            if blockers and all(one.startswith(DWELL) for one in blockers):
                words = "Every gate passes" if gates else "Nothing stands against it"
                return Outcome.PASSED, f"{words}; the stage is served for its whole dwell."
            if blockers or held:
                return _worst(gates), held or "; ".join(blockers)
            return Outcome.PENDING, "The stage has just begun: nothing has been judged yet."
        case Status.PAUSED:
            return Status.PAUSED, held or "Somebody has to resume it."
        case Status.DRAFT:
            return Status.DRAFT, "Not started: nobody gets anything of it yet."
        case Status.SUCCEEDED if deployment.live:
            return Status.SUCCEEDED, "Everybody in the last stage has it. It is watched, and can still be rolled back."
        case Status.SUCCEEDED:
            return Status.SUCCEEDED, "Done; its watch is over."
        case Status.SUPERSEDED:
            return Status.SUPERSEDED, "A later deployment has taken its place."
        case _:
            return deployment.status, held or deployment.get_status_display()


def _worst(gates: Sequence[Gate]) -> str:
    outcomes = [Outcome(gate.outcome) for gate in gates]
    return min(outcomes, key=URGENCY.index, default=Outcome.PENDING)


def _verbs(deployment: Deployment, person: User) -> list[Verb]:
    place = f"{deployment.service} in {deployment.environment}"
    no_deploy = "" if _can(person, "deploy", deployment) else f"None of your roles may deploy {place}."
    no_operate = "" if _can(person, "operate", deployment) else f"None of your roles may operate {place}."
    status = deployment.status
    verbs: list[Verb] = []
    if status == Status.DRAFT:
        verbs.append(Verb("start", "Start", "primary", why_not=no_deploy))
    if status in UNDER_WAY:
        missing = tuple(deployment.blockers)
        paused = "It is paused: resume it first." if status == Status.PAUSED else ""
        why_not = no_deploy or paused or ("It waits for:" if missing else "")
        verbs.append(
            Verb("advance", "Advance", "primary", why_not=why_not, missing=() if no_deploy or paused else missing)
        )
    if status == Status.PROGRESSING:
        verbs.append(Verb("pause", "Pause", reason="needed", why_not=no_deploy))
    if status == Status.PAUSED:
        verbs.append(Verb("resume", "Resume", why_not=no_deploy))
    if deployment.live:
        verbs.append(Verb("roll_back", "Roll back", "danger", "needed", _not_reverted(deployment), no_operate))
    if status in NOT_BEGUN:
        verbs.append(Verb("cancel", "Cancel", "danger", "needed", why_not=no_deploy))
    if status == Status.ROLLED_BACK:
        note = "A new epoch: a draft again, on the plan's newest version, without its votes."
        verbs.append(Verb("retry", "Retry", note=note, why_not=no_deploy))
    return verbs


def _not_reverted(deployment: Deployment) -> str:
    """Honest about what a roll back is, and what it is not."""
    served = ", ".join(f"{one.flag.key} = {one.baseline}" for one in deployment.flags.all())
    first = f"Everybody gets {served} at once." if served else "Its weight becomes 0 at once."
    return f"{first} Not taken back: migrations, data already written, and messages already sent."


def _asks(deployment: Deployment, gates: Sequence[Gate]) -> list[str]:
    if deployment.status == Status.AWAITING_APPROVAL:
        return [FOUR_EYES]
    return list(dict.fromkeys(str(gate.params.get("rule", FOUR_EYES)) for gate in gates if gate.kind == "approval"))


def _stands(vote: Vote, deployment: Deployment) -> bool:
    """What the models call standing, of votes that are in memory."""
    stage = None if deployment.status in NOT_BEGUN else deployment.stage_index
    return (
        vote.epoch == deployment.epoch
        and vote.plan_hash == deployment.plan_hash
        and vote.stage_index == stage
        and vote.person.is_active
    )


def _why_no_vote(deployment: Deployment, person: User, edited: dict[str, int]) -> str:
    if not _can(person, "approve", deployment):
        return f"You are no approver of {deployment.service} in {deployment.environment}."
    if person.pk in {deployment.created_by_id, deployment.started_by_id}:
        return "You made or started this deployment: somebody else has to approve it."
    if edited.get(deployment.plan.name, deployment.plan.version + 1) <= deployment.plan.version:
        return f"You have edited the plan {deployment.plan.name}: somebody else has to approve it."
    return ""


def _can(person: User, what: str, deployment: Deployment) -> bool:
    return permissions.can(person, what, environment=deployment.environment, service=deployment.service)


def _edited(person: User, plans: set[str]) -> dict[str, int]:
    """The earliest version of each plan that this person wrote."""
    rows = Plan.objects.filter(author=person, name__in=plans).order_by("-version")
    return dict(rows.values_list("name", "version"))
