"""Event streams: who may listen, what he is told, and when he is let go."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from pytest_django import Settings
from structlog.testing import capture_logs

from portal import keys
from rollouts.api import ofrep_streams, stream_tokens
from rollouts.engine.types import FlagSource
from tests.rollouts.engine.build import snapshot, source
from tests.rollouts.ofrep.build import KEY, Door
from tests.rollouts.ofrep.listening import WITHIN, Listener


async def stream(door: Door, raw: str = KEY) -> dict[str, Any]:
    answer = await door.ask(None, {"targetingKey": "u"}, raw=raw)
    (told,) = answer.json()["eventStreams"]
    assert isinstance(told, dict)
    return told


async def address(door: Door, raw: str = KEY) -> str:
    found: str = (await stream(door, raw))["endpoint"]["requestUri"]
    return found


def change(door: Door, version: int, *sources: FlagSource) -> None:
    """What the loader does when something was written."""
    made = snapshot(*sources)
    object.__setattr__(made, "version", version)
    door.memory.snapshots["production"] = made
    for watcher in door.memory.watchers:
        watcher()


# --- The address --------------------------------------------------------------------------------
async def test_a_bulk_answer_says_where_to_listen_and_a_single_one_does_not() -> None:
    door = Door(source("flag"))
    told = await stream(door)
    assert told == {"type": "sse", "endpoint": told["endpoint"], "inactivityDelaySec": 120}
    assert list(told["endpoint"]) == ["requestUri"]
    assert told["endpoint"]["requestUri"].startswith("/ofrep/v1/stream?token=")
    assert "eventStreams" not in (await door.ask("flag", {})).json()


async def test_the_address_is_one_for_each_key_and_changes_with_time(settings: Settings) -> None:
    door = Door(source("flag"))
    door.give("other")
    assert await address(door) == await address(door)
    assert await address(door) != await address(door, "other")
    settings.PORTAL_STREAM_EPOCH = 1
    before = await address(door)
    await asyncio.sleep(1.05)
    assert await address(door) != before


def test_a_token_says_who_where_and_until_when(settings: Settings) -> None:
    settings.PORTAL_STREAM_EPOCH = 600
    now = 1_750_000_000.0
    for key in (1, 2, 77):
        token = stream_tokens.read(stream_tokens.issue(key, "eu.prod-1", stream_tokens.epoch(key, now)))
        assert (token.key, token.environment) == (key, "eu.prod-1")
        # Good for at least five epochs after the address has changed, and no longer than six from its first moment.
        assert now + 5 * 600 < token.ends <= now + 6 * 600
    changes = {stream_tokens.epoch(key, now + later) for key in (1,) for later in range(0, 1200, 60)}
    assert len(changes) == 3


@pytest.mark.parametrize("part", range(4))
def test_no_part_of_a_token_can_be_changed(part: int) -> None:
    parts = stream_tokens.issue(1, "production", 7).split(".", 3)
    parts[part] = {0: "0" * 32, 1: "8", 2: "2", 3: "staging"}[part]
    with pytest.raises(stream_tokens.Forged):
        stream_tokens.read(".".join(parts))


@pytest.mark.parametrize("token", ["", "x", "x.y", "....", "0" * 32 + ".1.1.production", "ä.ö.ü", "%00", "a" * 10_000])
async def test_what_is_no_token_is_401(token: str) -> None:
    async with Listener(Door(source()).app, f"/ofrep/v1/stream?token={token}") as refused:
        assert refused.status == 401
        assert refused.headers["content-type"] == "application/json"
    async with Listener(Door(source()).app, "/ofrep/v1/stream") as refused:
        assert (refused.status, "token: is missing" in refused.text) == (401, True)


async def test_another_secret_makes_other_tokens(settings: Settings) -> None:
    door = Door(source())
    where = await address(door)
    settings.SECRET_KEY = "another one"
    async with Listener(door.app, where) as refused:
        assert refused.status == 401


# --- What is told -------------------------------------------------------------------------------
async def test_a_stream_begins_at_once_with_what_browsers_and_proxies_need() -> None:
    door = Door(source())
    async with Listener(door.app, await address(door)) as one:
        assert one.status == 200
        assert one.headers["content-type"] == "text/event-stream"
        assert one.headers["cache-control"].startswith("no-store")
        assert one.headers["x-accel-buffering"] == "no"
        assert one.headers["access-control-allow-origin"] == "*"
        assert one.text.startswith("retry: ")


async def test_a_change_is_told_to_everyone_in_its_environment() -> None:
    door = Door(source("flag"))
    where = await address(door)
    async with Listener(door.app, where) as one, Listener(door.app, where) as other:
        first = await one.event()
        await other.event()
        change(door, 2, source("flag", enabled=False))
        told = await one.event()
        assert told["type"] == "refetchEvaluation"
        assert told["etag"] == told["id"] != first["id"]
        assert isinstance(told["lastModified"], int)
        assert (await other.event())["id"] == told["id"]
        assert door.app.streams.count == 2
    assert door.app.streams.count == 0


async def test_who_has_missed_nothing_is_told_nothing() -> None:
    door = Door(source("flag"))
    where = await address(door)
    async with Listener(door.app, where) as one:
        last = (await one.event())["id"]
    async with Listener(door.app, where, last=last) as again:
        assert again.events == []
        change(door, 2, source("flag"))
        last = (await again.event())["id"]
        # The same once more: a look at what has not changed.
        door.app.streams.look()
    async with Listener(door.app, where, last=last) as again:
        assert again.events == []


@pytest.mark.parametrize("last", ["", "0.0", "999.0", "evt-1", "garbage 7"])
async def test_who_may_have_missed_something_is_told_once(last: str) -> None:
    door = Door(source("flag"))
    change(door, 5, source("flag"))
    async with Listener(door.app, await address(door), last=last) as one:
        assert (await one.event())["etag"] == "5.0"
        assert len(one.events) == 1


async def test_a_client_that_missed_ten_changes_is_told_once() -> None:
    door = Door(source("flag"))
    async with Listener(door.app, await address(door)) as one:
        await one.event()
        for version in range(2, 12):
            change(door, version, source("flag"))
        assert (await one.event())["etag"] == "11.0"
        assert len(one.events) == 2


async def test_a_flag_that_changes_by_the_clock_is_told_too(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock waits for the first event, however long that takes.
    clock = SimpleNamespace(time=time.time)
    monkeypatch.setattr(ofrep_streams, "time", clock)
    monkeypatch.setattr(ofrep_streams, "LOOK_EVERY", 0.02)
    opens = datetime.now(UTC) + timedelta(hours=1)
    door = Door(source("flag", window={"from": opens.isoformat(), "until": None}))
    async with Listener(door.app, await address(door)) as one:
        assert (await one.event())["etag"] == "1.0"
        await asyncio.sleep(0.1)
        assert len(one.events) == 1
        clock.time = opens.timestamp
        assert (await one.event())["etag"] == "1.1"


async def test_silence_is_broken_by_comments() -> None:
    door = Door(source())
    door.app.streams.heartbeat = 0.02
    async with Listener(door.app, await address(door)) as one:
        await one.event()
        await one.until(lambda: one.text.count("\n:\n\n") >= 3)
        assert len(one.events) == 1


# --- Letting go ---------------------------------------------------------------------------------
async def test_an_expired_address_sends_for_another_one_and_then_stops_its_client() -> None:
    door = Door(source())
    expired = f"/ofrep/v1/stream?token={stream_tokens.issue(1, 'production', 7)}"
    async with Listener(door.app, expired, last="1.0") as one:
        assert (one.status, one.ended) == (200, True)
        told = await one.event()
        assert told["type"] == "refetchEvaluation"
    async with Listener(door.app, expired, last=told["id"]) as again:
        assert (again.status, again.text) == (204, "")
    # What it has evaluated tells it a good one, and there it is told what it may have missed in between.
    async with Listener(door.app, await address(door), last=told["id"]) as anew:
        assert anew.status == 200
        await anew.event()


async def test_a_revoked_key_ends_its_streams_and_opens_none() -> None:
    door = Door(source())
    door.give("other")
    where = await address(door)
    async with Listener(door.app, where) as one, Listener(door.app, await address(door, "other")) as other:
        del door.memory.ring.by_digest[keys.digest(KEY)]
        door.app.streams.look()
        await one.until(lambda: one.ended)
        assert not other.ended
    async with Listener(door.app, where) as refused:
        assert refused.status == 401
        assert "revoked" in refused.text


async def test_a_key_that_expires_ends_its_streams(monkeypatch: pytest.MonkeyPatch) -> None:
    # The clock waits until the stream is open, however long that takes.
    clock = SimpleNamespace(now=datetime.now)
    monkeypatch.setattr(ofrep_streams, "datetime", clock)
    monkeypatch.setattr(ofrep_streams, "LOOK_EVERY", 0.02)
    door = Door(source())
    expires = datetime.now(UTC) + timedelta(hours=1)
    door.give("short", expires_at=expires)
    async with Listener(door.app, await address(door, "short")) as one:
        assert (one.status, one.ended) == (200, False)
        clock.now = lambda zone: expires
        await one.until(lambda: one.ended)


async def test_a_key_that_may_no_longer_evaluate_there_may_not_listen() -> None:
    door = Door(source())
    where = await address(door)
    for scopes, environments in ((("read",), ("production",)), (("evaluate",), ("staging",)), (("evaluate",), None)):
        door.memory.ring.by_digest.clear()
        door.give(KEY, *scopes, environments=environments)
        async with Listener(door.app, where) as refused:
            assert refused.status == 401


async def test_streams_are_limited_in_all_and_by_key(settings: Settings) -> None:
    settings.PORTAL_MAX_STREAMS, settings.PORTAL_MAX_STREAMS_PER_KEY = 3, 2
    door = Door(source())
    door.give("other")
    where, others = await address(door), await address(door, "other")
    async with Listener(door.app, where), Listener(door.app, where):
        async with Listener(door.app, where) as refused:
            assert (refused.status, refused.headers["retry-after"].isdigit()) == (503, True)
        async with Listener(door.app, others), Listener(door.app, others) as refused:
            assert refused.status == 503
    # A place that was left is free.
    async with Listener(door.app, where) as one:
        assert one.status == 200


async def test_a_client_that_does_not_read_is_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ofrep_streams, "SLOW", 0.05)
    door = Door(source())
    async with Listener(door.app, await address(door), reads=False) as one:
        async with asyncio.timeout(WITHIN):
            await asyncio.shield(one.task)
        assert door.app.streams.count == 0


async def test_a_process_that_ends_lets_everyone_go_and_nobody_in() -> None:
    door = Door(source())
    where = await address(door)
    async with Listener(door.app, where) as one:
        door.app.streams.close()
        await one.until(lambda: one.ended)
    async with Listener(door.app, where) as refused:
        assert (refused.status, refused.headers["retry-after"]) == (503, "1")


async def test_other_methods_are_405_and_a_preflight_is_answered() -> None:
    door = Door(source())
    where = await address(door)
    for method in ("POST", "PUT", "HEAD"):
        async with Listener(door.app, where, method=method) as refused:
            assert (refused.status, refused.headers["allow"]) == (405, "GET, OPTIONS")
    async with Listener(door.app, where, method="OPTIONS") as preflight:
        assert preflight.status == 204
        assert "Last-Event-ID" in preflight.headers["access-control-allow-headers"]


async def test_no_log_line_tells_an_address() -> None:
    door = Door(source())
    where = await address(door)
    with capture_logs() as logs:
        async with Listener(door.app, where) as one:
            await one.event()
        async with Listener(door.app, where.replace("token=", "token=0")):
            pass
        door.memory.snapshots.clear()
        async with Listener(door.app, where):
            pass
    assert "token" not in str(logs)


# --- As new as the event ------------------------------------------------------------------------
async def test_an_evaluation_waits_until_what_was_told_is_there() -> None:
    door = Door(source("flag"))
    asked: list[tuple[int, float]] = []

    async def catch_up(*, version: int, since: float, within: float) -> None:
        asked.append((version, since))
        change(door, 9, source("flag", enabled=False))

    door.memory.catch_up = catch_up  # type: ignore[method-assign]
    path = "/ofrep/v1/evaluate/flags"
    answer = await door.ask(None, {}, path=f"{path}?flagConfigEtag=9.0&flagConfigLastModified=1771622898")
    assert answer.json()["flags"][0]["reason"] == "DISABLED"
    assert asked == [(9, 0.0)]
    await door.ask(None, {}, path=f"{path}?flagConfigEtag=9.0")
    assert len(asked) == 1


@pytest.mark.parametrize(
    ("said", "since"),
    [
        ("flagConfigLastModified=1771622898", 1_771_622_899.0),
        ("flagConfigLastModified=2026-02-20T21:28:18Z", 1_771_622_899.0),
        ("flagConfigEtag=v2&flagConfigLastModified=1771622898", 1_771_622_899.0),
        ("flagConfigLastModified=soon", None),
        ("flagConfigLastModified=-5", None),
        ("flagConfigLastModified=1e999", None),
        ("flagConfigLastModified=nan", None),
        ("flagConfigLastModified=99999-01-01T00:00:00", None),
        ("flagConfigEtag=" + "9" * 40, None),
        ("flagConfigEtag=%C2%B2", None),
        ("something=else", None),
    ],
)
async def test_every_hint_is_accepted_and_only_a_good_one_waits(said: str, since: float | None) -> None:
    door = Door(source("flag"))
    asked: list[float] = []

    async def catch_up(*, version: int, since: float, within: float) -> None:
        asked.append(since)

    door.memory.catch_up = catch_up  # type: ignore[method-assign]
    answer = await door.ask(None, {}, path=f"/ofrep/v1/evaluate/flags?{said}")
    assert answer.status_code == 200
    assert asked == ([] if since is None else [since])


async def test_nobody_waits_for_what_is_to_come() -> None:
    door = Door(source("flag"))
    asked: list[float] = []

    async def catch_up(*, version: int, since: float, within: float) -> None:
        asked.append(since)

    door.memory.catch_up = catch_up  # type: ignore[method-assign]
    await door.ask(None, {}, path="/ofrep/v1/evaluate/flags?flagConfigLastModified=9999999999")
    assert asked[0] <= time.time()
