"""Where the thresholds of a combination stand, as their own judge left them."""

from collections.abc import Iterator, Sequence

from monitoring.judging import Member
from monitoring.models import AlertState, Threshold
from portal.verdicts import Outcome


def standings(thresholds: Sequence[Threshold]) -> Iterator[tuple[Threshold, tuple[Member, ...]]]:
    """The members of each combination, in their order; two queries for all of them."""
    ids = {pk for threshold in thresholds for pk in threshold.members}
    if not ids:
        return
    known = Threshold.objects.in_bulk(ids)
    states = {state.threshold_id: state for state in AlertState.objects.filter(threshold__in=ids, group="")}
    for threshold in thresholds:
        yield threshold, tuple(_member(pk, known.get(pk), states.get(pk)) for pk in threshold.members)


def _member(pk: int, threshold: Threshold | None, state: AlertState | None) -> Member:
    name = threshold.name if threshold else f"threshold {pk}"
    if threshold is None or not threshold.active:
        return Member(name, None, f"{name} has been removed")
    if state is None or not state.outcome or state.threshold_version != threshold.version:
        return Member(name, None, f"{name} has not been judged yet")
    if state.phase == AlertState.Phase.FIRING:
        return Member(name, True, state.reason)
    if state.phase == AlertState.Phase.PENDING or state.outcome == Outcome.PASSED:
        return Member(name, False, state.reason)
    return Member(name, None, state.reason)
