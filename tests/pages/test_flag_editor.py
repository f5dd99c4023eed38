"""The editor of a flag: buttons that keep what was typed, words before saving, and nobody's work lost."""

import re
from collections.abc import Mapping
from html.parser import HTMLParser
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from rollouts.actions import flags, segments
from rollouts.engine import documents
from rollouts.models import ChangeRequest, Flag, FlagConfig
from rollouts.views.config_forms import ConfigForm
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db


class Fields(HTMLParser):
    """What a browser would send of the form with this id."""

    def __init__(self, page: str, form: str) -> None:
        super().__init__()
        self.form, self.inside = form, False
        self.found: dict[str, list[str]] = {}
        self.select: str | None = None
        self.option: tuple[str, bool] | None = None
        self.area: str | None = None
        self.first: dict[str, str] = {}
        self.feed(page)

    def add(self, name: str | None, value: str) -> None:
        if name:
            self.found.setdefault(name, []).append(value)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "form":
            self.inside = given.get("id") == self.form
        if not self.inside:
            return
        if tag == "input":
            if given.get("type") in ("checkbox", "radio"):
                if "checked" in given:
                    self.add(given.get("name"), given.get("value", "on"))
            else:
                self.add(given.get("name"), given.get("value", ""))
        elif tag == "select":
            self.select, self.option = given.get("name"), None
        elif tag == "option" and self.select:
            self.option = (given.get("value", ""), "value" in given)
            if "selected" in given or self.select not in self.first:
                self.first[self.select] = given.get("value", "")
        elif tag == "textarea":
            self.area = given.get("name")
            self.add(self.area, "")

    def handle_data(self, data: str) -> None:
        if self.inside and self.area:
            # The parser of a browser swallows the first line break.
            self.found[self.area][-1] += data
        elif self.inside and self.option and self.select and not self.option[1] and not self.first[self.select]:
            self.first[self.select] = data.strip()

    def handle_endtag(self, tag: str) -> None:
        if tag == "textarea" and self.area:
            self.found[self.area][-1] = self.found[self.area][-1].removeprefix("\n")
            self.area = None
        elif tag == "select" and self.select and self.inside:
            self.add(self.select, self.first[self.select])
            self.select = None
        elif tag == "form":
            self.inside = False


def _address(flag: Flag, place: str = "staging") -> str:
    return reverse("flag-edit", args=[flag.key, place])


def _form(client: Client, address: str, form: str = "editor") -> dict[str, Any]:
    return Fields(client.get(address).content.decode(), form).found


def _press(client: Client, address: str, fields: Mapping[str, Any], do: str, **changed: Any) -> str:
    answer = client.post(address, {**fields, **changed, "do": do}, follow=True)
    assert answer.status_code == 200, answer.content[:500]
    return answer.content.decode()


def _rich() -> dict[str, Any]:
    """Something of everything that a config can say."""
    return {
        "enabled": True,
        "off_variant": "off",
        "rules": [
            {
                "id": "germans",
                "all": [
                    {"attr": "country", "op": "in", "values": ["DE", "AT"], "negate": True},
                    {"attr": "age", "op": "gte", "values": [18.5]},
                    {"attr": "seats", "op": "in", "values": [1, 2]},
                    {"attr": "beta", "op": "equals", "values": [True]},
                    {"attr": "odd", "op": "in", "values": ["two\nlines", " spaces ", 5]},
                    {"attr": "mail", "op": "ends_with", "values": ["@X"], "ignore_case": True, "missing": True},
                    {"attr": "since", "op": "after", "values": ["2026-01-01T00:00:00+01:00"]},
                    {"attr": "id", "op": "modulo", "values": [10, 3]},
                    {"attr": "plan", "op": "exists", "values": []},
                    {"op": "segment", "values": ["testers"], "negate": True},
                ],
                "segments": ["testers", "friends"],
                "serve": {"split": {"on": 33.333, "off": 66.667}, "rollout": 12.5, "by": "company"},
            },
            {"id": "rest", "all": [], "serve": {"variant": "on", "rollout": 100, "by": "targetingKey"}},
        ],
        "fallthrough": {
            "variant": "on",
            "rollout": 0,
            "schedule": {
                "kind": "linear",
                "zone": "Europe/Warsaw",
                "points": [
                    {"at": "2096-03-01T09:00:00+01:00", "rollout": 5},
                    {"at": "2096-04-01T09:30:30+02:00", "rollout": 62.5},
                ],
            },
        },
        "overrides": {"on": ["ann", "bob"], "off": ["eve"]},
        "prerequisites": [{"flag": "other", "variants": ["on", "off"]}],
        "window": {"from": "2026-01-01T00:00:00+02:00", "until": None},
    }


def _rich_flag() -> Flag:
    make.environment("staging")
    make.flag("other")
    segments.create("testers", by=BY, included=["u1"])
    segments.create("friends", by=BY, included=["u2"])
    flag = make.flag("new-checkout")
    flags.configure(flag, make.environment("staging"), _rich(), by=BY)
    return flag


def test_what_nobody_touches_stays_as_it_is_held() -> None:
    flag = _rich_flag()
    config = FlagConfig.objects.get(flag=flag)
    form = ConfigForm.held(config)
    read = documents.read_config(form.document(config), config.document(), variants=["on", "off"], now=0)
    assert (read.faults, read.document) == ({}, config.document())


def test_a_page_sent_back_untouched_changes_nothing() -> None:
    flag = _rich_flag()
    captain = seats.captain()
    fields = _form(captain, _address(flag))
    assert "Nothing: it does that already." in _press(captain, _address(flag), fields, "review")
    assert "did that in staging already" in _press(captain, _address(flag), fields, "save")
    assert FlagConfig.objects.get(flag=flag).revision == 1


def test_a_percentage_flag_is_set_up_told_in_words_and_saved() -> None:
    place = make.environment("staging")
    flag = flags.create("new-checkout", type="percentage", by=BY)
    captain = seats.captain()
    fields = _form(captain, _address(flag)) | {"enabled": "on", "else-rollout": "25"}
    shown = _press(captain, _address(flag), fields, "review")
    assert "on for 25 %" in shown
    assert "Save in staging" in shown
    assert not FlagConfig.objects.exists()
    assert "Saved: it is revision 1" in _press(captain, _address(flag), fields, "save", because="a quarter first")
    held = FlagConfig.objects.get(flag=flag, environment=place)
    assert (held.enabled, held.fallthrough) == (True, {"variant": "on", "rollout": 25_000})
    assert held.flag.revisions.get(environment=place).because == "a quarter first"


@pytest.mark.parametrize(
    ("kind", "served"),
    [
        ("boolean", {"variant": "on"}),
        ("percentage", {"variant": "on", "rollout": 0}),
        ("user_group", {"variant": "off"}),
        ("ab_test", {"split": {"on": 50_000, "off": 50_000}}),
        ("time_based", {"variant": "on"}),
    ],
)
def test_each_type_proposes_what_it_is_for(kind: str, served: dict[str, Any]) -> None:
    make.environment("staging")
    flag = flags.create("new-checkout", type=kind, by=BY)
    captain = seats.captain()
    changed = {"enabled": "on", "until": "2096-01-01T00:00"}
    if kind == "user_group":
        segments.create("testers", by=BY, included=["u1"])
        changed["rule-1-segment"] = "testers"
    fields = _form(captain, _address(flag)) | changed
    _press(captain, _address(flag), fields, "save")
    held = FlagConfig.objects.get(flag=flag)
    assert held.fallthrough == served
    assert held.window == {"from": None, "until": "2096-01-01T00:00:00Z"}
    assert [rule["segments"] for rule in held.rules] == ([["testers"]] if kind == "user_group" else [])


def test_rules_and_conditions_come_move_and_go_and_keep_what_was_typed() -> None:
    make.environment("staging")
    segments.create("testers", by=BY, included=["u1"])
    flag = make.flag("new-checkout")
    captain, address = seats.captain(), _address(flag)
    fields = _form(captain, address)

    def press(do: str, **changed: Any) -> None:
        nonlocal fields
        fields = Fields(_press(captain, address, fields, do, **changed), "editor").found

    press("add-rule")
    press("add-segment:1", **{"rule-1-segment": "testers"})
    press("add-cond:1")
    press(
        "add-rule", **{"rule-1-cond-1-attr": "country", "rule-1-cond-1-op": "not:in", "rule-1-cond-1-values": "DE\nPL"}
    )
    press("add-cond:2")
    press("up:2", **{"rule-2-cond-1-attr": "age", "rule-2-cond-1-op": "lt", "rule-2-cond-1-values": "18"})
    assert fields["rule"] == ["2", "1"]
    press("add-need")
    press("drop-need:1", **{"need-1-flag": "nonsense"})
    press("add-point:else")
    press("drop-point:else:1")
    _press(captain, address, fields, "save")
    first, second = FlagConfig.objects.get(flag=flag).rules
    assert first["all"] == [{"attr": "age", "op": "lt", "values": [18]}]
    assert second["all"] == [{"attr": "country", "op": "in", "values": ["DE", "PL"], "negate": True}]
    assert second["segments"] == ["testers"]
    press("drop-rule:2")
    assert fields["rule"] == ["1"]


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"else-rollout": "101"}, "must be a percentage from 0 to 100"),
        ({"else-rollout": "lots"}, "must be a percentage from 0 to 100"),
        ({"else-rollout": "0.0001"}, "at most three decimals"),
        ({"else-what": "variant:blue"}, "the flag has no such variant"),
        ({"off_variant": "blue"}, "the flag has no such variant"),
        ({"else-what": "split"}, "needs a weight above 0"),
        ({"from": "soon"}, "must be a time such as"),
        ({"from": "2030-01-01T00:00", "until": "2029-01-01T00:00"}, "must be after its beginning"),
        ({"need": "1", "need-1-flag": "nowhere", "need-1-variants": "on"}, "there is no flag nowhere"),
        ({"need": "1", "need-1-flag": "new-checkout", "need-1-variants": "on"}, "leads back to new-checkout"),
        ({"rule": "1", "rule-1-serve-what": "variant:on", "rule-1-segment": "nobody"}, "there is no segment nobody"),
        ({"units-on": "ann", "units-off": "ann"}, "ann is given on already"),
        ({"else-ramp": "linear"}, "needs at least two"),
        (
            {"else-ramp": "steps", "else-point": "1", "else-at-1": "2020-01-01T00:00", "else-share-1": "5"},
            "in the past",
        ),
        (
            {"rule": "1", "rule-1-serve-what": "variant:on", "rule-1-cond": "1", "rule-1-cond-1-attr": "age",
             "rule-1-cond-1-op": "gt", "rule-1-cond-1-values": "old"},
            "needs one number",
        ),
    ],
)  # fmt: skip
@pytest.mark.parametrize("do", ["review", "save"])
def test_what_is_wrong_is_said_beside_its_field_and_nothing_typed_is_lost(
    changed: dict[str, str], said: str, do: str
) -> None:
    make.environment("staging")
    flag = make.flag("new-checkout")
    captain = seats.captain()
    fields = _form(captain, _address(flag)) | {"because": "keep me", "units-off": "zoe"} | changed
    shown = _press(captain, _address(flag), fields, do)
    assert said in re.sub(r"&#x27;|&quot;", "'", shown)
    assert "another look" in shown
    sent_again = Fields(shown, "editor").found
    # A choice that does not exist cannot stay chosen.
    kept = {name: value for name, value in {**fields, **changed}.items() if "blue" not in str(value)}
    kept = {name: value for name, value in kept.items() if not name.endswith(("-segment", "token"))}
    assert {name: sent_again.get(name) for name in kept if name not in ("off_variant", "else-what")} == {
        name: value if isinstance(value, list) else [value]
        for name, value in kept.items()
        if name not in ("off_variant", "else-what")
    }
    assert not FlagConfig.objects.exists()


def test_who_was_slower_sees_what_the_other_saved_and_loses_nothing() -> None:
    place = make.environment("staging")
    flag = make.flag("new-checkout", on_in=[place])
    captain = seats.captain()
    fields = _form(captain, _address(flag)) | {"units-on": "ann"}
    flags.configure(flag, place, {"fallthrough": {"variant": "on", "rollout": 5}}, by=BY)
    shown = _press(captain, _address(flag), fields, "save")
    assert "Somebody else has saved meanwhile: this is revision 2 now" in shown
    assert "on for 5 %" in shown
    assert FlagConfig.objects.get().revision == 2
    again = Fields(shown, "editor").found
    assert again["units-on"] == ["ann"]
    assert again["revision"] == ["2"]
    _press(captain, _address(flag), again, "save")
    assert FlagConfig.objects.get().overrides == {"on": ["ann"]}


def test_a_protected_environment_is_asked_for_and_switched_off_at_once() -> None:
    make.environment("production", policy="four_eyes", protected=True)
    flag = make.flag("new-checkout", on_in=[make.production()])
    captain, address = seats.captain(), _address(flag, "production")
    fields = _form(captain, address) | {"units-on": "ann"}
    shown = _press(captain, address, fields, "review")
    assert "Ask for approval" in shown
    assert "Save in production" not in shown
    _press(captain, address, fields, "ask", because="ann tests it")
    request = ChangeRequest.objects.pending().get()
    assert (request.document["overrides"], request.because) == ({"on": ["ann"]}, "ann tests it")
    assert FlagConfig.objects.get().overrides == {}
    assert "change request" in _press(captain, address, fields, "save")
    assert FlagConfig.objects.get().overrides == {}
    off = _form(captain, address)
    del off["enabled"]
    assert "Save in production" in _press(captain, address, off, "review")
    _press(captain, address, off, "save")
    assert not FlagConfig.objects.get().enabled


def test_what_a_deployment_serves_is_not_edited_beside_it() -> None:
    run = make.progressing(stages=[25, 100], dwell=600)
    flag = Flag.objects.get()
    place = run.environment.key
    captain = seats.captain()
    fields = _form(captain, _address(flag, place)) | {"units-on": "ann"}
    assert f"Deployment {run.pk}" in captain.get(_address(flag, place)).content.decode()
    held = FlagConfig.objects.get().document()
    for do in ("review", "save", "ask"):
        _press(captain, _address(flag, place), fields, do)
    assert FlagConfig.objects.get().document() == held


def test_htmx_gets_the_form_alone_and_is_sent_on_after_saving() -> None:
    make.environment("staging")
    flag = make.flag("new-checkout")
    captain = seats.captain()
    fields = _form(captain, _address(flag))
    htmx = {"HTTP_HX_REQUEST": "true"}
    part = captain.post(_address(flag), {**fields, "do": "add-rule"}, **htmx)  # type: ignore[arg-type]
    assert part.content.decode().lstrip().startswith("<form")
    saved = captain.post(_address(flag), {**fields, "enabled": "on", "do": "save"}, **htmx)  # type: ignore[arg-type]
    assert saved["HX-Redirect"] == reverse("flag", args=[flag.key])


@pytest.mark.parametrize("do", ["up:9", "drop-cond:1:x", "add-point:nowhere", "sideways", "up", "drop-rule:"])
def test_a_button_that_is_not_there_changes_nothing(do: str) -> None:
    make.environment("staging")
    flag = make.flag("new-checkout")
    captain = seats.captain()
    fields = _form(captain, _address(flag)) | {"revision": "99999999999999999999"}
    assert "The switch" in _press(captain, _address(flag), fields, do)


def test_an_archived_flag_and_a_strangers_environment_have_no_editor() -> None:
    flag = make.flag("new-checkout", on_in=[make.environment("staging")])
    make.environment("lab")
    olu = seats.seat(make.person("olu", "operator", environment=make.environment("staging")))
    assert olu.get(_address(flag)).status_code == 200
    assert olu.get(_address(flag, "lab")).status_code == 404
    flags.archive(flag, by=BY)
    assert olu.get(_address(flag)).status_code == 409
