"""PostgreSQL as a child: made on first start, on TCP with a password, recovered whatever ended it."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import psutil
import psycopg

from portal.supervise import binaries, identity, launching, ports
from portal.supervise.children import Child
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output

ROLE = DATABASE = "portal"
OPTIONS = {"max_connections": "200", "log_checkpoints": "off", "jit": "off"}


class Postgres:
    """The server of one data directory; `child` is what to start and stop."""

    def __init__(
        self,
        data_dir: Path,
        output: Output,
        *,
        inherits: tuple[int, ...] = (),
        options: Mapping[str, str] | None = None,
    ) -> None:
        self.data = data_dir / "postgres"
        self.programs = binaries.postgres()
        self.data.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.identity = identity.for_postgres(self.programs / "postgres", self.data)
        self.password = _kept_password(data_dir / "postgres-password.txt", fresh=not self.is_made())
        self.port = ports.free()
        self.child = Child(
            "postgres",
            [str(self.programs / "postgres"), "-D", str(self.data), *self._options(options or {})],
            # A stray PGDATA or PGPORT of the shell is not meant for this server.
            {name: value for name, value in os.environ.items() if not name.startswith("PG")},
            data_dir,
            output,
            identity=self.identity,
            stop_by=signal.SIGINT,
            # Immediate: everything gone within moments, at the price of a recovery at the next start.
            dies_by=signal.SIGQUIT,
            stop_within=20.0,
            inherits=inherits,
            before_start=self._remove_foreign_pid_file,
        )

    @property
    def url(self) -> str:
        return f"postgres://{ROLE}:{self.password}@127.0.0.1:{self.port}/{DATABASE}"

    def prepare(self) -> None:
        """Make the data folder if there is none, and refuse one that these programs cannot serve."""
        if not self.is_made():
            self._make()
        made_by = (self.data / "PG_VERSION").read_text(encoding="ascii").strip()
        if made_by != str(self._major()):
            raise Unstartable(
                f"{self.data} was made by PostgreSQL {made_by} and {self.programs} is PostgreSQL {self._major()}: "
                "move the data with pg_dump or pg_upgrade, or choose another folder with --data-dir"
            )

    def is_ready(self) -> bool:
        """Whether it takes connections; then our database is there, too."""
        if not self._says_ready():
            return False
        try:
            with psycopg.connect(self.url.rsplit("/", 1)[0] + "/postgres", connect_timeout=2, autocommit=True) as admin:
                if not admin.execute("SELECT FROM pg_database WHERE datname = %s", [DATABASE]).fetchall():
                    admin.execute(f"CREATE DATABASE {DATABASE}")
        except psycopg.OperationalError:
            return False
        return True

    def _says_ready(self) -> bool:
        """What the server itself has written, as pg_ctl reads it: asking earlier only fills its log."""
        try:
            lines = (self.data / "postmaster.pid").read_text(encoding="utf-8").split("\n")
        except OSError:
            return False
        return len(lines) > 7 and lines[0] == str(self.child.pid) and lines[7].strip() == "ready"

    def is_made(self) -> bool:
        return (self.data / "PG_VERSION").exists()

    def _make(self) -> None:
        """initdb beside and moved into place: one that was interrupted leaves nothing half made."""
        if any(self.data.iterdir()):
            raise Unstartable(f"{self.data} is not empty, yet holds no PostgreSQL data: move its content away")
        fresh = self.data.with_name("postgres.making")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password_file = fresh.with_name("postgres.making.password")
        password_file.unlink(missing_ok=True)
        _write_private(password_file, self.password)
        # initdb wants to make the folder itself, in one that it may write to.
        self.identity.own(fresh)
        self.identity.own(password_file)
        argv = [
            str(self.programs / "initdb"),
            f"--pgdata={fresh}",
            f"--username={ROLE}",
            f"--pwfile={password_file}",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            *self._locale(),
            "--no-instructions",
            "--no-sync",
        ]
        try:
            done = subprocess.run(
                launching.command(argv, asdict(self.identity), dies_by=signal.SIGKILL),
                cwd=self.data.parent,
                env={**self.child.env},
                capture_output=True,
                process_group=0,
                check=False,
                text=True,
            )
            if done.returncode != 0:
                raise Unstartable(f"initdb could not make {self.data}: {(done.stderr or done.stdout).strip()}")
            # Written behind our back while the portal starts; nothing is in it yet that could be lost.
            fresh.replace(self.data)
        finally:
            password_file.unlink(missing_ok=True)
            shutil.rmtree(fresh, ignore_errors=True)

    def _locale(self) -> list[str]:
        if self._major() >= 17:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C"]

    def _major(self) -> int:
        shown = subprocess.run([self.programs / "postgres", "--version"], capture_output=True, text=True, check=True)
        found = re.search(r"(\d+)(?:\.|devel|beta|rc|\s|$)", shown.stdout)
        if not found or int(found[1]) < binaries.OLDEST_POSTGRES:
            raise Unstartable(f"{self.programs}: {shown.stdout.strip()} is older than {binaries.OLDEST_POSTGRES}")
        return int(found[1])

    def _options(self, more: Mapping[str, str]) -> list[str]:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            **OPTIONS,
            **more,
        }
        return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]

    def _remove_foreign_pid_file(self) -> None:
        """Drop the pid file that a killed server left once its pid belongs to another program.

        PostgreSQL itself only asks whether such a process lives, and would refuse to start for ever.
        """
        file = self.data / "postmaster.pid"
        try:
            pid = int(file.read_text(encoding="ascii").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        try:
            if Path(psutil.Process(pid).cwd()) == self.data:
                return  # a server really runs here: its own message is the right one
        except psutil.ZombieProcess:
            pass  # ended, and not buried yet
        except psutil.NoSuchProcess:
            return  # PostgreSQL finds that out by itself
        except psutil.AccessDenied:
            pass  # another user's process is not our server
        file.unlink(missing_ok=True)


def _kept_password(path: Path, *, fresh: bool) -> str:
    if fresh:
        path.unlink(missing_ok=True)
        _write_private(path, secrets.token_urlsafe(24))
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise Unstartable(
            f"{path}, the password of the PostgreSQL beside it, cannot be read ({error.strerror}): put it back"
        ) from error


def _write_private(path: Path, content: str) -> None:
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(content)
