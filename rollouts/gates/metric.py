"""The metric gate: what was measured in the window satisfies the bound."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitoring.actions import specs
from monitoring.judging import Sight, judge
from monitoring.models import Threshold
from portal.errors import Invalid
from portal.verdicts import Outcome, Verdict
from rollouts.gates import arms, registry
from rollouts.gates.fields import Fields
from rollouts.models import Deployment, Stage

FIELDS = ("metric", "denominator", "matchers", "aggregation", "operator", "value", "window", "min_count")
# The judge of thresholds asks whether a bound is met; for a gate that is what opens it.
OUTCOMES = {Sight.BREACH: Outcome.PASSED, Sight.CLEAR: Outcome.FAILED, Sight.BETWEEN: Outcome.FAILED}


class Metric:
    name = "metric"
    waits_for_people = False
    measures = True

    def clean(self, params: Mapping[str, Any]) -> dict[str, Any]:
        fields = Fields(params)
        fields.only(*FIELDS)
        spec = {name: value for name, value in params.items() if name in FIELDS and value is not None}
        value = fields.number("value")
        try:
            columns = specs.clean({**_without_value(spec), "name": "gate", "error": value})
        except Invalid as mistakes:
            for name, message in mistakes.errors.items():
                fields.refuse("value" if name == "error" else name, message)
            columns = {}
        fields.done()
        return {
            **_without_value(spec),
            "aggregation": columns["aggregation"],
            "value": value,
            "window": columns["window"],
            "min_count": max(columns["min_count"], 1),
        }

    def check(
        self, deployment: Deployment, stage: Stage, params: Mapping[str, Any], *, now: datetime
    ) -> registry.Answer:
        """No data, too few, or no number at all is inconclusive: it holds, whatever the bound."""
        condition = Threshold(
            name=params["metric"],
            metric=params["metric"],
            denominator=params.get("denominator", ""),
            matchers=arms.placed(params.get("matchers", {}), deployment),
            aggregation=params["aggregation"],
            operator=params["operator"],
            error=params["value"],
            window=params["window"],
            min_count=params["min_count"],
        )
        seen = arms.look(condition, now=now)
        reading = judge(seen.condition, seen.measurement)
        outcome = OUTCOMES.get(reading.sight, Outcome.INCONCLUSIVE)
        details = {"value": reading.value, "count": seen.measurement.count}
        return registry.Answer(Verdict(outcome, reading.verdict.reason, details), seen.measurement.count)


def _without_value(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name != "value"}


registry.register(Metric())
