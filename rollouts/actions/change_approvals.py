"""Who may approve a change request, how many have to, and who has."""

from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Forbidden, Refused
from portal.models import Environment, User
from rollouts.actions import change_subjects
from rollouts.models import Approval, ChangeRequest

Policy = Environment.ApprovalPolicy
NEEDED = {Policy.NOT_REQUIRED: 0, Policy.FOUR_EYES: 1}


def needed(request: ChangeRequest) -> int:
    """How many people besides its editors. Refused where nobody has decided: nothing passes vacuously."""
    most = 0
    for place in change_subjects.places(request):
        policy = Policy(place.environment.approval_policy)
        if policy not in NEEDED:
            raise Refused(f"nobody has decided whether {place.environment} needs approval: nothing changes there")
        most = max(most, NEEDED[policy])
    return most


def given(request: ChangeRequest) -> list[Approval]:
    """Those that count now."""
    standing = Approval.objects.standing(request).filter(value=Approval.Value.APPROVE)
    return list(standing.select_related("person"))


def enough(request: ChangeRequest) -> bool:
    try:
        return len(given(request)) >= needed(request)
    except Refused:
        return False


def refuse_without(request: ChangeRequest) -> None:
    missing = needed(request) - len(given(request))
    if missing > 0:
        raise Refused(
            f"change request {request.pk} is not approved: {missing} more "
            f"{'person has' if missing == 1 else 'people have'} to approve it who did not write it"
        )


def approver(request: ChangeRequest, by: Actor) -> User:
    """The person, or why it cannot be this one: through any door the same answer, superusers included."""
    if not isinstance(by, User):
        raise Forbidden(f"{audit.describe(by)} may not approve: only people do")
    for place in change_subjects.places(request):
        permissions.require(by, "approve", environment=place.environment, service=place.service)
    why = why_not(request, by)
    if why:
        raise Refused(why)
    return by


def why_not(request: ChangeRequest, person: User) -> str:
    """Why this person's word does not count, whatever the roles; empty when it does."""
    if person.pk == request.author_id:
        return f"{person} has opened change request {request.pk}: somebody else has to approve it"
    if any(one.pk == person.pk for one in request.editors.all()):
        return f"{person} has edited change request {request.pk}: somebody else has to approve it"
    if str(person) in request.by_keys_of:
        return f"change request {request.pk} was written with an API key of {person}: somebody else has to approve it"
    return ""
