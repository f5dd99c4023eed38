"""What people say of a group of errors: resolved, ignored, open again, whose it is. And the portal: it is back."""

from datetime import datetime

from django.db import transaction

from monitoring.models import ErrorGroup
from portal import audit, jobs, live, permissions, states
from portal.audit import Actor, Automaton
from portal.errors import Invalid, Refused
from portal.models import User

BY = Automaton("errors")
LONGEST_REASON = 2_000
Status = ErrorGroup.Status


def resolve(group: ErrorGroup, *, by: Actor, because: str = "") -> bool:
    """It is mended. When it comes again in a newer release, it is open again, and said to be back."""
    return _move(group, Status.RESOLVED, by=by, because=because, resolved_at=jobs.database_now(), regressed_at=None)


def ignore(group: ErrorGroup, *, by: Actor, because: str) -> bool:
    """It goes on being counted, and is in no threshold's sample until it is opened again."""
    if not because.strip():
        raise Invalid.of("because", "say why nobody needs to care")
    return _move(group, Status.IGNORED, by=by, because=because, regressed_at=None)


def reopen(group: ErrorGroup, *, by: Actor, because: str = "") -> bool:
    return _move(group, Status.OPEN, by=by, because=because, resolved_at=None, regressed_at=None)


def assign(group: ErrorGroup, person: User | None, *, by: Actor) -> bool:
    """Whose it is; None: nobody's. False when that was so already."""
    _may(group, by)
    if person is not None and not person.is_active:
        raise Refused(f"{person} is no longer active")
    with transaction.atomic():
        locked = ErrorGroup.objects.select_for_update(of=("self",)).select_related("assignee").get(pk=group.pk)
        before, group.assignee = locked.assignee, person
        if before == person:
            return False
        ErrorGroup.objects.filter(pk=group.pk).update(assignee=person)
        audit.record(
            "errorgroup.assigned",
            group,
            by=by,
            before={"assignee": before and before.username},
            after={"assignee": person and person.username},
        )
        live.announce("errors", id=group.pk)
    return True


def regress(group: ErrorGroup, *, release: str, now: datetime) -> None:
    """In the transaction that keeps the occurrence, which holds the group's lock."""
    because = f"it came again in {release}" if release else "it came again"
    states.move(
        group, Status.OPEN, by=BY, because=because, regressed_at=now, resolved_at=None, status_by=str(BY),
        status_because=because,
    )  # fmt: skip


def _move(group: ErrorGroup, to: str, *, by: Actor, because: str, **changes: datetime | None) -> bool:
    _may(group, by)
    if len(because) > LONGEST_REASON:
        raise Invalid.of("because", f"at most {LONGEST_REASON} characters")
    with transaction.atomic():
        said = {"status_by": audit.describe(by)[:200], "status_because": because}
        moved = states.move(group, to, by=by, because=because, **changes, **said)
        if moved:
            live.announce("errors", id=group.pk)
    return moved


def _may(group: ErrorGroup, by: Actor) -> None:
    permissions.require(by, "operate", environment=group.environment, service=group.service)
