"""The record of what was done: written with the change, sealed into a hash chain a second later."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import connection, transaction
from django.db.models import Model, QuerySet

from portal.logs import request_id
from portal.models import ApiKey, AuditEntry, User

# Any number that nobody else locks: the sealer is alone in the whole database.
SEALER_LOCK = 0x0F11_6474
SEAL_BATCH = 2000


@dataclass(frozen=True, slots=True)
class Automaton:
    """An actor that is no person: a sweep, a response, a command."""

    name: str

    def __str__(self) -> str:
        return self.name


Actor = User | ApiKey | Automaton


def describe(actor: Actor) -> str:
    """The actor in words: "Dana", "key ci", "deployments sweep"."""
    return f"key {actor.name}" if isinstance(actor, ApiKey) else str(actor)


def kind_of(actor: Actor) -> tuple[str, str]:
    """What kind of actor, and its identity within the kind."""
    if isinstance(actor, User):
        return "person", str(actor.pk)
    if isinstance(actor, ApiKey):
        return "key", str(actor.pk)
    return "automaton", actor.name


def record(
    verb: str,
    thing: Model,
    *,
    by: Actor,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    because: str = "",
) -> AuditEntry:
    """Write one line about `thing`, in the caller's transaction: it is there iff the change is there."""
    kind, identity = kind_of(by)
    return AuditEntry.objects.create(
        actor_kind=kind,
        actor_id=identity[:100],
        actor=describe(by)[:200],
        verb=verb,
        object_type=thing._meta.label_lower,
        object_id=str(thing.pk),
        object_label=str(thing)[:300],
        before=_plain(before),
        after=_plain(after),
        because=because,
        request_id=request_id.get(),
    )


def of(thing: Model) -> QuerySet[AuditEntry]:
    """The history of one object, newest first."""
    return of_row(type(thing), str(thing.pk))


def of_row(model: type[Model], pk: str) -> QuerySet[AuditEntry]:
    """The same of an object that nobody has fetched."""
    return AuditEntry.objects.filter(object_type=model._meta.label_lower, object_id=pk)


def seal() -> int:
    """Give committed, unsealed rows their position and hash. How many were sealed.

    Writers never wait for each other: the order is the sealer's, and one sealer holds the lock.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEALER_LOCK])
        if not cursor.fetchone()[0]:
            return 0
        rows = list(AuditEntry.objects.filter(position=None).order_by("id")[:SEAL_BATCH])
        if not rows:
            return 0
        last = AuditEntry.objects.exclude(position=None).order_by("-position").first()
        position, digest = (last.position or 0, last.digest) if last else (0, "")
        for row in rows:
            position += 1
            digest = chained(digest, position, row)
            row.position, row.digest = position, digest
        AuditEntry.objects.bulk_update(rows, ["position", "digest"], batch_size=500)
    return len(rows)


def chained(previous: str, position: int, entry: AuditEntry) -> str:
    """SHA-256 over the previous digest and every field of the entry, as canonical JSON."""
    content = [
        previous,
        position,
        entry.pk,
        entry.at.isoformat(),
        entry.actor_kind,
        entry.actor_id,
        entry.actor,
        entry.verb,
        entry.object_type,
        entry.object_id,
        entry.object_label,
        entry.before,
        entry.after,
        entry.because,
        entry.request_id,
    ]
    return hashlib.sha256(json.dumps(content, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def broken_links() -> list[str]:
    """What is wrong with the chain, in words; empty when it proves."""
    wrong: list[str] = []
    previous, expected = "", 1
    for entry in AuditEntry.objects.exclude(position=None).order_by("position").iterator(chunk_size=2000):
        if entry.position != expected:
            wrong.append(f"position {expected} is missing: the next entry is {entry.position}")
            expected = entry.position or expected
        if entry.digest != chained(previous, expected, entry):
            wrong.append(f"position {expected} (entry {entry.pk}, {entry}) does not match its hash")
        previous, expected = entry.digest, expected + 1
    return wrong


def _plain(value: Mapping[str, Any] | None) -> Any:
    """JSON as it will be read back, so that the hash of a row does not depend on when it is taken."""
    if value is None:
        return None
    return json.loads(json.dumps(value, cls=DjangoJSONEncoder))
