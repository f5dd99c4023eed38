"""Telling every process what has changed: one publish after commit, one subscription a process."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import Any

import redis
import redis.asyncio
import structlog
from django.conf import settings
from django.db import transaction

from portal.models import User

log = structlog.get_logger(__name__)

RECONNECT_EVERY = 0.5  # seconds
STOP_AGAIN = 0.2  # seconds
Listener = Callable[[dict[str, Any]], Awaitable[None]]


# --- What may be watched ------------------------------------------------------------------------
@dataclass(frozen=True, slots=True)
class Topic:
    """Something a page may watch: `may(user, id)` says who (id None: all of it); `frame(id)` draws a chart."""

    name: str
    may: Callable[[User, str | None], bool]
    frame: Callable[[str], dict[str, Any]] | None = None


TOPICS: dict[str, Topic] = {}


def topic(name: str, *, may: Callable[[User, str | None], bool]) -> None:
    """Register what `announce(name, id=…)` tells about."""
    _register(Topic(name, may))


def chart(name: str, *, may: Callable[[User, str | None], bool], frame: Callable[[str], dict[str, Any]]) -> None:
    """Register a chart, watched as `chart:NAME:ID`: its frame is drawn at most once a second and process."""
    _register(Topic(f"chart:{name}", may, frame))


def _register(one: Topic) -> None:
    if one.name in TOPICS:
        raise ValueError(f"two live topics are named {one.name}")
    TOPICS[one.name] = one


# --- Telling ------------------------------------------------------------------------------------
def channel() -> str:
    return f"{settings.PORTAL_REDIS_PREFIX}live"


def announce(topic: str, **fields: Any) -> None:
    """After commit, say that something of `topic` has changed. A dead Valkey only logs: pages and loaders also poll."""
    transaction.on_commit(partial(_publish, json.dumps({"topic": topic, **fields})), robust=True)


def _publish(message: str) -> None:
    try:
        _client().publish(channel(), message)
    except redis.RedisError as error:
        log.warning("live.publish_failed", error=str(error))


@lru_cache(maxsize=1)
def _client() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)


# --- Hearing ------------------------------------------------------------------------------------
class Hub:
    """The process's one subscription. Listeners are called in the event loop, in order of arrival."""

    def __init__(self) -> None:
        self.connected = False
        self._listeners: list[tuple[str | None, Listener]] = []
        self._watchers: list[Callable[[bool], None]] = []
        self._task: asyncio.Task[None] | None = None

    def listen(self, topic: str | None, listener: Listener) -> None:
        """Call `listener` with every message of the topic; None hears all of them."""
        self._listeners.append((topic, listener))

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call `watcher` when the subscription is lost (False) and when it is back (True)."""
        self._watchers.append(watcher)

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name="live hub")

    async def stop(self) -> None:
        # The client may take one cancelling for its own timeout and go on: the process would never end.
        while self._task and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=STOP_AGAIN)

    async def _run(self) -> None:
        while True:
            try:
                await self._subscribe()
            except (redis.RedisError, OSError) as error:
                log.info("live.disconnected", error=str(error))
            finally:
                self._is_connected(False)
            await asyncio.sleep(RECONNECT_EVERY)

    async def _subscribe(self) -> None:
        # The health check notices a server that hangs: without it a stopped Valkey looks merely silent.
        client = redis.asyncio.Redis.from_url(
            settings.REDIS_URL, socket_connect_timeout=2, socket_timeout=5, health_check_interval=2
        )
        async with client, client.pubsub() as pubsub:
            await pubsub.subscribe(channel())
            self._is_connected(True)
            while True:
                message = await pubsub.get_message(ignore_subscribe_messages=True, timeout=1)
                if message is not None:
                    await self._deliver(message["data"])

    def _is_connected(self, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            for watcher in self._watchers:
                watcher(connected)

    async def _deliver(self, data: bytes) -> None:
        try:
            message = json.loads(data)
            said = message["topic"]
        except (ValueError, KeyError, TypeError):
            log.warning("live.unreadable", data=data[:200])
            return
        for wanted, listener in self._listeners:
            if wanted is None or wanted == said:
                try:
                    await listener(message)
                except Exception:
                    # One listener's fault must not cut the others off.
                    log.exception("live.listener_failed", topic=said)
