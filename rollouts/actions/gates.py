"""Checking the gates of the stage that is being served, and keeping what each of them said."""

from datetime import datetime, timedelta

import structlog
from django.db import transaction

from portal.verdicts import Outcome, Verdict
from rollouts import progress
from rollouts.gates import registry
from rollouts.models import Deployment, Gate, Stage

log = structlog.get_logger(__name__)


def check(deployment: Deployment, stage: Stage, *, now: datetime) -> list[progress.Gate]:
    """Every gate of the stage, asked now. A gate that cannot be asked is an error, never passed."""
    checked = []
    for gate in stage.gates.order_by("position"):
        kind = registry.find(gate.kind)
        answer = _ask(kind, deployment, stage, gate, now=now)
        gate.outcome, gate.reason, gate.count = answer.verdict.outcome.value, answer.verdict.reason, answer.count
        gate.checked_at = now
        gate.save(update_fields=["outcome", "reason", "count", "checked_at"])
        checked.append(
            progress.Gate(
                gate.kind, answer.verdict, answer.count, waits_for_people=kind is not None and kind.waits_for_people
            )
        )
    return checked


def facts(deployment: Deployment, stage: Stage) -> progress.Stage:
    """The stage as the judgement needs it."""
    assert deployment.entered_stage_at is not None
    return progress.Stage(
        name=stage.name,
        last=not deployment.stages.filter(epoch=deployment.epoch, index__gt=stage.index).exists(),
        entered_at=deployment.entered_stage_at,
        patience_since=deployment.patience_since or deployment.entered_stage_at,
        dwell=timedelta(seconds=stage.dwell),
        max_dwell=None if stage.max_dwell is None else timedelta(seconds=stage.max_dwell),
        min_sample=stage.min_sample,
    )


def _ask(
    kind: registry.Kind | None, deployment: Deployment, stage: Stage, gate: Gate, *, now: datetime
) -> registry.Answer:
    if kind is None:
        return registry.Answer(Verdict(Outcome.ERROR, f"nobody knows how to check a gate of kind {gate.kind}"))
    try:
        # A failing query must not take the transaction with it: the other gates are still asked.
        with transaction.atomic():
            return kind.check(deployment, stage, gate.params, now=now)
    except Exception as error:
        log.exception("gate.check_failed", deployment=deployment.pk, gate=gate.pk, kind=gate.kind)
        reason = f"the gate could not be checked: {type(error).__name__}"
        return registry.Answer(Verdict(Outcome.ERROR, reason), count=0 if kind.measures else None)
