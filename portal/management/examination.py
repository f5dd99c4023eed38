"""What `doctor` looks at, one finding each: what is so, and what to do when it should not be."""

import http.client
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor

from portal import env, jobs
from portal.celery import app
from portal.supervise import binaries, ports
from portal.supervise.errors import Unstartable

START = "start the portal (make run); if it runs with another data directory, name it: --data-dir or PORTAL_DATA_DIR"


@dataclass(frozen=True, slots=True)
class Finding:
    subject: str
    ok: bool
    detail: str
    remedy: str = ""


def findings(data_dir: Path) -> Iterator[Finding]:
    yield _python()
    yield _data(data_dir)
    yield _programs("PostgreSQL programs", "DATABASE_URL", lambda: binaries.postgres() / "postgres")
    yield _programs("Valkey program", "REDIS_URL", binaries.valkey)
    yield _web(env.runtime(data_dir).get("web_url"))
    database = _database()
    yield database
    if database.ok:
        migrations = _migrations()
        yield migrations
        if migrations.ok:
            yield _sweeps()
    yield _valkey()


def _python() -> Finding:
    version = platform.python_version()
    return Finding("Python", sys.version_info >= (3, 11), version, "the portal needs Python 3.11 or newer")


def _data(data_dir: Path) -> Finding:
    subject = "data directory"
    nearest = next(path for path in (data_dir, *data_dir.parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        remedy = f"make {nearest} a folder that this user may write to, or choose another with --data-dir"
        return Finding(subject, False, f"{data_dir} is not writable", remedy)
    return Finding(subject, True, f"{data_dir} is writable" if nearest == data_dir else f"{data_dir} can be made")


def _programs(subject: str, variable: str, find: Callable[[], Path]) -> Finding:
    if env.text(variable):
        return Finding(subject, True, f"not needed: {variable} is set")
    try:
        program = find()
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=True, timeout=10)
    except Unstartable as error:
        return Finding(subject, False, "none found", str(error))
    except (OSError, subprocess.SubprocessError) as error:
        return Finding(subject, False, f"cannot be run: {error}", f"install one, or set {variable}")
    return Finding(subject, True, f"{shown.stdout.strip()} ({program})")


def _web(url: str | None) -> Finding:
    if url is None:
        try:
            ports.listen("127.0.0.1", ports.DEFAULT).close()
        except Unstartable:
            return Finding("web", True, f"not running; port {ports.DEFAULT} is taken, up will choose a free one")
        return Finding("web", True, f"not running; port {ports.DEFAULT} is free")
    probe = http.client.HTTPConnection(url.removeprefix("http://"), timeout=5)
    try:
        probe.request("GET", "/health/live")
        status = probe.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return Finding("web", False, f"{url} does not answer: {error}", START)
    finally:
        probe.close()
    return Finding("web", status == 200, f"{url}/health/live answers {status}", "see the lines of web where up runs")


def _database() -> Finding:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT current_database(), current_setting('server_version')")
            name, version = cursor.fetchone()
    except DatabaseError as error:
        remedy = "check DATABASE_URL" if env.text("DATABASE_URL") else START
        return Finding("database", False, f"cannot be reached: {str(error).strip()}", remedy)
    return Finding("database", True, f"{name} on PostgreSQL {version}")


def _migrations() -> Finding:
    executor = MigrationExecutor(connection)
    missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    if missing:
        return Finding("migrations", False, f"{len(missing)} are not applied", "restart up, or run manage.py migrate")
    return Finding("migrations", True, "all are applied")


def _sweeps() -> Finding:
    app.loader.import_default_modules()
    stale = jobs.stale_sweeps(jobs.database_now())
    if stale:
        detail = f"no completed cycle lately: {', '.join(sorted(stale))}"
        return Finding("sweeps", False, detail, "see the lines of worker and beat where up runs; " + START)
    return Finding("sweeps", True, f"all {len(jobs.SWEEPS)} have completed a cycle lately")


def _valkey() -> Finding:
    try:
        with redis.Redis.from_url(settings.REDIS_URL, socket_timeout=3, socket_connect_timeout=3) as client:
            client.ping()
    except (redis.RedisError, ValueError) as error:
        remedy = "check REDIS_URL" if env.text("REDIS_URL") else START
        return Finding("Valkey", False, f"cannot be reached: {error}", remedy)
    return Finding("Valkey", True, "answers")
