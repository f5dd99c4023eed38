"""The unmodified JavaScript clients of OpenFeature, for browsers and for servers, against a portal that really runs."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from portal import keys
from portal.models import Environment
from rollouts.actions import flags
from rollouts.api.stream_tokens import LIVES
from rollouts.models import Flag
from tests import make
from tests.clients.node import Node
from tests.web import Web

pytestmark = pytest.mark.django_db(transaction=True)
ANN = {"targetingKey": "ann", "country": "DE", "age": 30}
EVALUATE, LISTEN = "/ofrep/v1/evaluate/flags", "/ofrep/v1/stream"
SOON = 60.0  # seconds; what is asserted is that it comes, not when
EPOCH = 2  # seconds: an address has to be good for longer than a busy machine takes from telling it to listening there


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


@pytest.fixture(scope="module")
def web(django_db_setup: None) -> Iterator[Web]:
    with Web() as running:
        yield running


def until(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < deadline, f"did not happen: {what}"
        time.sleep(0.05)


def ready(web: Web, place: Environment, flag: str) -> str:
    """A key that this process knows, with the flag that was made last."""
    key = make.key("evaluate", environments=[place])
    until(lambda: web.ofrep(key, flag).status_code == 200, "the flag is known")
    return key


def german(place: Environment) -> Flag:
    """On for Germans, off for all others."""
    flag = make.flag("german")
    condition = {"attr": "country", "op": "equals", "values": ["DE"]}
    rules = [{"id": "germans", "all": [condition], "serve": {"variant": "on"}}]
    flags.configure(flag, place, {"enabled": True, "rules": rules}, by=make.BY)
    return flag


def served(client: Node) -> Any:
    return client("values", flags={"german": {"type": "Boolean", "fallback": False}})["german"].get("variant")


def streams(client: Node) -> list[dict[str, Any]]:
    return [call for call in client("calls") if call["path"] == LISTEN]


def bulks(client: Node) -> list[dict[str, Any]]:
    return [call for call in client("calls") if call["path"] == EVALUATE]


@pytest.fixture
def browser() -> Iterator[Node]:
    with Node("web") as running:
        yield running


@pytest.fixture
def server() -> Iterator[Node]:
    with Node("server") as running:
        yield running


# --- What both are told -------------------------------------------------------------------------
VALUES: dict[str, tuple[str, Any, Any]] = {
    "bool": ("Boolean", True, False),
    "string": ("String", "x", ""),
    "int": ("Number", 7, 0),
    "float": ("Number", 1.0, 0.0),
    "json": ("Object", {"a": [1, {"b": None}]}, {}),
}


def asked() -> dict[str, dict[str, Any]]:
    wanted = {f"{kind}-flag": {"type": told, "fallback": given} for kind, (told, _, given) in VALUES.items()}
    return wanted | {
        "german": {"type": "Boolean", "fallback": False},
        "off": {"type": "Boolean", "fallback": True},
        "ghost": {"type": "Boolean", "fallback": True},
        "wrong": {"type": "Number", "fallback": 3},
    }


def offer(place: Environment) -> None:
    for kind, (_, given, _) in VALUES.items():
        flag = flags.create(f"{kind}-flag", by=make.BY, value_type=kind, variants=[{"key": "it", "value": given}])
        flags.configure(flag, place, {"enabled": True}, by=make.BY)
    german(place)
    make.flag("off")
    wrong = flags.create("wrong", by=make.BY, value_type="string", variants=[{"key": "it", "value": "seven"}])
    flags.configure(wrong, place, {"enabled": True}, by=make.BY)


def check(found: dict[str, Any], *, unknown: str = "FLAG_NOT_FOUND") -> None:
    for kind, (_, given, _) in VALUES.items():
        one = found[f"{kind}-flag"]
        assert (one["value"], one["variant"], one["reason"]) == (given, "it", "STATIC")
        assert one["metadata"]["environment"] == "production"
    assert (found["german"]["value"], found["german"]["reason"]) == (True, "TARGETING_MATCH")
    assert found["german"]["metadata"]["ruleId"] == "germans"
    assert (found["off"]["value"], found["off"]["reason"]) == (False, "DISABLED")
    assert (found["ghost"]["value"], found["ghost"]["errorCode"]) == (True, unknown)
    assert (found["wrong"]["value"], found["wrong"]["errorCode"]) == (3, "TYPE_MISMATCH")


def test_the_client_for_servers_gets_every_value_with_its_reason(web: Web, place: Environment, server: Node) -> None:
    offer(place)
    server("start", url=web.url, key=ready(web, place, "wrong"))
    check(server("values", flags=asked(), context=ANN))
    elsewhere = server("values", flags=asked(), context=ANN | {"country": "PL"})
    assert (elsewhere["german"]["value"], elsewhere["german"]["reason"]) == (False, "STATIC")


def test_the_client_for_servers_is_told_what_it_lacks_and_that_it_may_not(
    web: Web, place: Environment, server: Node
) -> None:
    ramp = make.flag("ramp")
    rules = [{"serve": {"variant": "on", "rollout": 50}}]
    flags.configure(ramp, place, {"enabled": True, "rules": rules}, by=make.BY)
    server("start", url=web.url, key=ready(web, place, "ramp"))
    wanted = {"ramp": {"type": "Boolean", "fallback": True}}
    assert server("values", flags=wanted, context={})["ramp"]["errorCode"] == "TARGETING_KEY_MISSING"
    assert server("values", flags=wanted, context={"targetingKey": "ann"})["ramp"]["reason"] == "SPLIT"
    server("start", url=web.url, key="nonsense")
    refused = server("values", flags=wanted, context=ANN)["ramp"]
    assert (refused["value"], refused["errorCode"]) == (True, "GENERAL")


def test_the_browser_gets_every_value_and_is_told_of_a_change(web: Web, place: Environment, browser: Node) -> None:
    offer(place)
    browser("start", url=web.url, key=ready(web, place, "wrong"), context=ANN)
    check(browser("values", flags=asked()))
    until(lambda: [call["status"] for call in streams(browser)] == [200], "the stream is open")
    # Were its first look still on its way, the newest request would not be the one that the change has made.
    until(lambda: [call["status"] is None for call in bulks(browser)] == [False] * 2, "it knows where it stands")
    (listening,) = streams(browser)
    assert listening["authorized"] is False
    flags.kill(Flag.objects.get(key="german"), place, by=make.BY)
    until(lambda: served(browser) == "off", "the browser has the new value")
    refetch = bulks(browser)[-1]
    assert refetch["query"]["flagConfigEtag"]
    assert refetch["query"]["flagConfigLastModified"].isdigit()
    assert (refetch["ifNoneMatch"] is not None, refetch["status"]) == (True, 200)
    assert len(streams(browser)) == 1


# --- The three traps ----------------------------------------------------------------------------
def test_trap_1_another_context_of_the_same_unit_is_no_304(web: Web, place: Environment, browser: Node) -> None:
    """The client sends the ETag that it got for its last context."""
    german(place)
    browser("start", url=web.url, key=ready(web, place, "german"), context=ANN)
    assert served(browser) == "on"
    browser("forget")
    browser("context", context=ANN | {"country": "PL"})
    until(lambda: served(browser) == "off", "the browser has the value of its new context")
    conditional = [call for call in bulks(browser) if call["ifNoneMatch"]]
    assert [call["status"] for call in conditional][:1] == [200]


def test_trap_2_what_changed_while_the_line_was_cut_arrives(web: Web, place: Environment, browser: Node) -> None:
    """The client does not evaluate anew when its EventSource is connected again."""
    flag = german(place)
    browser("start", url=web.url, key=ready(web, place, "german"), context=ANN)
    until(lambda: [call["status"] for call in streams(browser)] == [200], "the stream is open")
    until(lambda: len(bulks(browser)) >= 2, "it knows where it stands")
    browser("cut")
    flags.kill(flag, place, by=make.BY)
    until(lambda: len(streams(browser)) >= 2, "it tries to connect again")
    assert served(browser) == "on"
    browser("mend")
    until(lambda: served(browser) == "off", "the browser has the value that it had missed")
    assert streams(browser)[-1]["lastEventId"]


def test_trap_3_an_expired_address_is_left_for_a_good_one(place: Environment, browser: Node) -> None:
    """The client gets 304 for an answer that would tell it another address, and tries the dead one every second."""
    flag = german(place)
    with Web(PORTAL_STREAM_EPOCH=str(EPOCH)) as web:
        browser("start", url=web.url, key=ready(web, place, "german"), context=ANN)
        until(lambda: [call["status"] for call in streams(browser)] == [200], "the stream is open")
        dead = streams(browser)[0]["query"]["token"]
        # Its epochs are over; meanwhile the open stream goes on.
        time.sleep(LIVES * EPOCH + 0.5)
        browser("forget")
        browser("cut")
        browser("mend")
        until(lambda: streams(browser) and streams(browser)[-1]["query"]["token"] != dead, "it listens elsewhere")
        tried = [call["status"] for call in streams(browser) if call["query"]["token"] == dead]
        assert set(tried) <= {None, 200, 204}
        assert 401 not in [call["status"] for call in browser("calls")]
        until(lambda: streams(browser)[-1]["status"] == 200, "the new stream is open")
        flags.kill(flag, place, by=make.BY)
        until(lambda: served(browser) == "off", "the browser is told of a change there")
        assert [call for call in streams(browser) if call["query"]["token"] == dead] == streams(browser)[: len(tried)]


def test_a_page_that_comes_back_after_a_month_listens_at_a_good_address(place: Environment, browser: Node) -> None:
    """It had kept flags, ETag and the address of the stream."""
    flag = german(place)
    with Web(PORTAL_STREAM_EPOCH=str(EPOCH)) as web:
        key = ready(web, place, "german")
        browser("start", url=web.url, key=key, context=ANN)
        until(lambda: [call["status"] for call in streams(browser)] == [200], "the stream is open")
        dead = streams(browser)[0]["query"]["token"]
        browser("stop")
        time.sleep(LIVES * EPOCH + 0.5)
        browser("forget")
        browser("start", url=web.url, key=key, context=ANN)
        until(lambda: streams(browser) and streams(browser)[-1]["query"]["token"] != dead, "it listens elsewhere")
        assert bulks(browser)[0]["status"] == 200
        flags.kill(flag, place, by=make.BY)
        until(lambda: served(browser) == "off", "the browser is told of a change there")


def test_a_revoked_key_closes_the_stream_and_is_not_asked_for_in_a_hurry(
    web: Web, place: Environment, browser: Node
) -> None:
    german(place)
    raw = ready(web, place, "german")
    browser("start", url=web.url, key=raw, context=ANN)
    until(lambda: [call["status"] for call in streams(browser)] == [200], "the stream is open")
    keys.revoke(keys.ApiKey.objects.get(digest=keys.digest(raw)), by=make.BY)
    until(lambda: streams(browser)[-1]["status"] == 401, "it may not listen any more")
    # Whatever it had goes on being served.
    assert served(browser) == "on"
