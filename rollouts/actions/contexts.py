"""Keeping sampled contexts: masked before they are written, one a unit, for a while."""

import hashlib
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.conf import settings
from django.db import connection

from portal import jobs, masking
from portal.models import Environment
from rollouts.engine.types import TARGETING_KEY
from rollouts.models import ContextSample

LARGEST = 16 * 1024  # bytes of a context that is kept; larger ones are left out of the sample
LONGEST_UNIT = 512
AT_ONCE = 5_000  # rows in one statement

Sample = tuple[str, str, str, str]  # environment, identity, unit, context as JSON


def read(environment: str, context: Mapping[str, Any]) -> Sample | None:
    """A context as it is kept; None for one that cannot be."""
    names = masking.names_of(settings.PORTAL_CONTEXT_MASK)
    unit = masking.pseudonym(str(context.get(TARGETING_KEY) or ""), by=TARGETING_KEY, masked=names)
    kept = masking.mask(context, names)
    if unit:
        kept[TARGETING_KEY] = unit
    try:
        encoded = orjson.dumps(kept)
    except (TypeError, ValueError):
        return None
    # PostgreSQL keeps no NUL in a text.
    if len(encoded) > LARGEST or len(unit) > LONGEST_UNIT or b"\\u0000" in encoded:
        return None
    return (
        environment,
        hashlib.sha256(b"unit " + unit.encode() if unit else encoded).hexdigest(),
        unit,
        encoded.decode(),
    )


def keep(samples: Iterable[Sample], *, at: datetime) -> int:
    """Write them, each over its unit's last one. Again with the same samples nothing changes."""
    newest = {(environment, identity): (unit, context) for environment, identity, unit, context in samples}
    rows = sorted((environment, identity, unit, context) for (environment, identity), (unit, context) in newest.items())
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO rollouts_contextsample (environment_id, identity, unit, context, at) "
            "SELECT e.id, g.identity, g.unit, g.context, %s FROM "
            "unnest(%s::text[], %s::text[], %s::text[], %s::jsonb[]) "
            "AS g(environment, identity, unit, context) JOIN portal_environment e ON e.key = g.environment "
            "ORDER BY e.id, g.identity "
            "ON CONFLICT (environment_id, identity) DO UPDATE SET context = excluded.context, at = excluded.at "
            "WHERE rollouts_contextsample.at < excluded.at",
            [at, *([row[n] for row in rows] for n in range(4))],
        )
        return int(cursor.rowcount)


def forget_old(*, now: datetime | None = None) -> int:
    """Drop what is older than contexts are kept, and of each environment what is beyond the most that are."""
    before = (now or jobs.database_now()) - timedelta(days=settings.PORTAL_CONTEXT_RETENTION_DAYS)
    forgotten = _delete("at < %s", [before])
    for environment in Environment.objects.all():
        rows = ContextSample.objects.filter(environment=environment)
        beyond = rows.values_list("at", "id")[settings.PORTAL_MAX_CONTEXTS : settings.PORTAL_MAX_CONTEXTS + 1].first()
        if beyond:
            forgotten += _delete("environment_id = %s AND (at, id) <= (%s, %s)", [environment.pk, *beyond])
    return forgotten


def _delete(which: str, values: list[Any]) -> int:
    deleted = 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(
                "DELETE FROM rollouts_contextsample WHERE id IN "
                f"(SELECT id FROM rollouts_contextsample WHERE {which} LIMIT {AT_ONCE})",
                values,
            )
            deleted += cursor.rowcount
            if cursor.rowcount < AT_ONCE:
                return deleted
