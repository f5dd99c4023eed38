"""The configuration as one document: compared, checked, kept, applied as a whole, and exported."""

import io
import json
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client

from monitoring.models import Threshold
from portal.config import kinds
from portal.models import Environment, Service
from rollouts import snapshots
from rollouts.actions import flags, segments
from rollouts.engine.evaluate import evaluate
from rollouts.models import Flag, FlagConfig, FlagRevision, Plan
from tests import make

pytestmark = pytest.mark.django_db

DOCUMENT = """\
flightdeck: 1
services:
  shop: {name: The shop}
environments:
  production: {rank: 2, protected: true, approval_policy: four_eyes}
segments:
  inner: {included: [ann]}
  outer:
    conditions: [{op: segment, values: [inner]}]
flags:
  second:
    service: shop
    environments:
      production:
        enabled: true
        prerequisites: [{flag: first, variants: [on]}]
        fallthrough: {variant: on}
  first:
    variants: [{key: on, value: true}, {key: off, value: false}]
    environments:
      production:
        enabled: yes?
        fallthrough: {variant: on}
""".replace("yes?", "true")


def said(name: str, *words: str) -> str:
    out, err = io.StringIO(), io.StringIO()
    call_command(name, *words, stdout=out, stderr=err)
    return out.getvalue()


def refused(*words: str, code: int = 1) -> str:
    with pytest.raises(CommandError) as error:
        said("apply", *words)
    assert error.value.returncode == code
    return str(error.value)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(text: str, name: str = "config.yaml") -> str:
        (tmp_path / name).write_text(text, encoding="utf-8")
        return str(tmp_path / name)

    return written


def test_a_document_fills_an_empty_portal_and_changes_nothing_the_second_time(write: Any, tmp_path: Path) -> None:
    file = write(DOCUMENT)
    looked = said("apply", file, "--dry-run")
    assert "+ flags.second.environments.production" in looked
    assert not Flag.objects.exists()
    assert not Environment.objects.exists()
    told = said("apply", file, "--yes")
    assert "applied: 8 new, 0 changed" in told
    assert Environment.objects.get().protected
    assert FlagConfig.objects.get(flag__key="second").prerequisites == [{"flag": "first", "variants": ["on"]}]
    assert not list(tmp_path.glob("*.before-*"))
    revisions = FlagRevision.objects.count()
    assert said("apply", file, "--yes") == "nothing to change: 8 things are like that already\n"
    assert FlagRevision.objects.count() == revisions


def test_what_is_replaced_is_kept_and_comes_back(write: Any, tmp_path: Path) -> None:
    place = make.environment("staging")
    flag = make.flag("a", on_in=[place], serving="on")
    make.flag("untouched")
    flags.configure(
        flag, place, {"rules": [{"all": [{"attr": "x", "op": "exists"}], "serve": {"variant": "on"}}]}, by=make.BY
    )
    before = FlagConfig.objects.get().document()
    file = write(
        "flightdeck: 1\nflags:\n  a:\n    owner: dana\n"
        "    environments: {staging: {fallthrough: {variant: off}, rules: []}}\n"
    )
    told = said("apply", file, "--yes", "--backup", str(tmp_path / "kept"), "--because", "tidy")
    assert '- fallthrough: {"variant": "on"}' in told
    assert '+ fallthrough: {"variant": "off"}' in told
    assert FlagConfig.objects.get().fallthrough == {"variant": "off"}
    (kept,) = (tmp_path / "kept").iterdir()
    assert "untouched" not in kept.read_text()
    said("apply", str(kept), "--yes")
    assert FlagConfig.objects.get().document() == before
    assert FlagRevision.objects.filter(because="tidy").exists()


def portal_in_use() -> list[Environment]:
    places = [make.environment("staging"), make.environment("prod")]
    make.service("shop")
    segments.create(
        "staff", by=make.BY, conditions=[{"attr": "mail", "op": "ends_with", "values": ["@x"]}], included=["u3"]
    )
    flag = flags.create("ramp", by=make.BY, tags=["ui"], owner="dana", risk="high")
    string = flags.create(
        "text",
        by=make.BY,
        type="ab_test",
        variants=[{"key": k, "value": f"{k}\n'{k}': #"} for k in ("on", "no", "1e5")],
    )
    for place in places:
        rules = [
            {"segments": ["staff"], "serve": {"variant": "on"}},
            {
                "all": [{"attr": "v", "op": "semver_gt", "values": ["1.2.0"]}],
                "serve": {"variant": "on", "rollout": 33.333},
            },
        ]
        config = {"enabled": True, "off_variant": "off", "rules": rules, "overrides": {"on": ["u5", "007"]}}
        flags.configure(flag, place, config | {"window": {"from": "2001-01-01T00:00:00Z", "until": None}}, by=make.BY)
        split = {"fallthrough": {"split": {"on": 50, "no": 20.5, "1e5": 29.5}}, "enabled": True}
        flags.configure(string, place, split, by=make.BY)
    make.plan("canary")
    return places


def decisions(place: Environment) -> list[Any]:
    shot = snapshots.whole(place)
    contexts = [{"targetingKey": f"u{n}", "v": "1.3.0", "mail": "a@x" if n % 7 == 0 else "b"} for n in range(400)]
    return [evaluate(shot, key, one, now=time.time()).value for key in ("ramp", "text") for one in contexts]


def test_an_export_changes_nothing_here_and_decides_alike_elsewhere(write: Any) -> None:
    places = portal_in_use()
    before = [decisions(place) for place in places]
    text = said("export")
    file = write(text)
    assert "nothing to change" in said("apply", file, "--yes")
    salts = dict(Flag.objects.values_list("key", "salt"))
    with connection.cursor() as cursor:
        # An empty portal; revisions and plans are never deleted otherwise.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        tables = "portal_environment, portal_service, rollouts_flag, rollouts_segment, rollouts_plan"
        cursor.execute(f"TRUNCATE {tables} CASCADE")
    said("apply", file, "--yes")
    assert dict(Flag.objects.values_list("key", "salt")) == salts
    assert [decisions(place) for place in Environment.objects.order_by("key").reverse()] == before
    assert said("export") == text
    only = said("export", "--environment", "prod")
    assert "staging" not in only


def test_a_fault_anywhere_writes_nothing_and_each_is_told_with_its_line(write: Any) -> None:
    make.environment("staging")
    words = refused(
        write(
            "flightdeck: 1\n"
            "services:\n  shop: {}\n"
            "flags:\n"
            "  a:\n"
            "    colour: red\n"
            "  b:\n"
            "    environments:\n"
            "      staging:\n"
            "        fallthrough:\n"
            "          variant: blue\n"
            "  c: {environments: {mars: {enabled: true}}}\n"
        ),
        "--yes",
    )
    assert "flags.a.colour: config.yaml:6: unknown field" in words
    assert not Flag.objects.exists()
    assert not Service.objects.exists()
    words = refused(
        write(
            "flightdeck: 1\nservices: {shop: {}}\nflags:\n"
            "  b:\n    environments:\n      staging:\n        fallthrough:\n          variant: blue\n"
            "  c: {environments: {mars: {enabled: true}}}\n"
            "plans:\n  p: {stages: []}\n"
        ),
        "--yes",
    )
    assert "config.yaml:8: the flag has no such variant" in words
    assert "config.yaml:9: there is no environment mars" in words
    assert "plans.p.stages: config.yaml:11:" in words
    assert not Flag.objects.exists()
    assert not Service.objects.exists()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a: &x [1]\nb: *x\n", "config.yaml:1: anchors and aliases are not read"),
        ("flags:\n  a: {}\n  a: {}\n", "config.yaml:3: a is there twice"),
        ("flags: " + "[" * 60 + "]" * 60, "nested deeper than 40"),
        ("flags: !!python/object/apply:os.system [id]\n", "must be a mapping by key"),
        ("flags: !!binary aGk=\n", "the tag tag:yaml.org,2002:binary is not read"),
        ("flags:\n  a: {owner: \"x\\0y\"}\n", "may not contain NUL"),
        ("flags: {\n", "is not YAML"), ("\0", "is not YAML"), ("", "is empty"),
        ("- 1\n", "must be a mapping of sections"),
        ("a: 1\n---\nb: 2\n", "one document in a file"), ("flightdeck: 2\n", "is version 2; this portal reads up to 1"),
        ("flightdeck: one\n", "must be a version"), ("flightdeck: 1\nfeature_flags: {}\n", "unknown section"),
        ("? [a]\n: 1\n", "a key must be a text"), ("#" * 5_000_000, "is larger than"),
        ("flightdeck: 1\nflags: {a: {salt: x, owner: 5}}\n", "flags.a.owner: config.yaml:2:"),
        ("flightdeck: 1\nenvironments: {p: {protected: 1}}\n", "must be true or false"),
        ("flightdeck: 1\nthresholds: {t: {metric: m, operator: '=='}}\n", "thresholds.t.operator"),
        ("flightdeck: 1\nservices: {'a/b': {}}\n", "services.a/b"),
        ("flightdeck: 1\nflags: [1]\n", "must be a mapping by key"),
    ],
)  # fmt: skip
def test_what_cannot_be_read_is_refused_with_its_line(write: Any, text: str, words: str) -> None:
    assert words in refused(write(text), "--yes")


def test_a_protected_environment_refuses_as_everywhere(write: Any) -> None:
    place = make.production()
    make.flag("a")
    words = refused(
        write("flightdeck: 1\nservices: {new: {}}\nflags: {a: {environments: {production: {enabled: true}}}}"), "--yes"
    )
    assert "production is protected" in words
    assert "change request" in words
    assert not FlagConfig.objects.filter(environment=place).exists()
    assert not Service.objects.exists()


def test_another_salt_is_refused_and_a_finished_schedule_is_what_it_has_come_to(write: Any) -> None:
    make.environment("staging")
    points = "[{at: '2001-01-01T00:00:00Z', rollout: 5}, {at: '2001-02-01T00:00:00Z', rollout: 40}]"
    document = (
        "flightdeck: 1\nflags: {a: {salt: theirs, environments: {staging: {enabled: true, off_variant: off, "
        "fallthrough: {variant: on, schedule: {kind: steps, points: POINTS}}}}}}"
    ).replace("POINTS", points)
    told = said("apply", write(document), "--yes")
    assert "its schedule is over: 40 % from now on" in told
    assert FlagConfig.objects.get().fallthrough == {"variant": "on", "rollout": 40_000}
    assert Flag.objects.get().salt == "theirs"
    assert "flags.a.salt" in refused(write("flightdeck: 1\nflags: {a: {salt: mine}}"), "--yes")


def test_somebody_at_a_terminal_is_asked_and_a_script_is_not(write: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(["n", "y"])
    monkeypatch.setattr("builtins.input", lambda _: next(answers))
    with monkeypatch.context() as terminal:
        terminal.setattr(sys.stdin, "isatty", lambda: True, raising=False)
        assert refused(write("services: {asked: {}}")) == "not applied"
        said("apply", write("services: {asked: {}}"))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False, raising=False)
    said("apply", write("services: {scripted: {}}"))
    assert set(Service.objects.values_list("key", flat=True)) == {"asked", "scripted"}


def test_the_answer_may_be_json_and_a_missing_file_is_said(write: Any) -> None:
    assert "cannot read" in refused("/no/such/file.yaml")
    answer = json.loads(said("apply", write("services: {a: {}}"), "--dry-run", "--json"))
    assert (answer["applied"], answer["counts"], answer["changes"][0]["path"]) == (
        False, {"create": 1, "change": 0, "keep": 0}, "services.a",
    )  # fmt: skip
    assert "says no version" in answer["report"][0]["message"]


def test_every_template_can_be_applied(write: Any) -> None:
    said("apply", write(said("config_template", *kinds.sections())), "--yes")
    assert (Flag.objects.count(), Plan.objects.count(), Threshold.objects.filter(owner="").count()) == (1, 1, 1)
    with pytest.raises(CommandError, match="invalid choice"):
        said("config_template", "nonsense")


def test_what_takes_too_long_for_a_request_is_not_written_behind_its_back(settings: Any) -> None:
    settings.PORTAL_REQUEST_TIMEOUT = 0
    admin = Client(headers={"Authorization": f"Bearer {make.key('admin')}"})
    answer = admin.post("/api/v1/config/apply/", {"document": DOCUMENT}, content_type="application/json")
    assert (answer.status_code, "nothing is written" in answer.json()["detail"]) == (409, True)
    assert not Flag.objects.exists()
    large = {"document": "#" * 600_000}
    assert admin.post("/api/v1/config/apply/", large, content_type="application/json").status_code == 400


def test_the_same_by_rest() -> None:
    admin = Client(headers={"Authorization": f"Bearer {make.key('admin')}"})
    tried = admin.post(
        "/api/v1/config/apply/", {"document": DOCUMENT, "dry_run": True}, content_type="application/json"
    )
    assert (tried.status_code, tried.json()["applied"], tried.json()["counts"]["create"]) == (200, False, 8)
    assert not Flag.objects.exists()
    done = admin.post("/api/v1/config/apply/", {"document": DOCUMENT}, content_type="application/json")
    assert (done.status_code, done.json()["applied"]) == (200, True)
    exported = admin.get("/api/v1/config/export/")
    assert exported["Content-Type"] == "application/yaml; charset=utf-8"
    again = admin.post(
        "/api/v1/config/apply/", {"document": exported.content.decode()}, content_type="application/json"
    )
    assert again.json()["counts"] == {"create": 0, "change": 0, "keep": 8}
    for body, status in (
        ({"document": "flags: {a: {colour: 1}}"}, 400), ({"document": {"flags": {"a": {"colour": 1}}}}, 400),
        ({"document": 5}, 400), ({}, 400), ({"document": "a: &x 1"}, 400), ({"document": {}, "colour": 1}, 400),
    ):  # fmt: skip
        answer = admin.post("/api/v1/config/apply/", body, content_type="application/json")
        assert answer.status_code == status, answer.content
        assert answer.json()["errors"]
    reader = Client(headers={"Authorization": f"Bearer {make.key('read')}"})
    written = reader.post("/api/v1/config/apply/", {"document": "services: {new: {}}"}, content_type="application/json")
    assert written.status_code == 403
    assert reader.get("/api/v1/config/export/").status_code == 200
    assert reader.get("/api/v1/config/export/", {"environment": "mars"}).status_code == 400
