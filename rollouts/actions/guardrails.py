"""The guardrails of a run: its plan's thresholds, copied to the monitoring when it begins and removed when it ends."""

from datetime import datetime
from typing import Any

from monitoring.actions import thresholds
from monitoring.models import Alert, Threshold
from portal.audit import Actor, Automaton
from rollouts.gates import arms
from rollouts.models import Deployment
from rollouts.progress import Reading

RESPONSE = "roll_back"
# Whoever may start a deployment starts its guardrails with it, wherever he may configure thresholds of his own.
BY = Automaton("deployments")


def install(deployment: Deployment, *, now: datetime) -> list[dict[str, Any]]:
    """Judged from now on. Returns how the baseline stood at the start, a reading for each of them."""
    return [
        _captured(_create(deployment, guardrail), deployment, now=now)
        for guardrail in deployment.plan.content["guardrails"]
    ]


def remove(deployment: Deployment, *, by: Actor, because: str) -> None:
    """Nothing of it is judged any more."""
    thresholds.remove(owner=owner(deployment), by=by, because=because)


def owner(deployment: Deployment) -> str:
    """How thresholds name the deployment, as their owner and as their target."""
    return f"deployment:{deployment.pk}"


def broken(deployment: Deployment) -> list[str]:
    """Which of them fire now, in the words of their alerts."""
    firing = Alert.objects.firing().filter(threshold__owner=owner(deployment)).exclude(level=Alert.Level.WARNING)
    return [f"{alert.threshold.name}: {alert.reason}" for alert in firing.select_related("threshold").order_by("id")]


def at_start(deployment: Deployment, threshold: Threshold, *, now: datetime) -> Reading | None:
    """How the baseline stood when the run began; None when nobody can tell."""
    for captured in deployment.baseline_captured:
        if captured["threshold"] == threshold.pk:
            return Reading(captured["value"], captured["count"])
    if deployment.started_at is None:
        return None
    # A threshold of the service, not of this run: its samples of then are still there, or the answer is no data.
    return arms.baseline_at(threshold, deployment, deployment.started_at, now=now)


def _create(deployment: Deployment, guardrail: dict[str, Any]) -> Threshold:
    spec = {name: value for name, value in guardrail.items() if name != "kind"}
    spec["matchers"] = arms.placed(spec.get("matchers") or {}, deployment)
    spec |= {"response": RESPONSE, "target": owner(deployment)}
    return thresholds.create(spec, by=BY, owner=owner(deployment))


def _captured(threshold: Threshold, deployment: Deployment, *, now: datetime) -> dict[str, Any]:
    reading = arms.baseline(threshold, deployment, now=now)
    return {
        "threshold": threshold.pk,
        "name": threshold.name,
        "value": reading.value,
        "count": reading.count,
        "at": now.isoformat(),
    }
