"""`manage.py up` as another user, beside a taken port, and with servers of somebody else."""

import os
import secrets
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from portal.supervise import ports
from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from tests import migrated
from tests.running import Running, alive, wait_for

NOBODY = 65534
AS_NOBODY = (
    ("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    # Where a Python below a private home is readable to its owner alone: not root, yet with root's files.
    ("unshare", "--user", f"--map-user={NOBODY}", f"--map-group={NOBODY}"),
)


def not_root() -> Sequence[str]:
    """The words before a command that make it run without root's rights."""
    if os.geteuid() != 0:
        return ()
    # Through a shell: the first program after setpriv may still be found with root's rights.
    imports = f"{sys.executable} -c 'import django' && test $(id -u) != 0"
    for words in AS_NOBODY:
        try:
            if subprocess.run([*words, "sh", "-c", imports], capture_output=True, check=False).returncode == 0:
                return words
        except FileNotFoundError:
            continue
    pytest.skip("no other user than root can run this Python")


@pytest.fixture
def port_8000_is_taken() -> Iterator[None]:
    """By us, or by a portal that runs beside these tests."""
    try:
        holder = socket.create_server(("127.0.0.1", ports.DEFAULT))
    except OSError:
        yield
    else:
        with holder:
            yield


def test_without_root_and_with_the_default_port_taken(tmp_path: Path, port_8000_is_taken: None) -> None:
    words = not_root()
    data_dir = migrated.into(tmp_path / "data")
    if words and words[0] == "setpriv":
        for folder in (data_dir, *data_dir.parents):
            if folder.name.startswith("pytest-"):
                folder.chmod(0o755)
        for path in (data_dir, *data_dir.rglob("*")):
            os.chown(path, NOBODY, NOBODY, follow_symlinks=False)
    running = Running(data_dir, wrapper=words).wait_ready()
    try:
        assert f"port {ports.DEFAULT} is taken: using" in running.text
        assert running.url != f"http://127.0.0.1:{ports.DEFAULT}"
        wait_for(running.is_well, "well")
        descendants = running.descendants()
        assert running.interrupt() == 0
        wait_for(lambda: not alive(descendants), "all have ended")
    finally:
        running.end()


def test_root_serves_its_data_through_somebody_without_rights(tmp_path: Path) -> None:
    """As root PostgreSQL's processes may not be root's in their own eyes; otherwise they are simply ours."""
    server = Postgres(tmp_path, Output(os.open(os.devnull, os.O_WRONLY)))
    server.prepare()
    server.child.start()
    try:
        wait_for(server.is_ready, "PostgreSQL is ready")
        assert server.child.pid is not None
        inside = Path(f"/proc/{server.child.pid}/uid_map").read_text().split()
        outer = psutil.Process(server.child.pid).uids().effective
        assert (inside[0] if outer == 0 else str(outer)) != "0"
    finally:
        server.child.stop()


@pytest.fixture
def own_database() -> Iterator[str]:
    """An empty database on the server of the tests, and its address."""
    given = os.environ["DATABASE_URL"]
    name = f"elsewhere_{secrets.token_hex(4)}"
    with psycopg.connect(given, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{given.rsplit('/', 1)[0]}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def test_servers_of_the_environment_replace_the_embedded_ones(tmp_path: Path, own_database: str) -> None:
    prefix = f"elsewhere-{secrets.token_hex(4)}:"
    running = Running(
        tmp_path,
        "--port",
        "0",
        "--host",
        "127.0.0.2",
        env={"DATABASE_URL": own_database, "REDIS_URL": os.environ["REDIS_URL"], "PORTAL_REDIS_PREFIX": prefix},
    ).wait_ready()
    try:
        assert set(running.children) == {"web", "worker", "beat"}
        assert running.runtime["database_url"] == own_database
        assert not (tmp_path / "postgres").exists()
        wait_for(running.is_well, "well")
        assert running.url is not None
        assert running.url.startswith("http://127.0.0.2:")
        assert running.interrupt() == 0
    finally:
        running.end()
        with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
            for key in client.scan_iter(f"{prefix}*"):
                client.delete(key)
