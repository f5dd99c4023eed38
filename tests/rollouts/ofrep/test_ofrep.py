"""OFREP exactly as real clients need it."""

import json
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from portal.limits import Limiter
from rollouts.api import ofrep
from rollouts.engine.types import FlagSource
from tests.rollouts.engine.build import rule, source
from tests.rollouts.ofrep.build import KEY, Door


def static(key: str, value: Any, value_type: str, **given: Any) -> FlagSource:
    variants = {"it": value}
    return source(key, variants=variants, value_type=value_type, fallthrough={"variant": "it"}, **given)


def ramp(key: str = "ramp", rollout: int = 50_000) -> FlagSource:
    return source(key, rules=[rule(name="r1", variant="on", rollout=rollout)])


# --- One flag -----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("value_type", "value", "text"),
    [
        ("bool", True, "true"),
        ("string", "x", '"x"'),
        ("int", 1, "1"),
        ("float", 1, "1.0"),
        ("float", 0.5, "0.5"),
        ("json", {"a": [1, 2.5, None]}, '{"a":[1,2.5,null]}'),
    ],
)
async def test_every_type_is_told_as_itself(value_type: str, value: Any, text: str) -> None:
    answer = await Door(static("flag", value, value_type)).ask("flag", {"targetingKey": "u"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert f'"value":{text},' in answer.text
    assert answer.json() == {
        "key": "flag",
        "value": value,
        "reason": "STATIC",
        "variant": "it",
        "metadata": {"reasonDetail": "FALLTHROUGH", "revision": 1, "environment": "production"},
    }


async def test_reasons_and_rules_are_told() -> None:
    door = Door(ramp(), source("off", enabled=False), source("given", overrides={"on": ["ann"]}))
    split = (await door.ask("ramp", {"targetingKey": "u"})).json()
    assert split["reason"] == "SPLIT"
    off = (await door.ask("off", {"targetingKey": "u"})).json()
    assert (off["reason"], off["value"], off["variant"]) == ("DISABLED", False, "off")
    given = (await door.ask("given", {"targetingKey": "ann"})).json()
    assert (given["reason"], given["metadata"]["reasonDetail"]) == ("TARGETING_MATCH", "OVERRIDE")
    ruled = Door(source("flag", rules=[rule(name="everyone")]))
    assert (await ruled.ask("flag", {"targetingKey": "u"})).json()["metadata"]["ruleId"] == "everyone"


async def test_metadata_holds_only_what_the_protocol_allows() -> None:
    answer = await Door(ramp()).ask("ramp", {"targetingKey": "u"})
    assert all(isinstance(value, bool | str | int | float) for value in answer.json()["metadata"].values())


async def test_an_unknown_flag_is_404_also_with_a_slash_in_it() -> None:
    door = Door()
    for key in ("ghost", "a/b", "%C3%A4", "a%2Fb"):
        answer = await door.ask(key, {"targetingKey": "u"})
        assert answer.status_code == 404
        assert answer.json()["errorCode"] == "FLAG_NOT_FOUND"
        assert answer.json()["errorDetails"]
        assert answer.json()["key"]


async def test_without_a_targeting_key_a_flag_is_decided_when_it_can_be() -> None:
    door = Door(static("static", True, "bool"), ramp())
    assert (await door.ask("static", {})).status_code == 200
    answer = await door.ask("ramp", {})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == "TARGETING_KEY_MISSING"
    assert answer.json()["errorDetails"]


# --- Who calls ----------------------------------------------------------------------------------
async def test_both_headers_carry_a_key_and_others_are_401() -> None:
    door = Door(static("flag", True, "bool"))
    door.give("late", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    assert (await door.ask("flag", raw=None, headers={"X-API-Key": KEY})).status_code == 200
    refused = [
        await door.ask("flag", raw=None),
        await door.ask("flag", raw="wrong"),
        await door.ask("flag", raw="late"),
        await door.ask("flag", raw=None, headers={"Authorization": "Basic abc"}),
        await door.ask(None, raw="wrong"),
    ]
    for answer in refused:
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert (answer.json()["errorCode"], bool(answer.json()["errorDetails"])) == ("GENERAL", True)


async def test_a_key_that_was_known_is_asked_for_anew_when_keys_change_and_when_it_may_expire(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    door = Door(static("flag", True, "bool"))
    door.give("late", expires_at=datetime.now(UTC) + timedelta(hours=1))
    for raw in (KEY, "late"):
        assert (await door.ask("flag", raw=raw)).status_code == 200
    now = datetime.now(UTC) + timedelta(hours=2)
    monkeypatch.setattr(ofrep, "datetime", SimpleNamespace(now=lambda zone: now))
    assert (await door.ask("flag", raw="late")).status_code == 401
    assert (await door.ask("flag")).status_code == 200
    door.memory.ring.by_digest = {}  # as the ring is loaded: another dictionary
    assert (await door.ask("flag")).status_code == 401


async def test_as_many_ways_to_write_a_key_as_there_are_blanks_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofrep, "MOST_CALLERS", 5)
    door = Door(static("flag", True, "bool"))
    for blanks in range(1, 30):
        answer = await door.ask("flag", raw=None, headers={"Authorization": "Bearer" + " " * blanks + KEY})
        assert answer.status_code == 200
        assert len(door.app.callers) <= 5


@pytest.mark.parametrize(
    "given",
    [
        {"scopes": ("write",)},
        {"scopes": ("read", "ingest")},
        {"scopes": ("admin",), "environments": None},
        {"scopes": ("evaluate",), "environments": ("production", "staging")},
    ],
)
async def test_a_key_that_is_not_for_this_is_403(given: dict[str, Any]) -> None:
    door = Door(static("flag", True, "bool"))
    door.give("other", *given.pop("scopes"), **given)
    answer = await door.ask("flag", raw="other")
    assert (answer.status_code, answer.json()["errorCode"]) == (403, "GENERAL")


async def test_a_key_sees_only_the_flags_of_its_services() -> None:
    door = Door(*(static(f"{name}-flag", True, "bool", service=name) for name in ("a", "b")), static("any", 1, "int"))
    door.give("for-a", services=("a",))
    assert (await door.ask("b-flag", raw="for-a")).status_code == 404
    assert (await door.ask("a-flag", raw="for-a")).status_code == 200
    bulk = (await door.ask(None, raw="for-a")).json()
    assert [one["key"] for one in bulk["flags"]] == ["a-flag", "any"]


async def test_too_many_requests_are_429_with_whole_seconds() -> None:
    door = Door(static("flag", True, "bool"))
    door.app.limiter = Limiter(2)
    answers = [await door.ask("flag") for _ in range(4)]
    assert [one.status_code for one in answers[:2]] == [200, 200]
    refused = answers[-1]
    assert refused.status_code == 429
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["errorCode"] == "GENERAL"


async def test_before_a_snapshot_is_held_it_is_503_with_retry_after() -> None:
    door = Door()
    door.memory.ready = False
    answer = await door.ask("flag")
    assert (answer.status_code, answer.headers["retry-after"], answer.json()["errorCode"]) == (503, "1", "GENERAL")
    door.memory.ready = True
    door.memory.snapshots = {}
    assert (await door.ask("flag")).status_code == 503


# --- All flags ----------------------------------------------------------------------------------
async def test_all_flags_are_answered_each_as_alone_and_failures_stay_apart() -> None:
    needs = [{"flag": "loop", "variants": ["on"]}]
    door = Door(ramp(), static("a", 1, "float"), source("loop", prerequisites=needs), source("off", enabled=False))
    for context in ({"targetingKey": "u1"}, {}):
        bulk = await door.ask(None, context)
        assert bulk.status_code == 200
        body = bulk.json()
        assert [one["key"] for one in body["flags"]] == ["a", "loop", "off", "ramp"]
        for one in body["flags"]:
            assert one == (await door.ask(one["key"], context)).json()
    assert {one["key"] for one in body["flags"] if "errorCode" in one} == {"loop", "ramp"}


async def test_equal_etags_mean_equal_bodies_and_save_the_body() -> None:
    door = Door(ramp(), static("a", True, "bool"))
    first = await door.ask(None, {"targetingKey": "u1"})
    tag = first.headers["etag"]
    seen: dict[str, bytes] = {}
    for n in range(40):
        answer = await door.ask(None, {"targetingKey": f"u{n}", "other": n})
        assert seen.setdefault(answer.headers["etag"], answer.content) == answer.content
    assert len(seen) == len(set(seen.values())) == 2
    for held in (tag, f"W/{tag}", f'"x", {tag}', "*"):
        same = await door.ask(None, {"targetingKey": "u1"}, headers={"If-None-Match": held})
        assert (same.status_code, same.content, same.headers["etag"]) == (304, b"", tag)
    # The trap of the real web client: another attribute, the old tag.
    by_plan = source("plan", rules=[rule({"attr": "plan", "op": "equals", "values": ["pro"]})])
    door = Door(by_plan)
    free = await door.ask(None, {"targetingKey": "u", "plan": "free"})
    pro = await door.ask(None, {"targetingKey": "u", "plan": "pro"}, headers={"If-None-Match": free.headers["etag"]})
    assert (pro.status_code, pro.json()["flags"][0]["value"]) == (200, True)


async def test_hints_of_an_event_are_taken() -> None:
    path = "/ofrep/v1/evaluate/flags?flagConfigEtag=v2&flagConfigLastModified=soon"
    assert (await Door(ramp()).ask(None, {"targetingKey": "u"}, path=path)).status_code == 200


# --- Bad input ----------------------------------------------------------------------------------
DEEP = b'{"context":{"a":' + b"[" * 40 + b"]" * 40 + b"}}"
BAD_BODIES: list[tuple[bytes, str]] = [
    (b"", "PARSE_ERROR"),
    (b"{", "PARSE_ERROR"),
    (b"[]", "PARSE_ERROR"),
    (b'"x"', "PARSE_ERROR"),
    (b"null", "PARSE_ERROR"),
    (b"\xff\xfe", "PARSE_ERROR"),
    (b'{"context":{"a":NaN}}', "PARSE_ERROR"),
    (b'{"context":{"a":1e999}}', "PARSE_ERROR"),
    (b'{"context":{"a":' + b"9" * 5000 + b"}}", "PARSE_ERROR"),
    (b'{"context":{"targetingKey":"\\ud800"}}', "PARSE_ERROR"),
    (b"[" * 30_000, "PARSE_ERROR"),
    (b'{"context":{"a":"' + b"x" * 70_000 + b'"}}', "PARSE_ERROR"),
    (b"{}", "INVALID_CONTEXT"),
    (b'{"context":null}', "INVALID_CONTEXT"),
    (b'{"context":[]}', "INVALID_CONTEXT"),
    (b'{"context":"u"}', "INVALID_CONTEXT"),
    (b'{"context":{"targetingKey":7}}', "INVALID_CONTEXT"),
    (b'{"context":{"targetingKey":{}}}', "INVALID_CONTEXT"),
    (DEEP, "INVALID_CONTEXT"),
    (json.dumps({"context": {f"a{n}": n for n in range(1001)}}).encode(), "INVALID_CONTEXT"),
    (b'{"context":{"a":[' + b"0," * 1000 + b"0]}}", "INVALID_CONTEXT"),
    (b'{"context":{"targetingKey":"' + b"u" * 1025 + b'"}}', "INVALID_CONTEXT"),
]


@pytest.mark.parametrize(("body", "code"), BAD_BODIES)
@pytest.mark.parametrize("key", ["ramp", None])
async def test_a_body_that_is_no_context_is_400_in_the_protocols_words(body: bytes, code: str, key: str | None) -> None:
    answer = await Door(ramp()).ask(key, body=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400
    assert answer.json()["errorCode"] == code
    assert answer.json()["errorDetails"]
    assert answer.json().get("key") == key


@pytest.mark.parametrize(
    "body",
    [
        b'{"context":{"targetingKey":"u","targetingKey":"v"}}',
        b'{"context":{"targetingKey":"u","n":123456789012345678901234567890}}',
        b'{"context":{"targetingKey":"u\\u0000"}}',
        b'{"context":{"targetingKey":""},"extra":1}',
        b'{"context":{"targetingKey":null}}',
        b'  {"context":{"targetingKey":"u"}}\n',
    ],
)
async def test_odd_but_sound_bodies_are_answered(body: bytes) -> None:
    answer = await Door(static("flag", True, "bool")).ask("flag", body=body)
    assert answer.status_code == 200


async def test_a_content_type_is_not_asked_for() -> None:
    door = Door(static("flag", True, "bool"))
    for headers in ({}, {"Content-Type": "text/plain"}, {"Accept": "text/html"}):
        assert (await door.ask("flag", body=b'{"context":{}}', headers=headers)).status_code == 200


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("key", ["ramp", None])
async def test_other_methods_are_405_and_say_which_is_right(method: str, key: str | None) -> None:
    answer = await Door(ramp()).ask(key, method=method)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "POST, OPTIONS"


async def test_other_addresses_are_404_with_the_one_error_body() -> None:
    for path in ("/ofrep/v1/configuration", "/ofrep/", "/ofrep/v1/evaluate", "/ofrep/v1/evaluate/flagship"):
        answer = await Door().ask(None, path=path)
        assert (answer.status_code, answer.json()["errorCode"]) == (404, "GENERAL")


# --- Browsers -----------------------------------------------------------------------------------
async def test_a_browser_of_any_page_may_call_and_read_what_it_needs() -> None:
    door = Door(ramp())
    asked = {
        "Origin": "https://shop.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type,if-none-match,x-api-key",
    }
    preflight = await door.ask(None, method="OPTIONS", raw=None, headers=asked)
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    allowed = {one.strip().lower() for one in preflight.headers["access-control-allow-headers"].split(",")}
    assert allowed >= set(asked["Access-Control-Request-Headers"].split(","))
    for answer in (
        await door.ask(None, {"targetingKey": "u"}),
        await door.ask("ramp", raw="wrong"),
        await door.ask("ramp", {"targetingKey": "u"}, headers={"Origin": "https://shop.example"}),
        await door.ask(None, {"targetingKey": "u"}, headers={"If-None-Match": "*"}),
    ):
        assert answer.headers["access-control-allow-origin"] == "*"
        exposed = {one.strip() for one in answer.headers["access-control-expose-headers"].split(",")}
        assert exposed == {"ETag", "Retry-After"}
