"""`manage.py doctor` where something is wrong (where all is well: test_up)."""

import subprocess
import sys
from pathlib import Path

from tests.running import ROOT, clean_environment


def doctor(data_dir: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "manage.py", "doctor", "--data-dir", str(data_dir)],
        cwd=ROOT,
        env=clean_environment() | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def test_what_does_not_run_is_said_with_how_to_start_it(tmp_path: Path) -> None:
    told = doctor(tmp_path / "data")
    assert told.returncode == 1
    assert "ok    Python: " in told.stdout
    assert "ok    PostgreSQL programs: postgres (PostgreSQL)" in told.stdout
    assert "WRONG database: cannot be reached" in told.stdout
    assert "WRONG Valkey: cannot be reached" in told.stdout
    assert told.stdout.count("→ start the portal (make run)") == 2
    assert "2 of these must be put right" in told.stdout


def test_an_address_of_the_environment_that_leads_nowhere_is_named_as_such(tmp_path: Path) -> None:
    told = doctor(tmp_path, DATABASE_URL="postgres://portal@127.0.0.1:1/portal", REDIS_URL="redis://127.0.0.1:1")
    assert told.returncode == 1
    assert "ok    PostgreSQL programs: not needed: DATABASE_URL is set" in told.stdout
    assert "→ check DATABASE_URL" in told.stdout
    assert "→ check REDIS_URL" in told.stdout


def test_addresses_of_an_up_that_was_killed_are_seen_through(tmp_path: Path) -> None:
    (tmp_path / "runtime.json").write_text('{"pid": 1, "web_url": "http://127.0.0.1:1"}')
    told = doctor(tmp_path)
    assert told.returncode == 1
    assert "WRONG web: http://127.0.0.1:1 does not answer" in told.stdout


def test_a_data_directory_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    told = doctor(tmp_path / "file" / "data", PORTAL_SECRET_KEY="given", PORTAL_ENCRYPTION_KEY="given")
    assert told.returncode == 1
    assert f"WRONG data directory: {tmp_path / 'file' / 'data'} is not writable" in told.stdout
