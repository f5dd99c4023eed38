"""Flags and segments in the admin: forms and buttons end in the same actions."""

import json
from typing import Any

import pytest
from django.test import Client

from portal.models import AuditEntry, Environment, Grant, User
from rollouts.actions import flags, segments
from rollouts.engine import documents
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment
from tests import make

pytestmark = pytest.mark.django_db
FLAG, CONFIG = "/admin/rollouts/flag/", "/admin/rollouts/flagconfig/"
NEW_FLAG = {
    "key": "flag", "type": "boolean", "value_type": "bool", "variants": "", "purpose": "release", "owner": "",
    "service": "", "risk": "low", "description": "",
}  # fmt: skip


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture
def boss(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("boss", password="x", is_staff=True))
    return client


def config_form(config: FlagConfig, **changed: Any) -> dict[str, Any]:
    given = {
        "enabled": "on" if config.enabled else "",
        "off_variant": config.off_variant,
        "rules": json.dumps(documents.show_config(config.document())["rules"]),
        "fallthrough": json.dumps(config.fallthrough),
        "overrides": json.dumps(config.overrides),
        "prerequisites": json.dumps(config.prerequisites),
        "window": "null",
        "seen_revision": str(config.revision),
    }
    return {name: value for name, value in (given | changed).items() if value != ""}


def test_a_flag_made_in_a_form_has_its_revision_and_audit_entry(boss: Client) -> None:
    assert boss.post(f"{FLAG}add/", NEW_FLAG).status_code == 302
    flag = Flag.objects.get()
    assert flag.variant_keys() == ["on", "off"]
    assert FlagRevision.objects.get().actor == "boss"
    wrong = boss.post(f"{FLAG}add/", NEW_FLAG | {"key": "a/b", "variants": '[{"key": "on", "value": "\\ud800"}]'})
    assert wrong.status_code == 200
    assert b"half characters" in wrong.content
    assert b"there is a flag flag already" in boss.post(f"{FLAG}add/", NEW_FLAG).content
    changed = {name: value for name, value in NEW_FLAG.items() if name not in ("key", "value_type")}
    assert boss.post(f"{FLAG}{flag.pk}/change/", changed | {"owner": "ann"}).status_code == 302
    assert Flag.objects.get().owner == "ann"


def test_a_config_is_shown_in_percent_and_saved_by_the_action(boss: Client, place: Environment) -> None:
    flag = make.flag("flag", on_in=[place])
    flags.configure(flag, place, {"rules": [{"serve": {"variant": "on", "rollout": 33.333}}]}, by=make.BY)
    config = FlagConfig.objects.get()
    page = boss.get(f"{CONFIG}{config.pk}/change/")
    assert b"33.333" in page.content
    assert b"33333" not in page.content
    rules = json.dumps([{"id": "rule-1", "serve": {"variant": "on", "rollout": 50}}])
    assert boss.post(f"{CONFIG}{config.pk}/change/", config_form(config, rules=rules)).status_code == 302
    config.refresh_from_db()
    assert config.rules[0]["serve"]["rollout"] == 50_000
    stale = boss.post(f"{CONFIG}{config.pk}/change/", config_form(config, seen_revision="1"))
    assert b"look at it again" in stale.content
    wrong = boss.post(f"{CONFIG}{config.pk}/change/", config_form(config, rules='[{"serve": {"variant": "ghost"}}]'))
    assert b"rules[0].serve.variant" in wrong.content


def test_a_config_is_added_once(boss: Client, place: Environment) -> None:
    flag = make.flag("flag")
    form = {"flag": flag.pk, "environment": place.pk, "off_variant": "off", "enabled": "on"}
    assert boss.post(f"{CONFIG}add/", form).status_code == 302
    assert FlagConfig.objects.get().fallthrough == {"variant": "off"}
    assert b"already" in boss.post(f"{CONFIG}add/", form).content


def test_the_kill_button_asks_why_and_switches_off_even_while_served(boss: Client, place: Environment) -> None:
    flag = make.flag("flag")
    flags.serve(flag, place, deployment=7, variant="on", baseline="off", weight=5_000, by=make.BY, because="x")
    config = FlagConfig.objects.get()
    press = f"{CONFIG}{config.pk}/press/kill/"
    boss.post(press)
    assert FlagConfig.objects.get().enabled
    boss.post(press, {"because": "it burns"})
    assert not FlagConfig.objects.get().enabled
    assert AuditEntry.objects.get(verb="flag.killed").because == "it burns"
    assert b"deployment 7: on to 5 %" in boss.get(f"{CONFIG}{config.pk}/change/").content


def test_a_revision_is_read_and_restored_never_edited(boss: Client, place: Environment) -> None:
    make.flag("flag", on_in=[place], serving="on")
    flags.kill(Flag.objects.get(), place, by=make.BY)
    first = FlagRevision.objects.get(environment=place, number=1)
    page = f"/admin/rollouts/flagrevision/{first.pk}/"
    assert boss.get(f"{page}change/").status_code == 200
    assert boss.post(f"{page}change/", {"actor": "x"}).status_code == 403
    boss.post(f"{page}press/restore/", {"because": "it was better"})
    assert (FlagConfig.objects.get().enabled, FlagConfig.objects.get().revision) == (True, 3)


def test_segments_are_made_changed_and_deleted(boss: Client) -> None:
    form = {"key": "staff", "name": "Staff", "included": '["ann"]'}
    assert boss.post("/admin/rollouts/segment/add/", form).status_code == 302
    staff = Segment.objects.get()
    boss.post(f"/admin/rollouts/segment/{staff.pk}/change/", {"name": "Staff", "included": '["bob"]'})
    assert Segment.objects.get().included == ["bob"]
    boss.post(f"/admin/rollouts/segment/{staff.pk}/press/delete/", {"because": "unused"})
    assert not Segment.objects.exists()


def test_nobody_sees_or_presses_what_is_not_his(client: Client, place: Environment) -> None:
    shop, bank = make.service("shop"), make.service("bank")
    mine, other = (flags.create(key, by=make.BY, service=service) for key, service in (("m", shop), ("o", bank)))
    for flag in (mine, other):
        flags.configure(flag, place, {"enabled": True}, by=make.BY)
    person = make.person("olga", is_staff=True)
    client.force_login(person)
    assert client.get(FLAG).status_code == 403
    Grant.objects.create(user=person, role="operator", service=shop)
    listed = client.get(FLAG).content
    assert f"/{mine.pk}/change/".encode() in listed
    assert f"/{other.pk}/change/".encode() not in listed
    foreign = FlagConfig.objects.get(flag=other)
    assert client.post(f"{CONFIG}{foreign.pk}/press/kill/", {"because": "x"}).status_code == 404
    assert FlagConfig.objects.get(flag=other).enabled
    client.post(f"{CONFIG}{FlagConfig.objects.get(flag=mine).pk}/press/kill/", {"because": "x"})
    assert not FlagConfig.objects.get(flag=mine).enabled


@pytest.mark.parametrize("path", [FLAG, CONFIG, "/admin/rollouts/flagrevision/", "/admin/rollouts/segment/"])
def test_a_list_costs_the_same_for_two_rows_and_for_twelve(
    boss: Client, place: Environment, path: str, django_assert_max_num_queries: Any
) -> None:
    service = make.service()
    for n in range(12):
        flag = flags.create(f"flag{n}", by=make.BY, service=service)
        flags.configure(flag, place, {"enabled": True}, by=make.BY)
        segments.create(f"segment{n}", by=make.BY)
    boss.get(path)
    with django_assert_max_num_queries(13):
        assert boss.get(path).status_code == 200
