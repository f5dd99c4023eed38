"""The servers that tests run on, and the rule that no test is skipped unseen."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.db import connection
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from psycopg import sql

from portal.supervise.children import STEP, Child
from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from portal.supervise.valkey import Valkey
from tests import emptying, migrated, skips

# What a test run may lose and production may not.
FAST = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
STARTS_WITHIN = 60.0  # seconds

# How long an example takes says how busy the machine is, and nothing of what it is to show.
hypothesis_settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
hypothesis_settings.load_profile("unhurried")

_servers: list[Child] = []
_folders: list[Path] = []


def pytest_configure(config: pytest.Config) -> None:
    """Private servers, before the settings are read; the workers of a parallel run inherit their addresses."""
    if config.option.version or config.option.help:
        return
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    if not worker:
        config.pluginmanager.register(skips.Watch(Path(__file__).with_name("skips.txt")))
        _start_servers()
        os.environ[migrated.FOLDER] = str(_folder("migrated"))
    # Django gives each worker its own database; this is its own corner of the one Valkey.
    os.environ["PORTAL_REDIS_PREFIX"] = f"test-{os.getpid()}-{worker}:"
    # Not the data directory of a portal that runs in this checkout.
    os.environ["PORTAL_DATA_DIR"] = str(_folder("data"))
    os.environ["DJANGO_SETTINGS_MODULE"] = "portal.settings"
    assert settings.DATABASES  # reads them: from here on pytest-django knows them
    # Every client of a test starts the middleware anew: static files are looked for when one is asked for.
    settings.WHITENOISE_AUTOREFRESH = True


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """A worker that inherited this would read its settings before the hook above has run there."""
    os.environ.pop("DJANGO_SETTINGS_MODULE", None)


def pytest_unconfigure() -> None:
    """Runs after a failed or interrupted run, too; were we killed, the kernel would end the servers."""
    while _servers:
        _servers.pop().stop()
    while _folders:
        shutil.rmtree(_folders.pop(), ignore_errors=True)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[None]:
    """The test database, in which a transactional test may empty the append-only tables behind itself."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger "
            r"WHERE NOT tgisinternal AND tgparentid = 0 AND tgname LIKE '%\_no\_truncate'"
        )
        for table, trigger in cursor.fetchall():
            cursor.execute(sql.SQL("ALTER TABLE {} DISABLE TRIGGER {}").format(sql.SQL(table), sql.Identifier(trigger)))
    with emptying.patient():
        yield
    # A database with a session cannot be dropped, and that of a killed process lasts a moment longer than the process.
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


def _start_servers() -> None:
    """PostgreSQL and Valkey of this run alone, unless the environment names others."""
    output = Output(os.open(os.devnull, os.O_WRONLY))
    started: list[Postgres | Valkey] = []
    if not os.environ.get("DATABASE_URL"):
        started.append(Postgres(_folder("servers"), output, options=FAST))
    if not os.environ.get("REDIS_URL"):
        started.append(Valkey(_folder("servers"), output, keep=False))
    for server in started:
        server.prepare()
        server.child.start()
        _servers.append(server.child)
    for server in started:
        _wait_for(server.child, server.is_ready)
        os.environ["DATABASE_URL" if isinstance(server, Postgres) else "REDIS_URL"] = server.url


def _wait_for(child: Child, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + STARTS_WITHIN
    while not ready():
        if not child.running or time.monotonic() > deadline:
            raise pytest.UsageError(f"{child.name} did not start (exit code {child.exit_code})")
        time.sleep(STEP)


def _folder(purpose: str) -> Path:
    folder = Path(tempfile.mkdtemp(prefix=f"flightdeck-test-{purpose}-"))
    _folders.append(folder)
    return folder


@pytest.fixture
def mortal_valkey(tmp_path: Path) -> Iterator[Valkey]:
    """A Valkey of the test's own, for it to end: the other tests keep theirs."""
    server = Valkey(tmp_path, Output(os.open(os.devnull, os.O_WRONLY)), keep=False)
    server.prepare()
    server.child.start()
    _wait_for(server.child, server.is_ready)
    yield server
    server.child.stop()
