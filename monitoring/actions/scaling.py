"""Deciding how many instances a service is to have: each policy when it is due, and what becomes of a decision.

What goes out says what shall be, not what to do: the same message twice asks for the same.
"""

import math
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import transaction

from monitoring import scaling, trends
from monitoring.actions import outbox
from monitoring.models import OutboxMessage, ScalingDecision, ScalingPolicy
from monitoring.queries import histories, outlooks
from monitoring.queries.histories import Measured
from monitoring.queries.windows import Aggregate, Window, aggregates
from monitoring.scaling import Ahead, Bounds, Code, Decision, Way
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Refused

log = structlog.get_logger(__name__)

BY = Automaton("scaling")
SENT = "scaling.desired"
STEP = timedelta(minutes=15)
FORESEEN_FOR = timedelta(minutes=5)
MOST = 500  # in one cycle
COUNT_WITHIN = 900  # seconds: a number of instances that is older is not known
Status = ScalingDecision.Status


def run(*, now: datetime | None = None) -> int:
    """Decide for every policy that is due. How many there were."""
    done = 0
    while done < MOST and _run_one(now):
        done += 1
    return done


def _run_one(now: datetime | None) -> bool:
    with transaction.atomic():
        at = now or jobs.database_now()
        due = ScalingPolicy.objects.active().filter(due_at__lte=at).order_by("due_at")
        policy = jobs.claim(due.select_related("service", "environment", "channel"))
        if policy is None:
            return False
        try:
            with transaction.atomic():
                _look(policy, at)
        except Exception as error:
            # One that cannot be judged must not keep the others from theirs; it is tried again when it is due.
            log.exception("scaling.failed", policy=policy.pk)
            ScalingPolicy.objects.filter(pk=policy.pk).update(
                way=Way.NONE,
                wanted=None,
                value=None,
                reason=f"it could not be looked at: {type(error).__name__}",
                looked_at=at,
                due_at=at + timedelta(seconds=policy.interval),
            )
        return True


def _look(policy: ScalingPolicy, at: datetime) -> None:
    """Decide for one policy, and come back after its interval."""
    measured, instances = _measure(policy, at)
    if policy.lead and not _is_fresh(policy, at):
        policy.foreseen = _foresee(policy, at)
    ahead = _ahead(policy, at)
    found: dict[str, Any] = {"instances": instances, "value": measured.value, "ahead": ahead}
    _take_back_other(policy, scaling.decide(bounds(policy), **found))
    last, up_after, down_after = _cooling(policy, at)
    decision = scaling.decide(bounds(policy), **found, up_after=up_after, down_after=down_after)
    policy.way, policy.wanted, policy.reason = decision.way.value, decision.instances, decision.reason
    policy.value, policy.looked_at = measured.value, at
    policy.due_at = at + timedelta(seconds=policy.interval)
    policy.save(update_fields=["way", "wanted", "reason", "value", "looked_at", "due_at", "foreseen"])
    cools = up_after if decision.way is Way.UP else down_after
    asked = (decision.way.value, decision.instances)
    if last is not None and (cools or last.status == Status.SENDING) and (last.way, last.wanted) == asked:
        # It was said already. Below the minimum or above the maximum nothing else waits for the cool-down.
        _supersede(policy, decision)
        return
    _write(policy, decision, instances, _evidence(policy, decision, measured, instances, ahead), at)


def accept(decision: ScalingDecision, *, by: Actor, because: str = "") -> None:
    """A person says so. Where the policy names a webhook the desired state is sent; else it is done by hand."""
    with transaction.atomic():
        policy = _settle(decision, by)
        who, now = audit.describe(by)[:200], jobs.database_now()
        known: dict[str, Any] = {"because": because, "said": because, "decided_by": who, "decided_at": now}
        if policy.channel is None:
            states.move(decision, Status.ACCEPTED, by=by, outcome="to be done by hand", **known)
            _count(policy, decision)
        else:
            states.move(decision, Status.SENDING, by=by, **known)
            _send(policy, decision)
        live.announce("scaling", id=policy.pk)


def decline(decision: ScalingDecision, *, by: Actor, because: str) -> None:
    """A person says no, and why. The same is not advised again while the policy cools down."""
    if not because:
        raise Refused("say why it is declined")
    with transaction.atomic():
        policy = _settle(decision, by)
        states.move(
            decision,
            Status.DECLINED,
            by=by,
            decided_by=audit.describe(by)[:200],
            decided_at=jobs.database_now(),
            because=because,
            said=because,
        )
        live.announce("scaling", id=policy.pk)


def take_back(policy: ScalingPolicy, *, by: Actor, because: str) -> None:
    """What waits to be sent is desired no longer. The policy is locked by the caller."""
    for message in outbox.drop(SENT, thread=_thread(policy)):
        rows = ScalingDecision.objects.filter(pk=message.payload["decision"], status=Status.SENDING)
        for one in rows:
            states.move(one, Status.SUPERSEDED, by=by, because=because, outcome=because[:1000])


def bounds(policy: ScalingPolicy) -> Bounds:
    return Bounds(
        policy.target, policy.minimum, policy.maximum, policy.up_step, policy.down_step, policy.tolerance
    )  # fmt: skip


def matchers(policy: ScalingPolicy) -> dict[str, str]:
    """The labels that its series carry."""
    return {**policy.matchers, "service": policy.service.key, "environment": policy.environment.key}


def settled(message: OutboxMessage) -> None:
    """In the transaction in which a message of ours was taken or given up."""
    with transaction.atomic():
        rows = ScalingDecision.objects.filter(pk=message.payload["decision"], status=Status.SENDING)
        decision = rows.select_for_update(of=("self",)).select_related("policy").first()
        if decision is None:
            return
        if message.state == OutboxMessage.State.SENT:
            states.move(decision, Status.SENT, by=BY, outcome=f"{message.channel} took it")
            policy = ScalingPolicy.objects.select_for_update(of=("self",)).get(pk=decision.policy_id)
            _count(policy, decision)
        else:
            words = f"{message.channel}: {message.last_error}"
            states.move(decision, Status.FAILED, by=BY, because=words, outcome=words)
        live.announce("scaling", id=decision.policy_id)


outbox.on_settled(SENT, settled)


def _measure(policy: ScalingPolicy, now: datetime) -> tuple[Aggregate, int | None]:
    """The load, and how many instances there are."""
    asked = [Window(policy.metric, policy.aggregation, policy.window, matchers(policy))]
    if policy.instances_metric:
        place = {"service": policy.service.key, "environment": policy.environment.key}
        asked.append(Window(policy.instances_metric, "last", COUNT_WITHIN, place))
    answers = aggregates(asked, now=now)
    if not policy.instances_metric:
        return answers[0][0], policy.instances
    count = answers[1][0].value
    return answers[0][0], None if count is None or not 1 <= count <= scaling.MOST else round(count)


def _is_fresh(policy: ScalingPolicy, now: datetime) -> bool:
    made = policy.foreseen.get("made_at")
    return made is not None and timedelta(0) <= now - datetime.fromisoformat(made) < FORESEEN_FOR


def _foresee(policy: ScalingPolicy, now: datetime) -> dict[str, Any]:
    """The forecast and the trend of the load, as plain values."""
    until = now + timedelta(seconds=policy.lead) + FORESEEN_FOR + STEP
    asked = Measured(policy.metric, policy.aggregation, matchers(policy))
    found = outlooks.outlook(asked, until=until, now=now, finest=STEP)
    window, step = histories.WINDOWS["1d"]
    day = [(at, value) for at, value in found.points if at >= now - window]
    went = trends.trend(day, window=window, step=step)
    return {
        "made_at": now.isoformat(),
        "method": found.forecast.method,
        "reason": found.forecast.reason,
        "error": _finite(found.forecast.error),
        "steps": [
            [one.at.isoformat(), one.value, one.low, one.high]
            for one in found.forecast.steps
            if math.isfinite(one.value) and math.isfinite(one.low) and math.isfinite(one.high)
        ],
        "trend": {"direction": went.direction.value, "reason": went.reason, "change": _finite(went.change)},
    }


def _finite(number: float | None) -> float | None:
    """JSON knows no other numbers."""
    return number if number is not None and math.isfinite(number) else None


def _ahead(policy: ScalingPolicy, now: datetime) -> Ahead | None:
    """What is expected at the end of the lead time; None where nothing is."""
    at = now + timedelta(seconds=policy.lead)
    steps = [one for one in policy.foreseen.get("steps", ()) if datetime.fromisoformat(one[0]) <= at]
    if not policy.lead or not steps:
        return None
    _, value, low, high = steps[-1]
    words = f"{value:.4g} expected at {at:%H:%M} UTC ({low:.4g} to {high:.4g}, {policy.foreseen['method']})"
    return Ahead(value, high, words)


def _cooling(policy: ScalingPolicy, now: datetime) -> tuple[ScalingDecision | None, float, float]:
    """The last change, and seconds for which it cools down yet: until one is added, until one is taken away."""
    counted = (*ScalingDecision.CHANGED, Status.DECLINED)
    last = policy.decisions.filter(status__in=counted).first()
    if last is None:
        return None, 0.0, 0.0
    since = (now - (last.decided_at or last.made_at)).total_seconds()
    return last, max(policy.up_cool_down - since, 0.0), max(policy.down_cool_down - since, 0.0)


def _evidence(
    policy: ScalingPolicy, decision: Decision, measured: Aggregate, instances: int | None, ahead: Ahead | None
) -> dict[str, Any]:
    return {
        "metric": policy.metric,
        "aggregation": policy.aggregation,
        "window": policy.window,
        "value": measured.value,
        "count": measured.count,
        "newest": measured.newest.isoformat() if measured.newest else None,
        "target": policy.target,
        "tolerance": policy.tolerance,
        "instances": instances,
        "minimum": policy.minimum,
        "maximum": policy.maximum,
        "ahead": None if ahead is None else {"value": ahead.value, "high": ahead.high, "words": ahead.words},
        "forecast": {name: policy.foreseen.get(name) for name in ("made_at", "method", "reason", "error")},
        "trend": policy.foreseen.get("trend"),
        "policy_version": policy.version,
        "code": decision.code.value,
    }


def _write(
    policy: ScalingPolicy, decision: Decision, instances: int | None, evidence: dict[str, Any], now: datetime
) -> None:
    """A row for each decision that is new: one a look would bury those that matter."""
    opened = policy.decisions.filter(status=Status.ADVISED).first()
    same = opened is not None and (opened.way, opened.wanted) == (decision.way.value, decision.instances)
    if same:
        return
    _supersede(policy, decision)
    if decision.way is Way.NONE:
        last = policy.decisions.first()
        if decision.code is Code.COOLING or (last is not None and last.code == decision.code.value):
            return
    if decision.way is not Way.NONE:
        take_back(policy, by=BY, because=decision.reason)
    sends = decision.way is not Way.NONE and policy.mode == ScalingPolicy.Mode.SEND and policy.channel is not None
    status = Status.NOTED if decision.way is Way.NONE else Status.SENDING if sends else Status.ADVISED
    made = ScalingDecision.objects.create(
        policy=policy,
        service=policy.service,
        environment=policy.environment,
        way=decision.way.value,
        before=instances,
        wanted=decision.instances,
        urgency=decision.urgency.value,
        code=decision.code.value,
        reason=decision.reason,
        evidence=evidence,
        made_at=now,
        status=status,
    )
    if decision.way is not Way.NONE:
        after = {"instances": decision.instances, "urgency": decision.urgency.value}
        audit.record(
            f"scalingdecision.{status}",
            made,
            by=BY,
            before={"instances": instances},
            after=after,
            because=decision.reason,
        )
    if sends:
        _send(policy, made)
    live.announce("scaling", id=policy.pk)


def _take_back_other(policy: ScalingPolicy, wish: Decision) -> None:
    """Whatever cools down: what waits to be sent goes the other way than the load now. Unknown, it stays."""
    if wish.code in (Code.NO_DATA, Code.NO_COUNT):
        return
    if policy.decisions.filter(status=Status.SENDING).exclude(way=wish.way.value).exists():
        take_back(policy, by=BY, because=wish.reason)


def _thread(policy: ScalingPolicy) -> str:
    return f"scaling:{policy.pk}"


def _supersede(policy: ScalingPolicy, decision: Decision) -> None:
    """What was advised before holds no longer."""
    for one in policy.decisions.filter(status=Status.ADVISED):
        states.move(one, Status.SUPERSEDED, by=BY, because=decision.reason, outcome=decision.reason[:1000])


def _send(policy: ScalingPolicy, decision: ScalingDecision) -> None:
    channel = policy.channel
    assert channel is not None
    key = f"{SENT}:{decision.pk}:{channel.pk}"
    payload = {
        "id": key,
        "kind": SENT,
        "text": f"{policy.service} in {policy.environment}: {decision.wanted} instances, because {decision.reason}",
        "desired": {
            "service": policy.service.key,
            "environment": policy.environment.key,
            "replicas": decision.wanted,
        },
        "decision": decision.pk,
        "policy": policy.key,
        "way": decision.way,
        "before": decision.before,
        "urgency": decision.urgency,
        "reason": decision.reason,
    }
    # In their order: an older state must not come after a newer one.
    outbox.put(channel, SENT, payload, dedupe_key=key, thread=_thread(policy))


def _count(policy: ScalingPolicy, decision: ScalingDecision) -> None:
    """Where no metric says how many there are, they are as many as was decided."""
    if not policy.instances_metric and decision.wanted is not None:
        policy.instances = decision.wanted
        policy.save(update_fields=["instances"])


def _settle(decision: ScalingDecision, by: Actor) -> ScalingPolicy:
    """The policy, locked as the sweep does, before its decision: they cannot pass each other."""
    permissions.require(by, "operate", environment=decision.environment, service=decision.service)
    rows = ScalingPolicy.objects.select_related("service", "environment", "channel")
    policy = rows.select_for_update(of=("self",)).get(pk=decision.policy_id)
    decision.refresh_from_db()
    if decision.status != Status.ADVISED:
        raise Refused(f"decision {decision.pk} is {decision.status}: it does not wait for anybody's word")
    return policy
