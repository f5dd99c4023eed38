"""Asking the sources that are due: leased, asked outside any transaction, kept together with what became of it.

Whoever dies while he asks has kept nothing: the source is asked again when its lease ends.
"""

import threading
import time
from collections.abc import Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final
from uuid import UUID

import structlog
from django.db import DatabaseError, connection, transaction

from monitoring import sources
from monitoring.actions import families, metrics, rejections
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.incoming import LONGEST
from monitoring.models import MetricSource
from monitoring.sources import Asked, Kind, Pulled
from portal import jobs, live
from portal.audit import Automaton

log = structlog.get_logger(__name__)

BY: Final = Automaton("the pull sweep")
PULLERS = 16  # of each process; one that hangs occupies one of them
CYCLE = 2.0  # seconds; what takes longer is looked at by the next run
LEASE = 30.0  # seconds beyond the timeout
# A target that fails is asked at longer intervals, up to this; a probe never is, as failing is what it measures.
LONGEST_PAUSE = 300.0  # seconds
MOST_DOUBLINGS = 4
MAX_ERROR = 1000
OWN: Final = ("job", "instance")
# Spreads the sources over their intervals evenly, in whatever order they were made.
GOLDEN: Final = 0.618033988749895

TAKE = """
UPDATE monitoring_metricsource s
SET due_at = clock_timestamp() + make_interval(secs => s.timeout + %s), lease_token = gen_random_uuid()
WHERE s.id = (
    SELECT id FROM monitoring_metricsource
    WHERE active AND due_at <= clock_timestamp()
    ORDER BY due_at, id LIMIT 1 FOR NO KEY UPDATE SKIP LOCKED
)
RETURNING s.id, s.lease_token, clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """One source that is ours to ask until its lease ends."""

    id: int
    token: UUID | None
    name: str
    kind: str
    config: Mapping[str, Any]
    secret: str = field(repr=False)
    timeout: float
    labels: Mapping[str, str]  # that it was given, with service and environment
    at: datetime  # when it began, by the database's clock


@dataclass(frozen=True, slots=True)
class Fetched:
    pulled: Pulled
    duration: float  # seconds


@dataclass(slots=True)
class _Flights:
    """What this process is asking now. It outlives a run: a source that hangs holds up neither it nor the next."""

    flying: dict[Future[Fetched], Lease] = field(default_factory=dict)
    busy: threading.Lock = field(default_factory=threading.Lock)


_flights = _Flights()


@lru_cache(maxsize=1)
def _pool() -> ThreadPoolExecutor:
    """Of this process: made after the worker has forked."""
    return ThreadPoolExecutor(PULLERS, thread_name_prefix="puller")


def pull() -> int:
    """Ask what is due and keep what has come. How many pulls were kept."""
    if not _flights.busy.acquire(blocking=False):
        return 0
    try:
        return _run(_flights.flying, stop_at=time.monotonic() + CYCLE)
    finally:
        _flights.busy.release()


def _run(flying: dict[Future[Fetched], Lease], *, stop_at: float) -> int:
    kept = 0
    while True:
        while len(flying) < PULLERS and time.monotonic() < stop_at and (taken := lease()) is not None:
            flying[_pool().submit(_fetch, taken)] = taken
        landed, _ = wait(flying, timeout=0.1, return_when=FIRST_COMPLETED)
        for future in landed:
            kept += settle(flying.pop(future), future.result())
        if not flying or time.monotonic() >= stop_at:
            return kept


def lease() -> Lease | None:
    """Take the longest due source, committed at once."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, [LEASE])
        row = cursor.fetchone()
    if row is None:
        return None
    pk, token, now = row
    found = MetricSource.objects.select_related("service", "environment").filter(pk=pk).first()
    if found is None:
        return lease()  # deleted in this instant
    return lease_of(found, now, token)


def lease_of(source: MetricSource, now: datetime, token: UUID | None = None) -> Lease:
    places = {"service": source.service, "environment": source.environment}
    labels = {**source.labels, **{name: place.key for name, place in places.items() if place}}
    return Lease(
        source.pk, token, source.name, source.kind, source.config, source.secret, source.timeout, labels, now
    )  # fmt: skip


def fetch(kind: Kind, taken: Lease) -> Fetched:
    began = time.monotonic()
    pulled = kind.pull(Asked(taken.config, taken.at.timestamp(), taken.timeout, taken.secret))
    return Fetched(pulled, time.monotonic() - began)


def _fetch(taken: Lease) -> Fetched:
    """In a thread, without a database. Whatever goes wrong is an answer: one bad source must not end the run."""
    kind = sources.find(taken.kind)
    if kind is None:
        return Fetched(Pulled(error=f"there is no kind of source named {taken.kind}"), 0.0)
    try:
        return fetch(kind, taken)
    except Exception as error:
        log.exception("pull.failed", source=taken.name)
        return Fetched(Pulled(error=f"{type(error).__name__}: {error}"), 0.0)


def dressed(taken: Lease, fetched: Fetched) -> list[dict[str, Any]]:
    """All samples of the pull as they are kept: with the source's labels, and what was measured of the asking.

    What the source was given wins; a target that says otherwise has its word kept as `exported_…`, as with
    Prometheus.
    """
    kind = sources.find(taken.kind)
    own = dict(taken.labels) | {"job": taken.name}
    if kind is not None:
        own["instance"] = kind.instance(taken.config)[:LONGEST]
    added = own if kind is None or kind.own else taken.labels
    samples = [{**sample, "labels": _labelled(sample["labels"], added)} for sample in fetched.pulled.written.samples]
    now = taken.at.timestamp()
    measured = _measured(kind, fetched).items()
    return samples + [{"metric": name, "value": value, "time": now, "labels": own} for name, value in measured]


def _labelled(labels: Mapping[str, str], added: Mapping[str, str]) -> dict[str, str]:
    made = dict(labels)
    for name, value in added.items():
        if made.get(name, value) != value:
            made[f"exported_{name}"] = made[name]
        made[name] = value
    return made


def _measured(kind: Kind | None, fetched: Fetched) -> dict[str, float]:
    pulled = fetched.pulled
    fine = 0.0 if pulled.error else 1.0
    if kind is not None and kind.probes:
        return {"probe_success": fine, "probe_duration_seconds": fetched.duration, **pulled.measured}
    return {
        "up": fine,
        "scrape_duration_seconds": fetched.duration,
        "scrape_samples_scraped": float(len(pulled.written.samples)),
    }


def settle(taken: Lease, fetched: Fetched) -> int:
    """Keep what came and what became of it, together; 0 when the lease ran out, or nothing can be kept now."""
    try:
        with transaction.atomic():
            rows = MetricSource.objects.filter(pk=taken.id, lease_token=taken.token)
            source = rows.select_for_update(of=("self",)).first()
            if source is None:
                log.info("pull.lease_lost", source=taken.name)
                return 0
            recorded = _record(taken, fetched)
            _note(source, taken, fetched, recorded)
    except DatabaseError:
        # Nothing is kept of it: it is asked again when the lease ends.
        log.exception("pull.not_kept", source=taken.name)
        return 0
    return 1


def _record(taken: Lease, fetched: Fetched) -> Recorded:
    written = fetched.pulled.written
    if written.families:
        families.describe(written.families, by=BY)
    recorded = metrics.record(dressed(taken, fetched), by=BY)
    recorded.errors += [Fault(one.index, one.field, one.message) for one in written.wrong]
    recorded.rejected += sum(one.samples for one in written.wrong)
    return rejections.noted(f"{taken.kind}: {taken.name}", recorded, by=BY)


def _note(source: MetricSource, taken: Lease, fetched: Fetched, recorded: Recorded) -> None:
    before = source.outcome
    pulled = fetched.pulled
    now = jobs.database_now()
    source.lease_token = None
    source.last_pull_at, source.duration, source.skew = taken.at, fetched.duration, pulled.skew
    source.samples = len(pulled.written.samples) + sum(one.samples for one in pulled.written.wrong)
    source.rejected = recorded.rejected
    if pulled.error:
        source.outcome, source.failures = MetricSource.Outcome.FAILING, source.failures + 1
        source.last_error = pulled.error.replace("\0", "")[:MAX_ERROR]
    else:
        first = recorded.errors[0] if recorded.errors else None
        source.outcome = MetricSource.Outcome.PARTLY if first else MetricSource.Outcome.OK
        source.failures, source.last_ok_at = 0, taken.at
        source.last_error = f"{first.field}: {first.message}"[:MAX_ERROR] if first else ""
    kind = sources.find(source.kind)
    failures = 0 if kind is not None and kind.probes else source.failures
    source.due_at = next_turn(source.pk, source.interval, now, failures=failures)
    source.save(
        update_fields=[
            "lease_token", "last_pull_at", "duration", "skew", "samples", "rejected", "outcome", "failures",
            "last_error", "last_ok_at", "due_at",
        ]
    )  # fmt: skip
    if source.outcome != before:
        live.announce("sources", id=source.pk)


def next_turn(pk: int, interval: int, now: datetime, *, failures: int = 0) -> datetime:
    """The source's next turn: at its own place within the interval, so that not all are asked in one instant.

    After failures some turns are left out, each time twice as many, up to `LONGEST_PAUSE`.
    """
    place = pk * GOLDEN % 1 * interval
    turns = 2 ** min(max(failures - 1, 0), MOST_DOUBLINGS)
    turns = max(1, min(turns, int(LONGEST_PAUSE // interval)))
    waited = (now.timestamp() - place) % interval
    # One that comes within half an interval of this pull would only repeat it.
    left = interval - waited if interval - waited >= interval / 2 else 2 * interval - waited
    return now + timedelta(seconds=left + (turns - 1) * interval)
