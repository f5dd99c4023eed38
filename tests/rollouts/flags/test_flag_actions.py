"""What people do to flags by hand: defining, configuring, killing, restoring."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from portal import permissions, versions
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import AuditEntry, Environment, Service
from rollouts.actions import flags, segments
from rollouts.engine import documents
from rollouts.models import Flag, FlagConfig, FlagRevision
from tests import make

pytestmark = pytest.mark.django_db
BY = make.BY
ON, OFF = {"variant": "on"}, {"variant": "off"}
SEVERAL = ["company", "targetingKey"]


def faults(flag: Flag, config: dict[str, Any], place: Environment | None = None) -> dict[str, str]:
    with pytest.raises(Invalid) as caught:
        flags.configure(flag, place or make.environment(), config, by=BY)
    return caught.value.errors


# --- Definitions --------------------------------------------------------------------------------
def test_a_flag_without_variants_is_a_switch_that_is_off_everywhere() -> None:
    flag = flags.create("new-checkout", by=BY)
    assert flag.variants == [{"key": "on", "value": True}, {"key": "off", "value": False}]
    assert not FlagConfig.objects.exists()
    assert FlagRevision.objects.get().document["key"] == "new-checkout"
    assert AuditEntry.objects.get(verb="flag.created").object_label == "new-checkout"


def test_two_flags_never_share_a_key_or_a_salt() -> None:
    flags.create("one", by=BY)
    with pytest.raises(Refused, match="there is a flag one already"):
        flags.create("one", by=BY)
    flags.create("two", by=BY)
    assert len(set(Flag.objects.values_list("salt", flat=True))) == 2


@pytest.mark.parametrize("key", ["", "a/b", "-a", "a b", "ä", "a" * 129, "a\n", "a\0"])
def test_a_key_that_would_break_an_address_is_refused(key: str) -> None:
    with pytest.raises(Invalid) as caught:
        flags.create(key, by=BY)
    assert list(caught.value.errors) == ["key"]


@pytest.mark.parametrize(
    ("value_type", "value"),
    [
        ("bool", 1),
        ("bool", "true"),
        ("string", True),
        ("int", True),
        ("int", 1.5),
        ("int", 2**64),
        ("float", False),
        ("float", float("nan")),
        ("float", float("inf")),
        ("float", 1e300),
        ("json", [1]),
        ("json", "x"),
        ("json", {"a": {"b": "\0"}}),
        ("json", {"a\ud800": 1}),
        ("string", "\0"),
    ],
)
def test_a_value_of_another_type_is_named(value_type: str, value: Any) -> None:
    with pytest.raises(Invalid) as caught:
        flags.create("flag", by=BY, value_type=value_type, variants=[{"key": "a", "value": value}])
    assert all(field.startswith("variants[0].value") for field in caught.value.errors)


def test_values_keep_their_type_in_the_store() -> None:
    for value_type, value in (("float", 1), ("int", 2.0), ("string", ""), ("json", {"a": [1, None]}), ("bool", False)):
        flag = flags.create(f"f-{value_type}", by=BY, value_type=value_type, variants=[{"key": "a", "value": value}])
        flag.refresh_from_db()
        kept = flag.variants[0]["value"]
        assert kept == value
        assert type(kept) is {"float": float, "int": int}.get(value_type, type(value))


def test_a_value_nested_too_deep_is_refused() -> None:
    value: dict[str, Any] = {}
    for _ in range(40):
        value = {"a": value}
    with pytest.raises(Invalid, match="nested deeper"):
        flags.create("flag", by=BY, value_type="json", variants=[{"key": "a", "value": value}])


def test_every_fault_of_a_definition_is_named_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        flags.create(
            "flag", by=BY, type="toggle", purpose="fun", risk="none", variants=[{"key": "a", "value": True}] * 2
        )
    assert set(caught.value.errors) == {"type", "purpose", "risk", "variants[1].key"}
    with pytest.raises(Invalid, match="at least two"):
        flags.create("flag", by=BY, type="ab_test", variants=[{"key": "a", "value": "x"}])


def test_a_definition_that_changes_keeps_its_history_and_one_that_does_not_writes_nothing() -> None:
    flag = make.flag("flag")
    before = versions.current()["flags"]
    assert flags.change(flag, {"description": "why"}, by=BY, because="asked") is True
    assert flags.change(flag, {"description": "why"}, by=BY) is False
    kept = FlagRevision.objects.filter(flag=flag).order_by("number")
    assert [one.number for one in kept] == [1, 2]
    assert kept[1].diff == {"description": ["", "why"]}
    assert kept[1].because == "asked"
    assert versions.current()["flags"] == before + 1
    flag.refresh_from_db()
    assert flag.changed_in == before + 1


def test_a_variant_in_use_cannot_be_taken_away() -> None:
    place = make.environment()
    flag = make.flag("flag", variants={"a": "x", "b": "y", "c": "z"}, value_type="string")
    flags.configure(flag, place, {"off_variant": "a", "fallthrough": {"split": {"a": 50, "b": 50}}}, by=BY)
    two = [{"key": "a", "value": "x"}, {"key": "c", "value": "z"}]
    with pytest.raises(Refused, match="b by flag in staging"):
        flags.change(flag, {"variants": two}, by=BY)
    flag.refresh_from_db()
    flags.configure(flag, place, {"fallthrough": {"variant": "a"}}, by=BY)
    assert flags.change(flag, {"variants": two}, by=BY)


def test_the_salt_and_the_key_never_change_even_by_sql() -> None:
    flag = make.flag("flag")
    for field in ("salt", "key"):
        with pytest.raises(DatabaseError, match="never change"), transaction.atomic():
            Flag.objects.filter(pk=flag.pk).update(**{field: "other"})


def test_archived_flags_are_frozen_and_not_while_another_needs_them() -> None:
    place = make.environment()
    parent, child = make.flag("parent"), make.flag("child")
    flags.configure(child, place, {"prerequisites": [{"flag": "parent", "variants": ["on"]}]}, by=BY)
    with pytest.raises(Refused, match="prerequisite of child in staging"):
        flags.archive(parent, by=BY)
    parent.refresh_from_db()
    flags.configure(child, place, {"prerequisites": []}, by=BY)
    assert flags.archive(parent, by=BY) is True
    assert flags.archive(parent, by=BY) is False
    with pytest.raises(Refused, match="archived"):
        flags.configure(parent, place, {"enabled": True}, by=BY)


# --- Configs ------------------------------------------------------------------------------------
def test_a_config_is_shown_as_it_was_written() -> None:
    flag, place = make.flag("flag"), make.environment()
    segments.create("staff", by=BY, included=["ann"])
    written = {
        "enabled": True,
        "off_variant": "off",
        "rules": [
            {
                "id": "germans",
                "all": [
                    {"attr": "country", "op": "in", "values": ["DE"], "negate": True, "ignore_case": True},
                    {"attr": "plan", "op": "in", "values": ["free"], "missing": True},
                ],
                "segments": ["staff"],
                "serve": {"split": {"on": 33.333, "off": 66.667}, "rollout": 12.5, "by": SEVERAL},
            }
        ],
        "overrides": {"on": ["ann"]},
        "fallthrough": {"variant": "off", "rollout": 0.001},
        "prerequisites": [],
        "window": {"from": "2026-01-01T00:00:00Z", "until": None},
    }
    config = flags.configure(flag, place, written, by=BY)
    config.refresh_from_db()
    assert documents.show_config(config.document()) == written
    assert config.rules[0]["serve"] == {"split": {"on": 33_333, "off": 66_667}, "rollout": 12_500, "by": SEVERAL}


def test_a_field_left_out_keeps_its_value() -> None:
    flag, place = make.flag("flag"), make.environment()
    flags.configure(flag, place, {"enabled": True, "fallthrough": ON, "overrides": {"off": ["eve"]}}, by=BY)
    config = flags.configure(flag, place, {"enabled": False}, by=BY)
    assert (config.enabled, config.fallthrough, config.overrides) == (False, ON, {"off": ["eve"]})


def test_the_same_config_again_writes_nothing() -> None:
    flag, place = make.flag("flag"), make.environment()
    flags.configure(flag, place, {"enabled": True, "rules": [{"serve": ON}]}, by=BY)
    before = (versions.current()["flags"], AuditEntry.objects.count(), FlagRevision.objects.count())
    flags.configure(flag, place, {"enabled": True, "rules": [{"serve": ON}]}, by=BY)
    assert (versions.current()["flags"], AuditEntry.objects.count(), FlagRevision.objects.count()) == before


@pytest.mark.parametrize(
    ("config", "field"),
    [
        ({"enabled": "yes"}, "enabled"),
        ({"off_variant": "ghost"}, "off_variant"),
        ({"rollout": 5}, "rollout"),
        ({"rules": {}}, "rules"),
        ({"rules": ["x"]}, "rules[0]"),
        ({"rules": [{}]}, "rules[0].serve"),
        ({"rules": [{"serve": {"variant": "ghost"}}]}, "rules[0].serve.variant"),
        ({"rules": [{"serve": {**ON, "rollout": 100.001}}]}, "rules[0].serve.rollout"),
        ({"rules": [{"serve": {**ON, "rollout": -1}}]}, "rules[0].serve.rollout"),
        ({"rules": [{"serve": {**ON, "rollout": 0.0001}}]}, "rules[0].serve.rollout"),
        ({"rules": [{"serve": {**ON, "rollout": True}}]}, "rules[0].serve.rollout"),
        ({"rules": [{"serve": {**ON, "rollout": "5"}}]}, "rules[0].serve.rollout"),
        ({"rules": [{"serve": {**ON, "split": {"on": 1}}}]}, "rules[0].serve"),
        ({"rules": [{"serve": {"split": {"on": 0}}}]}, "rules[0].serve.split"),
        ({"rules": [{"serve": {"split": {"ghost": 1}}}]}, "rules[0].serve.split.ghost"),
        ({"rules": [{"serve": {"split": {"on": 101}}}]}, "rules[0].serve.split.on"),
        ({"rules": [{"id": "a/b", "serve": ON}]}, "rules[0].id"),
        ({"rules": [{"id": "fallthrough", "serve": ON}]}, "rules[0].id"),
        ({"rules": [{"id": "deployment:1", "serve": ON}]}, "rules[0].id"),
        ({"rules": [{"id": "a", "serve": ON}, {"id": "a", "serve": ON}]}, "rules[1].id"),
        ({"rules": [{"serve": ON, "deployment": 3}]}, "rules[0].deployment"),
        ({"rules": [{"serve": ON, "segments": ["ghost"]}]}, "rules[0].segments[0]"),
        ({"rules": [{"serve": ON, "all": [{"op": "segment", "values": ["ghost"]}]}]}, "rules[0].all[0].values"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": "guess", "values": [1]}]}]}, "rules[0].all[0].op"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": ["in"], "values": [1]}]}]}, "rules[0].all[0].op"),
        ({"rules": [{"serve": ON, "all": [{"op": "in", "values": ["a"]}]}]}, "rules[0].all[0].attr"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": "gt", "values": ["x"]}]}]}, "rules[0].all[0].values"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": "in", "values": []}]}]}, "rules[0].all[0].values"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": "in", "values": ["\0"]}]}]}, "rules[0].all[0].values[0]"),
        ({"rules": [{"serve": ON, "all": [{"attr": "a", "op": "regex", "values": ["("]}]}]}, "rules[0].all[0].values"),
        (
            {"rules": [{"serve": ON, "all": [{"attr": "a", "op": "in", "values": ["a"], "missing": 1}]}]},
            "rules[0].all[0].missing",
        ),
        (
            {"rules": [{"serve": ON, "all": [{"attr": "a", "op": "exists", "missing": True}]}]},
            "rules[0].all[0].missing",
        ),
        ({"overrides": {"ghost": ["a"]}}, "overrides.ghost"),
        ({"overrides": {"on": ["a"], "off": ["a"]}}, "overrides.off[0]"),
        ({"overrides": {"on": [7]}}, "overrides.on[0]"),
        ({"fallthrough": {}}, "fallthrough"),
        ({"prerequisites": [{"flag": "ghost", "variants": ["on"]}]}, "prerequisites[0].flag"),
        ({"prerequisites": [{"flag": "flag", "variants": ["on"]}]}, "prerequisites[0].flag"),
        ({"prerequisites": [{"flag": "other", "variants": ["ghost"]}]}, "prerequisites[0].variants[0]"),
        ({"prerequisites": [{"flag": "other", "variants": []}]}, "prerequisites[0].variants"),
        ({"window": {"from": "soon"}}, "window.from"),
        ({"window": {"from": "2026-01-01T00:00:00"}}, "window.from"),
        ({"window": {"from": "2026-02-01T00:00:00Z", "until": "2026-01-01T00:00:00Z"}}, "window.until"),
        ({"window": {"til": None}}, "window.til"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(config: dict[str, Any], field: str) -> None:
    flag, _ = make.flag("flag"), make.flag("other")
    assert field in faults(flag, config)
    assert not FlagConfig.objects.exists()


def test_a_config_that_is_too_large_is_refused() -> None:
    assert "" in faults(make.flag("flag"), {"overrides": {"on": ["u" * 900 + str(n) for n in range(80)]}})


def test_prerequisites_that_lead_back_through_other_flags_are_refused() -> None:
    place = make.environment()
    made = {key: make.flag(key) for key in "abc"}
    for key, other in (("a", "b"), ("b", "c")):
        flags.configure(made[key], place, {"prerequisites": [{"flag": other, "variants": ["on"]}]}, by=BY)
    found = faults(made["c"], {"prerequisites": [{"flag": "a", "variants": ["on"]}]})
    assert "leads back to c" in found["prerequisites[0].flag"]
    # In another environment it is no cycle.
    elsewhere = make.environment("elsewhere")
    flags.configure(made["c"], elsewhere, {"prerequisites": [{"flag": "a", "variants": ["on"]}]}, by=BY)


def test_a_time_based_flag_needs_its_window_before_it_is_switched_on() -> None:
    flag = flags.create("sale", by=BY, type="time_based")
    assert "window" in faults(flag, {"enabled": True})
    flags.configure(flag, make.environment(), {"enabled": True, "window": {"until": "2030-01-01T00:00:00Z"}}, by=BY)


def test_a_schedule_in_the_past_is_refused_and_one_that_has_ended_may_be_edited_around(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    flag, place = flags.create("sale", by=BY, type="time_based"), make.environment()
    ends = timezone.now() + timedelta(hours=1)
    soon = ends.isoformat()
    over = {"kind": "steps", "points": [{"at": "2026-01-01T00:00:00Z", "rollout": 5}]}
    found = faults(flag, {"enabled": True, "fallthrough": {**ON, "schedule": over}}, place)
    assert "a schedule in the past" in found["fallthrough.schedule"]
    schedule = {"kind": "steps", "points": [{"at": soon, "rollout": 100}]}
    # A schedule is what makes it time-based, as a window does.
    flags.configure(flag, place, {"enabled": True, "fallthrough": {**ON, "schedule": schedule}}, by=BY)
    monkeypatch.setattr(flags, "timezone", SimpleNamespace(now=lambda: ends + timedelta(seconds=1)))
    shown = documents.show_config(FlagConfig.objects.get().document())
    flags.configure(flag, place, {**shown, "overrides": {"off": ["eve"]}}, by=BY)
    assert flags.restore(flag, place, 1, by=BY).fallthrough["schedule"]["points"] == [{"at": soon, "rollout": 100_000}]


def test_rules_without_id_keep_theirs_from_write_to_write() -> None:
    flag, place = make.flag("flag"), make.environment()
    germans = {"all": [{"attr": "country", "op": "in", "values": ["DE"]}], "serve": {**ON, "rollout": 10}}
    everyone = {"all": [], "serve": {**ON, "rollout": 1}}

    def ids(*rules: dict[str, Any]) -> list[str]:
        return [one["id"] for one in flags.configure(flag, place, {"rules": list(rules)}, by=BY).rules]

    first = ids(germans, everyone)
    assert len(set(first)) == 2
    # A ramp, a new order, changed conditions, a rule in front: nobody is dealt anew.
    assert ids({**germans, "serve": {**ON, "rollout": 50}}, everyone) == first
    assert ids(everyone, germans) == first[::-1]
    assert ids(germans, everyone) == first
    assert ids(germans | {"all": [{"attr": "country", "op": "in", "values": ["AT"]}]}, everyone) == first
    new = ids({"id": "vip", "serve": ON}, germans, everyone)
    assert new[0] == "vip"
    assert new[2] == first[1]


def test_a_write_on_an_old_revision_is_stale() -> None:
    flag, place = make.flag("flag"), make.environment()
    flags.configure(flag, place, {"enabled": True}, by=BY, expected_revision=0)
    with pytest.raises(Stale, match="at revision 1"):
        flags.configure(flag, place, {"enabled": False}, by=BY, expected_revision=0)
    assert FlagConfig.objects.get().enabled


# --- Revisions ----------------------------------------------------------------------------------
def test_every_write_is_one_revision_one_audit_entry_and_one_version() -> None:
    flag, place = make.flag("flag"), make.environment()
    for config in ({"enabled": True}, {"fallthrough": ON}, {"enabled": False}, {"rules": [{"serve": ON}]}):
        before = versions.current()["flags"]
        flags.configure(flag, place, config, by=BY, because="step")
        assert versions.current()["flags"] == before + 1
    kept = FlagRevision.objects.filter(flag=flag, environment=place).order_by("number")
    assert [one.number for one in kept] == [1, 2, 3, 4]
    assert [sorted(one.diff) for one in kept[1:]] == [["fallthrough"], ["enabled"], ["rules"]]
    assert AuditEntry.objects.filter(object_label="flag", because="step").count() == 4
    assert FlagConfig.objects.get().changed_in == versions.current()["flags"]


def test_any_revision_can_be_restored_as_a_new_one() -> None:
    flag, place = make.flag("flag"), make.environment()
    flags.configure(flag, place, {"enabled": True, "rules": [{"id": "r", "serve": {**ON, "rollout": 5}}]}, by=BY)
    flags.configure(flag, place, {"rules": [], "fallthrough": ON}, by=BY)
    config = flags.restore(flag, place, 1, by=BY)
    assert config.revision == 3
    assert config.rules == [{"id": "r", "all": [], "serve": {"variant": "on", "rollout": 5_000}}]
    assert FlagRevision.objects.get(number=3, environment=place).because == "back to revision 1"
    with pytest.raises(Invalid, match="no revision 9"):
        flags.restore(flag, place, 9, by=BY)


def test_a_revision_whose_variants_are_gone_is_not_restored() -> None:
    place = make.environment()
    flag = make.flag("flag", variants={"a": "x", "b": "y"}, value_type="string")
    flags.configure(flag, place, {"fallthrough": {"variant": "b"}}, by=BY)
    flags.configure(flag, place, {"fallthrough": {"variant": "a"}}, by=BY)
    flags.change(flag, {"variants": [{"key": "a", "value": "x"}]}, by=BY)
    with pytest.raises(Refused, match=r"no longer fits: fallthrough\.variant"):
        flags.restore(flag, place, 1, by=BY)


@pytest.mark.parametrize(
    "statement", ["UPDATE rollouts_flagrevision SET actor = 'x'", "DELETE FROM rollouts_flagrevision"]
)
def test_a_revision_is_never_changed_even_by_sql(statement: str) -> None:
    make.flag("flag")
    with pytest.raises(DatabaseError, match="never changed"), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(statement)


def test_revisions_cannot_be_truncated() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_trigger WHERE tgname = 'rollouts_flagrevision_no_truncate'")
        assert cursor.fetchone() == (1,)


# --- The kill switch ----------------------------------------------------------------------------
def test_a_kill_keeps_everything_else_and_can_be_taken_back() -> None:
    flag, place = make.flag("flag"), make.environment()
    flags.configure(flag, place, {"enabled": True, "fallthrough": ON, "rules": [{"serve": OFF}]}, by=BY)
    killed = flags.kill(flag, place, by=BY, because="it burns")
    assert (killed.enabled, killed.killed, killed.fallthrough) == (False, True, ON)
    assert AuditEntry.objects.get(verb="flag.killed").because == "it burns"
    assert flags.switch_on(flag, place, by=BY).enabled
    assert not FlagConfig.objects.get().killed


def test_a_flag_that_was_never_configured_can_be_killed() -> None:
    flag, place = make.flag("flag"), make.environment()
    assert flags.kill(flag, place, by=BY).revision == 1
    assert FlagConfig.objects.get().killed


# --- Who may ------------------------------------------------------------------------------------
def test_an_operator_edits_in_his_environment_and_defines_nothing() -> None:
    here, there = make.environment("here"), make.environment("there")
    flag = make.flag("flag")
    olga = make.person("olga", "operator", environment=here)
    flags.configure(flag, here, {"enabled": True}, by=olga)
    with pytest.raises(Forbidden):
        flags.kill(flag, there, by=olga)
    with pytest.raises(Forbidden):
        flags.create("mine", by=olga)
    with pytest.raises(Forbidden):
        flags.change(flag, {"owner": "olga"}, by=olga)


def test_a_flag_belongs_to_its_service() -> None:
    shop: Service = make.service("shop")
    carl = make.person("carl", "captain", service=shop)
    mine = flags.create("mine", by=carl, service=shop)
    flags.configure(mine, make.environment(), {"enabled": True}, by=carl)
    other = make.flag("other")
    with pytest.raises(Forbidden):
        flags.configure(other, make.environment(), {"enabled": True}, by=carl)
    with pytest.raises(Forbidden):
        flags.change(mine, {"service": make.service("bank")}, by=carl)
    assert permissions.can(carl, "operate", environment=make.environment(), service=shop)


def test_values_change_only_by_who_may_configure_wherever_the_flag_is() -> None:
    here, there = make.environment("here"), make.environment("there")
    flag = make.flag("flag", on_in=[here, there])
    carl = make.person("carl", "captain", environment=here)
    assert flags.change(flag, {"description": "mine"}, by=carl)
    with pytest.raises(Forbidden):
        flags.change(flag, {"variants": [*flag.variants, {"key": "new", "value": True}]}, by=carl)
    with pytest.raises(Forbidden):
        flags.archive(flag, by=carl)
