"""Events of units: kept one by one under their own keys. An exposure counts once in its window."""

import hashlib
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import connection, transaction

from monitoring.actions import batches, exposures, incoming
from monitoring.actions.batches import Fault, Recorded
from monitoring.actions.exposures import Shown
from monitoring.actions.incoming import LONGEST, UNKEEPABLE, Times, Wrong
from monitoring.models.events import EXPOSURES, LONGEST_UNIT, Exposure
from portal import jobs, masking, permissions
from portal.audit import Actor
from portal.models import KEY_PATTERN, ApiKey, Environment, Service

FIELDS = frozenset(
    {
        "name", "unit", "time", "id", "idempotency_key", "service", "environment", "flag", "variant", "value",
        "properties",
    }
)  # fmt: skip
KEY = re.compile(KEY_PATTERN)
MOST_PROPERTIES = 100
LARGEST_PROPERTIES = 8 * 1024  # bytes
DEEPEST = 8
LARGEST_REVISION = 2**31 - 1
FORGOTTEN_AT_ONCE = 10_000  # rows in one statement
# What names the unit in a context: when that is masked, units are kept under pseudonyms everywhere.
UNIT = "targetingKey"


@dataclass(slots=True)
class Entry:
    """One good event."""

    index: int
    name: str
    key: str
    unit: str
    time: datetime
    timed: bool  # it came with its time
    environment: str
    service: str
    flag: str
    variant: str
    value: float | None
    properties: dict[str, Any]
    revision: int | None
    environment_id: int | None = None
    service_id: int | None = None

    def place(self) -> dict[str, str]:
        return {"environment": self.environment, "service": self.service}

    @property
    def is_exposure(self) -> bool:
        return self.name in EXPOSURES

    def identity(self) -> tuple[int, int, str, str]:
        return self.environment_id or 0, self.service_id or 0, self.name, self.key

    def said(self) -> tuple[Any, ...]:
        """What two deliveries of one event have in common."""
        return self.unit, self.flag, self.variant, self.value, self.properties


def record(events: Sequence[object], *, by: Actor, now: datetime | None = None) -> Recorded:
    """Take a batch of events; what is wrong is rejected by its place, the rest is kept.

    An event is known by its key within its name, environment and service: the same key again is a duplicate, or a
    conflict when it says something else. An exposure without a key of its own is a duplicate within its window.
    """
    permissions.require_scope(by, "ingest")
    outcome = Recorded()
    reader = _Reader(by, now or jobs.database_now())
    entries, named = [], []
    for index, raw in enumerate(events):
        try:
            entries.append(reader.read(index, raw))
        except Wrong as wrong:
            _reject(outcome, index, wrong)
            if isinstance(raw, Mapping):
                named.append(raw)
    batches.authorise([*(entry.place() for entry in entries), *named], by=by)
    entries = _placed(entries, outcome)
    with transaction.atomic():
        fresh = _insert(entries)
        exposures.expose([_shown(entry) for entry in fresh if entry.is_exposure])
        _count(outcome, entries, fresh)
    outcome.errors.sort(key=lambda fault: fault.index)
    return outcome


def forget_old(*, now: datetime | None = None) -> int:
    """Drop events that are past their time, by when they arrived: their keys are what makes retries safe."""
    before = (now or jobs.database_now()) - timedelta(days=settings.PORTAL_EXPOSURE_RETENTION_DAYS)
    forgotten = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "DELETE FROM monitoring_event WHERE id IN "
                "(SELECT id FROM monitoring_event WHERE created_at < %s LIMIT %s)",
                [before, FORGOTTEN_AT_ONCE],
            )
            forgotten += cursor.rowcount
            if cursor.rowcount < FORGOTTEN_AT_ONCE:
                return forgotten


# --- Reading ------------------------------------------------------------------------------------
class _Reader:
    """Reads one event after the other, by one clock and for one caller."""

    def __init__(self, by: Actor, now: datetime) -> None:
        self.times = Times.around(now, retention=timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS))
        self.masked = masking.names_of(settings.PORTAL_CONTEXT_MASK)
        self.environment = ""
        if isinstance(by, ApiKey) and not by.all_environments:
            bound = list(by.environments.values_list("key", flat=True)[:2])
            self.environment = bound[0] if len(bound) == 1 else ""

    def read(self, index: int, raw: object) -> Entry:
        if not isinstance(raw, Mapping):
            raise Wrong("", "must be an object")
        incoming.no_others(raw, FIELDS)
        name, unit = _text(raw, "name", LONGEST, required=True), _text(raw, "unit", LONGEST_UNIT, required=True)
        flag, variant = _key(raw, "flag"), _key(raw, "variant")
        environment = _text(raw, "environment", 128) or self.environment
        properties = self._properties(raw.get("properties"))
        entry = Entry(
            index=index,
            name=name,
            key=_own_key(raw),
            unit=masking.pseudonym(unit, by=UNIT, masked=self.masked),
            time=self.times.read(raw.get("time")),
            timed=raw.get("time") is not None,
            environment=environment,
            service=_text(raw, "service", 128),
            flag=flag,
            variant=variant,
            value=None if raw.get("value") is None else incoming.number(raw["value"]),
            properties=properties,
            revision=_revision(properties),
        )
        _fits_together(entry)
        if not entry.key:
            entry.key = _made_key(entry)
        return entry

    def _properties(self, raw: object) -> dict[str, Any]:
        if raw is None:
            return {}
        if not isinstance(raw, Mapping):
            raise Wrong("properties", "must be an object")
        if len(raw) > MOST_PROPERTIES:
            raise Wrong("properties", f"at most {MOST_PROPERTIES}, not {len(raw)}")
        if _deeper(raw, DEEPEST):
            raise Wrong("properties", f"nested deeper than {DEEPEST}")
        kept = masking.mask(raw, self.masked)
        try:
            encoded = orjson.dumps(kept)
        except (TypeError, ValueError):
            raise Wrong("properties", "hold something that is no JSON value, or a number beyond 64 bits") from None
        if len(encoded) > LARGEST_PROPERTIES:
            raise Wrong("properties", f"at most {LARGEST_PROPERTIES} bytes, not {len(encoded)}")
        if b"\\u0000" in encoded:
            raise Wrong("properties", "may not contain the NUL character")
        # As it is read back: two deliveries are compared by it.
        return dict(orjson.loads(encoded))


def _text(raw: Mapping[Any, Any], field: str, longest: int, *, required: bool = False) -> str:
    value = raw.get(field)
    if value is None and not required:
        return ""
    if value is None:
        raise Wrong(field, "is required")
    if not isinstance(value, str):
        raise Wrong(field, "must be a text")
    if not 1 <= len(value) <= longest or not value.strip():
        raise Wrong(field, f"must be 1 to {longest} characters")
    if UNKEEPABLE.search(value):
        raise Wrong(field, "may not contain NUL or half a surrogate pair")
    return value


def _key(raw: Mapping[Any, Any], field: str) -> str:
    value = _text(raw, field, 128)
    if value and not KEY.match(value):
        raise Wrong(field, f"'{value[:50]}' is no key: letters, digits, '.', '_' and '-'")
    return value


def _own_key(raw: Mapping[Any, Any]) -> str:
    given = {field: _text(raw, field, LONGEST) for field in ("id", "idempotency_key")}
    if given["id"] and given["idempotency_key"] and given["id"] != given["idempotency_key"]:
        raise Wrong("idempotency_key", "differs from id: give one of them")
    return given["id"] or given["idempotency_key"]


def _fits_together(entry: Entry) -> None:
    if entry.variant and not entry.flag:
        raise Wrong("flag", "is required where a variant is named")
    if entry.is_exposure:
        for field in ("flag", "variant", "environment"):
            if not getattr(entry, field):
                raise Wrong(field, "is required of an exposure")


def _made_key(entry: Entry) -> str:
    """Of an exposure the same within its window; of any other event a new one each time."""
    if not entry.is_exposure:
        return uuid.uuid4().hex
    said = (entry.flag, entry.variant, entry.unit, exposures.window_of(entry.time).isoformat())
    return hashlib.sha256("\0".join(said).encode()).hexdigest()


def _revision(properties: Mapping[str, Any]) -> int | None:
    """What OFREP told the client beside the value, when it is sent back."""
    value = properties.get("revision")
    return value if type(value) is int and 0 <= value <= LARGEST_REVISION else None


def _deeper(document: Any, most: int) -> bool:
    """Level by level, without recursion."""
    level = [document]
    for _ in range(most):
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, Mapping) else one)
            if isinstance(inner, Mapping | list)
        ]
        if not level:
            return False
    return True


# --- Writing ------------------------------------------------------------------------------------
def _placed(entries: list[Entry], outcome: Recorded) -> list[Entry]:
    """With the rows of their places; what names a place that does not exist is rejected."""
    environments = dict(Environment.objects.values_list("key", "id"))
    services = dict(Service.objects.values_list("key", "id"))
    placed = []
    for entry in entries:
        entry.environment_id, entry.service_id = environments.get(entry.environment), services.get(entry.service)
        if entry.environment and entry.environment_id is None:
            _reject(outcome, entry.index, Wrong("environment", f"there is no environment '{entry.environment}'"))
        elif entry.service and entry.service_id is None:
            _reject(outcome, entry.index, Wrong("service", f"there is no service '{entry.service}'"))
        else:
            placed.append(entry)
    return placed


def _insert(entries: Sequence[Entry]) -> list[Entry]:
    """Add the events whose key is new; of equal keys in the batch the first."""
    first: dict[tuple[int, int, str, str], Entry] = {}
    for entry in entries:
        first.setdefault(entry.identity(), entry)
    if not first:
        return []
    # In one order, so that two batches that overlap wait for each other instead of deadlocking.
    rows = [first[identity] for identity in sorted(first)]
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_event "
            "(environment_id, service_id, name, key, unit, time, flag, variant, value, properties) "
            "SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::timestamptz[], "
            "%s::text[], %s::text[], %s::float8[], %s::jsonb[]) ON CONFLICT DO NOTHING "
            "RETURNING coalesce(environment_id, 0), coalesce(service_id, 0), name, key",
            [
                [row.environment_id for row in rows],
                [row.service_id for row in rows],
                [row.name for row in rows],
                [row.key for row in rows],
                [row.unit for row in rows],
                [row.time for row in rows],
                [row.flag for row in rows],
                [row.variant for row in rows],
                [row.value for row in rows],
                [orjson.dumps(row.properties).decode() for row in rows],
            ],
        )
        return [first[tuple(identity)] for identity in cursor.fetchall()]


def _count(outcome: Recorded, entries: Sequence[Entry], fresh: Sequence[Entry]) -> None:
    outcome.accepted = len(fresh)
    if len(fresh) == len(entries):
        return
    new = {id(entry) for entry in fresh}
    again = [entry for entry in entries if id(entry) not in new]
    there = _there({entry.identity() for entry in again})
    for entry in again:
        *said, time = there[entry.identity()]
        # Without a time of its own it happened at "now", which is another at each attempt.
        if tuple(said) == entry.said() and (time == entry.time or not entry.timed or entry.is_exposure):
            outcome.duplicates += 1
        else:
            outcome.conflicts += 1


def _there(identities: set[tuple[int, int, str, str]]) -> dict[tuple[int, int, str, str], tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT w.*, e.unit, e.flag, e.variant, e.value, e.properties::text, e.time "
            "FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[]) "
            "AS w(environment, service, name, key) JOIN monitoring_event e ON e.name = w.name AND e.key = w.key "
            "AND coalesce(e.environment_id, 0) = w.environment AND coalesce(e.service_id, 0) = w.service",
            [[identity[n] for identity in identities] for n in range(4)],
        )
        return {
            (environment, service, name, key): (unit, flag, variant, value, orjson.loads(properties), time)
            for environment, service, name, key, unit, flag, variant, value, properties, time in cursor.fetchall()
        }


def _shown(entry: Entry) -> Shown:
    return Shown(
        entry.environment,
        entry.flag,
        entry.variant,
        entry.unit,
        entry.time,
        entry.revision,
        source=Exposure.Source.EVENT,
    )


def _reject(outcome: Recorded, index: int, wrong: Wrong) -> None:
    outcome.rejected += 1
    outcome.errors.append(Fault(index, wrong.field, wrong.message))
