"""The pages of flags: rules in words, the switch, and their history."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from rollouts.actions import flags
from rollouts.models import Flag, FlagConfig
from rollouts.views import flag_words
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db


def _page(client: Client, flag: Flag) -> str:
    return client.get(reverse("flag", args=[flag.key])).content.decode()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"attr": "country", "op": "in", "values": ["DE", "PL"]}, "country is one of DE or PL"),
        ({"attr": "country", "op": "equals", "values": ["DE"], "negate": True}, "country is not DE"),
        ({"attr": "m", "op": "ends_with", "values": ["@x"], "ignore_case": True}, "m ends with @x (whatever the case)"),
        ({"attr": "version", "op": "semver_gte", "values": ["4.2"]}, "version is at least version 4.2"),
        ({"attr": "age", "op": "lt", "values": [18]}, "age < 18"),
        ({"attr": "id", "op": "modulo", "values": [10, 3]}, "id modulo 10 is 3"),
        (
            {"attr": "plan", "op": "in", "values": ["a"], "negate": True, "missing": True},
            "plan is none of a or is not given",
        ),
        ({"attr": "plan", "op": "exists"}, "plan is given"),
        ({"attr": "plan", "op": "exists", "negate": True}, "plan is not given"),
    ],
)  # fmt: skip
def test_a_rule_is_read_as_a_sentence(condition: dict[str, Any], words: str) -> None:
    config = FlagConfig(rules=[{"id": "r", "all": [condition], "serve": {"variant": "on", "rollout": 25_000}}])
    (line,) = flag_words.lines(config)
    assert (line.who, line.what) == (words, "on for 25 %")


def test_a_split_is_read_as_shares() -> None:
    assert flag_words.serving({"split": {"a": 60_000, "b": 20_000}}) == "a 75 % · b 25 %"
    assert flag_words.serving({"variant": "on", "rollout": 500, "by": "company"}) == "on for 0.5 %, by company"
    steps = {"kind": "steps", "points": [{"at": "2026-03-01T09:00:00Z", "rollout": 5_000}]}
    ramp = {"kind": "linear", "points": [{"at": "A", "rollout": 0}, {"at": "B", "rollout": 12_500}]}
    assert flag_words.serving({"variant": "on", "schedule": steps}) == "on for 5 % from 2026-03-01T09:00:00Z"
    grows = {"variant": "on", "schedule": ramp, "by": ["a", "b"]}
    assert flag_words.serving(grows) == "on growing evenly: 0 % at A, 12.5 % at B, by a or b"


def test_what_stands_before_the_rules_is_told_in_words_in_the_history_too() -> None:
    units = [f"u-{n}" for n in range(7)]
    changed: dict[str, list[Any]] = {
        "overrides": [{}, {"on": units, "off": ["bob"]}],
        "prerequisites": [[], [{"flag": "base", "variants": ["on", "maybe"]}]],
        "window": [{"from": "2026-03-01T09:00:00Z", "until": None}, None],
    }
    assert flag_words.difference(changed) == [
        ("named units", "", "on: u-0, u-1, u-2, u-3, u-4 and 2 more; off: bob"),
        ("prerequisites", "", "only while base is on or maybe"),
        ("window", "from 2026-03-01T09:00:00Z", ""),
    ]


def test_the_page_says_what_a_flag_does_in_each_environment() -> None:
    flag = make.flag("new-checkout", on_in=[make.production()])
    make.environment("staging")
    rule = {"all": [{"attr": "country", "op": "in", "values": ["DE", "<b>"]}], "serve": {"variant": "on"}}
    make.configure(flag, make.production(), {"rules": [rule]}, because="germany first")
    shown = _page(seats.captain(), flag)
    assert "country is one of DE or &lt;b&gt;" in shown
    assert "Nobody has said yet what it does here" in shown
    assert "germany first" in shown
    assert "production r2" in shown


def test_a_flag_that_is_being_rolled_out_says_by_which_deployment() -> None:
    run = make.progressing(stages=[25, 100], dwell=600)
    flag = Flag.objects.get()
    captain = seats.captain()
    shown = _page(captain, flag)
    assert "Serving 25 %" in shown
    assert reverse("deployment", args=[run.pk]) in shown
    assert f"Deployment {run.pk} pauses" in shown
    assert "Serving 25 %" in captain.get(reverse("flags")).content.decode()


def test_the_switch_turns_it_off_and_on_with_a_reason() -> None:
    flag = make.flag("new-checkout", on_in=[make.environment()])
    olu = seats.seat(make.person("olu", "operator"))
    off = reverse("flag-switch", args=[flag.key, "staging", "off"])
    assert "is off in staging" in olu.post(off, {"because": "errors"}, follow=True).content.decode()
    assert not FlagConfig.objects.get().enabled
    on = reverse("flag-switch", args=[flag.key, "staging", "on"])
    olu.post(on, {"because": "fixed"})
    assert FlagConfig.objects.get().enabled
    shown = _page(olu, flag)
    assert "errors" in shown
    assert "fixed" in shown


@pytest.mark.parametrize(("to", "because", "status"), [("off", "", 400), ("off", "\0", 400), ("sideways", "so", 404)])
def test_a_switch_without_sense_or_reason_changes_nothing(to: str, because: str, status: int) -> None:
    flag = make.flag("new-checkout", on_in=[make.production()])
    address = reverse("flag-switch", args=[flag.key, "production", to])
    assert seats.captain().post(address, {"because": because}).status_code == status
    assert FlagConfig.objects.get().enabled


def test_an_earlier_revision_is_brought_back_from_the_history() -> None:
    flag = make.flag("new-checkout", on_in=[make.environment()])
    make.configure(flag, make.environment(), {"fallthrough": {"variant": "on"}})
    captain = seats.captain()
    address = reverse("flag-restore", args=[flag.key, "staging", 1])
    assert address in _page(captain, flag)
    assert "it is revision 3" in captain.post(address, {"because": "too early"}, follow=True).content.decode()
    assert FlagConfig.objects.get().fallthrough == {"variant": "off"}
    missing = captain.post(reverse("flag-restore", args=[flag.key, "staging", 99]), {"because": "x"})
    assert missing.status_code == 400


def test_flags_are_found_by_key_owner_words_and_environment() -> None:
    captain = seats.captain()
    make.environment("staging")
    make.environment("production", policy="four_eyes", protected=True)
    one, other = make.flag("one-page"), make.flag("semantic-ranking")
    flags.change(other, {"owner": "search team", "description": "by meaning"}, by=BY)

    def listed(**query: str) -> list[str]:
        shown = captain.get(reverse("flags"), query).content.decode()
        return [flag.key for flag in (one, other) if f">{flag.key}</a>" in shown]

    assert listed() == ["one-page", "semantic-ranking"]
    assert listed(q="SEMANTIC") == listed(q="search team") == listed(q="meaning") == ["semantic-ranking"]
    assert listed(q="%") == listed(archived="yes") == []
    flags.archive(one, by=BY)
    assert listed(archived="yes") == ["one-page"]
    shown = captain.get(reverse("flags"), {"environment": "production"}).content.decode()
    assert '<th scope="col">production</th>' in shown
    assert '<th scope="col">staging</th>' not in shown


def test_filters_of_the_list_stand_in_the_address() -> None:
    captain, staging = seats.captain(), make.environment("staging")
    make.environment("lab")
    one = make.flag("one-page", on_in=[staging])
    flags.change(
        one, {"type": "percentage", "purpose": "ops", "owner": "shop team", "service": make.service("shop")}, by=BY
    )
    other = make.flag("semantic-ranking")
    flags.change(other, {"tags": ["q4", "search"], "expires_at": "2026-01-01"}, by=BY)

    def listed(**query: str) -> list[str]:
        shown = captain.get(reverse("flags"), query).content.decode()
        return [flag.key for flag in (one, other) if f">{flag.key}</a>" in shown]

    assert listed(type="percentage") == listed(purpose="ops") == listed(owner="shop team") == ["one-page"]
    assert listed(service="shop") == listed(state="on") == listed(state="on", environment="staging") == ["one-page"]
    assert listed(tag="search") == listed(state="off") == listed(life="expired") == ["semantic-ranking"]
    assert listed(state="off", environment="lab") == ["one-page", "semantic-ranking"]
    assert listed(state="serving") == listed(tag="search", type="percentage") == listed(type="nonsense") == []
    shown = captain.get(reverse("flags"), {"tag": "q4"}).content.decode()
    assert '<option value="q4" selected>q4</option>' in shown
    assert '<option value="shop team">shop team</option>' in shown


def test_a_long_history_waits_behind_a_link() -> None:
    flag = make.flag("new-checkout", on_in=[make.environment()])
    for share in range(12):
        make.configure(flag, make.environment(), {"fallthrough": {"variant": "on", "rollout": share}})
    captain = seats.captain()
    short = _page(captain, flag)
    assert "All of it (14)" in short
    assert short.count("staging r") == 8
    whole = captain.get(reverse("flag", args=[flag.key]), {"history": "all"}).content.decode()
    assert whole.count("staging r") == 13
    assert "Only the newest" in whole
