"""What the supervisor asks the database: is it behind the code, can anybody log in, whose is it."""

from enum import Enum

import psycopg
from django.contrib.auth import get_user_model
from django.db.migrations.loader import MigrationLoader
from psycopg import sql


class Standing(Enum):
    """What has become of the database so far."""

    EMPTY = "nobody has ever done anything"
    DEMO = "the demo is loaded"
    USED = "somebody works here"


def pending(url: str) -> list[str]:
    """The migrations that are not applied yet, as `app.name`."""
    on_disk = MigrationLoader(None, ignore_no_migrations=True).disk_migrations
    applied: set[tuple[str, str]] = set()
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('django_migrations')").fetchone() != (None,):
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    return sorted(f"{app}.{name}" for app, name in on_disk if (app, name) not in applied)


def has_people(url: str) -> bool:
    """Whether there is anybody who could log in."""
    people = sql.Identifier(get_user_model()._meta.db_table)
    with psycopg.connect(url) as connection:
        row = connection.execute(sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE is_active)").format(people)).fetchone()
        return bool(row and row[0])


def standing(url: str) -> Standing:
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT EXISTS (SELECT FROM portal_seat)").fetchone() == (True,):
            return Standing.DEMO
        # Whoever has started empty has a line in the audit trail, and wants no demo again unless he says so.
        for table in ("portal_service", "portal_environment", "portal_user", "portal_auditentry"):
            asked = sql.SQL("SELECT EXISTS (SELECT FROM {})").format(sql.Identifier(table))
            if connection.execute(asked).fetchone() == (True,):
                return Standing.USED
    return Standing.EMPTY


def seats(url: str) -> list[tuple[str, str]]:
    """Who may sit where in the demo: user name and role, in order."""
    with psycopg.connect(url) as connection:
        return connection.execute(
            "SELECT u.username, s.role FROM portal_seat s JOIN portal_user u ON u.id = s.user_id ORDER BY s.rank"
        ).fetchall()
