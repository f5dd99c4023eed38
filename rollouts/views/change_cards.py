"""A change request as a page shows it: what it would change, who agreed, and what a person may do with it now."""

from collections.abc import Iterable
from dataclasses import dataclass

from portal.errors import Refused
from portal.models import User
from rollouts.actions import change_approvals, change_subjects
from rollouts.models import Approval, ChangeRequest
from rollouts.models.change_requests import Status
from rollouts.views import change_words
from rollouts.views.cards import Verb

APPLICABLE = (Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.FAILED)


@dataclass(slots=True)
class Card:
    request: ChangeRequest
    stale: bool
    lines: list[change_words.Line]
    approvals: list[tuple[Approval, bool]]  # and whether it counts
    needed: int
    given: int
    verbs: list[Verb]
    why_undecided: str = ""
    why_no_vote: str = ""
    why_no_edit: str = ""

    @property
    def asks(self) -> bool:
        """Somebody's approval is missing."""
        return self.request.status in APPLICABLE and self.given < self.needed

    @property
    def may_vote(self) -> bool:
        return self.asks and not self.why_no_vote and not self.stale

    @property
    def may_reject(self) -> bool:
        return self.request.pending and not self.why_no_vote and self.needed > 0

    @property
    def waits_for_me(self) -> bool:
        return self.may_vote and self.request.status == Status.OPEN

    @property
    def verdict(self) -> tuple[str, str]:
        """How it stands: the state whose glyph is shown, and the sentence beside it."""
        one = self.request
        if self.stale:
            return "stale", (
                f"Made on revision {one.base_revision}, it is {one.current} now: "  # type: ignore[attr-defined]
                "rebase it, then it is approved anew."
            )
        match one.status:
            case Status.OPEN if self.why_undecided:
                return "pending", f"{self.why_undecided[:1].upper()}{self.why_undecided[1:]}."
            case Status.OPEN if self.asks:
                return "pending", one.held_because or "Somebody who did not write it has to approve it."
            case Status.OPEN:
                return "passed", "It needs no approval here: apply it, or choose a time."
            case Status.APPROVED:
                return "passed", one.held_because or "Approved: apply it, or choose a time."
            case Status.SCHEDULED:
                return "scheduled", f"It happens by itself at {one.apply_at:%Y-%m-%d %H:%M} UTC."
            case Status.APPLIED:
                return "passed", f"Done: it is revision {one.applied_revision}."
            case _:
                return one.status, one.held_because or one.get_status_display()


def cards(rows: Iterable[ChangeRequest], person: User) -> list[Card]:
    """The cards of rows that queries.change_requests.shown has fetched, as this person sees them."""
    return [_card(one, person) for one in rows]


def _card(request: ChangeRequest, person: User) -> Card:
    said = [(one, one.hash == request.hash and one.person.is_active) for one in request.approvals.all()]
    given = sum(counts and one.value == Approval.Value.APPROVE for one, counts in said)
    needed, undecided = 0, ""
    if request.pending:
        try:
            needed = change_approvals.needed(request)
        except Refused as error:
            needed, undecided = 1, str(error)
    stale = request.pending and request.current != request.base_revision  # type: ignore[attr-defined]
    card = Card(request, stale, change_words.lines(request), said, needed, given, [], undecided)
    if request.pending:
        card.why_no_vote = _why_no_vote(request, person)
    if request.pending or request.status == Status.REJECTED:
        may = change_subjects.may(person, request)
        card.why_no_edit = "" if may else f"None of your roles may change {request.subject}."
    card.verbs = _verbs(card, person)
    return card


def _why_no_vote(request: ChangeRequest, person: User) -> str:
    if not change_subjects.may(person, request, "approve"):
        return f"You are no approver of {request.subject}."
    why = change_approvals.why_not(request, person)
    return f"{why[:1].upper()}{why[1:]}." if why else ""


def _verbs(card: Card, person: User) -> list[Verb]:
    request, verbs = card.request, []
    if request.status in APPLICABLE and not card.stale:
        missing = card.why_undecided or ("It is not approved yet." if card.asks else "")
        verbs.append(Verb("apply", "Apply now", "primary", why_not=card.why_no_edit or missing))
    if card.stale:
        note = "The same is asked for on what is there now. What was approved is approved anew."
        verbs.append(Verb("rebase", "Rebase", "primary", "none", note, card.why_no_edit))
    if request.status == Status.SCHEDULED:
        verbs.append(Verb("unschedule", "Take off the schedule", note="Somebody applies it by hand.",
                          why_not=card.why_no_edit))  # fmt: skip
    if request.pending:
        own = "" if request.author_id == person.pk else card.why_no_edit
        verbs.append(Verb("withdraw", "Withdraw", "danger", why_not=own))
    return verbs
