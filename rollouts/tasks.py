"""The sweeps of deployments and change requests: each that is due is looked at, in a transaction of its own."""

from datetime import datetime, timedelta

import structlog
from django.db import DatabaseError, connection, transaction

from portal import jobs
from rollouts.actions import blame, change_requests, contexts, deployments
from rollouts.models import ChangeRequest, Deployment

log = structlog.get_logger(__name__)

MOST = 500  # deployments in one cycle
# One that cannot be looked at must not keep the others waiting.
AFTER_A_FAULT = timedelta(seconds=5)


@jobs.sweep("rollouts.reconcile", every=1.0)
def reconcile() -> int:
    return look_at_all()


@jobs.sweep("rollouts.reconsider", every=5.0)
def reconsider() -> int:
    """What was paused for the environment's sake: was it the release after all? How many were taken back."""
    paused = Deployment.objects.filter(status=Deployment.Status.PAUSED, paused_reason=blame.ENVIRONMENT)
    rows = paused.select_related("release", "service", "environment").order_by("id")
    return sum(_reconsider(deployment) for deployment in rows)


@jobs.sweep("rollouts.forget_contexts", every=60.0)
def forget_contexts() -> int:
    return contexts.forget_old()


@jobs.sweep("rollouts.apply_changes", every=1.0)
def apply_changes() -> int:
    """Change requests whose time has come. How many were settled."""
    # No row is claimed here: a write of flags stands in line before it locks anything, and looks again then.
    due = ChangeRequest.objects.due(jobs.database_now()).values_list("pk", flat=True)
    return sum(_apply_change(pk) for pk in due[:MOST])


def _apply_change(pk: int) -> bool:
    try:
        return change_requests.apply_due(pk)
    except Exception as error:
        _give_up_without_database(error)
        log.exception("rollouts.apply_failed", change_request=pk)
        now = jobs.database_now()
        # Only while it is still due: somebody may have chosen another time meanwhile.
        ChangeRequest.objects.due(now).filter(pk=pk).update(
            due_at=now + AFTER_A_FAULT,
            held_because=f"the last try to apply it failed: {type(error).__name__}",
        )
        return False


def _reconsider(deployment: Deployment) -> bool:
    try:
        return blame.reconsider(deployment, now=jobs.database_now())
    except Exception as error:
        _give_up_without_database(error)
        log.exception("rollouts.reconsider_failed", deployment=deployment.pk)
        return False


def _give_up_without_database(error: Exception) -> None:
    """What is wrong with one deployment keeps no other waiting; a dead connection is wrong with all of them."""
    if isinstance(error, DatabaseError) and not connection.is_usable():
        raise error


def look_at_all() -> int:
    """Everything that is due now, the longest overdue first. How many were looked at."""
    done = 0
    until = jobs.database_now()
    while done < MOST and _look_at_one(until):
        done += 1
    return done


def _look_at_one(until: datetime) -> bool:
    """Claim the one that is due longest, and do what is due. False when there is none."""
    with transaction.atomic():
        due = Deployment.objects.due(until)
        deployment = jobs.claim(due)
        if deployment is None:
            return False
        try:
            with transaction.atomic():
                deployments.reconcile(deployment, now=jobs.database_now())
        except Exception as error:
            _give_up_without_database(error)
            log.exception("rollouts.reconcile_failed", deployment=deployment.pk)
            Deployment.objects.filter(pk=deployment.pk).update(
                due_at=jobs.database_now() + AFTER_A_FAULT,
                held_because=f"the last look at it failed: {type(error).__name__}",
            )
    return True
