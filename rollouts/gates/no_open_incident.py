"""The incident gate: nothing is wrong with the service in this environment, as far as anybody knows."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from django.db.models import Q

from monitoring.models import Incident
from portal.verdicts import Outcome, Verdict
from rollouts.gates import registry
from rollouts.gates.fields import Fields
from rollouts.models import Deployment, Stage

SHOWN = 3


class NoOpenIncident:
    name = "no_open_incident"
    waits_for_people = False
    measures = False

    def clean(self, params: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(params)
        fields.only()
        fields.done()
        return {}

    def check(
        self, deployment: Deployment, stage: Stage, params: Mapping[str, Any], *, now: datetime
    ) -> registry.Answer:
        """An incident that names no service or no environment may concern any, so it counts."""
        concerning = Incident.objects.open().filter(
            Q(service=deployment.service_id) | Q(service=None),
            Q(environment=deployment.environment_id) | Q(environment=None),
        )
        found = list(concerning.order_by("id")[: SHOWN + 1])
        if not found:
            return registry.Answer(Verdict(Outcome.PASSED, "no open incident"))
        named = "; ".join(str(one) for one in found[:SHOWN]) + (" and more" if len(found) > SHOWN else "")
        return registry.Answer(Verdict(Outcome.FAILED, f"open: {named}"))


registry.register(NoOpenIncident())
