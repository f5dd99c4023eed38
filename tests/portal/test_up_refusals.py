"""What `manage.py up` says instead of starting."""

import os
import socket
from pathlib import Path

from portal.supervise import ports
from tests.running import Running


def refusal(data_dir: Path, *arguments: str) -> tuple[int, str]:
    running = Running(data_dir, *arguments)
    try:
        return running.wait_ended(), running.text
    finally:
        running.end()


def test_a_chosen_port_that_is_taken(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as holder:
        port = holder.getsockname()[1]
        code, text = refusal(tmp_path / "data", "--port", str(port))
    assert code == 2
    assert f"port {port} on 127.0.0.1: it is taken" in text
    assert not (tmp_path / "data" / "postgres").exists()


def test_a_port_that_is_none(tmp_path: Path) -> None:
    code, text = refusal(tmp_path, "--port", "70000")
    assert code == 2
    assert "'70000' is no port" in text


def test_an_address_that_is_not_ours(tmp_path: Path) -> None:
    code, text = refusal(tmp_path, "--host", "203.0.113.7")
    assert code == 2
    assert "cannot listen on 203.0.113.7" in text


def test_a_data_directory_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    code, text = refusal(tmp_path / "data", "--port", "0")
    assert code == 1
    assert f"{tmp_path / 'data'}" in text
    assert "Traceback" not in text


def test_postgresql_data_of_another_version(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("9.6\n")
    (tmp_path / "postgres-password.txt").write_text("kept")
    code, text = refusal(tmp_path, "--port", "0")
    assert code == 1
    assert "was made by PostgreSQL 9.6" in text
    assert "pg_upgrade" in text


def test_postgresql_data_whose_password_is_lost(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir(mode=0o700)
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    code, text = refusal(tmp_path, "--port", "0")
    assert code == 1
    assert f"{tmp_path / 'postgres-password.txt'}, the password of the PostgreSQL beside it" in text


def test_a_folder_of_somebody_elses_files_where_postgresql_keeps_its_own(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "thesis.txt").write_text("dear")
    code, text = refusal(tmp_path, "--port", "0")
    assert code == 1
    assert "is not empty, yet holds no PostgreSQL data" in text
    assert (tmp_path / "postgres" / "thesis.txt").read_text() == "dear"


def test_a_database_address_that_leads_nowhere(tmp_path: Path) -> None:
    running = Running(
        tmp_path,
        "--port",
        "0",
        env={"DATABASE_URL": f"postgres://portal@127.0.0.1:{ports.free()}/x", "REDIS_URL": "redis://127.0.0.1:1"},
    )
    assert running.wait_ended() == 1
    assert "the database of DATABASE_URL cannot be used" in running.text
    assert not os.path.exists(tmp_path / "runtime.json")


def test_settings_that_cannot_be_read(tmp_path: Path) -> None:
    running = Running(tmp_path, "--port", "0", env={"PORTAL_KEY_RATE": "many"})
    assert running.wait_ended() == 1
    assert "PORTAL_KEY_RATE: expected a whole number, got 'many'" in running.text
    assert "Traceback" not in running.text
