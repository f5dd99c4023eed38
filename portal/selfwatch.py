"""The portal watches itself: `/metrics` as Prometheus text and `/health/metrics` as JSON, answered beside Django.

Each web process counts for itself and leaves its figures in Valkey once a second; whichever process is asked shows
those of all, each with its label `process`. Nothing is added up here: when a process ends its series end, and no
counter ever falls. What the database knows is asked at most once a second and process, and waited for no longer than
health waits.
"""

import asyncio
import os
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Generic, TypeVar

import orjson
import psutil
import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from portal import jobs
from portal.figures import REGISTRY
from portal.guard import Receive, Scope, Send, refuse
from portal.keys import Ring, presented
from portal.models import ApiKey, Heartbeat

log = structlog.get_logger(__name__)
T = TypeVar("T")

ANSWER_WITHIN = 0.4  # seconds, as health does
KEPT = 1.0  # seconds that an answer of the store is good for
PUBLISH_EVERY = 1.0  # seconds
GONE_AFTER = 10.0  # seconds without a word from a process
WAYS = ("/metrics", "/health/metrics")

Source = Callable[[], Iterable[Metric]]


def gauge(name: str, says: str, labels: Sequence[str], rows: Iterable[tuple[Sequence[str], float]]) -> Metric:
    """A family of gauges: one row for each set of label values."""
    family = GaugeMetricFamily(name, says, labels=labels)
    for values, value in rows:
        family.add_metric(values, value)
    return family


class Asked(Generic[T]):
    """Something slow, asked at most once a second and never twice at once."""

    def __init__(self, ask: Callable[[], T], threads: ThreadPoolExecutor) -> None:
        self._ask, self._threads = ask, threads
        self._running: asyncio.Future[T] | None = None
        self._at = 0.0

    async def get(self) -> T | None:
        """The newest answer; None when there is none in time or asking failed."""
        if self._running is None or (self._running.done() and time.monotonic() - self._at > KEPT):
            self._at = time.monotonic()
            self._running = asyncio.get_running_loop().run_in_executor(self._threads, self._ask)
        running = self._running
        await asyncio.wait({running}, timeout=ANSWER_WITHIN)
        if not running.done():
            return None
        try:
            return running.result()
        except (DatabaseError, redis.RedisError) as error:
            log.warning("selfwatch.not_answered", error=str(error).strip())
            return None


class Selfwatch:
    """ASGI application for /metrics and /health/metrics.

    own: what this process holds now; stored: what the database knows, asked in a thread; ring: whose keys may read.
    """

    def __init__(self, ring: Ring, *, own: Source, stored: Sequence[Source]) -> None:
        self.ring, self.own = ring, own
        # Named by machine too: several may share one Valkey.
        self.process = f"{socket.gethostname()}:{os.getpid()}"
        self._threads = ThreadPoolExecutor(3, thread_name_prefix="selfwatch")
        self._stored = Asked(lambda: _in_thread(stored), self._threads)
        self._others = Asked(self._read_others, self._threads)
        self._publisher: asyncio.Task[None] | None = None
        self._valkey = redis.Redis.from_url(settings.REDIS_URL, socket_timeout=0.3, socket_connect_timeout=0.3)
        self._shelf = f"{settings.PORTAL_REDIS_PREFIX}own-figures"

    async def start(self) -> None:
        self._publisher = asyncio.create_task(self._publish(), name="publishes own figures")

    async def stop(self) -> None:
        if self._publisher:
            self._publisher.cancel()
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        raw = presented(headers.get(b"authorization", ""), headers.get(b"x-api-key", ""))
        key = self.ring.find(raw, now=datetime.now(UTC)) if raw else None
        if key is None:
            # By key alone: behind a proxy on the same machine everybody comes from the loopback.
            await refuse(send, 401, "the API key is unknown, revoked or expired" if raw else "an API key is needed")
        elif not key.may(ApiKey.Scope.READ):
            await refuse(send, 403, "the API key does not carry the scope read")
        elif key.environments is not None or key.services is not None:
            await refuse(send, 403, "the portal's own figures are for keys of all environments and services")
        elif scope["path"].rstrip("/") == "/metrics":
            await _answer(send, CONTENT_TYPE_PLAIN_0_0_4, text(await self.families()))
        else:
            await _answer(send, "application/json", orjson.dumps(shown(await self.families())))

    async def families(self) -> list[Metric]:
        """Everything that is known now, without waiting for what does not answer."""
        stored, others = await asyncio.gather(self._stored.get(), self._others.get())
        up = [(("store",), float(stored is not None)), (("broker",), float(others is not None))]
        families = [gauge("flightdeck_up", "Whether a dependency answers in time", ("dependency",), up)]
        of_processes = {self.process: self._measured()} | (others or {})
        return [*families, *(stored or ()), *_joined(of_processes)]

    def _measured(self) -> list[dict[str, Any]]:
        return [_packed(family) for family in (*REGISTRY.collect(), *_process(), *self.own())]

    async def _publish(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            with suppress(redis.RedisError):
                await loop.run_in_executor(self._threads, self._leave, self._measured())
            await asyncio.sleep(PUBLISH_EVERY)

    def _leave(self, families: list[dict[str, Any]]) -> None:
        said = orjson.dumps({"at": self._now(), "families": families})
        with self._valkey.pipeline(transaction=False) as pipe:
            pipe.hset(self._shelf, self.process, said)
            pipe.expire(self._shelf, int(GONE_AFTER) * 6)
            pipe.execute()

    def _read_others(self) -> dict[str, list[dict[str, Any]]]:
        """What the other processes said last; those that have ended are forgotten."""
        now = self._now()
        found: dict[bytes, bytes] = self._valkey.hgetall(self._shelf)  # type: ignore[assignment]
        said = {name: orjson.loads(text) for name, text in found.items() if name.decode() != self.process}
        gone = [name for name, one in said.items() if now - one["at"] > GONE_AFTER]
        if gone:
            self._valkey.hdel(self._shelf, *gone)
        return {name.decode(): one["families"] for name, one in said.items() if name not in gone}

    def _now(self) -> float:
        """Valkey's clock: the processes may be on several machines."""
        seconds, micros = self._valkey.time()
        return float(seconds) + float(micros) / 1e6


def heartbeats() -> list[Metric]:
    """The sweeps: how long ago each completed a cycle, how long that took, what it found to do."""
    now = jobs.database_now()
    rows = [row for row in Heartbeat.objects.all() if row.name in jobs.SWEEPS]
    stale = set(jobs.stale_sweeps(now))
    ages = [((row.name,), (now - row.at).total_seconds()) for row in rows]
    return [
        gauge("flightdeck_sweep_age_seconds", "Time since the last completed cycle", ("sweep",), ages),
        gauge(
            "flightdeck_sweep_cycle_seconds", "How long the last completed cycle took", ("sweep",),
            [((row.name,), row.cycle_ms / 1000) for row in rows],
        ),
        gauge(
            "flightdeck_sweep_done", "How many things the last completed cycle did", ("sweep",),
            [((row.name,), float(row.backlog)) for row in rows],
        ),
        gauge(
            "flightdeck_sweep_stale", "1 when no cycle was completed lately", ("sweep",),
            [((name,), float(name in stale)) for name in sorted(jobs.SWEEPS)],
        ),
    ]  # fmt: skip


def pool() -> list[Metric]:
    """This process's connections to PostgreSQL; nothing where it has no pool."""
    held = connection.pool  # type: ignore[attr-defined]
    stats = held.get_stats() if held else {}
    names = ("pool_size", "pool_available", "pool_max", "requests_waiting")
    rows = [((name,), float(stats[name])) for name in names if name in stats]
    return [gauge("flightdeck_database_pool", "Connections to PostgreSQL and who waits for one", ("what",), rows)]


def text(families: Iterable[Metric]) -> bytes:
    """Prometheus' text format 0.0.4."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Given(families))
    return generate_latest(registry)


def shown(families: Iterable[Metric]) -> dict[str, list[dict[str, Any]]]:
    """The same for people: by name, without the buckets of histograms."""
    found: dict[str, list[dict[str, Any]]] = {}
    for family in families:
        for sample in family.samples:
            if not sample.name.endswith("_bucket"):
                found.setdefault(sample.name, []).append({**sample.labels, "value": sample.value})
    return found


class _Given:
    """What the client library calls a collector, of families that are there already."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self.families = families

    def collect(self) -> Iterable[Metric]:
        return self.families


def _in_thread(sources: Sequence[Source]) -> list[Metric]:
    try:
        return [family for source in sources for family in source()]
    finally:
        connection.close()


def _process() -> list[Metric]:
    me = psutil.Process()
    cpu = me.cpu_times()
    rows = {
        "process_resident_memory_bytes": ("Resident memory", float(me.memory_info().rss)),
        "process_open_fds": ("Open file descriptors", float(me.num_fds())),
        "process_threads": ("Threads", float(me.num_threads())),
        "process_start_time_seconds": ("Start, in Unix seconds", me.create_time()),
    }
    spent = Metric("process_cpu_seconds", "User and system time spent", "counter")
    spent.add_sample("process_cpu_seconds_total", {}, cpu.user + cpu.system)
    return [spent, *(gauge(name, says, (), [((), value)]) for name, (says, value) in rows.items())]


def _packed(family: Metric) -> dict[str, Any]:
    samples = [(sample.name, sample.labels, sample.value) for sample in family.samples]
    return {"name": family.name, "says": family.documentation, "type": family.type, "samples": samples}


def _joined(of_processes: dict[str, list[dict[str, Any]]]) -> list[Metric]:
    """The families of all processes, each family once, each sample with its process."""
    families: dict[str, Metric] = {}
    for process, packed in of_processes.items():
        for one in packed:
            family = families.setdefault(one["name"], Metric(one["name"], one["says"], one["type"]))
            for name, labels, value in one["samples"]:
                family.add_sample(name, {**labels, "process": process}, value)
    return list(families.values())


async def _answer(send: Send, kind: str, body: bytes) -> None:
    headers = [(b"content-type", kind.encode()), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
