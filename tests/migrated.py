"""A migrated PostgreSQL, made once for each run: whoever needs a portal, not its first start, begins with a copy."""

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from tests.running import ROOT, clean_environment, wait_for

# Set by the controller of a run, for its workers.
FOLDER = "FLIGHTDECK_TEST_MIGRATED"
# What survives a killed server all the same: these two guard against the loss of power only.
SETTINGS = "fsync = off\nfull_page_writes = off\n"


def into(data_dir: Path) -> Path:
    """Put a copy of it into a data directory that has none yet."""
    made = _made(Path(os.environ[FOLDER]))
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    shutil.copytree(made / "postgres", data_dir / "postgres")
    shutil.copy2(made / "postgres-password.txt", data_dir)
    return data_dir


def _made(folder: Path) -> Path:
    """The one of this run; whoever comes first makes it, the others wait."""
    made = folder / "made"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            _make(folder / "making")
            (folder / "making").rename(made)
    return made


def _make(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    server = Postgres(folder, Output(os.open(os.devnull, os.O_WRONLY)), options={"fsync": "off"})
    server.prepare()
    with (server.data / "postgresql.auto.conf").open("a") as kept:
        kept.write(SETTINGS)
    server.child.start()
    try:
        wait_for(server.is_ready, "PostgreSQL is ready")
        subprocess.run(
            [sys.executable, "manage.py", "migrate", "--noinput", "--skip-checks", "--verbosity", "0"],
            cwd=ROOT,
            env=clean_environment()
            | {"DATABASE_URL": server.url, "REDIS_URL": "redis://127.0.0.1:1", "PORTAL_DATA_DIR": str(folder)},
            check=True,
        )
    finally:
        server.child.stop()
