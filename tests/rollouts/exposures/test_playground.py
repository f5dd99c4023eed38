"""The playground: every flag for one context, decided and explained by the same code that evaluates."""

from typing import Any

import pytest

from monitoring.models import VariantCount
from rollouts import snapshots
from rollouts.actions import flags, segments
from rollouts.engine.evaluate import evaluate
from rollouts.models import ContextSample, FlagRevision
from tests import make
from tests.monitoring.doors import Caller, fields

pytestmark = pytest.mark.django_db
BY = make.BY


def world() -> None:
    place = make.environment()
    segments.create("staff", by=BY, included=["ann"])
    ramp = make.flag("ramp", on_in=[place])
    rules = [
        {"all": [{"attr": "plan", "op": "equals", "values": ["pro"]}], "serve": {"variant": "on", "rollout": 50}},
        {"segments": ["staff"], "serve": {"variant": "on"}},
    ]
    flags.configure(ramp, place, {"rules": rules}, by=BY)
    child = make.flag("child", on_in=[place], serving="on")
    flags.configure(child, place, {"prerequisites": [{"flag": "ramp", "variants": ["on"]}]}, by=BY)
    make.flag("off")
    make.flag("words", variants={"a": "x", "b": "y"}, value_type="string", on_in=[])


def ask(context: Any, caller: Caller | None = None, query: str = "", **more: Any) -> tuple[int, Any]:
    body = {"environment": "staging", "context": context, **more}
    return (caller or Caller("read")).post(f"playground/{query}", body)


@pytest.mark.parametrize("unit", ["ann", "bob", "carl", "dora"])
def test_every_flag_is_answered_as_it_is_evaluated_with_its_trace(unit: str) -> None:
    world()
    context = {"targetingKey": unit, "plan": "pro"}
    status, body = ask(context)
    assert status == 200
    assert (body["environment"], body["context"], body["count"]) == ("staging", context, 4)
    held = snapshots.whole(make.environment())
    for told in body["results"]:
        result = evaluate(held, told["flag"], context, now=0.0)
        assert (told["variant"], told["value"], told["reason"], told["ruleId"]) == (
            result.variant, result.value, result.reason, result.rule,
        )  # fmt: skip
        assert told["trace"]
    assert [one["flag"] for one in body["results"]] == ["child", "off", "ramp", "words"]


def test_it_answers_as_explain_does() -> None:
    world()
    context = {"targetingKey": "ann", "plan": "free"}
    caller = Caller("read")
    (played,) = ask(context, caller, flags=["child"])[1]["results"]
    status, explained = caller.post("flags/child/environments/staging/explain/", {"context": context})
    assert status == 200
    assert played == explained


def test_it_counts_and_keeps_nothing() -> None:
    world()
    ask({"targetingKey": "ann"})
    assert (VariantCount.objects.count(), ContextSample.objects.count()) == (0, 0)


def test_pages_and_choices_bound_it() -> None:
    world()
    assert [one["flag"] for one in ask({}, flags=["words", "off", "words"])[1]["results"]] == ["words", "off"]
    status, page = ask({}, query="?page_size=3&page=2")
    assert (status, page["count"], [one["flag"] for one in page["results"]], page["next"]) == (200, 4, ["words"], None)
    assert page["previous"]
    assert [one["flag"] for one in ask({}, query="?search=ram")[1]["results"]] == ["ramp"]
    assert ask({}, flags=[])[1]["results"] == []
    assert ask({}, query="?page=9")[0] == 404


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"context": {}}, "environment"),
        ({"environment": "staging"}, "context"),
        ({"environment": "staging", "context": []}, "context"),
        ({"environment": "staging", "context": {"targetingKey": 7}}, "context.targetingKey"),
        ({"environment": "staging", "context": {f"a{n}": 1 for n in range(1001)}}, "context"),
        ({"environment": "staging", "context": {"a": [[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]}}, "context"),
        ({"environment": "staging", "context": {}, "flags": "lamp"}, "flags"),
        ({"environment": "staging", "context": {}, "flags": ["off", "ghost"]}, "flags[1]"),
        ({"environment": "staging", "context": {}, "flags": [f"f{n}" for n in range(501)]}, "flags"),
        ({"environment": "staging", "context": {}, "colour": "red"}, "colour"),
    ],
)
def test_what_is_wrong_is_named(body: Any, field: str) -> None:
    world()
    status, problem = Caller("read").post("playground/", body)
    assert status == 400
    assert field in fields(problem)


def test_it_shows_only_what_one_may_view() -> None:
    world()
    make.environment("other")
    service, flag = make.service("shop"), make.flag("shops")
    flags.change(flag, {"service": service}, by=BY)
    assert ask({}, Caller("read", environments=[make.environment("other")]))[0] == 404
    assert Caller("read").post("playground/", {"environment": "ghost", "context": {}})[0] == 404
    elsewhere = Caller("read", services=[make.service("another")])
    assert "shops" not in [one["flag"] for one in ask({}, elsewhere)[1]["results"]]
    assert ask({}, elsewhere, flags=["shops"])[0] == 400
    for scope in ("ingest", "feedback"):
        assert ask({}, Caller(scope))[0] == 403


def test_archived_flags_are_not_played() -> None:
    world()
    flags.archive(make.flag("gone"), by=BY)
    assert ask({})[1]["count"] == 4
    assert FlagRevision.objects.filter(flag__key="gone").exists()
