"""OFREP's event streams: a client that listens is told when it should evaluate anew."""

import asyncio
import random
import time
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Protocol
from urllib.parse import parse_qs

import orjson
import structlog
from django.conf import settings

from portal.keys import KeyInfo, Ring
from portal.limits import Limiter
from portal.models import ApiKey
from rollouts.api import stream_tokens
from rollouts.api.ofrep_answers import (
    GENERAL,
    SHARED,
    Failed,
    Headers,
    Receive,
    Scope,
    Send,
    answer,
    preflight,
    retry,
)
from rollouts.engine.types import Snapshot

log = structlog.get_logger(__name__)

PATH = "/ofrep/v1/stream"
HEARTBEAT = 15.0  # seconds of silence: proxies in between take longer ones for death
LOOK_EVERY = 1.0  # seconds: flags that change by the clock, keys that have expired
SLOW = 10.0  # seconds that a client may take to read what it was sent
IDLE = 120  # seconds after which a client that nobody looks at should hang up
AT_ONCE = 50  # streams told before requests get their turn
BREATH = 0.002  # seconds
RECONNECT = (1000, 3000)  # milliseconds: the streams of a process that ended do not come back at the same moment
RENEWED = "renew"  # the end of the last event's id on a stream whose token had expired

ACCEPTED: Headers = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store, no-transform"),
    # nginx would keep events back until it has a bufferful.
    (b"x-accel-buffering", b"no"),
    *SHARED,
]
PREFLIGHT = preflight(b"GET, OPTIONS", b"Accept, Cache-Control, Last-Event-ID")


class Held(Protocol):
    """What this process holds, as it is seen from here."""

    ring: Ring

    @property
    def ready(self) -> bool: ...

    def find(self, environment: str) -> Snapshot | None: ...


class Stream:
    """One client that listens."""

    __slots__ = ("environment", "key", "over", "told", "woken")

    def __init__(self, token: stream_tokens.Token, told: str) -> None:
        self.key, self.environment = token.key, token.environment
        self.told = told
        self.over = False
        self.woken = asyncio.Event()

    def end(self) -> None:
        self.over = True
        self.woken.set()


class Streams:
    """Every open stream of this process. Only where a client should stand is kept for it, not each event."""

    def __init__(self, held: Held, limiter: Limiter) -> None:
        self.held, self.limiter = held, limiter
        self.heartbeat = HEARTBEAT
        self._open: dict[str, set[Stream]] = defaultdict(set)
        self._of_key: Counter[int] = Counter()
        self._addresses: dict[tuple[int, str], tuple[int, bytes]] = {}
        self._looking: asyncio.Task[None] | None = None
        self._news = asyncio.Event()
        self._closed = False

    @property
    def count(self) -> int:
        return self._of_key.total()

    # --- What bulk answers carry ----------------------------------------------------------------
    def address(self, caller: KeyInfo, environment: str, *, now: float) -> bytes:
        """The `eventStreams` of an answer: the same bytes for the same key until its token changes."""
        epoch = stream_tokens.epoch(caller.id, now)
        known = self._addresses.get((caller.id, environment))
        if known is None or known[0] != epoch:
            uri = f"{PATH}?token={stream_tokens.issue(caller.id, environment, epoch)}"
            # Without an origin the client takes the one by which it reached us.
            told = [{"type": "sse", "endpoint": {"requestUri": uri}, "inactivityDelaySec": IDLE}]
            known = self._addresses[caller.id, environment] = epoch, orjson.dumps(told)
        return known[1]

    # --- The door -------------------------------------------------------------------------------
    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "OPTIONS":
            await answer(send, 204, b"", PREFLIGHT)
            return
        if scope["method"] != "GET":
            raise Failed(405, GENERAL, "listen with GET", [(b"allow", b"GET, OPTIONS")])
        last = next((value.decode("latin-1") for name, value in scope["headers"] if name == b"last-event-id"), "")
        token = self._admit(scope["query_string"])
        if token.ends <= time.time():
            await self._renew(send, token, last)
            return
        # An expired token costs nothing; an open stream does.
        self._make_room(token.key)
        stream = Stream(token, last)
        self._enter(stream)
        try:
            await self._follow(stream, receive, send)
        finally:
            self._leave(stream)

    def _admit(self, query: bytes) -> stream_tokens.Token:
        """Whoever has the address may listen, as long as the key that it was made for may evaluate."""
        given = parse_qs(query.decode("latin-1")).get("token", [""])[0]
        if not given:
            raise Failed(401, GENERAL, "token: is missing: a bulk evaluation tells the address of its event stream")
        try:
            token = stream_tokens.read(given)
        except stream_tokens.Forged:
            raise Failed(401, GENERAL, "token: is none that was given out here") from None
        if self._closed or not self.held.ready or self.held.find(token.environment) is None:
            raise Failed(503, GENERAL, "no flags are loaded", [retry(1)])
        if not self._may(token.key, token.environment):
            raise Failed(401, GENERAL, "token: its API key is revoked or expired")
        wait = self.limiter.wait(token.key)
        if wait:
            raise Failed(429, GENERAL, f"too many requests with this key: again in {wait} s", [retry(wait)])
        return token

    def _may(self, key: int, environment: str) -> bool:
        caller = self.held.ring.of(key, now=datetime.now(UTC))
        return (
            caller is not None and caller.may(ApiKey.Scope.EVALUATE) and caller.environments == frozenset({environment})
        )

    def _make_room(self, key: int) -> None:
        if self.count >= settings.PORTAL_MAX_STREAMS:
            raise Failed(503, GENERAL, "too many event streams are open here", [retry(5)])
        if self._of_key[key] >= settings.PORTAL_MAX_STREAMS_PER_KEY:
            raise Failed(503, GENERAL, "too many event streams of this key are open here", [retry(5)])

    async def _renew(self, send: Send, token: stream_tokens.Token, last: str) -> None:
        """An address that is no longer good: its client shall evaluate, and so learn the one that is.

        Refused it would try again for ever: clients that get a 304 never look for another address. So it is told to
        evaluate; when it comes back all the same, 204 tells it to stop, and it turns to the address that it has got.
        """
        if last.endswith(RENEWED):
            await answer(send, 204, b"", SHARED)
            return
        position = f"{self.position(token.environment)}-{RENEWED}"
        body = b"retry: 1000\n" + self._refetch(token.environment, position)
        await answer(send, 200, body, ACCEPTED)

    # --- One stream -----------------------------------------------------------------------------
    async def _follow(self, stream: Stream, receive: Receive, send: Send) -> None:
        leaving = asyncio.ensure_future(_gone(stream, receive))
        # Something must be sent at once, or the client would not know that it is connected.
        words = b"retry: %d\n: listening\n\n" % random.randint(*RECONNECT)
        try:
            async with asyncio.timeout(SLOW):
                await send({"type": "http.response.start", "status": 200, "headers": ACCEPTED})
            while not stream.over:
                stream.woken.clear()
                position = self.position(stream.environment)
                if stream.told != position:
                    # Who has missed ten changes needs to evaluate once.
                    words += self._refetch(stream.environment, position)
                    stream.told = position
                async with asyncio.timeout(SLOW):
                    await send({"type": "http.response.body", "body": words, "more_body": True})
                words = b""
                try:
                    async with asyncio.timeout(self.heartbeat):
                        await stream.woken.wait()
                except TimeoutError:
                    words = b":\n\n"
            async with asyncio.timeout(SLOW):
                await send({"type": "http.response.body", "body": b""})
        except TimeoutError:
            log.info("ofrep.slow_stream_dropped", environment=stream.environment, key=stream.key)
        finally:
            leaving.cancel()

    def position(self, environment: str) -> str:
        """Where a client of this environment should stand: what was last changed, and what the clock has changed."""
        snapshot = self.held.find(environment)
        if snapshot is None:
            return ""
        return f"{snapshot.version}.{bisect_right(snapshot.turns, time.time())}"

    def _refetch(self, environment: str, position: str) -> bytes:
        told = {"type": "refetchEvaluation", "etag": position, "lastModified": int(time.time())}
        return b"id: %b\nevent: message\ndata: %b\n\n" % (position.encode(), orjson.dumps(told))

    # --- All of them ----------------------------------------------------------------------------
    def look(self) -> None:
        """Something that this process holds has changed: whoever listens may have to be told."""
        self._news.set()

    def close(self) -> None:
        """This process ends: its clients go to another one, or wait for the next."""
        self._closed = True
        for stream in self._all():
            stream.end()

    def _all(self) -> Iterable[Stream]:
        return [stream for streams in self._open.values() for stream in streams]

    def _enter(self, stream: Stream) -> None:
        self._open[stream.environment].add(stream)
        self._of_key[stream.key] += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._keep_looking(), name="event streams")

    def _leave(self, stream: Stream) -> None:
        self._open[stream.environment].discard(stream)
        self._of_key[stream.key] -= 1
        if not self._of_key[stream.key]:
            del self._of_key[stream.key]
        if not self.count:
            # The one who keeps looking finds nobody and ends.
            self.look()

    async def _keep_looking(self) -> None:
        while self.count:
            try:
                await self._tell()
            except Exception:
                log.exception("ofrep.streams_failed")
            try:
                async with asyncio.timeout(LOOK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                pass
            self._news.clear()

    async def _tell(self) -> None:
        """Wake whoever is not where he should be, some at a time: requests are answered in between."""
        for environment, streams in list(self._open.items()):
            gone = self.held.find(environment) is None
            lost = {key for key in {one.key for one in streams} if gone or not self._may(key, environment)}
            position = self.position(environment)
            late = [one for one in streams if one.told != position or one.key in lost]
            for start in range(0, len(late), AT_ONCE):
                for stream in late[start : start + AT_ONCE]:
                    if stream.key in lost:
                        stream.end()
                    else:
                        stream.woken.set()
                await asyncio.sleep(BREATH)


async def _gone(stream: Stream, receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
    stream.end()
