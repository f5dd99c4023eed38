"""The soak gate: the stage has been served for so many seconds."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from portal.verdicts import Outcome, Verdict
from rollouts.gates import registry
from rollouts.gates.fields import A_YEAR, Fields
from rollouts.models import Deployment, Stage


class Soak:
    name = "soak"
    waits_for_people = False
    measures = False

    def clean(self, params: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(params)
        fields.only("seconds")
        seconds = fields.whole("seconds", at_least=1, at_most=A_YEAR)
        fields.done()
        return {"seconds": seconds}

    def check(
        self, deployment: Deployment, stage: Stage, params: Mapping[str, Any], *, now: datetime
    ) -> registry.Answer:
        seconds = int(params["seconds"])
        if deployment.entered_stage_at is None:
            return registry.Answer(Verdict(Outcome.PENDING, "the stage is not served yet"))
        served = int((now - deployment.entered_stage_at).total_seconds())
        if served < seconds:
            return registry.Answer(Verdict(Outcome.PENDING, f"served for {max(served, 0)} s of {seconds} s"))
        return registry.Answer(Verdict(Outcome.PASSED, f"served for {seconds} s"))


registry.register(Soak())
