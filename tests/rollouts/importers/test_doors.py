"""Importing by REST, by command and on its page: looked at first, all or nothing, every fault by its field."""

import json
from io import StringIO
from pathlib import Path
from typing import Any

import orjson
import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.urls import reverse

from portal.models import AuditEntry, Environment
from rollouts.actions import flags
from rollouts.importers.formats import FORMATS
from rollouts.models import Flag, FlagConfig, FlagRevision
from rollouts.views.config_forms import ConfigForm
from tests import make
from tests.pages import seats

pytestmark = pytest.mark.django_db
DOCUMENTS: dict[str, dict[str, Any]] = {
    "unleash": {"features": [{"name": "lamp", "enabled": True, "strategies": [
        {"name": "flexibleRollout", "parameters": {"rollout": "50", "stickiness": "userId", "groupId": "g"}}]}]},
    "growthbook": {"features": {"lamp": {"defaultValue": False, "rules": [{"force": True, "coverage": 0.5}]}}},
    "flagd": {"flags": {"lamp": {"state": "ENABLED", "variants": {"on": True, "off": False}, "defaultVariant": "off",
                                 "targeting": {"fractional": [["on", 1], ["off", 1]]}}}},
    "launchdarkly": {"flags": {"lamp": {"key": "lamp", "variations": [{"value": True}, {"value": False}],
        "environments": {"staging": {"on": True, "salt": "s", "offVariation": 1, "fallthrough": {"rollout": {
            "variations": [{"variation": 0, "weight": 50_000}, {"variation": 1, "weight": 50_000}]}}}}}}},
}  # fmt: skip


@pytest.fixture
def place() -> Environment:
    return make.environment("staging")


def post(path: str, body: Any, key: str = "") -> Any:
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    headers = {"Authorization": f"Bearer {key or make.key('write')}"}
    return Client().post(f"/api/v1/{path}", data, content_type="application/json", headers=headers)


def ask(format_: str, **more: Any) -> dict[str, Any]:
    return {"format": format_, "document": DOCUMENTS[format_], "environment": "staging", **more}


# --- REST ---------------------------------------------------------------------------------------
@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_each_format_is_looked_at_written_and_kept(place: Environment, format_: str) -> None:
    looked = post("imports/", ask(format_))
    assert looked.status_code == 200, looked.content
    assert looked.json()["applied"] is False
    assert looked.json()["counts"] == {"create": 2, "change": 0, "keep": 0}
    assert looked.json()["steps"][-2]["moved"] > 0 or looked.json()["steps"][0]["moved"] > 0
    assert not Flag.objects.exists()
    done = post("imports/", ask(format_, dry_run=False, because="moving in"))
    assert done.json()["applied"] is True
    flag = Flag.objects.get(key="lamp")
    assert flag.algo.startswith(format_)
    assert set(FlagRevision.objects.values_list("because", flat=True)) == {"moving in"}
    assert AuditEntry.objects.filter(verb="flag.created", because="moving in").count() == 1
    again = post("imports/", ask(format_, dry_run=False)).json()
    assert again["counts"] == {"create": 0, "change": 0, "keep": 2}
    shown = Client().get(
        "/api/v1/flags/lamp/environments/staging/", headers={"Authorization": f"Bearer {make.key('read')}"}
    )
    config = shown.json()
    assert post("imports/", ask(format_)).json()["counts"]["keep"] == 2
    put = Client().put(
        "/api/v1/flags/lamp/environments/staging/", orjson.dumps(config), content_type="application/json",
        headers={"Authorization": f"Bearer {make.key('write')}"},
    )  # fmt: skip
    assert put.status_code == 200, put.content
    assert put.json()["revision"] == config["revision"]


def test_a_switch_to_the_portals_own_bucketing_is_counted_and_then_made(place: Environment) -> None:
    post("imports/", ask("unleash", dry_run=False))
    path = "flags/lamp/environments/staging/rebucket/"
    told = Client().get(f"/api/v1/{path}", headers={"Authorization": f"Bearer {make.key('read')}"}).json()
    assert told["algorithms"] == ["unleash-murmur3"]
    assert 4000 < told["moved"] < 6000
    assert told["words"] == f"legacy bucketing: {told['moved']} of 10000 would move on a switch to the portal's own"
    assert post(path, {}, make.key("read")).status_code == 403
    done = post(path, {"because": "done moving"})
    assert done.status_code == 200
    assert done.json()["rules"][0]["serve"] == {"variant": "on", "rollout": 50, "by": "targetingKey"}
    assert Flag.objects.get().algo == "r1"
    assert post(path, {}).status_code == 409


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"format": "waffle"}, "format"),
        ({"document": []}, "document"),
        ({"document": None}, "document"),
        ({"environment": "moon"}, "flags.lamp.environments.moon"),
        ({"environment": ""}, "environment"),
        ({"unknown": "guess"}, "unknown"),
        ({"attributes": []}, "attributes"),
        ({"speed": 9}, "speed"),
        ({"document": {"features": 7}}, "features"),
        ({"document": {"features": [{"name": 7}]}}, "features[0].name"),
        ({"document": {"features": [{"name": "x", "enabled": True, "strategies": [{"name": "odd"}]}]}},
         "features.x.strategies[0].name"),
        ({"document": {"features": [{"name": "x", "enabled": True, "strategies": [
            {"name": "flexibleRollout", "parameters": {"rollout": "101"}}]}]}},
         "features.x.strategies[0].parameters.rollout"),
        ({"document": {"features": [{"name": "x", "enabled": True, "variants": [{"name": "a", "weight": -1}]}]}},
         "features.x.variants[0].weight"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_and_nothing_written(place: Environment, body: dict[str, Any], field: str) -> None:
    answer = post("imports/", ask("unleash", dry_run=False) | body)
    assert answer.status_code == 400, answer.content
    assert field in [one["field"] for one in answer.json()["errors"]]
    assert not Flag.objects.exists()


@pytest.mark.parametrize(
    ("format_", "document", "field", "words"),
    [
        ("growthbook", {"features": {"x": {"defaultValue": 1, "rules": [
            {"condition": {"age": {"$mod": [2, 0]}}, "force": 2}]}}},
         "features.x.rules[0].condition.age.$mod", "the operator $mod cannot be translated"),
        ("flagd", {"flags": {"x": {"state": "ENABLED", "variants": {"a": "1"}, "defaultVariant": "a",
                                   "targeting": {"if": [{"xor": [1, 2]}, "a"]}}}},
         "flags.x.targeting.if[0].xor", "the operator xor cannot be translated"),
        ("launchdarkly", {"flags": [{"key": "x", "variations": [True, False], "on": True, "offVariation": 1,
                                     "fallthrough": {"variation": 0}, "rules": [
            {"variation": 0, "clauses": [{"attribute": "a", "op": "near", "values": [1]}]}]}]},
         "flags.x.rules[0].clauses[0].op", "the operator near cannot be translated"),
    ],
)  # fmt: skip
def test_an_unknown_operator_is_refused_with_its_flag_and_field_or_left_out(
    place: Environment, format_: str, document: Any, field: str, words: str
) -> None:
    answer = post("imports/", {"format": format_, "document": document, "environment": "staging", "dry_run": False})
    assert answer.status_code == 400
    assert {"field": field, "message": words} in answer.json()["errors"]
    assert not Flag.objects.exists()
    left = post("imports/", {"format": format_, "document": document, "environment": "staging", "unknown": "leave_out"})
    assert left.status_code == 200
    assert any(words in one["message"] for one in left.json()["warnings"])


def test_a_nul_and_a_bottomless_document_are_refused(place: Environment) -> None:
    nul = post("imports/", b'{"format": "flagd", "environment": "staging", "document": {"flags": {"a\\u0000b": {}}}}')
    assert nul.status_code == 400
    deep = b'{"format": "flagd", "environment": "staging", "document": {"x": ' + b"[" * 500 + b"]" * 500 + b"}}"
    answer = post("imports/", deep)
    assert answer.status_code == 400
    assert answer.json()["errors"] == [{"field": "document", "message": "is nested deeper than 100"}]


def test_a_protected_environment_is_written_by_change_request_alone() -> None:
    make.production()
    answer = post("imports/", ask("unleash", dry_run=False) | {"environment": "production"})
    assert answer.status_code == 409
    assert "change request" in answer.json()["detail"]
    assert not Flag.objects.exists()


def test_who_may_only_read_imports_nothing(place: Environment) -> None:
    assert post("imports/", ask("unleash"), make.key("read")).status_code == 403


# --- The command --------------------------------------------------------------------------------
def run(*words: str) -> str:
    out = StringIO()
    call_command("import_flags", *words, stdout=out)
    return out.getvalue()


def test_the_command_looks_writes_and_says_what_it_did(place: Environment, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text(json.dumps(DOCUMENTS["launchdarkly"]))
    said = run(str(file), "--format", "launchdarkly", "--environment", "staging=staging", "--dry-run")
    assert "create config lamp in staging" in said
    assert "would move on a switch to the portal's own" in said
    assert said.endswith("2 would be created, 0 changed, 0 kept as they are\n")
    assert not Flag.objects.exists()
    told = json.loads(run(str(file), "--format", "launchdarkly", "--environment", "staging", "--json"))
    assert told["applied"] is True
    assert FlagConfig.objects.get().enabled
    assert run(str(file), "--format", "launchdarkly", "-e", "staging").endswith("0 changed, 2 kept as they are\n")


def test_the_command_refuses_with_the_field_and_writes_nothing(place: Environment, tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    file.write_text('{"features": [{"name": "x", "enabled": true, "strategies": [{"name": "odd"}]}]}')
    with pytest.raises(CommandError, match=r"features\.x\.strategies\[0\]\.name: odd is no strategy"):
        run(str(file), "--format", "unleash", "-e", "staging")
    file.write_text("{")
    with pytest.raises(CommandError, match="is no JSON"):
        run(str(file), "--format", "unleash", "-e", "staging")
    assert not Flag.objects.exists()


# --- The page -----------------------------------------------------------------------------------
def test_the_page_shows_what_would_be_written_and_writes_it(place: Environment) -> None:
    captain = seats.captain()
    assert reverse("imports") in captain.get(reverse("flags")).content.decode()
    assert captain.get(reverse("imports")).status_code == 200
    form = {"format": "unleash", "environment": "staging", "document": json.dumps(DOCUMENTS["unleash"])}
    looked = captain.post(reverse("import-preview"), form)
    shown = looked.content.decode()
    assert looked.status_code == 200
    assert "lamp" in shown
    assert "would move on a switch" in shown
    assert reverse("import-write") in shown
    assert not Flag.objects.exists()
    done = captain.post(reverse("import-write"), form, follow=True)
    assert "2 created, 0 changed" in done.content.decode()
    page = captain.get(reverse("flag", args=["lamp"])).content.decode()
    assert "of 10000 would move on a switch to the portal&#x27;s own" in page
    assert captain.post(reverse("flag-rebucket", args=["lamp", "staging"]), {"because": "tidy"}).status_code == 302
    assert Flag.objects.get().algo == "r1"


def test_the_page_keeps_what_was_pasted_and_names_what_is_wrong(place: Environment) -> None:
    captain = seats.captain()
    text = '{"features": [{"name": "x", "enabled": true, "strategies": [{"name": "odd"}]}]}'
    for document, words in ((text, "features.x.strategies[0].name"), ("{", "is no JSON"), ("", "paste the document")):
        answer = captain.post(
            reverse("import-preview"), {"format": "unleash", "environment": "staging", "document": document}
        )
        assert answer.status_code == 400
        assert words in answer.content.decode()
    assert "&quot;odd&quot;" in captain.post(
        reverse("import-write"), {"format": "unleash", "environment": "staging", "document": text}
    ).content.decode()  # fmt: skip
    assert not Flag.objects.exists()


@pytest.mark.parametrize("format_", sorted(FORMATS))
def test_the_editor_of_flags_keeps_what_was_imported_as_it_is(place: Environment, format_: str) -> None:
    post("imports/", ask(format_, dry_run=False))
    config = FlagConfig.objects.select_related("flag", "environment").get()
    edit = ConfigForm.held(config).document(config)
    kept = flags.configure(config.flag, place, edit, by=make.BY)
    assert kept.revision == config.revision
    assert Flag.objects.get().algo.startswith(format_)


def test_the_editor_keeps_how_an_imported_condition_is_read(place: Environment) -> None:
    asked = {"contextName": "age", "operator": "NUM_GT", "value": "17", "inverted": True}
    state = {"features": [{"name": "x", "enabled": True, "strategies": [{"name": "default", "constraints": [asked]}]}]}
    post("imports/", {"format": "unleash", "document": state, "environment": "staging", "dry_run": False})
    config = FlagConfig.objects.select_related("flag", "environment").get()
    assert config.rules[0]["all"][0]["reading"] == "texts"
    edit = ConfigForm.held(config).document(config)
    assert flags.configure(config.flag, place, edit, by=make.BY).revision == config.revision
