"""Flags as environment variables: read by a real shell and by python-dotenv, each flag as its value says."""

import io
import json
import subprocess
from typing import Any

import pytest
from django.test import Client
from dotenv import dotenv_values
from hypothesis import example, given, settings
from hypothesis import strategies as st

from portal.models import AuditEntry, Environment
from rollouts.actions import flags
from rollouts.engine import dotenv
from rollouts.models import Flag
from tests import make

pytestmark = pytest.mark.django_db
ADDRESS = "/api/v1/environments/production/dotenv"
VALUES: dict[str, Any] = {
    "banner": '50 % off — it\'s "big"; echo $HOME `id` #now',
    "limit": 7,
    "ratio": 1.0,
    "theme": {"title": 'it\'s ${HOME} \\ "x"', "n": [1, None, True]},
    "lines": "one\ntwo\\n",
    "empty": "",
    "path": "C:\\dir",
}


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


def valued(place: Environment, key: str, value: Any) -> Flag:
    flag = flags.create(key, by=make.BY, variants=[{"key": "it", "value": value}])
    flags.configure(flag, place, {"enabled": True}, by=make.BY)
    return flag


def client(*scopes: str, **bound: Any) -> Client:
    return Client(headers={"Authorization": f"Bearer {make.key(*scopes, **bound)}"})


def asked(place: Environment, **query: Any) -> str:
    answer = client("evaluate", environments=[place]).get(ADDRESS, query)
    assert (answer.status_code, answer["Content-Type"]) == (200, "text/plain; charset=utf-8"), answer.content
    return answer.content.decode()


def sourced(text: str, tmp_path: Any) -> dict[str, str]:
    """The variables that a shell has after sourcing the text with every variable exported."""
    file = tmp_path / "flags.env"
    file.write_text(text, encoding="utf-8", newline="")
    done = subprocess.run(
        ["sh", "-c", f"set -aeu; . {file}; env -0"], env={"PATH": "/usr/bin:/bin"}, capture_output=True, check=True
    )
    pairs = [one.partition("=") for one in done.stdout.decode().split("\0") if one]
    return {name: value for name, _, value in pairs if name not in ("PATH", "PWD", "SHLVL", "_", "OLDPWD")}


def test_an_application_reads_its_flags_at_its_start(place: Environment, tmp_path: Any) -> None:
    make.flag("new-checkout", on_in=[place], serving="on")
    make.flag("dark.mode")
    for key, value in VALUES.items():
        valued(place, key, value)
    shell = sourced(asked(place, format="sh"), tmp_path)
    assert shell["FEATURE_NEW_CHECKOUT_ENABLED"] == "true"
    assert shell["FEATURE_DARK_MODE_ENABLED"] == "false"
    assert {key: shell[f"FEATURE_{key.upper()}"] for key in VALUES if key != "theme"} == {
        "banner": VALUES["banner"], "limit": "7", "ratio": "1.0", "lines": "one\ntwo\\n", "empty": "",
        "path": "C:\\dir",
    }  # fmt: skip
    assert json.loads(shell["FEATURE_THEME"]) == VALUES["theme"]
    text = asked(place)
    assert "# FEATURE_BANNER is left out: not every reader understands its value alike (?format=sh has it)" in text
    alike = {name: value for name, value in shell.items() if name != "FEATURE_BANNER"}
    assert sourced(text, tmp_path) == alike
    assert dict(dotenv_values(stream=io.StringIO(text))) == alike


@settings(max_examples=150, deadline=None)
@example("a'b\\\\c")
@example("\\'")
@example("it's\\")
@example("${HOME}")
@example("'\n\"")
@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=12))
def test_python_reads_every_text_that_is_written(value: str) -> None:
    written = dotenv.quoted(value)
    if written is not None:
        assert dict(dotenv_values(stream=io.StringIO(f"A={written}\nB=1\n"))) == {"A": value, "B": "1"}
    else:
        assert any(one in value for one in ("\r", "${", "'")) or "\\" in value


def test_a_shell_reads_every_text_that_is_written(tmp_path: Any) -> None:
    signs = ("'", '"', "\\", "\\\\", "$", "$x", "`id`", "\n", " ", "#", "!", "~", "*", "ü", "&&", ";", "a")
    texts = [f"{one}{two}{three}" for one in signs for two in signs for three in ("", "'", "x")]
    common = {f"V{n}": dotenv.quoted(text) for n, text in enumerate(texts)}
    lines = [f"{name}={value}" for name, value in common.items() if value is not None]
    expected = {name: texts[int(name[1:])] for name, value in common.items() if value is not None}
    assert len(expected) > len(texts) / 2
    assert sourced("\n".join([*lines, ""]), tmp_path) == expected
    every = "".join(f"V{n}={dotenv.quoted_for_shell(text)}\n" for n, text in enumerate(texts))
    assert sourced(every, tmp_path) == {f"V{n}": text for n, text in enumerate(texts)}


def test_what_depends_on_who_asks_is_left_out_by_name_until_a_unit_is_named(place: Environment) -> None:
    make.flag("steady", on_in=[place], serving="on")
    by_plan = [{"id": "pros", "all": [{"attr": "plan", "op": "equals", "values": ["pro"]}], "serve": {"variant": "on"}}]
    configs: dict[str, dict[str, Any]] = {
        "half": {"fallthrough": {"split": {"on": 50, "off": 50}}},
        "some": {"rules": [{"serve": {"variant": "on", "rollout": 10}}]},
        "pros": {"rules": by_plan},
        "named": {"overrides": {"on": ["ann"]}},
        "waits": {"prerequisites": [{"flag": "half", "variants": ["on"]}], "fallthrough": {"variant": "on"}},
        # Everybody gets the same of these, whatever stands behind.
        "all": {"rules": [{"serve": {"variant": "on"}}, *by_plan]},
        "nobody": {"rules": [{"all": by_plan[0]["all"], "serve": {"variant": "on", "rollout": 0}}]},
        "closed": {"rules": by_plan, "window": {"from": "2001-01-01T00:00:00Z", "until": "2002-01-01T00:00:00Z"}},
        "needs": {"prerequisites": [{"flag": "steady", "variants": ["on"]}], "fallthrough": {"variant": "on"}},
    }
    for key, config in configs.items():
        flags.configure(make.flag(key), place, {"enabled": True, "off_variant": "off", **config}, by=make.BY)
    killed = flags.configure(
        make.flag("killed"), place, {"enabled": False, "off_variant": "off", "rules": by_plan}, by=make.BY
    )
    assert not killed.enabled
    text = asked(place)
    assert set(dotenv_values(stream=io.StringIO(text)).items()) == {
        ("FEATURE_STEADY_ENABLED", "true"), ("FEATURE_ALL_ENABLED", "true"), ("FEATURE_NOBODY_ENABLED", "false"),
        ("FEATURE_CLOSED_ENABLED", "false"), ("FEATURE_NEEDS_ENABLED", "true"), ("FEATURE_KILLED_ENABLED", "false"),
    }  # fmt: skip
    assert "# FEATURE_HALF_ENABLED is left out: it gives shares (ask with ?targetingKey=)" in text
    assert "# FEATURE_PROS_ENABLED is left out: its rule pros asks who it is" in text
    assert "# FEATURE_WAITS_ENABLED is left out: it needs flag half: it gives shares" in text
    decided = dotenv_values(stream=io.StringIO(asked(place, targetingKey="ann", context='{"plan": "pro"}')))
    assert len(decided) == 11
    assert (decided["FEATURE_PROS_ENABLED"], decided["FEATURE_NAMED_ENABLED"]) == ("true", "true")
    assert "FEATURE_HALF_ENABLED is left out: flag half: the context has no targetingKey" in asked(place, context="{}")


def test_names_are_chosen_by_the_environment_and_by_the_request(place: Environment) -> None:
    make.flag("a", on_in=[place])
    make.flag("b", on_in=[place])
    valued(place, "c", "x")
    writer = client("write")
    names = {"prefix": "FF_", "suffix": "", "value_suffix": "_V", "names": {"a": "ALPHA", "b": None}}
    kept = writer.put(f"{ADDRESS}/names/", names, content_type="application/json")
    assert (kept.status_code, kept.json()) == (200, names)
    assert AuditEntry.objects.latest("id").verb == "variable_names.changed"
    text = asked(place)
    assert "ALPHA=false\nFF_C_V=x\n# flag b is left out: so its name says" in text
    asked_otherwise = asked(place, prefix="X_", suffix="_ON", value_suffix="", map="a:A1,b:B1")
    assert "A1=false\nB1=false\nX_C=x\n" in asked_otherwise
    assert writer.get(f"{ADDRESS}/names/").json() == names


def test_two_flags_of_one_name_are_refused_by_name(place: Environment) -> None:
    make.flag("new-checkout")
    make.flag("new.checkout")
    reader = client("read")
    refused = reader.get(ADDRESS)
    assert (refused.status_code, refused.json()["detail"]) == (
        409,
        "flags new-checkout and new.checkout would both be FEATURE_NEW_CHECKOUT_ENABLED; give one of them another name",
    )
    assert reader.get(ADDRESS, {"map": "new.checkout:OTHER"}).status_code == 200
    make.flag("2fa")
    digit = reader.get(ADDRESS, {"map": "new.checkout:OTHER", "prefix": ""})
    assert (digit.status_code, "2FA_ENABLED" in digit.json()["detail"]) == (409, True)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"prefix": "A B"}, "prefix"), ({"suffix": "$(id)"}, "suffix"), ({"value_suffix": "\n"}, "value_suffix"),
        ({"map": "a"}, "map"), ({"map": "ghost:X"}, "map"), ({"map": "a:2X"}, "map"), ({"map": "a:PATH"}, "map"),
        ({"context": "["}, "context"), ({"context": "[1]"}, "context"), ({"format": "yaml"}, "format"),
        ({"preffix": "X"}, "preffix"), ({"targetingKey": "a\0"}, "targetingKey"),
    ],
)  # fmt: skip
def test_a_wrong_parameter_is_named(place: Environment, query: dict[str, str], field: str) -> None:
    make.flag("a")
    answer = client("read").get(ADDRESS, query)
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (400, field)


@pytest.mark.parametrize(
    "body", [{"names": {"ghost": "X"}}, {"names": {"a": "1"}}, {"names": []}, {"prefix": "-"}, {"colour": "red"}]
)
def test_wrong_names_are_not_kept(place: Environment, body: dict[str, Any]) -> None:
    make.flag("a")
    writer = client("write")
    before = writer.get(f"{ADDRESS}/names/").json()
    assert writer.put(f"{ADDRESS}/names/", body, content_type="application/json").status_code == 400
    assert writer.get(f"{ADDRESS}/names/").json() == before


def test_the_tag_changes_with_the_flags_alone(place: Environment) -> None:
    flag = make.flag("a", on_in=[place])
    reader = client("read")
    first = reader.get(ADDRESS)
    assert reader.get(f"{ADDRESS}/", headers={"If-None-Match": first["ETag"]}).status_code == 304
    make.switch(flag, place, serving="on")
    second = reader.get(ADDRESS, headers={"If-None-Match": first["ETag"]})
    assert (second.status_code, "true" in second.content.decode()) == (200, True)
    assert second["ETag"] != first["ETag"]


def test_a_key_sees_its_environment_and_its_services_flags_alone(place: Environment) -> None:
    shop, bank = make.service("shop"), make.service("bank")
    flags.create("shop-flag", by=make.BY, service=shop)
    flags.create("bank-flag", by=make.BY, service=bank)
    flags.create("shared", by=make.BY)
    seen = client("evaluate", environments=[place], services=[shop]).get(ADDRESS).content.decode()
    assert set(dotenv_values(stream=io.StringIO(seen))) == {"FEATURE_SHOP_FLAG_ENABLED", "FEATURE_SHARED_ENABLED"}
    assert client("evaluate", environments=[make.environment("staging")]).get(ADDRESS).status_code == 404
    assert client("ingest").get(ADDRESS).status_code == 403
    assert Client().get(ADDRESS).status_code == 401
    assert client("read").get("/api/v1/environments/mars/dotenv").status_code == 404
    assert client("read").put(f"{ADDRESS}/names/", {}, content_type="application/json").status_code == 403
    assert client("evaluate", environments=[place]).get(f"{ADDRESS}/names/").status_code in (403, 404)


def test_nobody_writes_a_line_of_his_own_into_the_file(place: Environment) -> None:
    flag = make.flag("a")
    rule = {"serve": {"split": {"on": 50, "off": 50}, "by": "x\nINJECTED=1"}}
    flags.configure(flag, place, {"enabled": True, "fallthrough": rule["serve"]}, by=make.BY)
    for query in ({}, {"context": "{}"}):
        text = asked(place, **query)
        assert all(line.startswith("#") for line in text.splitlines())
        assert not dotenv_values(stream=io.StringIO(text))
