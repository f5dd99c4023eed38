"""What the supervisor asks the database: is it behind the code, can anybody log in, whose is it.

Without Django's models: to load all apps takes the supervisor more than all else that it does before it starts them.
"""

import pkgutil
from collections.abc import Iterator
from enum import Enum
from pathlib import Path

import psycopg
from django.apps import AppConfig
from django.conf import settings
from psycopg import sql


class Standing(Enum):
    """What has become of the database so far."""

    EMPTY = "nobody has ever done anything"
    DEMO = "the demo is loaded"
    USED = "somebody works here"


def pending(url: str) -> list[str]:
    """The migrations that are not applied yet, as `app.name`."""
    applied: set[tuple[str, str]] = set()
    with psycopg.connect(url) as connection:
        if connection.execute("SELECT to_regclass('django_migrations')").fetchone() != (None,):
            applied = set(connection.execute("SELECT app, name FROM django_migrations").fetchall())
    return sorted(f"{app}.{name}" for app, name in on_disk() if (app, name) not in applied)


def on_disk() -> Iterator[tuple[str, str]]:
    """App and name of each migration, found as Django's loader finds them."""
    for entry in settings.INSTALLED_APPS:
        app = AppConfig.create(entry)
        for _, name, is_package in pkgutil.iter_modules([str(Path(app.path, "migrations"))]):
            if not is_package and name[0] not in "_~":
                yield app.label, name


def has_people(url: str) -> bool:
    """Whether there is anybody who could log in."""
    with psycopg.connect(url) as connection:
        return connection.execute("SELECT EXISTS (SELECT FROM portal_user WHERE is_active)").fetchone() == (True,)


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
