"""Plans: what they may say, and that each change is a new version."""

import json
from collections.abc import Mapping
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from portal import audit
from portal.errors import Forbidden, Invalid, Stale
from rollouts.actions import plans
from rollouts.models import Plan
from tests import make

pytestmark = pytest.mark.django_db

GATE = {
    "kind": "metric",
    "metric": "errors_total",
    "denominator": "requests_total",
    "matchers": {"flag": "layout", "variant": "on"},
    "operator": "<",
    "value": 0.02,
    "window": 300,
    "min_count": 100,
}
GUARDRAIL = {
    "kind": "threshold",
    "name": "canary errors",
    "metric": "errors_total",
    "denominator": "requests_total",
    "matchers": {"flag": "layout", "variant": "on"},
    "operator": ">",
    "error": 0.05,
    "window": 60,
    "min_count": 50,
}


def stage(weight: Any = 5, **fields: Any) -> dict[str, Any]:
    return {"name": "one", "weight": weight, "dwell": 60, "gates": [], **fields}


def content(*stages: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"stages": list(stages) or [stage()], "guardrails": [], "checklists": [], **fields}


def errors_of(written: Mapping[str, Any], name: str = "canary") -> dict[str, str]:
    with pytest.raises(Invalid) as wrong:
        plans.write(name, written, by=make.BY)
    return wrong.value.errors


def test_the_plan_of_the_contract_is_taken() -> None:
    full = content(
        stage(0.001, gates=[GATE, {"kind": "soak", "seconds": 60}], min_sample=200, max_dwell=3600),
        stage(
            50,
            audience=[{"attr": "country", "op": "equals", "values": ["NZ"]}],
            gates=[{"kind": "no_open_incident"}, {"kind": "approval"}, {"kind": "approval", "rule": "legal"}],
        ),
        stage(100),
        guardrails=[GUARDRAIL],
        watch=600,
    )
    plan, is_new = plans.write("canary", full, by=make.BY)
    assert is_new
    assert (plan.name, plan.version, plan.current) == ("canary", 1, True)
    assert [one["weight"] for one in plan.content["stages"]] == [0.001, 50, 100]
    assert plan.content["stages"][1]["gates"][1] == {"kind": "approval", "rule": "four_eyes"}


def test_a_change_is_a_new_version_and_the_old_one_stays() -> None:
    first, _ = plans.write("canary", content(stage(5)), by=make.BY)
    second, is_new = plans.write("canary", content(stage(10)), by=make.BY)
    first.refresh_from_db()
    assert is_new
    assert (second.version, second.current, first.current) == (2, True, False)
    assert first.hash != second.hash
    assert first.content["stages"][0]["weight"] == 5


@pytest.mark.parametrize(
    "same",
    [
        pytest.param(lambda one: json.loads(json.dumps(one, sort_keys=True)), id="other order of keys"),
        pytest.param(lambda one: {**one, "watch": None}, id="an explicit null"),
        pytest.param(lambda one: {name: one[name] for name in ("stages",)}, id="empty lists left out"),
        pytest.param(lambda one: {**one, "stages": [{**one["stages"][0], "weight": 5.0}]}, id="5.0 for 5"),
    ],
)
def test_saving_the_same_again_is_no_edit(same: Any) -> None:
    first, _ = plans.write("canary", content(), by=make.BY)
    again, is_new = plans.write("canary", same(content()), by=make.person("eve", "captain"))
    assert not is_new
    assert again == first
    assert Plan.objects.count() == 1
    assert audit.of(first).count() == 1


@pytest.mark.parametrize(
    ("written", "field"),
    [
        ({"stages": []}, "stages"),
        ({}, "stages"),
        ({"stages": "many"}, "stages"),
        ({"stages": [7]}, "stages[0]"),
        (content(stage(50), stage(50)), "stages[1].weight"),
        (content(stage(50), stage(20)), "stages[1].weight"),
        (content(stage(101)), "stages[0].weight"),
        (content(stage(-1)), "stages[0].weight"),
        (content(stage(5.0001)), "stages[0].weight"),
        (content(stage(True)), "stages[0].weight"),
        (content(stage("5")), "stages[0].weight"),
        (content(stage(float("nan"))), "stages[0].weight"),
        (content(stage(10**400)), "stages[0].weight"),
        (content(stage(name="")), "stages[0].name"),
        (content(stage(dwell=-1)), "stages[0].dwell"),
        (content(stage(dwell=1.5)), "stages[0].dwell"),
        (content(stage(dwell=None)), "stages[0].dwell"),
        (content(stage(dwell=10**12)), "stages[0].dwell"),
        (content(stage(max_dwell=59)), "stages[0].max_dwell"),
        (content(stage(surprise=1)), "stages[0].surprise"),
        (content(stage(min_sample=10)), "stages[0].min_sample"),
        (content(stage(gates=[{"kind": "soak", "seconds": 1}, {"kind": "magic"}])), "stages[0].gates[1].kind"),
        (content(stage(gates=[{}])), "stages[0].gates[0].kind"),
        (content(stage(gates=[{"kind": "soak"}])), "stages[0].gates[0].seconds"),
        (content(stage(gates=[{"kind": "soak", "seconds": 1, "x": 1}])), "stages[0].gates[0].x"),
        (content(stage(gates=[{"kind": "approval", "rule": ""}])), "stages[0].gates[0].rule"),
        (content(stage(gates=[{"kind": "no_open_incident", "x": 1}])), "stages[0].gates[0].x"),
        (content(stage(gates=[{**GATE, "operator": "=="}])), "stages[0].gates[0].operator"),
        (content(stage(gates=[{**GATE, "value": None}])), "stages[0].gates[0].value"),
        (content(stage(gates=[{**GATE, "window": 0}])), "stages[0].gates[0].window"),
        (content(stage(gates=[{**GATE, "metric": "no name"}])), "stages[0].gates[0].metric"),
        (content(stage(gates=[{**GATE, "for": 5}])), "stages[0].gates[0].for"),
        (content(stage(audience=[{"attr": "a", "op": "smells"}])), "stages[0].audience[0].op"),
        (content(guardrails=[{"kind": "analysis"}]), "guardrails[0].kind"),
        (content(guardrails=[{"kind": "prayer"}]), "guardrails[0].kind"),
        (content(guardrails=[{**GUARDRAIL, "response": "kill"}]), "guardrails[0].response"),
        (content(guardrails=[{**GUARDRAIL, "target": "deployment:1"}]), "guardrails[0].target"),
        (content(guardrails=[{**GUARDRAIL, "operator": "!"}]), "guardrails[0].operator"),
        (content(guardrails=[{**GUARDRAIL, "error": None, "warning": 1.0}]), "guardrails[0].response"),
        (content(checklists=[{"name": "before"}]), "checklists"),
        (content(watch=-1), "watch"),
        (content(other=1), "other"),
    ],
)
def test_what_a_plan_may_not_say_is_named_by_its_path(written: Mapping[str, Any], field: str) -> None:
    found = errors_of(written)
    assert field in found, found
    assert not Plan.objects.exists()


def test_every_mistake_is_told_at_once() -> None:
    found = errors_of(content(stage(-1, dwell=-1), stage(5, gates=[{"kind": "magic"}])))
    assert set(found) == {"stages[0].weight", "stages[0].dwell", "stages[1].gates[0].kind"}


@pytest.mark.parametrize("name", ["", " x", "a/b", "a\nb", "x" * 129])
def test_a_name_can_stand_in_an_address(name: str) -> None:
    assert set(errors_of(content(), name)) == {"name"}
    assert plans.write("Standard canary, ängstlich", content(), by=make.BY)[1]


def test_who_edits_an_older_version_than_there_is_is_told() -> None:
    first, _ = plans.write("canary", content(stage(5)), by=make.BY)
    plans.write("canary", content(stage(10)), by=make.BY)
    with pytest.raises(Stale):
        plans.write("canary", content(stage(20)), by=make.BY, expected_hashes=[first.hash])
    assert Plan.objects.get(current=True).version == 2


def test_plans_are_written_by_those_who_may_configure() -> None:
    with pytest.raises(Forbidden):
        plans.write("canary", content(), by=make.person("olaf", "operator"))
    plan, _ = plans.write("canary", content(), by=make.person("cleo", "captain"))
    assert plan.author_name == "cleo"


def test_a_version_cannot_be_rewritten_even_past_the_actions() -> None:
    plan = make.plan("canary")
    for attempt in (
        lambda: Plan.objects.filter(pk=plan.pk).update(content={}),
        lambda: Plan.objects.filter(pk=plan.pk).update(hash="0" * 64),
        lambda: Plan.objects.filter(pk=plan.pk).delete(),
    ):
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            attempt()


def test_a_deployment_that_has_not_begun_follows_its_plan() -> None:
    draft = make.deployment(plan=make.plan("canary", stages=[5, 100]))
    newer = make.plan("canary", stages=[10, 100])
    draft.refresh_from_db()
    assert (draft.plan, draft.plan_hash) == (newer, newer.hash)
    assert audit.of(draft).filter(verb="deployment.plan_changed").exists()
