"""How one write of a change request is done: locked, with its hash, audited, told; and the checks before it."""

import hashlib
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from django.db import transaction

from portal import audit, jobs, live, states
from portal.audit import Actor
from portal.errors import Invalid, Refused, Stale
from portal.models import ApiKey, User
from rollouts.actions import change_approvals, change_subjects, flag_writes
from rollouts.engine import documents, reading
from rollouts.models import Approval, ChangeRequest
from rollouts.models.change_requests import Status

Kind = ChangeRequest.Kind
LONGEST_TITLE = 200
LONGEST_REASON = 10_000


@contextmanager
def taken(request: ChangeRequest) -> Iterator[None]:
    """A transaction in which nobody else writes flags, and `request` is as it is now."""
    with transaction.atomic():
        flag_writes.stand_in_line()
        lock(request)
        yield


def lock(request: ChangeRequest) -> None:
    request.refresh_from_db(
        from_queryset=ChangeRequest.objects.select_for_update(of=("self",)).select_related(
            "flag__service", "environment", "author"
        )
    )


def write_anew(request: ChangeRequest, before: Mapping[str, Any], *, verb: str, by: Actor) -> None:
    """What people approved is another thing now: their words are void, and it is open again."""
    request.hash = hash_of(request)
    request.save()
    had_a_hand(request, by)
    audit.record(verb, request, by=by, before=before, after={name: told(request)[name] for name in before})
    why = f"{audit.describe(by)} has changed what it asks for"
    if request.status != Status.OPEN:
        states.move(request, Status.OPEN, by=by, because=why, due_at=None, held_because=why, ended_at=None)
    schedule_if_it_may(request, by=by)
    tell(request)


def schedule_if_it_may(request: ChangeRequest, *, by: Actor) -> None:
    """It has a time, and all the approval that it needs."""
    if request.apply_at is None or request.status not in {Status.OPEN, Status.APPROVED, Status.FAILED}:
        return
    if not change_approvals.enough(request):
        return
    if request.apply_at <= jobs.database_now():
        request.held_because = "its time had passed before it was approved: apply it, or choose another time"
        request.save(update_fields=["held_because", "updated_at"])
        return
    states.move(request, Status.SCHEDULED, by=by, due_at=request.apply_at, held_because="")


def carry_out(request: ChangeRequest, *, by: Actor, because: str) -> None:
    agreed = ", ".join(str(one.person) for one in change_approvals.given(request))
    words = f"change request {request.pk}: {request.title}" + (f" (approved by {agreed})" if agreed else "")
    revision = change_subjects.carry_out(request, by=by, because=f"{words}. {because}" if because else words)
    end(request, Status.APPLIED, by=by, because=because, applied_revision=revision)


def end(request: ChangeRequest, to: str, *, by: Actor, because: str, **changes: Any) -> bool:
    moved = states.move(
        request, to, by=by, because=because, due_at=None, ended_at=jobs.database_now(), held_because=because, **changes
    )
    tell(request)
    return moved


def say(request: ChangeRequest, person: User, value: str, comment: str) -> None:
    Approval.objects.update_or_create(
        change_request=request,
        person=person,
        hash=request.hash,
        defaults={"value": value, "comment": reason_of(comment), "at": jobs.database_now()},
    )
    said = {"value": value, "hash": request.hash}
    audit.record("changerequest.voted", request, by=person, after=said, because=comment)


def had_a_hand(request: ChangeRequest, by: Actor) -> None:
    if isinstance(by, User):
        request.editors.add(by)
    elif isinstance(by, ApiKey) and by.created_by not in request.by_keys_of:
        request.by_keys_of = [*request.by_keys_of, by.created_by]
        request.save(update_fields=["by_keys_of"])


def refuse_stale(request: ChangeRequest) -> None:
    now = change_subjects.standing(request).revision
    if now != request.base_revision:
        raise Stale(
            f"change request {request.pk} was made on revision {request.base_revision} of {request.subject}, "
            f"it is {now} now: rebase it"
        )


def refuse_unless(request: ChangeRequest, statuses: Collection[str], *, what: str) -> None:
    if request.status == Status.STALE:
        refuse_stale(request)
    if request.status not in statuses:
        raise Refused(f"change request {request.pk} is {request.status}: it cannot be {what}")


def expect(request: ChangeRequest, expected: str | None) -> None:
    if expected is not None and expected != request.hash:
        raise Stale(f"change request {request.pk} asks for something else by now: look at it again")


def record_time(request: ChangeRequest, before: Mapping[str, Any], *, by: Actor, because: str) -> None:
    after = {"apply_at": request.apply_at}
    audit.record("changerequest.timed", request, by=by, before=before, after=after, because=reason_of(because))


def default_title(request: ChangeRequest) -> str:
    fields = ", ".join(name.replace("_", " ") for name in request.changes())
    return f"{request.subject}: {fields}"[:LONGEST_TITLE]


def check_time(apply_at: datetime) -> None:
    if apply_at.tzinfo is None:
        raise Invalid.of("apply_at", "needs its offset from UTC")
    if apply_at <= jobs.database_now():
        raise Invalid.of("apply_at", "lies in the past")


def title_of(title: str) -> str:
    return _text(" ".join(title.split()), "title", LONGEST_TITLE)


def reason_of(because: str) -> str:
    return _text(because.strip(), "because", LONGEST_REASON)


def _text(text: str, name: str, longest: int) -> str:
    if len(text) > longest:
        raise Invalid.of(name, f"is longer than {longest} characters")
    if not reading.storable(text):
        raise Invalid.of(name, "may not contain NUL or half characters")
    return text


def asked(request: ChangeRequest) -> dict[str, Any]:
    """What people approve."""
    return {
        "title": request.title,
        "because": request.because,
        "base_revision": request.base_revision,
        "document": request.document,
    }


def told(request: ChangeRequest) -> dict[str, Any]:
    """The same for the audit trail: what would change, as people write it."""
    changed = request.changes()
    told = documents.show_difference(changed) if request.kind == Kind.CONFIG else changed
    return {**asked(request), "document": {name: after for name, (_, after) in told.items()}}


def shown(request: ChangeRequest, fields: dict[str, Any]) -> dict[str, Any]:
    """Stored fields as people write them."""
    if request.kind != Kind.CONFIG:
        return fields
    told = documents.show_difference({name: [None, value] for name, value in fields.items()})
    return {name: after for name, (_, after) in told.items()}


def hash_of(request: ChangeRequest) -> str:
    subject = [request.kind, request.flag_id, request.environment_id, request.segment]
    return hashlib.sha256(json.dumps([subject, asked(request)], sort_keys=True).encode()).hexdigest()


def tell(request: ChangeRequest) -> None:
    live.announce("change-requests", id=request.pk)
