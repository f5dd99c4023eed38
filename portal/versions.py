"""Counters that tell every process that something which it holds in memory has changed."""

from django.db import connection

from portal.models import Version


def bump(name: str) -> int:
    """Raise the counter in the caller's transaction, as its last write.

    The row lock is held until commit, so versions become visible in their order, and a reader
    who has seen version N has seen every change up to N.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO portal_version (name, value) VALUES (%s, 1) "
            "ON CONFLICT (name) DO UPDATE SET value = portal_version.value + 1 RETURNING value",
            [name],
        )
        return int(cursor.fetchone()[0])


def current() -> dict[str, int]:
    """Every counter, in one query."""
    return dict(Version.objects.values_list("name", "value"))
