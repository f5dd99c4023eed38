"""`manage.py flag`: the verbs of flags from the command line, with exit codes that a script can rely on."""

import io
import json
import subprocess
import sys
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from portal.models import AuditEntry, Environment
from rollouts.actions import flags
from rollouts.models import ChangeRequest, Flag, FlagConfig
from tests import make
from tests.running import ROOT
from tests.web import Web

pytestmark = pytest.mark.django_db


@pytest.fixture
def place() -> Environment:
    return make.environment("staging")


def told(*words: str) -> str:
    out = io.StringIO()
    call_command("flag", *words, stdout=out)
    return out.getvalue().strip()


def data(*words: str) -> Any:
    return json.loads(told(*words, "--json"))


def refused(*words: str, code: int = 1) -> str:
    with pytest.raises(CommandError) as error:
        told(*words)
    assert error.value.returncode == code
    return str(error.value)


def test_a_flag_is_set_switched_and_restored(place: Environment) -> None:
    make.flag("new-checkout")
    at = ("--environment", "staging")
    assert told("set", "new-checkout", *at, "enabled=true", "--serve", "on", "--rollout", "12.5") == (
        "new-checkout in staging: on (on for 12.5 %), revision 1"
    )
    config = FlagConfig.objects.get()
    assert (config.enabled, config.fallthrough) == (True, {"variant": "on", "rollout": 12_500})
    assert told("set", "new-checkout", *at, "--percentage", "50").endswith("on (on for 50 %), revision 2")
    assert told("off", "new-checkout", *at, "--because", "too slow").endswith(": off, revision 3")
    assert told("off", "new-checkout", *at).endswith("is like that already, revision 3")
    assert told("on", "new-checkout", *at).endswith("on (on for 50 %), revision 4")
    assert told("restore", "new-checkout", "1", *at).endswith("on (on for 12.5 %), revision 5")
    assert "off" in told("restore", "new-checkout", "--revision", "3", *at)
    history = data("history", "new-checkout", *at)
    assert [one["revision"] for one in history] == [6, 5, 4, 3, 2, 1]
    assert history[3]["because"] == "too slow"
    assert history[3]["actor"].startswith("command line of ")
    assert "too slow" in told("history", "new-checkout", "--limit", "4")


def test_the_answer_is_shaped_as_in_the_api(place: Environment) -> None:
    make.flag("a", on_in=[place], serving="on")
    make.flag("b")
    listed = data("list")
    assert [(one["key"], one["environments"]["staging"]["enabled"]) for one in listed] == [("a", True), ("b", False)]
    assert "staging: on (on)" in told("list", "--search", "a")
    assert told("list", "--archived") == "no flags"
    shown = data("show", "a")
    assert shown["environments"][0]["fallthrough"] == {"variant": "on"}
    assert "everyone else: on; off: off" in told("show", "a")
    assert data("set", "a", "--environment", "staging", "--serve", "off")["fallthrough"] == {"variant": "off"}


def test_the_definition_is_set_without_an_environment(place: Environment) -> None:
    make.flag("a")
    make.service("shop")
    assert told("set", "a", "owner=dana", "risk=high", "service=shop", "--because", "moved") == "a: changed, revision 2"
    flag = Flag.objects.get()
    assert (flag.owner, flag.risk, str(flag.service)) == ("dana", "high", "shop")
    assert told("set", "a", "owner=dana") == "a: is like that already, revision 2"
    assert "--environment" in refused("set", "a", "enabled=true", code=2)
    assert "--environment" in refused("set", "a", "owner=x", "--environment", "staging", code=2)
    assert "no service bank" in refused("set", "a", "service=bank")


def test_it_explains_what_somebody_gets(place: Environment) -> None:
    flag = make.flag("a")
    rules = [{"all": [{"attr": "plan", "op": "equals", "values": ["pro"]}], "serve": {"variant": "on"}}]
    flags.configure(flag, place, {"enabled": True, "rules": rules}, by=make.BY)
    at = ("explain", "a", "--environment", "staging")
    pro = data(*at, "--unit", "ann", "--attr", "plan=pro")
    assert (pro["variant"], pro["reason"], pro["ruleId"]) == ("on", "TARGETING_MATCH", "rule-1")
    assert data(*at, "--context", '{"targetingKey": "ann", "plan": "free"}')["variant"] == "off"
    assert "rule rule-1: on for everyone who comes here" in told(*at, "--unit", "ann", "--attr", "plan=pro")
    assert "targetingKey" in refused(*at, "--context", '{"targetingKey": 5}', code=2)
    assert "is not JSON" in refused(*at, "--context", "{", code=2)


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (["show", "ghost"], 1, "there is no flag ghost"),
        (["on", "a", "--environment", "mars"], 1, "there is no environment mars (there are: staging)"),
        (["set", "a", "--environment", "staging", "--rollout", "101"], 1, "must be a percentage from 0 to 100"),
        (["set", "a", "--environment", "staging", "--serve", "blue"], 1, "the flag has no such variant"),
        (["set", "a", "--environment", "staging", "colour=1"], 1, "colour: unknown field"),
        (["set", "a", "--environment", "staging", "--serve", "on", "--expect", "7"], 1, "is at revision 0, not 7"),
        (["set", "a", "--environment", "staging", "--config", "[1]"], 2, "must be a JSON object"),
        (["set", "a", "--environment", "staging", "--config", "@no-such-file"], 1, "cannot read no-such-file"),
        (["set", "a", "--environment", "staging"], 2, "set what?"),
        (["set", "a", "--environment", "staging", "enabled"], 2, "is not NAME=VALUE"),
        (["set", "a", "--environment", "staging", "enabled=NaN"], 1, "must be true or false"),
        (["restore", "a", "9", "--environment", "staging"], 1, "has no revision 9"),
        (["restore", "a", "--environment", "staging"], 2, "name one revision"),
        (["history", "a", "--limit", "0"], 2, "at least 1"),
        (["list", "--as", "nobody"], 1, "there is no active person nobody"),
        (["list", "--search", "\udcff"], 2, "is not UTF-8"),
    ],
)
def test_what_is_wrong_is_said(place: Environment, words: list[str], code: int, sentence: str) -> None:
    make.flag("a")
    assert sentence in refused(*words, code=code)
    assert not FlagConfig.objects.exists()


def test_it_acts_as_the_person_named_with_what_his_roles_allow(place: Environment) -> None:
    make.flag("a", on_in=[place])
    make.person("olga", "operator")
    make.person("vera", "viewer")
    make.person("nemo")
    told("off", "a", "--environment", "staging", "--as", "olga")
    entry = AuditEntry.objects.latest("id")
    assert (entry.actor_kind, entry.actor, entry.verb) == ("person", "olga", "flag.killed")
    assert "vera may not operate in staging" in refused("on", "a", "--environment", "staging", "--as", "vera")
    assert told("show", "a", "--as", "vera")
    assert "there is no flag a" in refused("show", "a", "--as", "nemo")


def test_a_protected_environment_is_edited_by_a_change_request() -> None:
    make.flag("a")
    make.production()
    at = ("a", "--environment", "production")
    assert "change request" in refused("set", *at, "--serve", "on")
    asked = data("set", *at, "enabled=true", "--serve", "on", "--request", "--because", "release 3")
    assert asked["status"] == "open"
    request = ChangeRequest.objects.get(pk=asked["change_request"])
    assert (request.because, request.document["fallthrough"]) == ("release 3", {"variant": "on"})
    assert not FlagConfig.objects.exists()
    assert f"change request {request.pk + 1} is open" in told("on", *at, "--request")


@pytest.mark.django_db(transaction=True)
def test_a_script_reads_exit_codes_and_standard_error(place: Environment) -> None:
    make.flag("a", on_in=[place])
    connection.close()

    def run(*words: str, stdin: str = "") -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "manage.py", "flag", *words],
            cwd=ROOT, env=Web().environment, input=stdin, capture_output=True, text=True, check=False,
        )  # fmt: skip

    done = run("set", "a", "--environment", "staging", "--config", "-", "--json", stdin='{"overrides": {"on": ["u1"]}}')
    assert (done.returncode, json.loads(done.stdout)["overrides"]) == (0, {"on": ["u1"]})
    missing = run("show", "ghost")
    assert (missing.returncode, missing.stdout, "there is no flag ghost" in missing.stderr) == (1, "", True)
    wrong = run("off", "a")
    assert (wrong.returncode, "--environment" in wrong.stderr) == (2, True)
    assert run("dance").returncode == 2
