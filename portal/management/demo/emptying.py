"""Starting empty: the database is made anew, without the demo and all that was done in it.

Nothing is deleted row by row: the audit trail, timelines and revisions refuse that, and stay honest by refusing it. The
whole database goes, and the first line of the new trail says so: who wished it, why, and where the old trail ended.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
from django.core import serializers
from django.core.management import call_command
from django.core.management.color import no_style
from django.db import connection, models, transaction
from django_otp.plugins.otp_totp.models import TOTPDevice
from psycopg import sql

from portal import audit, versions
from portal.audit import Automaton
from portal.errors import Refused
from portal.management.demo import key_file
from portal.management.demo.cast import AUTOMATON
from portal.models import AuditEntry, Grant, Seat, User, Version

# The supervisor looks for it, stops what runs, and has `carry_out` called.
WISH_FILE = "start-empty.json"


def wish(data_dir: Path, *, by: str, because: str) -> None:
    """Ask the supervisor of this data directory to do it."""
    _require_demo()
    fresh = data_dir / f".{WISH_FILE}.{os.getpid()}"
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump({"by": by, "because": because}, file)
    fresh.replace(data_dir / WISH_FILE)


def is_supervised(data_dir: Path) -> bool:
    """Whether an `up` runs on this data directory, who would hear of a wish."""
    try:
        running = json.loads((data_dir / "runtime.json").read_text(encoding="utf-8"))
        return psutil.pid_exists(int(running["pid"]))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def is_wished(data_dir: Path) -> bool:
    return (data_dir / WISH_FILE).exists()


def carry_out(data_dir: Path) -> None:
    """What was wished, by whoever has stopped every process that uses the database."""
    try:
        wished = json.loads((data_dir / WISH_FILE).read_text(encoding="utf-8"))
        by, because = str(wished["by"]), str(wished["because"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Refused(f"nobody has wished to start empty: {error}") from None
    empty(data_dir, by=by, because=because)


def empty(data_dir: Path, *, by: str, because: str) -> None:
    """All or nothing. People with a password of their own stay, with those roles that name no place."""
    _require_demo()
    with transaction.atomic():
        kept = _keep()
        gone = _trail()
        _drop_everything()
        call_command("migrate", verbosity=0, interactive=False)
        for row in serializers.deserialize("json", kept):
            row.save()
        _restart_numbers((User, Grant, TOTPDevice))
        versions.bump("emptied")
        audit.record(
            "portal.emptied",
            Version.objects.get(name="emptied"),
            by=Automaton(AUTOMATON),
            after={"asked_by": by, "the_trail_before": gone},
            because=because,
        )
    key_file.remove(data_dir)
    (data_dir / WISH_FILE).unlink(missing_ok=True)


def _require_demo() -> None:
    if not Seat.objects.exists():
        raise Refused("the demo is not loaded: nothing that is yours is thrown away here")


def _keep() -> str:
    people = User.objects.filter(seat=None)
    rows: list[Iterable[models.Model]] = [
        people,
        Grant.objects.filter(user__in=people, environment=None, service=None),
        TOTPDevice.objects.filter(user__in=people),
    ]
    kept = [row for some in rows for row in some]
    return str(serializers.serialize("json", kept))


def _trail() -> dict[str, Any]:
    """Where the old audit trail ended."""
    last = AuditEntry.objects.exclude(position=None).order_by("-position").first()
    return {
        "entries": AuditEntry.objects.count(),
        "sealed": last.position if last else 0,
        "digest": last and last.digest,
    }


def _drop_everything() -> None:
    """Our tables, and the functions of their triggers; nothing else that may share the schema."""
    tables = {*connection.introspection.django_table_names(include_views=False), "django_migrations"}
    with connection.cursor() as cursor:
        # A constraint whose check is put off would stand in the way of dropping its table.
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        there = [one.name for one in connection.introspection.get_table_list(cursor) if one.name in tables]
        cursor.execute(
            "SELECT DISTINCT tgfoid::regprocedure::text FROM pg_trigger "
            "WHERE NOT tgisinternal AND tgrelid = ANY(%s::regclass[])",
            [there],
        )
        functions = [row[0] for row in cursor.fetchall()]
        names = sql.SQL(", ").join(sql.Identifier(name) for name in there)
        cursor.execute(sql.SQL("DROP TABLE {} CASCADE").format(names))
        for function in functions:
            # A name with its argument types, as PostgreSQL itself has just written it.
            cursor.execute(sql.SQL("DROP FUNCTION {}").format(sql.SQL(function)))


def _restart_numbers(kept: Iterable[type[models.Model]]) -> None:
    """Rows that came back brought their numbers: the next ones come after them."""
    statements = connection.ops.sequence_reset_sql(no_style(), list(kept))
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
