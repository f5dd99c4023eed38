"""Making a flag in the portal, and saying what it is."""

from typing import Any

import pytest
from django.urls import reverse

from rollouts.actions import flags
from rollouts.models import Flag
from tests import make
from tests.make import BY
from tests.pages import seats
from tests.pages.test_flag_editor import Fields

pytestmark = pytest.mark.django_db

NEW = "/flags/new/"


def _variants(*rows: tuple[str, str]) -> dict[str, Any]:
    fields: dict[str, Any] = {"variant": [str(n) for n in range(1, len(rows) + 1)]}
    for n, (key, value) in enumerate(rows, 1):
        fields |= {f"variant-{n}-key": key, f"variant-{n}-value": value}
    return fields


def test_the_type_is_asked_first_each_in_one_sentence() -> None:
    shown = seats.captain().get(NEW).content.decode()
    for kind in Flag.Type.values:
        assert f"?type={kind}" in shown
    assert "For a share of the people" in shown


@pytest.mark.parametrize("kind", Flag.Type.values)
def test_a_flag_of_each_type_is_made_from_what_its_form_proposes(kind: str) -> None:
    captain = seats.captain()
    make.service("checkout")
    address = f"{NEW}?type={kind}"
    fields = Fields(captain.get(address).content.decode(), "definition").found
    fields |= {"key": ["new-checkout"], "service": ["checkout"], "tags": ["q4, checkout"], "expires": ["2096-01-01"]}
    answer = captain.post(address, {**fields, "do": "save"}, follow=True)
    assert "off everywhere" in answer.content.decode()
    flag = Flag.objects.get()
    assert (flag.type, str(flag.service), flag.tags) == (kind, "checkout", ["q4", "checkout"])
    assert flag.expires_at is not None
    assert len(flag.variants) == 2


@pytest.mark.parametrize(
    ("value_type", "typed", "value"),
    [
        ("bool", "true", True),
        ("string", "two\r\nlines", "two\nlines"),
        ("int", "42", 42),
        ("float", "1,5", 1.5),
        ("json", '{"a": [1]}', {"a": [1]}),
    ],
)
def test_values_are_typed_as_one_writes_them(value_type: str, typed: str, value: Any) -> None:
    fields = {"key": "f", "value_type": value_type, "purpose": "release", "risk": "low", **_variants(("on", typed))}
    seats.captain().post(f"{NEW}?type=boolean", {**fields, "do": "save"})
    assert Flag.objects.get().variants == [{"key": "on", "value": value}]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"key": "no/slash"}, "1 to 128 letters"),
        ({"key": "taken"}, "there is a flag taken already"),
        ({"value_type": "colour"}, "choose from"),
        ({"value_type": "int"}, "must be a whole number"),
        ({"value_type": "json", **_variants(("on", "{"))}, "must be an object"),
        (_variants(("on", "true"), ("on", "false")), "there is a variant on already"),
        (_variants(), "needs at least one"),
        ({"service": "nowhere"}, "there is no service nowhere"),
        ({"purpose": "fun"}, "choose from"),
        ({"tags": "a, a"}, "there is a tag a already"),
        ({"expires": "2026-02-31"}, "must be a date"),
        ({"expires": "2096-01-01", "permanent": "on"}, "a permanent flag has no expiry date"),
        ({"owner": "x" * 201}, "must be a text of 1 to 200"),
    ],
)
def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(changed: dict[str, Any], said: str) -> None:
    make.flag("taken")
    fields = {
        "key": "f", "value_type": "bool", "purpose": "release", "risk": "low", "description": "keep me",
        **_variants(("on", "true"), ("off", "false")), **changed,
    }  # fmt: skip
    shown = seats.captain().post(f"{NEW}?type=boolean", {**fields, "do": "save"}).content.decode()
    assert said in shown
    assert "keep me" in shown
    assert Fields(shown, "definition").found["key"] == [fields["key"]]
    assert Flag.objects.count() == 1


def test_a_definition_is_changed_and_what_was_not_touched_stays() -> None:
    values = [{"key": "a", "value": " spaces "}, {"key": "b", "value": "two\r\nlines"}]
    flag = flags.create("f", value_type="string", variants=values, by=BY, expires_at="2096-01-01T12:30:00Z")
    captain, address = seats.captain(), reverse("flag-definition", args=["f"])
    fields = Fields(captain.get(address).content.decode(), "definition").found
    captain.post(address, {**fields, "owner": "shop team", "do": "save"})
    had = flag.expires_at
    flag.refresh_from_db()
    assert (flag.owner, flag.variants, flag.expires_at, flag.revision) == ("shop team", values, had, 2)


def test_who_was_slower_is_told_and_loses_nothing() -> None:
    flag = make.flag("f")
    captain, address = seats.captain(), reverse("flag-definition", args=["f"])
    fields = Fields(captain.get(address).content.decode(), "definition").found | {"owner": ["mine"]}
    flags.change(flag, {"owner": "theirs"}, by=BY)
    shown = captain.post(address, {**fields, "do": "save"}).content.decode()
    assert "Somebody else has changed the definition meanwhile" in shown
    again = Fields(shown, "definition").found
    assert again["owner"] == ["mine"]
    captain.post(address, {**again, "do": "save"})
    flag.refresh_from_db()
    assert flag.owner == "mine"


def test_a_flag_is_archived_and_taken_back_with_a_reason() -> None:
    flag = make.flag("f")
    captain = seats.captain()
    assert captain.post(reverse("flag-archive", args=["f"]), {"because": ""}).status_code == 400
    captain.post(reverse("flag-archive", args=["f"]), {"because": "done"})
    flag.refresh_from_db()
    assert flag.archived_at is not None
    assert "Take it into service again" in captain.get(reverse("flag", args=["f"])).content.decode()
    assert captain.get(reverse("flag-definition", args=["f"])).status_code == 409
    captain.post(reverse("flag-unarchive", args=["f"]), {"because": "not yet"})
    flag.refresh_from_db()
    assert flag.archived_at is None


def test_variants_come_and_go_and_keep_what_was_typed() -> None:
    captain = seats.captain()
    address = f"{NEW}?type=ab_test"
    fields = Fields(captain.get(address).content.decode(), "definition").found | {"key": ["f"]}
    shown = captain.post(address, {**fields, "do": "add-variant"}).content.decode()
    fields = Fields(shown, "definition").found
    assert fields["variant"] == ["1", "2", "3"]
    shown = captain.post(address, {**fields, "variant-3-key": "third", "do": "drop-variant:1"}).content.decode()
    fields = Fields(shown, "definition").found
    assert (fields["key"], fields["variant"], fields["variant-3-key"]) == (["f"], ["2", "3"], ["third"])
