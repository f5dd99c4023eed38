"""What `up` runs, in which order it starts, and how it ends."""

import http.client
import ipaddress
import os
import re
import shlex
import socket
import sys
import time
from collections.abc import Callable

import psycopg

from portal import env
from portal.supervise import database, instance, ports, signals
from portal.supervise.children import STEP, Child
from portal.supervise.errors import Unstartable
from portal.supervise.output import Output
from portal.supervise.postgres import Postgres
from portal.supervise.programs import Programs, Wanted
from portal.supervise.runtime import Runtime
from portal.supervise.valkey import Valkey
from portal.supervise.watch import Watch

SERVERS_WITHIN = 120.0  # seconds; a recovery after a crash may take its time
PROGRAMS_WITHIN = 120.0
LOOK_AT_WISHES_EVERY = 2.0  # seconds
# Written by the demo's command, for the simulated service.
DEMO_KEYS = "demo-keys.json"
# Somebody wishes to start empty: who and why, written by the portal's page or by a command.
EMPTYING = "start-empty.json"


class Stack:
    def __init__(self, wanted: Wanted, output: Output, heard: signals.Signals) -> None:
        self.wanted = wanted
        self.output = output
        self.signals = heard
        self.runtime = Runtime(wanted.data_dir)
        self.watch = Watch(output, on_restart=self._note)
        self._known: dict[str, str | int] = {"pid": os.getpid()}

    def run(self) -> None:
        """Start everything and keep it running until a signal says stop."""
        with instance.only(self.wanted.data_dir) as lock:
            listener = ports.listen(self.wanted.host, self.wanted.port)
            try:
                self._run(lock, listener)
            finally:
                # Closed first: nobody shall wait for an answer that will not come.
                listener.close()
                self._stop()
                self.runtime.remove()

    def _run(self, lock: instance.Lock, listener: socket.socket) -> None:
        host, port = self.wanted.host, listener.getsockname()[1]
        if self.wanted.port is None and port != ports.DEFAULT:
            self.output.say(f"port {ports.DEFAULT} is taken: using {port} (choose one with --port)")
        here = ports.address(ports.reachable(host), port)
        lock.tell(here)
        database_url, redis_url = self._start_servers(lock)
        self._known |= {"database_url": database_url, "redis_url": redis_url, "web_url": here}
        self._note()
        programs = Programs(self.wanted, self.output, database_url, redis_url, listener.fileno(), lock.fd)
        self._migrate(database_url, programs)
        has_demo = self._load_demo(_for_libpq(database_url), programs)
        running = self._start_programs(programs, has_demo=has_demo)
        self.watch.booting = False
        self.output.say(f"ready {ports.address(host, port)}")
        self._say_who_may_log_in(_for_libpq(database_url))
        while True:
            self.signals.check()
            if (self.wanted.data_dir / EMPTYING).exists():
                self.watch.stop(running)
                has_demo = not self._empty(programs) and has_demo
                running = self._start_programs(programs, has_demo=has_demo)
                self.output.say(f"ready again {ports.address(host, port)}")
                self._say_who_may_log_in(_for_libpq(database_url))
            self.signals.wait(min(self.watch.look(), LOOK_AT_WISHES_EVERY))

    def _start_programs(self, programs: Programs, *, has_demo: bool) -> list[Child]:
        """Start what people and machines talk to, and wait until it answers."""
        web, worker, beat = running = [programs.web(), programs.worker(), programs.beat()]
        for program in running:
            self.watch.start(program)
        self._note()
        here = str(self._known["web_url"])
        self._wait_until(lambda: worker.has_told() and beat.has_told() and _lives(here), PROGRAMS_WITHIN)
        if has_demo:
            running.append(programs.shop(here))
            self.watch.start(running[-1])
            self._note()
        return running

    def _say_who_may_log_in(self, url: str) -> None:
        seats = database.seats(url)
        if seats:
            self.output.say(f"the demo is loaded; its people, with the password {self.wanted.seats_password}:")
            for username, role in seats:
                self.output.say(f"  {username:<6} {role}")
        elif not database.has_people(url):
            self.output.say(f"nobody can log in yet: {self._make_somebody()}")

    def _start_servers(self, lock: instance.Lock) -> tuple[str, str]:
        """The addresses of PostgreSQL and Valkey: those of the environment, or those of own children."""
        data_dir = self.wanted.data_dir
        database_url, redis_url = env.text("DATABASE_URL"), env.text("REDIS_URL")
        servers: list[Postgres | Valkey] = []
        if not database_url:
            servers.append(postgres := Postgres(data_dir, self.output, inherits=(lock.fd,)))
            database_url = postgres.url
        if not redis_url:
            servers.append(valkey := Valkey(data_dir, self.output, inherits=(lock.fd,)))
            redis_url = valkey.url
        for server in servers:
            if isinstance(server, Postgres) and not server.is_made():
                self.output.say(f"first start: making a PostgreSQL server in {server.data}")
            server.prepare()
            self.signals.check()
            self.watch.start(server.child)
        for server in servers:
            self._wait_until(server.is_ready, SERVERS_WITHIN)
            self.output.say(f"{server.child.name} is up on 127.0.0.1:{server.port}")
        return database_url, redis_url

    def _make_somebody(self) -> str:
        """The command, for another terminal, that makes the first person."""
        command = f"{shlex.quote(sys.executable)} manage.py createsuperuser"
        if self.wanted.data_dir == self.wanted.base_dir / "var":
            return command
        return f"PORTAL_DATA_DIR={shlex.quote(str(self.wanted.data_dir))} {command}"

    def _migrate(self, database_url: str, programs: Programs) -> None:
        """Bring the database up to the code; asking first saves a warm start the seconds that migrate takes."""
        try:
            pending = database.pending(_for_libpq(database_url))
        except psycopg.OperationalError as error:
            raise Unstartable(f"the database of DATABASE_URL cannot be used: {error}") from error
        if not pending:
            return
        self.output.say(f"applying {len(pending)} migrations")
        if not self._finishes(programs.command("migrate", "--noinput", "--skip-checks", "--verbosity", "0")):
            raise Unstartable("the migrations could not be applied: the lines of migrate say why")

    def _load_demo(self, url: str, programs: Programs) -> bool:
        """Load it where it is wanted and missing; whether it is there, and wanted."""
        standing = database.standing(url)
        wanted = self.wanted.demo
        if wanted is None:
            wanted = standing is not database.Standing.USED
            if standing is database.Standing.EMPTY and not _is_loopback(self.wanted.host):
                self.output.say("starting empty: the demo's password is known to all (--demo loads it all the same)")
                wanted = False
        if not wanted:
            return False
        if standing is not database.Standing.DEMO or not (self.wanted.data_dir / DEMO_KEYS).exists():
            self.output.say("loading the demo: people, flags, and a month of releases (--no-demo starts empty)")
            if not self._finishes(programs.command("demo")):
                raise Unstartable("the demo could not be loaded: the lines of demo say why", exit_code=2)
        if not _is_loopback(self.wanted.host):
            self.output.say(f"whoever reaches {self.wanted.host} can log in with the demo's known password")
        return True

    def _empty(self, programs: Programs) -> bool:
        """Carry out the wish to start empty; the command takes the wish away, whatever becomes of it."""
        self.output.say("starting empty, as somebody wished")
        try:
            return self._finishes(programs.command("demo", "--carry-out-start-empty"))
        finally:
            (self.wanted.data_dir / EMPTYING).unlink(missing_ok=True)

    def _finishes(self, command: Child) -> bool:
        """Run a command to its end; whether it went well."""
        command.start()
        try:
            self._wait_until(lambda: not command.running, float("inf"))
        finally:
            command.stop()
        return command.exit_code == 0

    def _note(self) -> None:
        children = {child.name: child.pid for child in self.watch.children}
        self.runtime.write(**self._known, children=children)

    def _wait_until(self, happened: Callable[[], bool], within: float) -> None:
        deadline = time.monotonic() + within
        while not happened():
            self.signals.check()
            if time.monotonic() > deadline:
                names = ", ".join(child.name for child in self.watch.children)
                raise Unstartable(f"not ready after {within:.0f} s ({names}): the lines above say why")
            self.watch.look()
            self.signals.wait(STEP)

    def _stop(self) -> None:
        """In reverse: who uses a server ends before it. A second signal makes it quick."""
        servers = [child for child in self.watch.children if child.name in ("postgres", "valkey")]
        programs = [child for child in self.watch.children if child not in servers]
        for together in (programs, *([server] for server in reversed(servers))):
            for child in reversed(together):
                child.signal(child.stop_by)
            for child in reversed(together):
                child.wait_stopped(self.signals.hurried)


def _lives(address: str) -> bool:
    """Whether the web answers at all."""
    connection = http.client.HTTPConnection(address.removeprefix("http://"), timeout=1)
    try:
        connection.request("GET", "/health/live")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _for_libpq(database_url: str) -> str:
    """Django's addresses may begin with psql:// or pgsql://, libpq's may not."""
    return re.sub(r"^\w+://", "postgresql://", database_url)
