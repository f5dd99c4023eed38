"""Segments in the portal: made, understood, edited in words, and never pulled from under a flag."""

import pytest
from django.urls import reverse

from rollouts.actions import flags, segments
from rollouts.models import ChangeRequest, Segment
from tests import make
from tests.make import BY
from tests.pages import seats
from tests.pages.test_flag_editor import Fields

pytestmark = pytest.mark.django_db

CONDITION = {"cond": "1", "cond-1-attr": "country", "cond-1-op": "in", "cond-1-values": "DE\nPL"}


def test_a_segment_is_made_found_and_read() -> None:
    captain = seats.captain()
    fields = {"key": "dach", "name": "Neighbours", "included": "ann\nbob", "excluded": "eve", **CONDITION}
    captain.post(reverse("segment-new"), {**fields, "do": "save"})
    made = Segment.objects.get()
    assert made.conditions == [{"attr": "country", "op": "in", "values": ["DE", "PL"]}]
    assert (made.included, made.excluded) == (["ann", "bob"], ["eve"])
    listed = captain.get(reverse("segments"), {"q": "NEIGH"}).content.decode()
    assert "country is one of DE or PL" in listed
    assert "No segment fits" in captain.get(reverse("segments"), {"q": "nothing"}).content.decode()
    shown = captain.get(reverse("segment", args=["dach"])).content.decode()
    assert "2 named units" in shown
    assert "No rule names it" in shown


def test_a_segment_is_edited_in_words_before_it_is_saved() -> None:
    segment = segments.create(
        "dach", by=BY, included=["ann"], conditions=[{"attr": "a", "op": "equals", "values": [1]}]
    )
    captain, address = seats.captain(), reverse("segment-edit", args=["dach"])
    fields = Fields(captain.get(address).content.decode(), "definition").found
    assert "it is like that already" in captain.post(address, {**fields, "do": "review"}).content.decode()
    fields |= {"included": ["ann\nbob"]}
    shown = captain.post(address, {**fields, "do": "review"}).content.decode()
    assert "Belong in any case" in shown
    captain.post(address, {**fields, "because": "bob asked", "do": "save"})
    segment.refresh_from_db()
    assert (segment.included, segment.conditions) == (["ann", "bob"], [{"attr": "a", "op": "equals", "values": [1]}])


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key": "a b"}, "1 to 128 letters"),
        ({"key": "taken"}, "there is a segment taken already"),
        ({"included": "ann", "excluded": "ann"}, "ann is included already"),
        ({**CONDITION, "cond-1-attr": ""}, "must be a text"),
        ({**CONDITION, "cond-1-op": "segment", "cond-1-values": "nowhere"}, "there is no segment nowhere"),
        ({**CONDITION, "cond-1-op": "like"}, "choose from"),
        ({**CONDITION, "cond-1-op": "cidr", "cond-1-values": "10.0.0.0/99"}, "needs networks such as"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field(changed: dict[str, str], said: str) -> None:
    segments.create("taken", by=BY)
    fields = {"key": "dach", "description": "keep me", **changed, "do": "save"}
    shown = seats.captain().post(reverse("segment-new"), fields).content.decode()
    assert said in shown
    assert "keep me" in shown
    assert Segment.objects.count() == 1


def test_a_segment_that_reaches_a_protected_environment_is_asked_for() -> None:
    make.environment("production", policy="four_eyes", protected=True)
    flag = make.flag("f", on_in=[make.environment("staging")])
    segments.create("dach", by=BY, included=["ann"])
    rule = {"all": [], "segments": ["dach"], "serve": {"variant": "on"}}
    flags.configure(flag, make.environment("staging"), {"rules": [rule]}, by=BY)
    captain, address = seats.captain(), reverse("segment-edit", args=["dach"])
    page = reverse("segment", args=["dach"])
    assert reverse("flag", args=["f"]) in captain.get(page).content.decode()
    refused = captain.post(reverse("segment-delete", args=["dach"]), {"because": "tidy"})
    assert refused.status_code == 409
    production = make.production()
    make.configure(flag, production, {"rules": [rule]})
    fields = Fields(captain.get(address).content.decode(), "definition").found | {"included": ["ann\nbob"]}
    assert "Ask for approval" in captain.post(address, {**fields, "do": "review"}).content.decode()
    captain.post(address, {**fields, "do": "ask"})
    assert ChangeRequest.objects.pending().get().segment == "dach"
    assert Segment.objects.get().included == ["ann"]


def test_who_was_slower_sees_the_others_change_and_loses_nothing() -> None:
    segment = segments.create("dach", by=BY, included=["ann"])
    captain, address = seats.captain(), reverse("segment-edit", args=["dach"])
    fields = Fields(captain.get(address).content.decode(), "definition").found | {"excluded": ["eve"]}
    segments.change(segment, {"included": ["ann", "bob"]}, by=BY)
    shown = captain.post(address, {**fields, "do": "save"}).content.decode()
    assert "Somebody else has saved meanwhile" in shown
    assert Fields(shown, "definition").found["excluded"] == ["eve"]
    assert Segment.objects.get().excluded == []


def test_who_may_not_operate_what_it_reaches_may_not_edit_it() -> None:
    flag = make.flag("f", on_in=[make.environment("staging")])
    make.environment("lab")
    segments.create("dach", by=BY, included=["ann"])
    rule = {"all": [], "segments": ["dach"], "serve": {"variant": "on"}}
    flags.configure(flag, make.environment("staging"), {"rules": [rule]}, by=BY)
    eve = seats.seat(make.person("eve", "captain", environment=make.environment("lab")))
    shown = eve.get(reverse("segment", args=["dach"])).content.decode()
    assert "that you may not see" in shown
    assert eve.get(reverse("segment-edit", args=["dach"])).status_code == 403
