"""The approval gate: somebody else than the author has said go in this stage."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from portal.verdicts import Outcome, Verdict
from rollouts.gates import registry
from rollouts.gates.fields import Fields
from rollouts.models import FOUR_EYES, Deployment, Stage, Vote


class Approval:
    name = "approval"
    waits_for_people = True
    measures = False

    def clean(self, params: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(params)
        fields.only("rule")
        rule = fields.text("rule", default=FOUR_EYES, longest=64)
        fields.done()
        return {"rule": rule}

    def check(
        self, deployment: Deployment, stage: Stage, params: Mapping[str, Any], *, now: datetime
    ) -> registry.Answer:
        return registry.Answer(verdict(deployment, str(params["rule"]), stage_index=stage.index))


def verdict(deployment: Deployment, rule: str, *, stage_index: int | None) -> Verdict:
    """What the votes that count say; `stage_index` None asks about those before the first stage."""
    votes = list(Vote.objects.standing(deployment, stage_index=stage_index).filter(rule=rule).select_related("person"))
    against = [str(vote.person) for vote in votes if vote.value == Vote.Value.NO_GO]
    if against:
        return Verdict(Outcome.FAILED, f"{', '.join(against)} voted no-go ({rule})")
    in_favour = [str(vote.person) for vote in votes if vote.value == Vote.Value.GO]
    if in_favour:
        return Verdict(Outcome.PASSED, f"{', '.join(in_favour)} voted go ({rule})")
    return Verdict(Outcome.PENDING, f"an approver who is not the author has yet to say go ({rule})")


registry.register(Approval())
