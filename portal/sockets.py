"""Live pages' sockets: what changed, and chart frames, encoded once and written to whoever watches."""

import asyncio
import time
from collections import defaultdict
from typing import Any

import orjson
import structlog
from asgiref.sync import sync_to_async
from channels.auth import AuthMiddlewareStack
from channels.db import database_sync_to_async
from channels.generic.websocket import AsyncWebsocketConsumer
from channels.security.websocket import AllowedHostsOriginValidator
from django.contrib.auth import aget_user
from django.contrib.sessions.backends.db import SessionStore
from django.db import connection

from portal.live import TOPICS, Hub
from portal.models import User
from portal.seats import Line, Message, Seat

log = structlog.get_logger(__name__)

FRAME_EVERY = 1.0  # seconds
SEND_WITHIN = 10.0  # seconds until a client that does not read is cut off
CLOSE_WITHIN = 1.0  # seconds for it to be told why
CHECK_EVERY = 2.0  # seconds between looks at all sockets of the process
RECHECK_EVERY = 60.0  # seconds between looks whether the person may still watch
MAX_TOPICS = 100  # a page asks for a few dozen at the most
MAX_MESSAGE = 16_384  # bytes that a client may say at once
DRAWN_AT_ONCE = 4
TOLD_AT_ONCE = 100  # sockets; between them the process does what else there is to do


class Stage:
    """Who watches what in this process, and the chart frames that they are shown."""

    def __init__(self, hub: Hub) -> None:
        self.seats: dict[str, set[Seat]] = defaultdict(set)
        self.hub = hub
        hub.listen(None, self._changed)
        hub.watch(self._connected)
        self.frames: dict[str, Message] = {}
        self.consumers: set[LiveConsumer] = set()
        self._checker: asyncio.Task[None] | None = None
        self._artists: dict[str, asyncio.Task[None]] = {}
        self._drawing = asyncio.Semaphore(DRAWN_AT_ONCE)

    def join(self, seat: Seat, topic: str) -> None:
        self.seats[topic].add(seat)
        if topic in self.frames:
            seat.put(topic, self.frames[topic])
        if topic.startswith("chart:") and topic not in self._artists:
            self._artists[topic] = asyncio.create_task(self._draw(topic), name=f"draws {topic}")

    def leave(self, seat: Seat, topics: set[str]) -> None:
        for topic in topics:
            self.seats[topic].discard(seat)
            if not self.seats[topic]:
                del self.seats[topic]

    async def start(self) -> None:
        self._checker = asyncio.create_task(self._check(), name="socket checker")

    async def stop(self) -> None:
        if self._checker:
            self._checker.cancel()
        for artist in self._artists.values():
            artist.cancel()

    async def _check(self) -> None:
        while True:
            await asyncio.sleep(CHECK_EVERY)
            for consumer in list(self.consumers):
                try:
                    await consumer.check()
                except Exception:
                    # One socket's fault must not leave the others unchecked.
                    log.exception("sockets.check_failed")

    async def _changed(self, message: dict[str, Any]) -> None:
        said, what = message["topic"], message.get("id")
        told = _message({"topic": said, "id": what})
        for topic in (said, f"{said}:{what}"):
            await self._tell(topic, f"{said}:{what}", told)

    async def _tell(self, topic: str, name: str, message: Message) -> None:
        for number, seat in enumerate(tuple(self.seats.get(topic, ())), 1):
            seat.put(name, message)
            if number % TOLD_AT_ONCE == 0:
                await asyncio.sleep(0)

    def _connected(self, connected: bool) -> None:
        message = _state(connected)
        for consumer in self.consumers:
            consumer.seat.put("state", message)

    async def _draw(self, topic: str) -> None:
        """Each second while anybody watches: draw, and tell when it differs from what was told."""
        name, _, what = topic.rpartition(":")
        frame, told, number = TOPICS[name].frame, b"", 0
        assert frame is not None
        try:
            while topic in self.seats:
                began = time.monotonic()
                try:
                    async with self._drawing:
                        drawn = orjson.dumps(await sync_to_async(_drawn, thread_sensitive=False)(frame, what))
                except Exception:
                    # The next second may be better; a chart must not end because the store hiccuped.
                    log.exception("sockets.frame_failed", topic=topic)
                    drawn = told
                if drawn != told:
                    told, number = drawn, number + 1
                    head = orjson.dumps(
                        {"topic": topic, "v": 1, "seq": number, "t": int(time.time() * 1000)}
                    )  # joined as text: the frame is encoded once, whatever the number of clients
                    text = (head[:-1] + b"," + drawn[1:]).decode() if len(drawn) > 2 else head.decode()
                    self.frames[topic] = Message(text)
                    await self._tell(topic, topic, self.frames[topic])
                await asyncio.sleep(max(0.0, FRAME_EVERY - (time.monotonic() - began)))
        finally:
            self._artists.pop(topic, None)
            self.frames.pop(topic, None)


def _message(content: dict[str, Any]) -> Message:
    return Message(orjson.dumps(content).decode())


def _state(connected: bool) -> Message:
    return _message({"state": "live" if connected else "lost"})


def _drawn(frame: Any, what: str) -> dict[str, Any]:
    try:
        return dict(frame(what))
    finally:
        connection.close()


class LiveConsumer(AsyncWebsocketConsumer):
    """One page's socket."""

    async def connect(self) -> None:
        user: Any = self.scope["user"]
        self.user: User = user
        self.stage: Stage = self.scope["stage"]
        self.seat, self.watched = Seat(self.base_send, self.scope["line"]), set[str]()
        if not user.is_authenticated:
            await self.close(code=4401)
            return
        await self.accept()
        self.check_at = time.monotonic() + RECHECK_EVERY
        self.stage.consumers.add(self)
        self.seat.put("state", _state(self.stage.hub.connected))

    async def disconnect(self, code: int) -> None:
        if hasattr(self, "stage"):
            self._leave()

    def _leave(self) -> None:
        self.stage.consumers.discard(self)
        self.stage.leave(self.seat, self.watched)
        self.seat.leave()

    async def receive(self, text_data: str | None = None, bytes_data: bytes | None = None) -> None:
        try:
            if text_data is None or len(text_data) > MAX_MESSAGE:
                raise ValueError
            wanted = orjson.loads(text_data)["subscribe"]
            if not isinstance(wanted, list) or not all(isinstance(topic, str) for topic in wanted):
                raise ValueError
        except (ValueError, KeyError, TypeError):
            await self.close(code=4400)
            return
        for topic in dict.fromkeys(wanted):
            why = await self._refusal(topic)
            if why:
                self.seat.put(f"refused {topic}", _message({"refused": topic[:200], "why": why}))
            elif topic not in self.watched and not self.seat.is_left:
                self.watched.add(topic)
                self.stage.join(self.seat, topic)

    async def _refusal(self, topic: str) -> str:
        """Why this person may not watch it; empty when nothing stands against it."""
        if len(self.watched) >= MAX_TOPICS:
            return f"a page may watch {MAX_TOPICS} topics"
        known, what = _known(topic)
        if known is None:
            return "there is no such topic"
        try:
            allowed = await database_sync_to_async(TOPICS[known].may)(self.user, what)
        except (ValueError, OverflowError):
            allowed = False
        return "" if allowed else "not allowed"

    async def check(self) -> None:
        """Close the socket of a client that does not read, or of a person who may no longer watch."""
        since = self.seat.blocked_since
        if self.seat.overflowed or (since is not None and time.monotonic() - since > SEND_WITHIN):
            log.info("sockets.slow_client_closed")
            if not self.seat.line.cut():
                await self._end(4408)
        elif time.monotonic() >= self.check_at:
            self.check_at = time.monotonic() + RECHECK_EVERY
            if not await self._still_allowed():
                await self._end(4403)

    async def _end(self, code: int) -> None:
        """Say why and close; who does not listen is cut off."""
        self._leave()
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.close(code=code)
        except TimeoutError:
            self.seat.line.cut()
        except OSError:
            log.debug("sockets.was_gone")

    async def _still_allowed(self) -> bool:
        """Sessions end, roles are taken away: a socket outlives neither."""
        user: Any = await aget_user(_SessionOnly(self.scope["session"]))  # type: ignore[arg-type]
        if not user.is_authenticated:
            return False
        self.user = user
        for topic in self.watched:
            known, what = _known(topic)
            if known is None or not await database_sync_to_async(TOPICS[known].may)(self.user, what):
                return False
        return True


class _SessionOnly:
    """What `aget_user` reads of a request."""

    def __init__(self, session: Any) -> None:
        # Read anew: the one in the scope is as old as the socket.
        self.session = SessionStore(session.session_key)


def _known(topic: str) -> tuple[str | None, str | None]:
    """The registered topic and the id asked for: "deployments:42" is ("deployments", "42")."""
    if topic in TOPICS:
        return (None, None) if TOPICS[topic].frame else (topic, None)
    name, _, what = topic.rpartition(":")
    return (name, what) if name in TOPICS and what else (None, None)


class WithStage:
    """Hands the process's stage to each consumer."""

    def __init__(self, app: Any, stage: Stage) -> None:
        self.app, self.stage = app, stage

    async def __call__(self, scope: Any, receive: Any, send: Any) -> Any:
        return await self.app(scope | {"stage": self.stage, "line": Line.of(send)}, receive, send)


def application(stage: Stage) -> Any:
    """The ASGI application for `/live/`: same origin, signed in."""
    return WithStage(AllowedHostsOriginValidator(AuthMiddlewareStack(LiveConsumer.as_asgi())), stage)
