"""Segments: made, changed and deleted only when every flag that uses them can bear it."""

from typing import Any

import pytest

from portal import versions
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import AuditEntry
from rollouts.actions import flags, segments
from rollouts.models import Segment
from tests import make

pytestmark = pytest.mark.django_db
BY = make.BY


def within(*keys: str) -> dict[str, Any]:
    return {"op": "segment", "values": list(keys)}


def test_a_segment_is_kept_as_written_and_audited() -> None:
    conditions = [{"attr": "email", "op": "ends_with", "values": ["@x.io"], "ignore_case": True}]
    segments.create("staff", by=BY, name="Staff", conditions=conditions, included=["ann", "ann"], excluded=["eve"])
    staff = Segment.objects.get()
    assert (staff.conditions, staff.included, staff.excluded) == (conditions, ["ann"], ["eve"])
    assert staff.changed_in == versions.current()["flags"]
    assert segments.change(staff, {"included": ["ann"]}, by=BY) is False
    assert segments.change(staff, {"included": ["bob"]}, by=BY) is True
    assert list(AuditEntry.objects.values_list("verb", flat=True)) == ["segment.changed", "segment.created"]


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"key": "a/b"}, "key"),
        ({"conditions": [{"attr": "a", "op": "x", "values": []}]}, "conditions[0].op"),
        ({"conditions": [within("ghost")]}, "conditions[0].values"),
        ({"conditions": [within("me")]}, "conditions"),
        ({"included": "ann"}, "included"),
        ({"included": ["\0"]}, "included[0]"),
        ({"included": ["ann"], "excluded": ["ann"]}, "excluded"),
        ({"units": []}, "units"),
    ],
)
def test_what_is_wrong_is_named(fields: dict[str, Any], fault: str) -> None:
    with pytest.raises(Invalid) as caught:
        segments.create(**{"key": "me", "by": BY, **fields})
    assert fault in caught.value.errors
    assert not Segment.objects.exists()


def test_segments_that_lead_back_are_refused() -> None:
    a = segments.create("a", by=BY)
    segments.create("b", by=BY, conditions=[within("a")])
    with pytest.raises(Invalid, match="refers to itself"):
        segments.change(a, {"conditions": [within("b")]}, by=BY)


def test_segments_nest_only_so_deep() -> None:
    segments.create("s0", by=BY, included=["ann"])
    for n in range(1, 20):
        segments.create(f"s{n}", by=BY, conditions=[within(f"s{n - 1}")])
    with pytest.raises(Invalid, match="nested deeper"):
        segments.create("s20", by=BY, conditions=[within("s19")])


def test_a_segment_in_use_is_not_deleted_and_who_uses_it_is_said() -> None:
    place, staff = make.environment(), segments.create("staff", by=BY, included=["ann"])
    one, two = make.flag("one"), make.flag("two")
    flags.configure(one, place, {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]}, by=BY)
    flags.configure(two, place, {"rules": [{"all": [within("staff")], "serve": {"variant": "on"}}]}, by=BY)
    with pytest.raises(Refused, match="flag one in staging, flag two in staging"):
        segments.delete(staff, by=BY)
    for flag in (one, two):
        flags.configure(flag, place, {"rules": []}, by=BY)
    team = segments.create("team", by=BY, conditions=[within("staff")])
    with pytest.raises(Refused, match="segment team"):
        segments.delete(staff, by=BY)
    segments.delete(team, by=BY)
    segments.delete(staff, by=BY)
    assert not Segment.objects.exists()


def test_whoever_changes_a_segment_must_be_allowed_to_change_the_flags_it_reaches() -> None:
    here, there = make.environment("here"), make.environment("there")
    carl = make.person("carl", "captain", environment=here)
    staff = segments.create("staff", by=carl, included=["ann"])
    team = segments.create("team", by=carl, conditions=[within("staff")])
    flags.configure(make.flag("flag"), there, {"rules": [{"segments": ["team"], "serve": {"variant": "on"}}]}, by=BY)
    for one in (staff, team):
        with pytest.raises(Forbidden):
            segments.change(one, {"excluded": ["eve"]}, by=carl)


def test_a_change_on_an_old_revision_is_stale() -> None:
    staff = segments.create("staff", by=BY)
    with pytest.raises(Stale):
        segments.change(staff, {"name": "x"}, by=BY, expected_revision=7)
    with pytest.raises(Stale):
        segments.delete(staff, by=BY, expected_revision=7)
