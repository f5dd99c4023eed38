"""Every flag of every environment, compiled and held in this process: what is evaluated never asks the database."""

import asyncio
import gc
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from django.db import DEFAULT_DB_ALIAS, Error, connection, connections, transaction
from django.db.models import Q

from portal import versions
from portal.keys import Ring
from portal.live import Hub
from portal.models import Environment
from rollouts.engine.compile import assemble, compile_or_break, default_off_variant
from rollouts.engine.conditions import Pool, compile_segments, segments_in
from rollouts.engine.types import Flag as CompiledFlag
from rollouts.engine.types import FlagSource, SegmentSource, Snapshot
from rollouts.engine.types import Segment as CompiledSegment
from rollouts.models import Flag, FlagConfig, Segment
from rollouts.queries import members

log = structlog.get_logger(__name__)

POLL_EVERY = 1.0  # seconds: the backstop when Valkey does not tell
FIRST_LOAD_WITHIN = 10.0  # seconds that a starting process waits for its first snapshot
STOP_WITHIN = 1.0  # seconds
# A server whose machine is gone says nothing at all: without these a look would wait for hours.
NOTICE_DEAD_SERVER = {
    "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3, "tcp_user_timeout": 10_000,
}  # fmt: skip
DROPPED_AT_ONCE = 100  # flags
BREATH = 0.001  # seconds that others get in between
HURRY_AFTER = 0.02  # seconds: whoever waits for a change may have the next look begin at once
CATCH_UP_WITHIN = 1.5  # seconds that a page waits for what has just been committed
AT_ONCE = 250  # flags read before they are compiled: as JSON they are many times as large

CONFIG_FIELDS = (
    "enabled", "off_variant", "rules", "fallthrough", "overrides", "prerequisites", "window", "reserved", "revision",
)  # fmt: skip


class Store:
    """Reads what has changed, and compiles only that and what depends on it. Belongs to one thread."""

    def __init__(self) -> None:
        self.version = -1
        self.whole_loads = 0
        self.counters: dict[str, int] = {}
        self.newest = 0  # the last version that changed something in every environment
        self.environments: dict[int, str] = {}
        self.segments: dict[str, SegmentSource] = {}
        self.members = members.Members()
        self.compiled_segments: dict[str, CompiledSegment] = {}
        self.snapshots: dict[str, Snapshot] = {}
        # Flags that no snapshot holds any more: whoever dropped thousands at once would stop the process for as long.
        self.retired: list[CompiledFlag] = []

    def refresh(self) -> bool:
        """Bring the snapshots up to date; whether anything has changed."""
        with transaction.atomic(), connection.cursor() as cursor:
            # One picture: rows that are newer than the version would be missed by the next look.
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            self.counters = versions.current()
            version = self.counters.get("flags", 0)
            environments = dict(Environment.objects.values_list("id", "key"))
            if version == self.version and environments == self.environments:
                return False
            # A version that went back is another database.
            whole = self.version < 0 or version < self.version
            since = -1 if whole else self.version
            # An environment made anew under an old key is another one.
            known = {} if whole else self.environments
            held = {key: self.snapshots[key] for one, key in environments.items() if known.get(one) == key}
            # Whatever fails half-way from here, the next look begins anew.
            self.version, self.environments = -1, environments
            joined = self.members.read(since)
            self.newest = 0 if whole else self.newest
            users = self._users_of(self._read_segments(since))
            flags = _changed(since, users)
            if len(held) < len(environments):
                flags = sorted({*flags, *Flag.objects.live().values_list("id", flat=True)})
            with _unhurried_collector() if len(flags) > AT_ONCE else nullcontext():
                self._compile(flags, held, since, users)
            self._tell_of_members(joined, version)
        self.version = version
        self.whole_loads += whole
        return True

    def _compile(self, flags: list[int], held: Mapping[str, Snapshot], since: int, users: set[str]) -> None:
        """Compile what is newer or uses what is newer, a few flags at a time, and put it beside the others."""
        compiled: dict[str, dict[str, CompiledFlag | None]] = {key: {} for key in self.environments.values()}
        newest = dict.fromkeys(self.environments, 0)
        pool = Pool()
        for start in range(0, len(flags), AT_ONCE):
            rows = _rows(Q(id__in=flags[start : start + AT_ONCE]))
            rows.reverse()
            while rows:
                # Each is let go before the next: a hundred thousand objects that end together stop the process.
                row = rows.pop()
                self.newest = max(self.newest, row.row["changed_in"])
                if held:
                    # This process already answers: whoever asks it goes first.
                    time.sleep(BREATH / 4)
                for one, environment in self.environments.items():
                    newest[one] = max(newest[one], row.changed_in(one))
                    if row.archived:
                        compiled[environment][row.key] = None
                    elif environment not in held or row.key in users or row.changed_in(one) > since:
                        source = row.source(one, environment)
                        compiled[environment][row.key] = compile_or_break(source, self.compiled_segments, pool)
        before = self.snapshots
        self.snapshots = {
            key: _joined(key, max(newest[one], self.newest), held.get(key), compiled[key])
            for one, key in self.environments.items()
        }
        for key, shot in before.items():
            if key not in held:
                self.retired += shot.flags.values()
            else:
                self.retired += [shot.flags[name] for name in compiled[key] if name in shot.flags]

    def _read_segments(self, since: int) -> set[str]:
        """Take over changed segments; the keys of these and of all that refer to them."""
        there = dict(Segment.objects.values_list("key", "changed_in"))
        newer = [key for key, changed_in in there.items() if changed_in > since]
        self.newest = max(self.newest, *there.values(), 0)
        changed = {one.key: one for one in segment_sources(Segment.objects.filter(key__in=newer))} if newer else {}
        touched = changed.keys() | (self.segments.keys() - there)
        if not touched and since >= 0:
            return set()
        self.segments = {key: one for key, one in (self.segments | changed).items() if key in there}
        self.compiled_segments = compile_segments(self.members.with_members(self.segments))
        return self._with_users(touched)

    def _with_users(self, segments: Iterable[str]) -> set[str]:
        """These segments and all that refer to them."""
        users = defaultdict(set)
        for key, source in self.segments.items():
            for used in segments_in(source.conditions):
                users[used].add(key)
        found = set(segments)
        waiting = list(found)
        while waiting:
            for user in users[waiting.pop()] - found:
                found.add(user)
                waiting.append(user)
        return found

    def _tell_of_members(self, joined: set[str], version: int) -> None:
        """Compiled segments share the sets of members: nothing is compiled. Where it counts, it is another version."""
        reached = self._with_users(joined) if joined else set()
        for key, held in self.snapshots.items():
            if reached and any(not flag.segments.isdisjoint(reached) for flag in held.flags.values()):
                self.snapshots = {**self.snapshots, key: replace(held, version=max(version, held.version))}

    def _users_of(self, segments: set[str]) -> set[str]:
        if not segments:
            return set()
        return {
            key
            for snapshot in self.snapshots.values()
            for key, flag in snapshot.flags.items()
            if not flag.segments.isdisjoint(segments)
        }


class FlagRow:
    """A flag's definition with its config in each environment, as read."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.id: int = row["id"]
        self.key: str = row["key"]
        self.archived = row["archived_at"] is not None
        self.row = row
        self.configs: dict[int, Mapping[str, Any]] = {}

    def changed_in(self, environment_id: int) -> int:
        config = self.configs.get(environment_id)
        return max(self.row["changed_in"], config["changed_in"] if config else 0)

    def source(self, environment_id: int, environment: str) -> FlagSource:
        config = self.configs.get(environment_id)
        given: dict[str, Any] = {name: config[name] for name in CONFIG_FIELDS} if config else {}
        given.setdefault("off_variant", default_off_variant(self.row["variants"]))
        return FlagSource(
            key=self.key,
            salt=self.row["salt"],
            value_type=self.row["value_type"],
            variants=self.row["variants"],
            environment=environment,
            service=self.row["service__key"],
            **given,
        )


@contextmanager
def _unhurried_collector() -> Iterator[None]:
    """Millions of objects that stay: looking through them again and again would stop the process each time."""
    gc.collect(1)  # what is frozen as garbage stays for ever
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def _changed(since: int, also: Iterable[str]) -> list[int]:
    """The flags of which anything is newer than `since`, and those named."""
    rows = Flag.objects.filter(Q(changed_in__gt=since) | Q(key__in=list(also))).order_by().values_list("id")
    configs = FlagConfig.objects.filter(changed_in__gt=since).order_by().values_list("flag_id")
    return sorted(one for (one,) in rows.union(configs))


def _joined(
    environment: str, version: int, held: Snapshot | None, compiled: Mapping[str, CompiledFlag | None]
) -> Snapshot:
    """What was held, with what has been compiled since (None: it is gone). Unchanged, it only gets the version."""
    if held is not None and not compiled:
        return replace(held, version=max(version, held.version))
    flags = dict(held.flags) if held is not None else {}
    for key, flag in compiled.items():
        if flag is None:
            flags.pop(key, None)
        else:
            flags[key] = flag
    return assemble(environment, max(version, held.version if held else 0), flags)


def _rows(which: Q) -> list[FlagRow]:
    fields = ("id", "key", "salt", "value_type", "variants", "archived_at", "changed_in", "service__key")
    rows = {row["id"]: FlagRow(row) for row in Flag.objects.filter(which).order_by("key").values(*fields)}
    for config in FlagConfig.objects.filter(flag__in=rows).values(
        "flag_id", "environment_id", "changed_in", *CONFIG_FIELDS
    ):
        rows[config["flag_id"]].configs[config["environment_id"]] = config
    return list(rows.values())


def segment_sources(rows: Any) -> list[SegmentSource]:
    return [SegmentSource(*row) for row in rows.values_list("key", "conditions", "included", "excluded")]


def whole(environment: Environment) -> Snapshot:
    """Every flag as it is now: from what this web process holds, once it has caught up; elsewhere from the database."""
    for loader in _running:
        wanted, deadline = versions.current().get("flags", 0), time.monotonic() + CATCH_UP_WITHIN
        while loader.version < wanted and time.monotonic() < deadline:
            loader.hurry()
            time.sleep(HURRY_AFTER / 4)
        held = loader.find(environment.key)
        if held is not None:
            return held
    segments = _all_segments()
    rows = _rows(Q(archived_at=None))
    flags = {row.key: compile_or_break(row.source(environment.pk, environment.key), segments) for row in rows}
    return assemble(environment.key, 0, flags)


@dataclass(frozen=True, slots=True)
class Edit:
    """What somebody proposes: stored documents of configs, variants, and segments (None: deleted), by their keys."""

    configs: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    variants: Mapping[str, list[dict[str, Any]]] = field(default_factory=dict)
    segments: Mapping[str, SegmentSource | None] = field(default_factory=dict)

    def of(self, source: FlagSource) -> FlagSource:
        document = self.configs.get(source.key)
        if document is not None:
            source = replace(source, revision=source.revision + 1, **document)
        if source.key in self.variants:
            source = replace(source, variants=self.variants[source.key])
        return source


NOTHING = Edit()


def _all_segments(edit: Edit = NOTHING) -> dict[str, CompiledSegment]:
    sources = {one.key: one for one in segment_sources(Segment.objects.all())}
    edited = {**sources, **edit.segments}
    return compile_segments(members.asked({key: one for key, one in edited.items() if one is not None}))


def fresh(environment: Environment, *keys: str, edit: Edit = NOTHING) -> Snapshot:
    """A snapshot of these flags and all that they depend on, straight from the database, as it is or as edited."""
    segments = _all_segments(edit)
    flags: dict[str, CompiledFlag] = {}
    wanted = set(keys)
    while wanted:
        rows = [row for row in _rows(Q(key__in=wanted)) if not row.archived]
        sources = [edit.of(row.source(environment.pk, environment.key)) for row in rows]
        found = {one.key: compile_or_break(one, segments) for one in sources}
        flags |= found
        wanted = {one.flag for flag in found.values() for one in flag.prerequisites} - flags.keys() - wanted
    return assemble(environment.key, 0, flags)


# The loader of this process, where it is a web process.
_running: "list[Loader]" = []


class Loader:
    """Keeps this process's snapshots and API keys up to date, in a thread of its own with a connection of its own.

    The event loop only ever reads `find` and `ring`. Whatever the database does (hangs, dies, comes back),
    evaluation goes on with what was last known.
    """

    def __init__(self, hub: Hub | None = None) -> None:
        self.poll_every = POLL_EVERY
        self.ring = Ring()
        self._snapshots: Mapping[str, Snapshot] = {}
        self._store = Store()
        self._version = -1
        self._keys_version = (0, -1)
        self._wake = threading.Event()
        self._loaded = threading.Event()
        self._looked = 0.0
        self._watchers: list[Callable[[], None]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = False
        self.troubled = False
        self._thread: threading.Thread | None = None
        if hub is not None:
            hub.listen("flags", self._told)
            hub.listen("keys", self._told)

    @property
    def ready(self) -> bool:
        """Whether a snapshot is held."""
        return self._loaded.is_set()

    def hurry(self) -> None:
        """Look at once, not when the time comes."""
        self._wake.set()

    @property
    def version(self) -> int:
        """The version of what is held."""
        return self._version

    @property
    def age(self) -> float:
        """Seconds since the database was last asked for something newer, and answered."""
        return max(0.0, time.time() - self._looked)

    def find(self, environment: str) -> Snapshot | None:
        return self._snapshots.get(environment)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` in the event loop whenever flags or keys have changed."""
        self._watchers.append(watcher)

    async def catch_up(self, *, version: int, since: float, within: float) -> None:
        """Wait a while until what is held is of this version, and no older than this moment."""
        deadline = time.monotonic() + within
        while (self._version < version or self._looked < since) and time.monotonic() < deadline:
            if time.time() - self._looked > HURRY_AFTER:
                self._wake.set()
            await asyncio.sleep(HURRY_AFTER / 4)

    async def start(self) -> None:
        """Begin, and wait a while for the first snapshot; without a database the process serves all the same."""
        # A daemon: a query that hangs must not keep the process from ending.
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="flag loader", daemon=True)
        self._thread.start()
        _running.append(self)
        await asyncio.to_thread(self._loaded.wait, FIRST_LOAD_WITHIN)

    async def stop(self) -> None:
        if self in _running:
            _running.remove(self)
        self._stopping = True
        self._wake.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join, STOP_WITHIN)

    async def _told(self, message: dict[str, Any]) -> None:
        self._wake.set()

    def _run(self) -> None:
        use_own_connection()
        while not self._stopping:
            self._wake.clear()
            try:
                self._look()
                self.troubled = False
            except Error as error:
                if not self.troubled:
                    log.warning("flags.store_unavailable", error=str(error).strip())
                self.troubled = True
                drop_connection()
            except Exception:
                log.exception("flags.load_failed")
                drop_connection()
            self._wake.wait(self.poll_every)
        drop_connection()

    def _look(self) -> None:
        """One look at the counters, and at what they say has changed."""
        began, at = time.monotonic(), time.time()
        changed = self._store.refresh()
        if changed:
            self._snapshots = self._store.snapshots
            self._version = self._store.version
            log.info("flags.loaded", version=self._store.version, ms=round((time.monotonic() - began) * 1000, 1))
        # Another database may by chance count as far as the last one did.
        keys_version = (self._store.whole_loads, self._store.counters.get("keys", 0))
        if keys_version != self._keys_version:
            self.ring.load()
            self._keys_version = keys_version
            changed = True
        self._looked = at
        self._loaded.set()
        if changed:
            self._tell()
        while self._store.retired and not self._wake.is_set():
            del self._store.retired[-DROPPED_AT_ONCE:]
            time.sleep(BREATH)

    def _tell(self) -> None:
        for watcher in self._watchers:
            # The loop of a process that ends is closed before this thread is.
            with suppress(RuntimeError):
                if self._loop is not None:
                    self._loop.call_soon_threadsafe(watcher)


def use_own_connection() -> None:
    """In a thread that stands beside the requests: those that wait for the pool must not hold up this one."""
    own = connections[DEFAULT_DB_ALIAS].copy()
    own.settings_dict["OPTIONS"].pop("pool", None)
    own.settings_dict["OPTIONS"] |= NOTICE_DEAD_SERVER
    own.settings_dict["CONN_MAX_AGE"] = None
    connections[DEFAULT_DB_ALIAS] = own


def drop_connection() -> None:
    """Whatever state it is in; the next query opens another."""
    try:
        connection.close()
    except Error:
        connection.connection = None
