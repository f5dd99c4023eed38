"""The web process: OFREP and health beside Django, all else through it; loader and hub live as long as it does."""

import asyncio
import gc
import os
import resource
import signal
import sys
import threading
import time
from functools import lru_cache
from types import FrameType
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "portal.settings")
# Only a web process pools its connections: a forked worker must not inherit a pool.
os.environ.setdefault("PORTAL_DATABASE_POOL", "24")

from django.conf import settings
from django.core.asgi import get_asgi_application
from django.urls import get_resolver
from prometheus_client.core import Metric

django_application: Any = get_asgi_application()

from monitoring.queries import own_figures  # noqa: E402  (models need Django to be set up)
from portal import selfwatch, sockets  # noqa: E402
from portal.celery import app as celery  # noqa: E402
from portal.figures import REQUESTS, door_of  # noqa: E402
from portal.guard import Guard, Message, Receive, Scope, Send  # noqa: E402
from portal.health import Health  # noqa: E402
from portal.live import Hub  # noqa: E402
from rollouts.actions.tally import Tally  # noqa: E402
from rollouts.actions.tally_writer import TallyWriter  # noqa: E402
from rollouts.api.ofrep import Ofrep  # noqa: E402
from rollouts.snapshots import Loader  # noqa: E402

# A thread that compiles flags gives way to requests after a millisecond, not after five.
sys.setswitchinterval(0.001)
# Health asks for the heartbeat of every sweep: this process must know which there are.
celery.autodiscover_tasks(force=True)


class Portal:
    """Picks the application for a request, and starts and stops what lives in this process."""

    def __init__(self) -> None:
        self.hub = Hub()
        self.loader = Loader(self.hub)
        self.tally = Tally()
        self.tally_writer = TallyWriter(self.tally)
        self.ofrep = Ofrep(self.loader, self.tally)
        self.stage = sockets.Stage(self.hub)
        self.sockets = sockets.application(self.stage)
        self.health = Health(lambda: self.loader.ready)
        self.selfwatch = selfwatch.Selfwatch(
            self.loader.ring,
            own=self._held,
            stored=(selfwatch.heartbeats, own_figures.outbox, own_figures.partitions),
        )
        self.pages = Guard(
            django_application,
            in_flight=settings.PORTAL_MAX_IN_FLIGHT,
            timeout=settings.PORTAL_REQUEST_TIMEOUT,
            max_body=settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            path: str = scope["path"]
            send = _timed(door_of(path), send)
            if path.rstrip("/") in selfwatch.WAYS:
                await self.selfwatch(scope, receive, send)
            elif path.startswith("/ofrep/"):
                await self.ofrep(scope, receive, send)
            elif path.startswith("/health/"):
                await self.health(scope, receive, send)
            else:
                await self.pages(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket" and scope["path"] == "/live/":
            await self.sockets(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 4404})

    def _held(self) -> list[Metric]:
        """What this process holds now."""
        held = {
            "flightdeck_sockets": ("Open sockets of live pages", float(len(self.stage.consumers))),
            "flightdeck_event_streams": ("Open event streams of OFREP", float(self.ofrep.streams.count)),
            "flightdeck_requests_in_flight": ("Pages and API requests now", float(self.pages.in_flight)),
            "flightdeck_snapshot_version": ("Version of the flags that are held", float(self.loader.version)),
            "flightdeck_snapshot_age_seconds": ("Time since the store was last asked for newer flags", self.loader.age),
        }
        return [
            *(selfwatch.gauge(name, says, (), [((), now)]) for name, (says, now) in held.items()),
            *selfwatch.pool(),
        ]

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        _allow_many_files()
        self._listen_for_the_end()
        parts = (self.hub.start(), self.loader.start(), self.stage.start(), self.tally_writer.start())
        await asyncio.gather(*parts, asyncio.to_thread(_load_what_stays))
        await self.selfwatch.start()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.selfwatch.stop()
        await self.stage.stop()
        await asyncio.gather(self.loader.stop(), self.tally_writer.stop())
        await self.hub.stop()
        await send({"type": "lifespan.shutdown.complete"})

    def _listen_for_the_end(self) -> None:
        """Event streams end by themselves never: told only after them, this process would wait for them in vain."""
        if threading.current_thread() is not threading.main_thread():
            return
        loop = asyncio.get_running_loop()
        for one in (signal.SIGTERM, signal.SIGINT):
            before = signal.getsignal(one)

            def heard(number: int, frame: FrameType | None, before: Any = before) -> None:
                loop.call_soon_threadsafe(self.ofrep.streams.close)
                if callable(before):
                    before(number, frame)

            # Whoever runs us restores what was there before it set its own.
            if callable(before):
                signal.signal(one, heard)


def _timed(door: str, send: Send) -> Send:
    """Notes how long the answer took to begin."""
    began = time.perf_counter()

    async def noting(message: Message) -> None:
        if message["type"] == "http.response.start":
            REQUESTS.labels(door, f"{message['status'] // 100}xx").observe(time.perf_counter() - began)
        await send(message)

    return noting


@lru_cache(maxsize=1)
def _load_what_stays() -> None:
    """Every page and door, which the first request would have to wait for.

    They stay for ever: each full collection that looked through them would stop the process for a tenth of a second.
    """
    assert get_resolver().url_patterns
    gc.collect()
    gc.freeze()


def _allow_many_files() -> None:
    """Each open stream and socket is one: the usual soft limit of 1 024 is less than what we let in."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


application = Portal()
