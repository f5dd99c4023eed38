"""Is a broken bound the release's fault? Asked when an incident responds, and again while a run is paused for it."""

from datetime import datetime

from django.db import transaction
from django.db.models import Q, QuerySet

from monitoring.models import Alert, Threshold
from portal.audit import Automaton
from rollouts import progress
from rollouts.actions import deployments, guardrails, runs
from rollouts.gates import arms
from rollouts.models import FULL_WEIGHT, Deployment
from rollouts.models.deployments import Status

BY = Automaton("deployments sweep")
ENVIRONMENT = "environment"  # why a run is paused that may be taken back all the same


def ask(deployment: Deployment, threshold: Threshold, value: float | None, *, now: datetime) -> progress.Blame:
    """Who is to blame, as far as the other arm, or the start of the run, can tell; `value` is what the alert saw."""
    if threshold.baseline_kind:
        return progress.Blame(True, "the bound itself is held against a baseline")
    seen = arms.canary(threshold, now=now)
    baseline_now, baseline_at_start = _baselines(deployment, threshold, now=now)
    return progress.blame(
        canary=value if seen.value is None else seen.value,
        operator=threshold.operator,
        bound=_bound(threshold),
        baseline_now=baseline_now,
        baseline_at_start=baseline_at_start,
    )


@transaction.atomic
def reconsider(deployment: Deployment, *, now: datetime) -> bool:
    """Take back a run that was paused for the environment's sake, once that is fine and the release still is not.

    Only positive proof does: a canary that breaks the bound now, beside a baseline that is known and does not.
    """
    runs.lock(deployment)
    if deployment.status != Status.PAUSED or deployment.paused_reason != ENVIRONMENT:
        return False
    for alert in _firing(deployment):
        threshold = alert.threshold
        seen = arms.canary(threshold, now=now).value
        known = next((one for one in _baselines(deployment, threshold, now=now) if one is not None), None)
        if seen is None or known is None or known.value is None:
            continue
        if not progress.breaches(seen, threshold.operator, _bound(threshold)):
            continue
        verdict = ask(deployment, threshold, seen, now=now)
        if verdict.release:
            because = f"incident {alert.incident_id}: {alert.reason} ({verdict.why})"
            return deployments.roll_back(deployment, by=BY, because=because)
    return False


def _baselines(
    deployment: Deployment, threshold: Threshold, *, now: datetime
) -> tuple[progress.Reading | None, progress.Reading | None]:
    """The other arm now, where both arms are served; else how it was at the start."""
    if 0 < deployment.weight < FULL_WEIGHT and arms.names_canary(threshold, deployment):
        return arms.baseline(threshold, deployment, now=now), None
    return None, guardrails.at_start(deployment, threshold, now=now)


def _bound(threshold: Threshold) -> float:
    """The mildest bound that a response follows; the database keeps a threshold with response from having none."""
    bound = threshold.error if threshold.error is not None else threshold.critical
    assert bound is not None
    return bound


def _firing(deployment: Deployment) -> QuerySet[Alert]:
    """What is broken now and would take this run back."""
    place = f"service:{deployment.service.key}@{deployment.environment.key}"
    ours = Q(threshold__target=guardrails.owner(deployment)) | Q(threshold__target=place)
    of_service = Q(threshold__target="", service=deployment.service_id, environment=deployment.environment_id)
    return (
        Alert.objects.firing()
        .filter(ours | of_service, threshold__response=guardrails.RESPONSE, threshold__active=True)
        .exclude(level=Alert.Level.WARNING)
        .filter(threshold__baseline_kind="")
        .select_related("threshold")
        .order_by("id")
    )
