"""A document's wishes are written through the same verbs as everyone's: all of them or none, and only once."""

from typing import Any

import pytest

from portal.errors import Invalid, Refused
from portal.models import AuditEntry, Environment
from rollouts.actions import configuration, flags
from rollouts.importers.wanted import Wanted, WantedFlag, WantedSegment
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment
from tests import make

pytestmark = pytest.mark.django_db
SWITCH = [{"key": "on", "value": True}, {"key": "off", "value": False}]


@pytest.fixture
def place() -> Environment:
    return make.environment("staging")


def wishes(**config: Any) -> Wanted:
    lit = {"enabled": True, "fallthrough": {"variant": "on"}}
    rule = {"id": "staff", "segments": ["staff"], "serve": {"variant": "on"}}
    return Wanted(
        segments=[WantedSegment("staff", {"included": ["ann"]})],
        flags=[
            WantedFlag("child", {"variants": SWITCH}, {"staging": {
                "enabled": True, "off_variant": "off", "rules": [rule], "fallthrough": {"variant": "off"},
                "prerequisites": [{"flag": "parent", "variants": ["on"]}],
            } | config}, ["mind the gap"]),
            WantedFlag("parent", {"variants": SWITCH}, {"staging": lit}),
        ],
    )  # fmt: skip


def test_a_plan_says_what_would_change_and_writes_nothing(place: Environment) -> None:
    plan = configuration.plan(wishes(), by=make.BY)
    assert plan.counts == {"create": 5, "change": 0, "keep": 0}
    assert plan.warnings == (("child", "mind the gap"),)
    config = next(step for step in plan.steps if step.kind == "config" and step.key == "child")
    assert config.environment == "staging"
    assert config.changes["enabled"] == [None, True]
    assert not Flag.objects.exists()
    assert not Segment.objects.exists()
    assert not AuditEntry.objects.filter(verb__startswith="flag").exists()


def test_what_is_applied_is_audited_and_a_second_time_changes_nothing(place: Environment) -> None:
    planned = configuration.plan(wishes(), by=make.BY)
    done = configuration.apply(wishes(), by=make.BY, because="moving in")
    assert done.steps == planned.steps
    assert Segment.objects.get().included == ["ann"]
    assert FlagConfig.objects.get(flag__key="child").prerequisites == [{"flag": "parent", "variants": ["on"]}]
    revisions = FlagRevision.objects.count()
    assert set(FlagRevision.objects.values_list("because", flat=True)) == {"moving in"}
    again = configuration.apply(wishes(), by=make.BY)
    assert again.counts == {"create": 0, "change": 0, "keep": 5}
    assert FlagRevision.objects.count() == revisions


def test_one_fault_keeps_everything_from_being_written_and_all_are_named(place: Environment) -> None:
    wanted = wishes(fallthrough={"variant": "purple"})
    wanted.flags.append(WantedFlag("odd", {"variants": SWITCH}, {"moon": {"enabled": True}}))
    with pytest.raises(Invalid) as caught:
        configuration.apply(wanted, by=make.BY)
    assert caught.value.errors.keys() == {
        "flags.child.environments.staging.fallthrough.variant", "flags.odd.environments.moon",
    }  # fmt: skip
    assert not Flag.objects.exists()
    assert not Segment.objects.exists()


def test_a_variant_that_is_served_can_be_replaced_in_one_go(place: Environment) -> None:
    flag = make.flag("colour", variants={"off": "r", "blue": "b"}, value_type="string", on_in=[place])
    variants = [{"key": "blue", "value": "b2"}, {"key": "green", "value": "g"}]
    config = {"off_variant": "blue", "rules": [], "fallthrough": {"variant": "green"}}
    configuration.apply(Wanted(flags=[WantedFlag("colour", {"variants": variants}, {"staging": config})]), by=make.BY)
    flag.refresh_from_db()
    assert flag.variants == variants
    assert flag.configs.get().fallthrough == {"variant": "green"}


def test_a_value_type_never_changes_and_an_archived_flag_is_left_alone(place: Environment) -> None:
    make.flag("typed", variants={"a": "x"}, value_type="string")
    with pytest.raises(Invalid) as caught:
        configuration.plan(Wanted(flags=[WantedFlag("typed", {"value_type": "bool", "variants": SWITCH})]), by=make.BY)
    assert caught.value.errors == {"flags.typed.value_type": "is string here and can never change"}
    flags.archive(make.flag("old"), by=make.BY)
    with pytest.raises(Refused, match="old is archived"):
        configuration.plan(Wanted(flags=[WantedFlag("old", {"description": "new"})]), by=make.BY)


def test_a_cycle_of_the_document_is_refused_with_both_ends(place: Environment) -> None:
    wanted = wishes()
    wanted.flags[1].configs["staging"]["prerequisites"] = [{"flag": "child", "variants": ["on"]}]
    wanted.segments.append(WantedSegment("a", {"conditions": [{"op": "segment", "values": ["b"]}]}))
    wanted.segments.append(WantedSegment("b", {"conditions": [{"op": "segment", "values": ["a"]}]}))
    with pytest.raises(Invalid) as caught:
        configuration.apply(wanted, by=make.BY)
    assert "flags.parent.environments.staging.prerequisites[0].flag" in caught.value.errors
    assert {"segments.a.conditions", "segments.b.conditions"} <= caught.value.errors.keys()
    assert not Flag.objects.exists()


def test_segments_come_before_those_that_refer_to_them_whatever_their_order() -> None:
    outer = WantedSegment("outer", {"conditions": [{"op": "segment", "values": ["inner"]}]})
    configuration.apply(Wanted(segments=[outer, WantedSegment("inner", {"included": ["u"]})]), by=make.BY)
    assert list(Segment.objects.values_list("key", flat=True)) == ["inner", "outer"]
