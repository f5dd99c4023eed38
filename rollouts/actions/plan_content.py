"""What a plan may say: its content read with every mistake named, and put into one form."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from monitoring.actions import specs
from portal.errors import Invalid
from rollouts.actions import flag_serving, references
from rollouts.engine.conditions import segments_in
from rollouts.gates import registry
from rollouts.gates.fields import A_YEAR, Fields

MOST_STAGES = 50
MOST_GATES = 20
MOST_GUARDRAILS = 50
# A guardrail does one thing, to the deployment that it guards.
RESPONSE = "roll_back"
TARGET = "deployment:1"  # only to have the rest checked; each deployment names itself


def clean(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content in its one form: what is not given is left out, so that equal plans have equal hashes."""
    fields = Fields(content)
    fields.only("stages", "guardrails", "checklists", "watch")
    stages = [_stage(one) for one in fields.objects("stages", at_most=MOST_STAGES)]
    if not content.get("stages"):
        fields.refuse("stages", "a plan needs at least one stage")
    weights = [stage["weight"] for stage in stages]
    if not fields.errors:
        for index, (before, after) in enumerate(zip(weights, weights[1:], strict=False), start=1):
            if after <= before:
                fields.refuse(f"stages[{index}].weight", f"weights rise: {after} does not come after {before}")
    guardrails = [_guardrail(one) for one in fields.objects("guardrails", at_most=MOST_GUARDRAILS)]
    if content.get("checklists"):
        fields.refuse("checklists", "there are no checklists yet: leave it empty")
    cleaned: dict[str, Any] = {"stages": stages, "guardrails": guardrails, "checklists": []}
    if fields.given("watch"):
        cleaned["watch"] = fields.whole("watch", at_most=A_YEAR)
    fields.done()
    return cleaned


def _stage(fields: Fields) -> dict[str, Any]:
    fields.only("name", "weight", "audience", "dwell", "max_dwell", "min_sample", "gates")
    stage: dict[str, Any] = {
        "name": fields.text("name"),
        "weight": _weight(fields),
        "dwell": fields.whole("dwell", at_most=A_YEAR),
    }
    if fields.given("audience"):
        stage["audience"] = _audience(fields)
    if fields.given("max_dwell"):
        stage["max_dwell"] = fields.whole("max_dwell", at_least=1, at_most=A_YEAR)
        if stage["max_dwell"] < stage["dwell"]:
            fields.refuse("max_dwell", f"must not be shorter than the dwell of {stage['dwell']} s")
    stage["gates"] = [_gate(one) for one in fields.objects("gates", at_most=MOST_GATES)]
    if fields.given("min_sample"):
        stage["min_sample"] = fields.whole("min_sample", at_least=1)
        if not any(_measures(gate["kind"]) for gate in stage["gates"]):
            fields.refuse("min_sample", "needs a metric gate in the same stage: its count is the sample")
    return stage


def _audience(fields: Fields) -> Any:
    given = fields.data["audience"]
    try:
        meant = flag_serving.read_audience(given, fields.at("audience"))
    except Invalid as mistakes:
        fields.errors.update(mistakes.errors)
        return []
    missing = references.missing_segments([*meant.get("segments", ()), *segments_in(meant["all"])])
    if missing:
        fields.refuse("audience", f"there is no segment {min(missing)}")
    return meant if "segments" in meant else meant["all"]


def _weight(fields: Fields) -> int | float:
    """Percent with at most three decimals, in its shortest form."""
    number = fields.number("weight")
    try:
        thousandths = Decimal(str(number)) * 1000
    except InvalidOperation:
        thousandths = Decimal(-1)
    if not 0 <= thousandths <= 100_000:
        fields.refuse("weight", "must be from 0 to 100 percent")
    elif thousandths != int(thousandths):
        fields.refuse("weight", "percent with at most three decimals")
    return int(number) if number == int(number) else number


def _gate(fields: Fields) -> dict[str, Any]:
    name = fields.data.get("kind")
    kind = registry.find(name) if isinstance(name, str) else None
    if kind is None:
        fields.refuse("kind", f"must be one of {', '.join(registry.names())}")
        return {"kind": ""}
    try:
        return {"kind": name, **kind.clean({key: value for key, value in fields.data.items() if key != "kind"})}
    except Invalid as mistakes:
        fields.refuse_all(mistakes)
        return {"kind": name}


def _guardrail(fields: Fields) -> dict[str, Any]:
    kind = fields.data.get("kind")
    spec = {name: value for name, value in fields.data.items() if name != "kind" and value is not None}
    if kind == "analysis":
        fields.refuse("kind", "guardrails of the kind analysis are not judged yet: use a threshold")
        return spec
    if kind != "threshold":
        fields.refuse("kind", "must be threshold")
        return spec
    for name in ("response", "target"):
        if spec.pop(name, None) is not None:
            fields.refuse(name, "a guardrail rolls its own deployment back: leave it out")
    if "name" not in spec and isinstance(spec.get("metric"), str):
        spec["name"] = spec["metric"]
    try:
        specs.clean({**spec, "response": RESPONSE, "target": TARGET})
    except Invalid as mistakes:
        fields.refuse_all(mistakes)
    return {"kind": "threshold", **spec}


def _measures(kind: str) -> bool:
    found = registry.find(kind)
    return found is not None and found.measures
