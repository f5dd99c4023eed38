"""Background work: sweeps that Celery beat pokes, nudges that make them run at once, and how a row is claimed."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial, wraps
from typing import Any, TypeVar

import redis
import structlog
from celery import current_app, shared_task
from django.conf import settings
from django.db import connection, transaction
from django.db.models import Model, QuerySet
from kombu.exceptions import KombuError

from portal.models import Heartbeat

log = structlog.get_logger(__name__)
M = TypeVar("M", bound=Model)

# A nudge that was lost with its worker blocks further ones no longer than this; beat pokes meanwhile.
NUDGE_EXPIRY_MS = 2000


@dataclass(frozen=True, slots=True)
class Sweep:
    name: str
    every: float  # seconds between two pokes by beat


SWEEPS: dict[str, Sweep] = {}


def sweep(name: str, *, every: float) -> Callable[[Callable[[], int]], Any]:
    """Register a function as the Celery task `name`, poked by beat each `every` seconds.

    The function finds what is due, does it, may run twice at once, and returns how many things it did (one that
    stops before the end: how many it left).
    """

    def register(function: Callable[[], int]) -> Any:
        if name in SWEEPS:
            raise ValueError(f"two sweeps are named {name}")
        SWEEPS[name] = Sweep(name, every)

        @wraps(function)
        def cycle() -> int:
            _forget_nudge(name)
            began = time.monotonic()
            done = function()
            beat(name, cycle_ms=int((time.monotonic() - began) * 1000), backlog=done)
            return done

        return shared_task(name=name, ignore_result=True)(cycle)

    return register


def beat(name: str, *, cycle_ms: int, backlog: int) -> None:
    """Write the heartbeat of a completed cycle, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO portal_heartbeat (name, at, cycle_ms, backlog) VALUES (%s, clock_timestamp(), %s, %s) "
            "ON CONFLICT (name) DO UPDATE "
            "SET at = excluded.at, cycle_ms = excluded.cycle_ms, backlog = excluded.backlog",
            [name, cycle_ms, backlog],
        )


def stale_sweeps(now: datetime) -> list[str]:
    """The sweeps that have not completed a cycle within three intervals (five seconds at the least)."""
    seen = {row.name: row.at for row in Heartbeat.objects.all()}
    return [
        one.name
        for one in SWEEPS.values()
        if one.name not in seen or (now - seen[one.name]).total_seconds() > max(3 * one.every, 5.0)
    ]


def nudge(name: str) -> None:
    """After commit, have the sweep `name` run at once. A lost nudge costs seconds, never work."""
    transaction.on_commit(partial(_send, name), robust=True)


def claim(rows: "QuerySet[M]") -> M | None:
    """Inside a transaction: lock and take the first row that nobody else holds."""
    return rows.select_for_update(skip_locked=True, of=("self",)).first()


def database_now() -> datetime:
    """PostgreSQL's clock: the only one by which things are due."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cursor.fetchone()[0]


def _send(name: str) -> None:
    try:
        # Many changes, one poke: the sweep takes the mark away before it looks, so what is committed
        # after that look is nudged anew.
        if _client().set(_mark(name), 1, nx=True, px=NUDGE_EXPIRY_MS):
            current_app.send_task(name, ignore_result=True, retry=False, expires=10)
    except (redis.RedisError, KombuError, OSError) as error:
        log.warning("jobs.nudge_failed", task=name, error=str(error))


def _forget_nudge(name: str) -> None:
    try:
        _client().delete(_mark(name))
    except redis.RedisError as error:
        log.warning("jobs.mark_kept", task=name, error=str(error))


def _mark(name: str) -> str:
    return f"{settings.PORTAL_REDIS_PREFIX}nudged:{name}"


@lru_cache(maxsize=1)
def _client() -> "redis.Redis":
    return redis.Redis.from_url(settings.REDIS_URL, socket_timeout=1, socket_connect_timeout=1)
