"""Is this process alive, can it evaluate, is everything behind it well: answered beside Django, in bounded time."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass

import orjson
import redis
from django.conf import settings
from django.db import DatabaseError, connection

from portal import jobs
from portal.guard import Receive, Scope, Send

ANSWER_WITHIN = 0.4  # seconds: a load balancer's probe must not hang with what it probes


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str


class Health:
    """ASGI application for /health/…; `evaluates` says whether this process holds a snapshot."""

    def __init__(self, evaluates: Callable[[], bool]) -> None:
        self.evaluates = evaluates
        self._running: dict[str, asyncio.Future[Check]] = {}
        # Threads of its own: those of the process may all be waiting for what hangs.
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="health")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"].rstrip("/")
        if path in ("/health/live", "/health/liveness"):
            await _answer(send, 200, {"status": "alive"})
        elif path == "/health/evaluate":
            ok = self.evaluates()
            await _answer(send, 200 if ok else 503, {"status": "evaluating" if ok else "no snapshot is held yet"})
        elif path in ("/health/ready", "/health/readiness"):
            checks = await asyncio.gather(self._bounded("store", _store), self._bounded("broker", _broker))
            ok = all(check.ok for check in checks) and self.evaluates()
            await _answer(
                send,
                200 if ok else 503,
                {
                    "status": "ready" if ok else "not ready",
                    "evaluates": self.evaluates(),
                    "checks": [asdict(check) for check in checks],
                },
            )
        else:
            await _answer(send, 404, {"status": "not found"})

    async def _bounded(self, name: str, check: Callable[[], Check]) -> Check:
        """The check's answer, or that there was none in time. One that hangs is not started a second time."""
        running = self._running.get(name)
        if running is None or running.done():
            running = self._running[name] = asyncio.get_running_loop().run_in_executor(self._threads, check)
        done, _ = await asyncio.wait({running}, timeout=ANSWER_WITHIN)
        return running.result() if done else Check(name, False, f"no answer within {ANSWER_WITHIN} s")


def _store() -> Check:
    """PostgreSQL answers, and every sweep has lately completed a cycle."""
    try:
        stale = jobs.stale_sweeps(jobs.database_now())
    except DatabaseError as error:
        return Check("store", False, f"PostgreSQL: {error}".strip())
    finally:
        connection.close()
    if stale:
        return Check("store", False, f"no completed cycle lately: {', '.join(stale)}")
    return Check("store", True, "PostgreSQL answers, every sweep is fresh")


def _broker() -> Check:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.3, socket_connect_timeout=0.3) as client:
            client.ping()
    except redis.RedisError as error:
        return Check("broker", False, f"Valkey: {error}")
    return Check("broker", True, "Valkey answers")


async def _answer(send: Send, status: int, body: object) -> None:
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    if status == 503:
        headers.append((b"retry-after", b"2"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(body)})
