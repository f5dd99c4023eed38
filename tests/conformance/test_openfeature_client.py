"""The unmodified OpenFeature client for Python against a portal that really runs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openfeature import api
from openfeature.client import OpenFeatureClient
from openfeature.contrib.provider.ofrep import OFREPProvider
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from portal import keys
from portal.models import Environment, Service
from rollouts.actions import flags
from rollouts.models import Flag
from tests import make
from tests.web import Web

pytestmark = pytest.mark.django_db(transaction=True)
ANN = EvaluationContext("ann", {"country": "DE", "age": 30, "beta": True, "groups": ["staff"], "score": 1.5})
SOON = 60.0  # seconds; what is asserted is that it comes, not when


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    """One process for all: that the tests empty the database between them is a change like others to it."""
    with Web() as running:
        yield running


def client(web: Web, key: str) -> OpenFeatureClient:
    provider = OFREPProvider(web.url, headers_factory=lambda: {"Authorization": f"Bearer {key}"}, timeout=SOON)
    domain = f"{web.port}-{key}"
    api.set_provider(provider, domain)
    return api.get_client(domain)


def known(web: Web, key: str, flag: str, unit: str = "ann") -> None:
    """Wait until this process answers for the flag: what was written last is there, too."""
    deadline = time.monotonic() + SOON
    while web.ofrep(key, flag, unit).status_code != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def serving(place: Environment, key: str, value_type: str, value: Any, **config: Any) -> Flag:
    flag = flags.create(key, by=make.BY, value_type=value_type, variants=[{"key": "it", "value": value}])
    flags.configure(flag, place, {"enabled": True, **config}, by=make.BY)
    return flag


def test_every_type_arrives_as_itself_and_a_wrong_one_is_a_mismatch(web: Web, place: Environment) -> None:
    values: dict[str, Any] = {"bool": True, "string": "x", "int": 7, "float": 1.0, "json": {"a": [1, {"b": None}]}}
    for value_type, value in values.items():
        serving(place, f"{value_type}-flag", value_type, value)
    key = make.key("evaluate", environments=[place])
    known(web, key, "json-flag")
    ask = client(web, key)
    asked: dict[str, tuple[Callable[..., Any], Any]] = {
        "bool": (ask.get_boolean_details, False),
        "string": (ask.get_string_details, "default"),
        "int": (ask.get_integer_details, 0),
        "float": (ask.get_float_details, 0.0),
        "json": (ask.get_object_details, {}),
    }
    for value_type, (details, default) in asked.items():
        found = details(f"{value_type}-flag", default, ANN)
        assert (found.value, found.variant, found.reason, found.error_code) == (
            values[value_type],
            "it",
            Reason.STATIC,
            None,
        )
        assert type(found.value) is type(values[value_type])
        assert found.flag_metadata["environment"] == "production"
    wrong = ask.get_boolean_details("string-flag", False, ANN)
    assert (wrong.value, wrong.error_code) == (False, ErrorCode.TYPE_MISMATCH)


def test_rules_overrides_splits_and_kills_arrive_with_their_reason(web: Web, place: Environment) -> None:
    rules = [
        {
            "id": "german-adults",
            "all": [
                {"attr": "country", "op": "in", "values": ["DE"]},
                {"attr": "age", "op": "gte", "values": [18]},
                {"attr": "beta", "op": "equals", "values": [True]},
                {"attr": "groups", "op": "contains", "values": ["staff"]},
                {"attr": "score", "op": "lt", "values": [2]},
            ],
            "serve": {"variant": "on"},
        }
    ]
    targeted = flags.create("targeted", by=make.BY)
    flags.configure(targeted, place, {"enabled": True, "rules": rules, "overrides": {"on": ["bob"]}}, by=make.BY)
    split = flags.create("split", by=make.BY)
    flags.configure(split, place, {"enabled": True, "fallthrough": {"split": {"on": 50, "off": 50}}}, by=make.BY)
    flags.create("off", by=make.BY)
    key = make.key("evaluate", environments=[place])
    known(web, key, "off")
    ask = client(web, key)
    ruled = ask.get_boolean_details("targeted", False, ANN)
    assert (ruled.value, ruled.reason, ruled.flag_metadata["ruleId"]) == (
        True,
        Reason.TARGETING_MATCH,
        "german-adults",
    )
    assert ask.get_boolean_details("targeted", False, EvaluationContext("bob")).value is True
    assert ask.get_boolean_details("targeted", True, EvaluationContext("joe")).value is False
    assert ask.get_boolean_details("split", False, ANN).reason == Reason.SPLIT
    off = ask.get_boolean_details("off", True, ANN)
    assert (off.value, off.reason) == (False, Reason.DISABLED)
    flags.kill(targeted, place, by=make.BY)
    deadline = time.monotonic() + SOON
    while ask.get_boolean_value("targeted", True, ANN):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_what_cannot_be_decided_gives_the_default_and_the_right_error(web: Web, place: Environment) -> None:
    ramp = flags.create("ramp", by=make.BY)
    rules = [{"serve": {"variant": "on", "rollout": 50}}]
    flags.configure(ramp, place, {"enabled": True, "rules": rules}, by=make.BY)
    serving(place, "static", "bool", True)
    key = make.key("evaluate", environments=[place])
    known(web, key, "static")
    ask = client(web, key)
    ghost = ask.get_boolean_details("ghost", True, ANN)
    assert (ghost.value, ghost.error_code, ghost.reason) == (True, ErrorCode.FLAG_NOT_FOUND, Reason.ERROR)
    slash = ask.get_boolean_details("a/b c", True, ANN)
    assert slash.error_code == ErrorCode.FLAG_NOT_FOUND
    keyless = ask.get_boolean_details("ramp", True)
    assert (keyless.value, keyless.error_code) == (True, ErrorCode.TARGETING_KEY_MISSING)
    assert ask.get_boolean_details("static", False).value is True
    deep: Any = 1
    for _ in range(20):
        deep = [deep]
    assert ask.get_boolean_details("static", False, EvaluationContext("a", {"deep": deep})).error_code == (
        ErrorCode.INVALID_CONTEXT
    )
    huge = EvaluationContext("a", {"text": "x" * 70_000})
    assert ask.get_boolean_details("static", False, huge).error_code == ErrorCode.PARSE_ERROR


def test_keys_that_may_not_are_told_so(web: Web, place: Environment) -> None:
    shop: Service = make.service("shop")
    flags.create("shop-flag", by=make.BY, service=shop)
    serving(place, "flag", "bool", True)
    good, revoked = make.key("evaluate", environments=[place]), make.key("evaluate", environments=[place])
    bank = make.key("evaluate", environments=[place], services=[make.service("bank")])
    writing = make.key("write")
    known(web, good, "flag")
    known(web, bank, "flag")
    known(web, revoked, "flag")
    keys.revoke(keys.ApiKey.objects.get(digest=keys.digest(revoked)), by=make.BY)
    deadline = time.monotonic() + SOON
    while web.ofrep(revoked, "flag").status_code != 401:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    for key, words in ((revoked, "unauthorized"), ("nonsense", "unauthorized"), (writing, "forbidden")):
        refused = client(web, key).get_boolean_details("flag", False, ANN)
        assert (refused.value, refused.error_code, refused.error_message) == (False, ErrorCode.GENERAL, words)
    assert client(web, good).get_boolean_details("flag", False, ANN).value is True
    unseen = client(web, bank).get_boolean_details("shop-flag", True, ANN)
    assert unseen.error_code == ErrorCode.FLAG_NOT_FOUND


def test_a_limited_client_pauses_as_long_as_it_is_told(place: Environment) -> None:
    serving(place, "flag", "bool", True)
    key = make.key("evaluate", environments=[place])
    with Web(PORTAL_KEY_RATE="2") as web:
        ask = client(web, key)
        assert ask.get_boolean_details("flag", False, ANN).value is True
        limited = ""
        deadline = time.monotonic() + SOON
        # A busy machine may answer no faster than the limit, or let the pause pass before the next question.
        while "paused due to TooManyRequests" not in limited:
            assert time.monotonic() < deadline, limited
            found = ask.get_boolean_details("flag", False, ANN)
            if found.error_code is None:
                assert found.value is True
                continue
            assert found.error_code == ErrorCode.GENERAL
            before, limited = limited, found.error_message or ""
            assert limited.startswith("Rate limited, retry after: ") or before.startswith("Rate limited")
        deadline = time.monotonic() + SOON
        while ask.get_boolean_details("flag", False, ANN).value is not True:
            assert time.monotonic() < deadline
            time.sleep(0.2)
