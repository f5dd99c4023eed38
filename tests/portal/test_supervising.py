"""The parts of the supervisor, each with real processes."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from portal.supervise import binaries, identity, instance, ports
from portal.supervise.children import Child
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from portal.supervise.watch import Watch
from tests.running import ROOT, alive, wait_for


class Listening:
    """An output whose other end is read when asked."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)
        self.output = Output(self.writer)
        self._heard = b""

    def text(self) -> str:
        self.output.finish()
        return self.so_far()

    def so_far(self) -> str:
        with suppress(BlockingIOError):
            self._heard += os.read(self.reader, 1_000_000)
        return self._heard.decode()

    def close(self) -> None:
        os.close(self.reader)
        self.output.finish()
        os.close(self.writer)


@pytest.fixture
def listening() -> Iterator[Listening]:
    made = Listening()
    yield made
    made.close()


def child(listening: Listening, script: str, **more: object) -> Child:
    return Child("thing", ["/bin/sh", "-c", script], os.environ, ROOT, listening.output, **more)  # type: ignore[arg-type]


# --- Children -----------------------------------------------------------------------------------
def test_a_child_that_ignores_being_asked_is_ended(listening: Listening) -> None:
    stubborn = child(listening, "trap '' TERM; echo on; while :; do sleep 0.1; done", stop_within=0.3)
    stubborn.start()
    wait_for(lambda: "on" in listening.so_far(), "the shell has set its trap")
    stubborn.stop()
    assert stubborn.exit_code == -signal.SIGKILL


def test_what_a_child_started_ends_with_it(listening: Listening) -> None:
    parent = child(listening, "sleep 1000 & sleep 1000")
    parent.start()
    assert parent.pid is not None
    process = psutil.Process(parent.pid)
    wait_for(lambda: len(process.children()) == 2, "both sleep")
    sleepers = process.children()
    parent.stop()
    wait_for(lambda: not alive(sleepers), "all have ended")


def test_a_child_ends_with_its_killed_parent(tmp_path: Path) -> None:
    program = (
        "import os, sys, time; from pathlib import Path; from portal.supervise.children import Child; "
        "from portal.supervise.output import Output; "
        "c = Child('x', ['/bin/sleep', '1000'], os.environ, Path('/'), Output()); c.start(); "
        "print(c.pid, flush=True); time.sleep(1000)"
    )
    with subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        sleeper = psutil.Process(int(parent.stdout.readline()))
        wait_for(lambda: sleeper.name() == "sleep", "the child sleeps")
        parent.kill()
    wait_for(lambda: not alive([sleeper]), "all have ended", within=5)


def test_output_that_nobody_reads_stops_no_child(listening: Listening) -> None:
    chatty = child(
        listening, "i=0; while [ $i -lt 30000 ]; do echo $i aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa; i=$((i+1)); done"
    )
    chatty.start()
    wait_for(lambda: not chatty.running, "all was said")
    assert chatty.exit_code == 0


def test_lines_carry_the_childs_name(listening: Listening) -> None:
    speaker = child(listening, "echo one; echo two >&2")
    speaker.start()
    wait_for(lambda: "two" in listening.so_far() and not speaker.running, "both were said")
    assert listening.text().splitlines() == ["thing    | one", "thing    | two"]


# --- Starting again -----------------------------------------------------------------------------
def test_a_child_that_keeps_dying_is_started_ever_more_slowly(listening: Listening) -> None:
    restarts: list[float] = []
    watch = Watch(listening.output, on_restart=lambda: restarts.append(time.monotonic()))
    watch.booting = False
    watch.start(child(listening, "exit 3"))
    began = time.monotonic()
    wait_for(lambda: watch.look() >= 0 and len(restarts) == 3, "it was started again three times")
    for dying in watch.children:
        dying.stop()
    delays = [line.split()[-2] for line in listening.text().splitlines() if "starting it again in" in line]
    assert delays == ["0.2", "0.4", "0.8"]
    for delay, before, after in zip(delays, [began, *restarts], restarts, strict=False):
        assert after - before >= float(delay) - 0.01


def test_one_that_never_starts_is_given_up_with_its_exit_code(listening: Listening) -> None:
    watch = Watch(listening.output, on_restart=lambda: None)
    watch.start(child(listening, "exit 3"))

    def look_until_refused() -> None:
        while True:
            watch.look()
            time.sleep(0.02)

    with pytest.raises(Unstartable, match=r"thing does not start \(exit code 3\)"):
        look_until_refused()


# --- One instance -------------------------------------------------------------------------------
def test_the_lock_holds_until_the_last_child_of_a_killed_supervisor_has_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two servers would write into one folder."""
    program = (
        "import subprocess, sys; from pathlib import Path; from portal.supervise.instance import Lock; "
        "lock = Lock(Path(sys.argv[1])); lock.take(); lock.tell('http://there'); "
        "print(subprocess.Popen(['sleep', '1000'], pass_fds=(lock.fd,), stdout=subprocess.DEVNULL).pid, flush=True); "
        "sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        leftover = psutil.Process(int(holder.stdout.readline()))
        with pytest.raises(Unstartable, match=f"already running: pid {holder.pid}, http://there"):
            instance.Lock(tmp_path).take()
        holder.kill()
    really_wait = instance.Lock._wait_for_leftovers

    def wait(lock: instance.Lock, waited: float) -> None:
        # Only once it has been waited for does it go.
        leftover.kill()
        really_wait(lock, waited)

    monkeypatch.setattr(instance.Lock, "_wait_for_leftovers", wait)
    assert alive([leftover])
    with instance.only(tmp_path):
        # A process that ends lets go of its files a moment before it is gone.
        wait_for(lambda: not alive([leftover]), "it has gone")


# --- PostgreSQL ---------------------------------------------------------------------------------
@pytest.fixture
def server(tmp_path: Path, listening: Listening) -> Iterator[Postgres]:
    made = Postgres(tmp_path / "a folder", listening.output, options={"fsync": "off"})
    made.prepare()
    yield made
    made.child.stop()


def test_a_pid_file_whose_pid_is_somebody_elses_now_does_not_hinder_it(server: Postgres) -> None:
    other = subprocess.Popen(["sleep", "1000"])
    with other:
        (server.data / "postmaster.pid").write_text(f"{other.pid}\n{server.data}\n")
        server.child.start()
        wait_for(server.is_ready, "PostgreSQL is ready")
        other.kill()


def test_a_second_server_on_the_same_data_is_left_to_postgresqls_own_refusal(
    server: Postgres, listening: Listening
) -> None:
    server.child.start()
    wait_for(server.is_ready, "PostgreSQL is ready")
    second = Postgres(server.data.parent, listening.output)
    second.child.start()
    wait_for(lambda: not second.child.running, "the second refuses")
    assert second.child.exit_code != 0
    assert server.is_ready()


def test_an_interrupted_first_start_is_begun_anew(tmp_path: Path, listening: Listening) -> None:
    half = tmp_path / "postgres.making"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    server = Postgres(tmp_path, listening.output)
    server.prepare()
    server.child.start()
    wait_for(server.is_ready, "PostgreSQL is ready")
    server.child.stop()
    assert not half.exists()


def test_data_of_another_user_is_refused_by_name(tmp_path: Path, listening: Listening) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a folder away")
    (tmp_path / "postgres").mkdir()
    os.chown(tmp_path / "postgres", 4242, -1)
    with pytest.raises(Unstartable, match="belongs to uid 4242 and we are root: run up as uid 4242"):
        Postgres(tmp_path, listening.output)


def test_without_user_namespaces_root_hands_its_data_to_the_server_user(
    listening: Listening, monkeypatch: pytest.MonkeyPatch
) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    really_may = identity.Identity.may
    monkeypatch.setattr(identity.Identity, "may", lambda self, *what: not self.namespace and really_may(self, *what))
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        try:
            first = Postgres(Path(folder), listening.output)
        except Unstartable:
            pytest.skip("the server user cannot run the programs of this checkout")
        _serves_as(first, identity.server_user().pw_uid)
        monkeypatch.undo()
        # Once it is that user's it stays so, namespaces or not.
        _serves_as(Postgres(Path(folder), listening.output), identity.server_user().pw_uid)


def _serves_as(server: Postgres, uid: int) -> None:
    server.prepare()
    server.child.start()
    try:
        wait_for(server.is_ready, "PostgreSQL is ready")
        assert server.data.stat().st_uid == uid
        assert psutil.Process(server.child.pid).uids().effective == uid
    finally:
        server.child.stop()


# --- Programs -----------------------------------------------------------------------------------
def test_installed_servers_are_used_where_the_wheels_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("postgres", "initdb", "redis-server"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    monkeypatch.setattr(binaries, "VALKEY_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert binaries.postgres() == tmp_path
    assert binaries.valkey() == tmp_path / "redis-server"


def test_an_installed_postgresql_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: Listening) -> None:
    embedded = binaries.postgres()
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    try:
        assert binaries.postgres() != embedded
    except Unstartable:
        pytest.skip("no PostgreSQL is installed on this machine")
    server = Postgres(tmp_path, listening.output)
    server.prepare()
    server.child.start()
    try:
        wait_for(server.is_ready, "PostgreSQL is ready")
    finally:
        server.child.stop()


def test_no_server_at_all_is_said_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "_wheel", lambda package: None)
    monkeypatch.setattr(binaries, "POSTGRES_FOLDERS", ())
    monkeypatch.setattr(binaries, "VALKEY_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unstartable, match="apt-get install postgresql"):
        binaries.postgres()
    with pytest.raises(Unstartable, match="apt-get install redis-server"):
        binaries.valkey()


# --- Ports --------------------------------------------------------------------------------------
def test_an_ipv6_address_is_written_in_brackets() -> None:
    assert ports.address("::1", 8000) == "http://[::1]:8000"


@pytest.mark.parametrize(
    ("host", "to"), [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("127.0.0.1", "127.0.0.1"), ("localhost", "localhost")]
)
def test_what_listens_everywhere_is_reached_here(host: str, to: str) -> None:
    assert ports.reachable(host) == to
