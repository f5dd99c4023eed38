"""`manage.py up`: one portal in a folder with spaces, from its first start to its end, tests in that order."""

import os
import signal
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import psutil
import psycopg
import pytest
import redis

from tests.running import Running, alive, wait_for

# One portal is shared by all of them.
pytestmark = pytest.mark.xdist_group("up")


NEVER = datetime.min.replace(tzinfo=UTC)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("a folder with spaces") / "data"


@pytest.fixture(scope="module")
def portal(data_dir: Path) -> Iterator[Running]:
    running = Running(data_dir, "--port", "0").wait_ready()
    yield running
    running.end()


def test_ready_is_said_when_the_web_answers_and_worker_and_beat_work(portal: Running) -> None:
    assert portal.get("/health/live").status_code == 200
    wait_for(portal.is_well, "every sweep completes a cycle")
    assert set(portal.children) == {"postgres", "valkey", "web", "worker", "beat"}


def test_runtime_json_is_for_its_owner_alone_and_names_the_servers(portal: Running) -> None:
    assert stat.S_IMODE((portal.data_dir / "runtime.json").stat().st_mode) == 0o600
    assert portal.runtime["pid"] == portal.process.pid
    assert portal.runtime["web_url"] == portal.url
    with psycopg.connect(portal.runtime["database_url"]) as connection:
        assert connection.execute("SHOW listen_addresses").fetchone() == ("127.0.0.1",)
    with redis.Redis.from_url(portal.runtime["redis_url"]) as client:
        assert client.config_get("appendonly") == {"appendonly": "yes"}


def test_the_servers_want_their_password(portal: Running) -> None:
    without = portal.runtime["database_url"].split("@")[1]
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(f"postgres://portal@{without}")
    valkey = redis.Redis.from_url("redis://" + portal.runtime["redis_url"].split("@")[1])
    with valkey, pytest.raises(redis.AuthenticationError):
        valkey.ping()


def test_no_password_is_seen_in_the_process_list(portal: Running) -> None:
    secrets = [portal.runtime[name].split("@")[0].rsplit(":", 1)[1] for name in ("database_url", "redis_url")]
    shown = []
    for process in portal.descendants():
        with suppress(psutil.NoSuchProcess):  # a worker that has just ended
            shown.append(" ".join(process.cmdline()))
    assert len(shown) > 5
    assert not [line for line in shown for secret in secrets if secret in line]


def test_each_line_of_a_child_begins_with_its_name(portal: Running) -> None:
    assert any(line.startswith("postgres | ") for line in portal.lines)


def test_a_second_up_says_who_runs_already(portal: Running) -> None:
    second = portal.manage("up", "--data-dir", str(portal.data_dir))
    assert second.returncode == 1
    assert f"already running: pid {portal.process.pid}, {portal.url}" in second.stderr
    assert portal.get("/health/live").status_code == 200


def test_a_command_beside_it_finds_its_database(portal: Running) -> None:
    made = portal.manage("create_api_key", "beside", "--scope", "read")
    assert made.returncode == 0, made.stderr
    assert len(made.stdout.split()) == 1
    assert portal.get("/api/v1/services/", headers={"X-API-Key": made.stdout.strip()}).status_code == 200
    assert portal.get("/api/v1/services/", headers={"X-API-Key": "another"}).status_code == 401


def test_the_doctor_finds_all_well_beside_it(portal: Running) -> None:
    told = []

    def well() -> bool:
        # Of a machine that holds a sweep up for seconds it rightly says so, until that sweep has run again.
        told.append(portal.manage("doctor"))
        return told[-1].returncode == 0

    wait_for(well, "the doctor is content")
    assert "all is well" in told[-1].stdout


def test_the_worker_keeps_its_connections_to_the_database(portal: Running) -> None:
    wait_for(portal.is_well, "every sweep completes a cycle")
    with psycopg.connect(portal.runtime["database_url"], autocommit=True) as database:

        def kept() -> set[int]:
            """The server's processes that the worker's own talk to."""
            peers = [
                peer.laddr.port
                for process in psutil.Process(portal.children["worker"]).children(recursive=True)
                for peer in process.net_connections("tcp")
            ]
            rows = database.execute("SELECT pid FROM pg_stat_activity WHERE client_port = ANY(%s)", [peers]).fetchall()
            return {pid for (pid,) in rows}

        before = kept()
        assert before
        for _ in range(5):
            wait_for(partial(_has_cycled_since, portal, _now(portal)), "every sweep of a second")
        assert before <= kept()
        # One that broke is opened anew by the next task that needs it.
        for pid in before:
            assert database.execute("SELECT pg_terminate_backend(%s, 5000)", [pid]).fetchone() == (True,)
        wait_for(partial(_has_cycled_since, portal, _now(portal)), "the sweeps go on")
        assert kept().isdisjoint(before)


@pytest.mark.parametrize("name", ["web", "worker", "beat", "valkey", "postgres"])
def test_a_killed_child_is_started_again_and_the_others_go_on(portal: Running, name: str) -> None:
    wait_for(portal.is_well, "well before")
    before = portal.children
    left_behind = psutil.Process(before[name]).children(recursive=True)
    os.kill(before[name], signal.SIGKILL)
    wait_for(lambda: portal.children[name] != before[name], f"{name} runs again")
    # A poke of the beat, done by the worker, on the servers: once for what was on its way, once for what began since.
    for _ in range(2):
        wait_for(partial(_has_cycled_since, portal, _now(portal)), "sweeps again")
    wait_for(portal.is_well, "well again")
    ended = [line for line in portal.lines if " ended (" in line]
    assert {other: pid for other, pid in portal.children.items() if other != name} == {
        other: pid for other, pid in before.items() if other != name
    }, (ended, portal.lines[-200:])
    wait_for(lambda: not alive(left_behind), "all have ended")
    assert f"{name} ended (signal 9): starting it again in" in portal.text
    # While Valkey is away beat says so in a line.
    assert not [line for line in portal.lines if line.startswith("beat ") and "Traceback" in line]


def _now(portal: Running) -> datetime:
    wait_for(lambda: _asked(portal, "SELECT clock_timestamp()") is not None, "PostgreSQL answers")
    return _asked(portal, "SELECT clock_timestamp()") or NEVER


def _has_cycled_since(portal: Running, moment: datetime) -> bool:
    return (_asked(portal, "SELECT at FROM portal_heartbeat WHERE name = 'portal.seal_audit'") or NEVER) > moment


def _asked(portal: Running, question: str) -> datetime | None:
    """The database's answer, once there is one."""
    try:
        with psycopg.connect(portal.runtime["database_url"], connect_timeout=2) as connection:
            row = connection.execute(question).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def test_ctrl_c_ends_everything_and_takes_runtime_json_along(portal: Running) -> None:
    descendants = portal.descendants()
    assert len(descendants) > 5
    assert portal.interrupt() == 0
    # What had to be killed, for it took too long, is gone a moment after whoever killed it.
    wait_for(lambda: not alive(descendants), "all have ended")
    assert not (portal.data_dir / "runtime.json").exists()
    assert portal.lines[-1] == "stopped"


def test_data_is_kept_across_restarts_and_a_killed_supervisor_leaves_nobody(data_dir: Path) -> None:
    again = Running(data_dir, "--port", "0").wait_ready()
    try:
        print(f"warm start: ready after {again.seconds_to_ready:.1f} s")
        assert not any("migrations" in line for line in again.lines)
        with psycopg.connect(again.runtime["database_url"]) as connection:
            assert connection.execute("SELECT name FROM portal_apikey").fetchall() == [("beside",)]
        descendants = again.descendants()
        os.kill(again.process.pid, signal.SIGKILL)
        wait_for(lambda: not alive(descendants), "all have ended", within=5)
    finally:
        again.end()


def test_up_starts_over_what_a_killed_one_left(data_dir: Path) -> None:
    """runtime.json of the killed one is still there, and names servers that are not."""
    over = Running(data_dir, "--port", "0").wait_ready()
    try:
        with psycopg.connect(over.runtime["database_url"]) as connection:
            assert connection.execute("SELECT name FROM portal_apikey").fetchall() == [("beside",)]
        wait_for(over.is_well, "well")
        assert over.interrupt() == 0
    finally:
        over.end()
