"""The verbs of change requests: proposing an edit, agreeing on it, and having it happen, now or at a time.

Whoever changes flags stands in line first and locks the request's row then, always in this order; what changes the
request alone locks only the row.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db import transaction

from portal import audit, jobs, states
from portal.audit import Actor, Automaton
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import Environment, User
from rollouts.actions import change_approvals, change_subjects, change_writes, flag_writes
from rollouts.engine import documents
from rollouts.engine.revisions import alike, difference
from rollouts.models import Approval, ChangeRequest, Flag, FlagRevision, Segment
from rollouts.models.change_requests import Status

Kind = ChangeRequest.Kind
APPLICABLE = frozenset({Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.FAILED})
EDITABLE = frozenset({Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.STALE, Status.FAILED, Status.REJECTED})


# --- Asking -------------------------------------------------------------------------------------
def open(  # noqa: A001  (the domain's word)
    flag: Flag,
    environment: Environment,
    document: Mapping[str, Any],
    *,
    by: Actor,
    because: str = "",
    title: str = "",
    apply_at: datetime | None = None,
) -> ChangeRequest:
    """Ask for an edit of what a flag does in an environment. A field left out of the document keeps its value."""
    request = ChangeRequest(kind=Kind.CONFIG, flag=flag, environment=environment)
    return _open(request, document, by=by, because=because, title=title, apply_at=apply_at)


def open_restore(
    flag: Flag,
    environment: Environment,
    revision: int,
    *,
    by: Actor,
    because: str = "",
    title: str = "",
    apply_at: datetime | None = None,
) -> ChangeRequest:
    """Ask for an earlier revision to be the current one again."""
    kept = FlagRevision.objects.filter(flag=flag, environment=environment, number=revision).first()
    if kept is None:
        raise Invalid.of("revision", f"{flag} in {environment} has no revision {revision}")
    document = documents.show_config({name: kept.document[name] for name in documents.EDITABLE})
    title = title or f"Back to revision {revision} of {flag} in {environment}"
    return open(flag, environment, document, by=by, because=because, title=title, apply_at=apply_at)


def open_variants(
    flag: Flag,
    document: Mapping[str, Any],
    *,
    by: Actor,
    because: str = "",
    title: str = "",
    apply_at: datetime | None = None,
) -> ChangeRequest:
    """Ask for other values of a flag's variants: `{"variants": […]}`."""
    request = ChangeRequest(kind=Kind.VARIANTS, flag=flag)
    return _open(request, document, by=by, because=because, title=title, apply_at=apply_at)


def open_segment(
    segment: Segment,
    document: Mapping[str, Any],
    *,
    by: Actor,
    because: str = "",
    title: str = "",
    apply_at: datetime | None = None,
) -> ChangeRequest:
    """Ask for another membership of a segment. A field left out of the document keeps its value."""
    request = ChangeRequest(kind=Kind.SEGMENT, segment=segment.key)
    return _open(request, document, by=by, because=because, title=title, apply_at=apply_at)


def edit(
    request: ChangeRequest,
    document: Mapping[str, Any] | None = None,
    *,
    by: Actor,
    title: str | None = None,
    because: str | None = None,
    expected_hash: str | None = None,
) -> bool:
    """Ask for something else. What was approved is so no longer. False when nothing is another."""
    with change_writes.taken(request):
        change_subjects.require(by, request)
        change_writes.expect(request, expected_hash)
        if request.status not in EDITABLE:
            raise Refused(f"change request {request.pk} is {request.status}: open another one")
        was = change_writes.asked(request)
        if document is not None:
            request.document = change_subjects.read(request, document, request.document)
        if title is not None:
            request.title = change_writes.title_of(title) or request.title
        if because is not None:
            request.because = change_writes.reason_of(because)
        if change_writes.asked(request) == was:
            return False
        if not request.changes():
            raise Invalid.of("document", "changes nothing: withdraw the request instead")
        before = {name: value for name, value in was.items() if not alike(value, change_writes.asked(request)[name])}
        change_writes.write_anew(request, before, verb="changerequest.edited", by=by)
    return True


def rebase(request: ChangeRequest, *, by: Actor) -> list[str]:
    """Ask for the same on what is there now; approvals are void.

    Returns the fields that have been changed meanwhile as well: there the request's word stands, and its diff shows
    what it would undo.
    """
    with change_writes.taken(request):
        change_subjects.require(by, request)
        if request.status not in EDITABLE - {Status.REJECTED}:
            raise Refused(f"change request {request.pk} is {request.status}: open another one")
        now = change_subjects.standing(request)
        if now.revision == request.base_revision:
            return []
        wanted = {name: after for name, (_, after) in request.changes().items()}
        overlapping = sorted(wanted.keys() & difference(request.base, now.document).keys())
        was = change_writes.asked(request)
        request.base, request.base_revision = now.document, now.revision
        request.document = change_subjects.read(request, change_writes.shown(request, wanted), now.document)
        if not request.changes():
            raise Refused(f"what change request {request.pk} asks for is there already: withdraw it")
        before = {name: value for name, value in was.items() if not alike(value, change_writes.asked(request)[name])}
        change_writes.write_anew(request, before, verb="changerequest.rebased", by=by)
    return overlapping


# --- Agreeing -----------------------------------------------------------------------------------
def approve(request: ChangeRequest, *, by: Actor, comment: str = "", expected_hash: str | None = None) -> bool:
    """Agree to it, as it is now. False when this person has already. The last one that was needed approves it."""
    with transaction.atomic():
        change_writes.lock(request)
        person = change_approvals.approver(request, by)
        change_writes.expect(request, expected_hash)
        if request.status not in APPLICABLE:
            raise Refused(f"change request {request.pk} is {request.status}: nothing to approve")
        if Approval.objects.standing(request).filter(person=person, value=Approval.Value.APPROVE).exists():
            return False
        needed = change_approvals.needed(request)
        if not needed:
            raise Refused(f"change request {request.pk} needs no approval: apply it")
        if len(change_approvals.given(request)) >= needed:
            raise Refused(f"change request {request.pk} is approved already")
        change_writes.refuse_stale(request)
        change_writes.say(request, person, Approval.Value.APPROVE, comment)
        if len(change_approvals.given(request)) >= needed and request.status == Status.OPEN:
            states.move(request, Status.APPROVED, by=by, because=comment, held_because="")
            change_writes.schedule_if_it_may(request, by=by)
        change_writes.tell(request)
    return True


def reject(request: ChangeRequest, *, by: Actor, because: str) -> bool:
    """Say no to it, with a reason. Its author may edit it and ask again. False when it is rejected already."""
    with transaction.atomic():
        change_writes.lock(request)
        person = change_approvals.approver(request, by)
        if not because.strip():
            raise Invalid.of("because", "say why")
        if request.status == Status.REJECTED:
            return False
        if not request.pending:
            raise Refused(f"change request {request.pk} is {request.status}: it cannot become rejected")
        change_writes.say(request, person, Approval.Value.REJECT, because)
        return change_writes.end(request, Status.REJECTED, by=by, because=change_writes.reason_of(because))


def withdraw(request: ChangeRequest, *, by: Actor, because: str = "") -> bool:
    """It is not asked for any longer. False when it was withdrawn already."""
    with transaction.atomic():
        change_writes.lock(request)
        if not (isinstance(by, User) and by.pk == request.author_id):
            change_subjects.require(by, request)
        return change_writes.end(request, Status.WITHDRAWN, by=by, because=change_writes.reason_of(because))


# --- Having it happen ---------------------------------------------------------------------------
def apply(request: ChangeRequest, *, by: Actor, because: str = "") -> bool:
    """Do it now. False when it is done already.

    Stale when what it was made on has changed; Refused while it is not approved, or a rule forbids the edit itself.
    """
    with change_writes.taken(request):
        change_subjects.require(by, request)
        if request.status == Status.APPLIED:
            return False
        change_writes.refuse_unless(request, APPLICABLE, what="applied")
        change_approvals.refuse_without(request)
        change_writes.refuse_stale(request)
        change_writes.carry_out(request, by=by, because=change_writes.reason_of(because))
    return True


def schedule(request: ChangeRequest, apply_at: datetime, *, by: Actor, because: str = "") -> bool:
    """Have it happen at this time, or at another than was said before. One that still needs approval waits for it.

    False when it is scheduled for this time already.
    """
    with transaction.atomic():
        change_writes.lock(request)
        change_subjects.require(by, request)
        change_writes.refuse_unless(request, APPLICABLE, what="scheduled")
        change_writes.check_time(apply_at)
        change_writes.refuse_stale(request)
        if apply_at == request.apply_at and request.status != Status.FAILED:
            return False
        before = {"apply_at": request.apply_at}
        request.apply_at = apply_at
        request.due_at = apply_at if request.status == Status.SCHEDULED else None
        request.held_because = ""
        request.save(update_fields=["apply_at", "due_at", "held_because", "updated_at"])
        audit.record(
            "changerequest.timed",
            request,
            by=by,
            before=before,
            after={"apply_at": apply_at},
            because=change_writes.reason_of(because),
        )
        change_writes.schedule_if_it_may(request, by=by)
        change_writes.tell(request)
    return True


def unschedule(request: ChangeRequest, *, by: Actor, because: str = "") -> bool:
    """No time any longer: somebody applies it by hand. False when it had none."""
    with transaction.atomic():
        change_writes.lock(request)
        change_subjects.require(by, request)
        if not request.pending:
            raise Refused(f"change request {request.pk} is {request.status}")
        if request.apply_at is None:
            return False
        before = {"apply_at": request.apply_at}
        if request.status == Status.SCHEDULED:
            to = Status.APPROVED if change_approvals.given(request) else Status.OPEN
            states.move(request, to, by=by, because=change_writes.reason_of(because), due_at=None)
        request.apply_at = None
        request.save(update_fields=["apply_at", "updated_at"])
        audit.record(
            "changerequest.timed",
            request,
            by=by,
            before=before,
            after={"apply_at": None},
            because=change_writes.reason_of(because),
        )
        change_writes.tell(request)
    return True


def apply_due(pk: int) -> bool:
    """What the sweep does with one whose time has come: apply it, or say why it cannot be. False when it is not due.

    It may run twice, and beside a person who does the same.
    """
    by = Automaton(f"change request {pk}")
    with transaction.atomic():
        flag_writes.stand_in_line()
        now = jobs.database_now()
        request = ChangeRequest.objects.due(now).select_for_update(of=("self",)).filter(pk=pk).first()
        if request is None:
            return False
        try:
            with transaction.atomic():
                change_approvals.refuse_without(request)
        except Refused as error:
            states.move(request, Status.OPEN, by=by, because=str(error), due_at=None, held_because=str(error))
            change_writes.tell(request)
            return True
        try:
            with transaction.atomic():
                change_writes.refuse_stale(request)
                change_writes.carry_out(request, by=by, because=f"scheduled for {request.apply_at:%Y-%m-%d %H:%M} UTC")
        except Stale as error:
            states.move(request, Status.STALE, by=by, because=str(error), due_at=None, held_because=str(error))
        except (Refused, Invalid, Forbidden) as error:
            states.move(request, Status.FAILED, by=by, because=str(error), due_at=None, held_because=str(error))
        change_writes.tell(request)
    return True


# --- How ----------------------------------------------------------------------------------------
def _open(
    request: ChangeRequest, document: Any, *, by: Actor, because: str, title: str, apply_at: datetime | None
) -> ChangeRequest:
    with transaction.atomic():
        flag_writes.stand_in_line()
        if not change_subjects.places(request):
            raise Refused(f"nobody is reached by {request.subject}: edit it by hand")
        change_subjects.require(by, request)
        now = change_subjects.standing(request)
        request.base, request.base_revision = now.document, now.revision
        request.document = change_subjects.read(request, document)
        if not request.changes():
            raise Invalid.of("document", f"changes nothing: it is what {request.subject} is already")
        request.because = change_writes.reason_of(because)
        request.title = (
            change_writes.title_of(title)
            or f"{request.subject}: {', '.join(request.changes())}"[: change_writes.LONGEST_TITLE]
        )
        if apply_at is not None:
            change_writes.check_time(apply_at)
        request.apply_at = apply_at
        request.author = by if isinstance(by, User) else None
        request.author_name = audit.describe(by)[:200]
        request.hash = change_writes.hash_of(request)
        request.save(force_insert=True)
        change_writes.had_a_hand(request, by)
        audit.record("changerequest.asked", request, by=by, after=change_writes.told(request), because=request.because)
        change_writes.schedule_if_it_may(request, by=by)
        change_writes.tell(request)
    return request
