"""Doing what an incident may do by itself: at once after the commit that asked for it, else by a sweep."""

from datetime import timedelta
from functools import partial

import structlog
from django.db import transaction

from monitoring import responses
from monitoring.actions import notices, timeline
from monitoring.models import Incident, ResponseRun
from monitoring.models.incidents import OPEN
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Refused

log = structlog.get_logger(__name__)

BY = Automaton("incident responses")
MAX_ATTEMPTS = 12  # with the pauses below: about four minutes
LONGEST_PAUSE = 30  # seconds
MAX_OUTCOME = 2000
NO_TARGET = ""


def queue(
    incident: Incident, name: str, target: str, *, because: str, cool_down: timedelta = timedelta(0)
) -> ResponseRun | None:
    """In the caller's transaction, which holds the incident's row: once for each incident, response and target.

    A `propose_` before the name leaves the word to a person. Done to the same target by another incident less than
    `cool_down` ago it is refused: what did not help then would do harm now.
    """
    name, is_proposal = responses.of(name)
    run, created = ResponseRun.objects.get_or_create(
        incident=incident,
        name=name,
        target=target,
        defaults={
            "because": because,
            "service": incident.service,
            "environment": incident.environment,
            "due_at": jobs.database_now(),
        },
    )
    if not created:
        return None
    if target == NO_TARGET:
        _refuse(run, "neither the threshold nor its series name what to act on: a target, or a service and environment")
        return run
    if (earlier := _earlier(run, within=cool_down)) is not None:
        _refuse(run, f"cooling down: incident {earlier.incident_id} had it done to {target} less than {cool_down} ago")
        return run
    if is_proposal:
        run.status = ResponseRun.Status.PROPOSED
        run.save(update_fields=["status"])
        text = f"{name} of {target} is proposed: somebody has to say so"
        timeline.write(incident, "response.proposed", text, by=BY, data={"run": run.pk})
        notices.tell(incident, "response_proposed", f"{incident.title}: {text}", again=str(run.pk))
        return run
    timeline.write(incident, "response.queued", f"{name} of {target}", by=BY, data={"run": run.pk})
    # Not through the broker: the effect must not wait for one, and must come while it is down.
    transaction.on_commit(partial(execute, run.pk), robust=True)
    jobs.nudge("monitoring.respond")
    return run


def confirm(run: ResponseRun, *, by: Actor, because: str = "") -> None:
    """A person says so: what was proposed is done at once."""
    permissions.require(
        by, "operate", environment=run.environment or permissions.ANY, service=run.service or permissions.ANY
    )
    with transaction.atomic():
        incident = _locked_incident(run)
        run.refresh_from_db()
        if incident.status not in OPEN:
            raise Refused(f"incident {incident.pk} is {incident.status}: nothing is done for it any more")
        if run.status != ResponseRun.Status.PROPOSED:
            raise Refused(f"{run} is {run.status}: it does not wait for anybody's word")
        who = audit.describe(by)
        run.because = f"{run.because} (confirmed by {who})"
        run.save(update_fields=["because"])
        states.move(run, ResponseRun.Status.PENDING, by=by, because=because, due_at=jobs.database_now())
        timeline.write(incident, "response.confirmed", f"{run}: confirmed by {who}", by=by, data={"run": run.pk})
        transaction.on_commit(partial(execute, run.pk), robust=True)
        jobs.nudge("monitoring.respond")
        live.announce("incidents", id=incident.pk)


def confirm_proposed(incident: Incident, *, by: Actor, because: str = "") -> None:
    """All that was proposed for the incident; refused when nothing waits."""
    found = list(incident.runs.filter(status=ResponseRun.Status.PROPOSED).order_by("id"))
    if not found:
        raise Refused(f"nothing is proposed for incident {incident.pk}")
    for run in found:
        confirm(run, by=by, because=because)


def execute(pk: int) -> bool:
    """Claim the run and do it, in one transaction with its effect: killed in the middle, it is pending as before."""
    with transaction.atomic():
        run = jobs.claim(ResponseRun.objects.filter(pk=pk, status=ResponseRun.Status.PENDING))
        if run is None:
            return False
        try:
            # A savepoint: a response that fails leaves nothing half done behind.
            with transaction.atomic():
                outcome = responses.perform(run)
        except Refused as refusal:
            _refuse(run, str(refusal))
        except Exception as error:
            log.exception("responses.failed", run=run.pk, response=run.name, target=run.target)
            _try_again(run, f"{type(error).__name__}: {error}")
        else:
            _succeed(run, outcome)
    return True


def execute_due() -> int:
    """Do what is due, one at a time. How many were done."""
    done = 0
    due = ResponseRun.objects.filter(status=ResponseRun.Status.PENDING, due_at__lte=jobs.database_now())
    for pk in list(due.order_by("due_at", "id").values_list("pk", flat=True)):
        done += execute(pk)
    return done


def retry(run: ResponseRun, *, by: Actor, because: str = "") -> None:
    """A person has one that failed or was refused tried anew."""
    permissions.require(
        by, "operate", environment=run.environment or permissions.ANY, service=run.service or permissions.ANY
    )
    with transaction.atomic():
        if run.target == NO_TARGET:
            raise Refused(f"{run.name} has no target")
        now = jobs.database_now()
        moved = states.move(
            run, ResponseRun.Status.PENDING, by=by, because=because, attempts=0, due_at=now, outcome="", ended_at=None
        )
        if not moved:
            return
        timeline.write(run.incident, "response.retried", f"{run.name} of {run.target} is tried anew", by=by)
        transaction.on_commit(partial(execute, run.pk), robust=True)
        live.announce("incidents", id=run.incident_id)


def _succeed(run: ResponseRun, outcome: responses.Outcome) -> None:
    text, now = outcome.text, jobs.database_now()
    if outcome.is_asked:
        states.move(run, ResponseRun.Status.ASKED, by=BY, because=text, outcome=_short(text))
        timeline.write(_locked_incident(run), "response.asked", f"{run.name}: {text}", by=BY, data={"run": run.pk})
        live.announce("incidents", id=run.incident_id)
        return
    states.move(run, ResponseRun.Status.DONE, by=BY, because=text, outcome=_short(text), ended_at=now)
    incident = _locked_incident(run)
    timeline.write(incident, "response.done", f"{run.name}: {text}", by=BY, data={"run": run.pk})
    if outcome.mitigates and incident.status in (Incident.Status.TRIGGERED, Incident.Status.ACKNOWLEDGED):
        states.move(incident, Incident.Status.MITIGATED, by=BY, because=text, mitigated_at=incident.not_before(now))
        timeline.write(incident, "mitigated", f"mitigated by {run.name}: {text}", by=BY)
        notices.tell(incident, "mitigated", f"{incident.title}: mitigated, {text}")
    live.announce("incidents", id=incident.pk)


def _earlier(run: ResponseRun, *, within: timedelta) -> ResponseRun | None:
    if not within:
        return None
    done = (ResponseRun.Status.DONE, ResponseRun.Status.ASKED, ResponseRun.Status.PENDING)
    rows = ResponseRun.objects.filter(
        name=run.name, target=run.target, status__in=done, created_at__gt=jobs.database_now() - within
    )
    return rows.exclude(incident=run.incident_id).order_by("-id").first()


def _refuse(run: ResponseRun, reason: str) -> None:
    _end_badly(run, ResponseRun.Status.REFUSED, "response.refused", reason)


def _try_again(run: ResponseRun, error: str) -> None:
    run.attempts += 1
    if run.attempts >= MAX_ATTEMPTS:
        _end_badly(run, ResponseRun.Status.FAILED, "response.failed", f"{error} (after {run.attempts} attempts)")
        return
    run.outcome = _short(error)
    run.due_at = jobs.database_now() + timedelta(seconds=min(2 ** (run.attempts - 1), LONGEST_PAUSE))
    run.save(update_fields=["attempts", "outcome", "due_at"])


def _end_badly(run: ResponseRun, status: ResponseRun.Status, kind: str, reason: str) -> None:
    reason = _short(reason)
    attempts, now = run.attempts, jobs.database_now()
    states.move(run, status, by=BY, because=reason, outcome=reason, attempts=attempts, ended_at=now)
    incident = _locked_incident(run)
    word = kind.partition(".")[2]
    timeline.write(incident, kind, f"{run.name} of {run.target or 'nothing'} {word}: {reason}", by=BY)
    notices.tell(
        incident, f"response_{word}", f"{incident.title}: {run.name} {word}, {reason}", again=f"{run.pk}:{attempts}"
    )
    live.announce("incidents", id=incident.pk)


def _locked_incident(run: ResponseRun) -> Incident:
    # Only after the deed: whoever does it by hand locks the deployment first and the incident then, and so do we.
    rows = Incident.objects.select_for_update(of=("self",)).select_related("definition", "service", "environment")
    return rows.get(pk=run.incident_id)


def _short(text: str) -> str:
    return text.replace("\0", "")[:MAX_OUTCOME]
