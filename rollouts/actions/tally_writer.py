"""Writing each second what was counted, in a thread with a connection of its own: evaluation never waits for it."""

import asyncio
import contextlib
import queue
import threading
import time
import uuid
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction

from monitoring.actions import exposures
from monitoring.actions.exposures import Cell, Shown, minute_of, window_of
from monitoring.models.events import LONGEST_UNIT
from portal import masking
from rollouts.actions import contexts
from rollouts.actions.contexts import Sample
from rollouts.actions.tally import Batch, Tally
from rollouts.engine.types import Result
from rollouts.snapshots import drop_connection, use_own_connection

log = structlog.get_logger(__name__)

EVERY = 1.0  # seconds
STOP_WITHIN = 2.0  # seconds
MOST_WAITING = 30  # batches that wait for a store that hangs; meanwhile the tally goes on in the one it has
# Kept in memory while the store is away.
MOST_CONTEXTS = 5_000
MOST_EXPOSURES = 100_000
MOST_CELLS = 500_000
MOST_REMEMBERED = 200_000  # exposures that need not be told again within their window
REST = 4.0  # seconds for each second of writing: with very many flags the store is written to less often

Identity = tuple[str, str, str, str, datetime]  # environment, flag, variant, unit, window


@dataclass(slots=True)
class Load:
    """What is written at once, under one number: sent again after an unknown end, it is not counted twice."""

    number: int
    contexts: dict[tuple[str, str], Sample] = field(default_factory=dict)
    evaluated: defaultdict[Cell, int] = field(default_factory=lambda: defaultdict(int))
    shown: dict[Identity, Shown] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.contexts or self.evaluated or self.shown)


class TallyWriter:
    """Hands what the tally holds to the thread each second; the thread keeps what it could not write, within bounds."""

    def __init__(self, tally: Tally) -> None:
        self.tally = tally
        self.every = EVERY
        self.troubled = False
        self._handed: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._name = uuid.uuid4().hex
        self._next = Load(1)
        self._sending: Load | None = None
        self._told: set[Identity] = set()  # exposures that the store has
        self._rests_until = 0.0
        self._thread: threading.Thread | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # A daemon: a query that hangs must not keep the process from ending.
        self._thread = threading.Thread(target=self._work, name="tally writer", daemon=True)
        self._thread.start()
        self._task = asyncio.create_task(self._run(), name="tally")

    async def stop(self) -> None:
        """Write what is left, if the store takes it in time."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        if self._thread is not None:
            self._handed.put(self.tally.take())
            self._handed.put(None)
            await asyncio.to_thread(self._thread.join, STOP_WITHIN)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self.every)
            if self._handed.qsize() < MOST_WAITING:
                self._handed.put(self.tally.take())

    # --- In the thread --------------------------------------------------------------------------
    def _work(self) -> None:
        use_own_connection()
        while (batch := self._handed.get()) is not None:
            self._try(batch)
        self._rests_until = 0.0
        self._try(None)
        drop_connection()

    def _try(self, batch: Batch | None) -> None:
        try:
            if batch is not None:
                self._add(batch)
            self._write()
            self.troubled = False
        except (OperationalError, InterfaceError) as error:
            # What could not be written waits for the next second.
            if not self.troubled:
                log.warning("tally.store_unavailable", error=str(error).strip())
            self.troubled = True
            drop_connection()
        except Exception:
            # What the store does not take at all must not stand in the way of what follows.
            log.exception("tally.write_failed")
            self._sending = None
            drop_connection()

    def _write(self) -> None:
        began = time.monotonic()
        while began >= self._rests_until and (self._sending or self._next):
            if self._sending is None:
                self._sending, self._next = self._next, Load(self._next.number + 1)
            self._send(self._sending)
            self._sending = None
        self._rests_until = max(self._rests_until, began + REST * (time.monotonic() - began))

    def _send(self, load: Load) -> None:
        with transaction.atomic():
            contexts.keep(load.contexts.values(), at=datetime.now(UTC))
            exposures.count(self._name, load.number, load.evaluated, load.shown.values())
        self._told.update(load.shown)
        if len(self._told) > MOST_REMEMBERED:
            self._told.clear()

    # --- From results to the store's words ------------------------------------------------------
    def _add(self, batch: Batch) -> None:
        at = datetime.fromtimestamp(batch.at, UTC)
        for environment, context in batch.contexts:
            sample = contexts.read(environment, context)
            if sample is not None and len(self._next.contexts) < MOST_CONTEXTS:
                self._next.contexts[sample[:2]] = sample
        for result, times in batch.evaluated.items():
            self._count(result, times, at)
        names = masking.names_of(settings.PORTAL_CONTEXT_MASK)
        for result, exposed in batch.exposed.items():
            self._count(result, exposed.count, at)
            for unit in exposed.units:
                self._show(result, masking.pseudonym(unit, by=exposed.by, masked=names), at)

    def _count(self, result: Result, times: int, at: datetime) -> None:
        cell = (result.environment, result.flag, result.variant or "", minute_of(at))
        if cell in self._next.evaluated or len(self._next.evaluated) < MOST_CELLS:
            self._next.evaluated[cell] += times

    def _show(self, result: Result, unit: str, at: datetime) -> None:
        # An error shows nothing. PostgreSQL keeps no NUL in a text.
        if result.variant is None or len(unit) > LONGEST_UNIT or "\0" in unit:
            return
        identity = (result.environment, result.flag, result.variant, unit, window_of(at))
        if identity not in self._told and len(self._next.shown) < MOST_EXPOSURES:
            why = f"{result.detail} {result.rule or ''}".strip()[:200]
            shown = Shown(result.environment, result.flag, result.variant, unit, at, result.revision, why)
            self._next.shown.setdefault(identity, shown)
