"""What each process holds in memory: kept up to date piece by piece, equal to reading everything anew."""

import asyncio
import time
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import pytest
from asgiref.sync import sync_to_async
from django.db import DatabaseError, connection, transaction

from portal import keys
from portal.live import Hub
from portal.models import ApiKey, Environment
from rollouts import snapshots
from rollouts.actions import flags, segments
from rollouts.engine.evaluate import evaluate, evaluate_all
from rollouts.engine.types import Snapshot
from rollouts.models import Flag, FlagConfig
from rollouts.snapshots import Loader, Store, fresh
from tests import make

pytestmark = pytest.mark.django_db(transaction=True)
BY = make.BY
T = TypeVar("T")
SOON = 20.0  # seconds; what is asserted is that it comes, not when


def told(snapshot: Snapshot, unit: str = "u1") -> dict[str, str | None]:
    return {one.flag: one.variant for one in evaluate_all(snapshot, {"targetingKey": unit}, now=0.0)}


def store() -> Store:
    new = Store()
    new.refresh()
    return new


def test_a_flag_without_config_is_served_as_off() -> None:
    place = make.environment()
    make.flag("switch")
    make.flag("words", variants={"first": "a", "second": "b"}, value_type="string")
    held = store().snapshots[place.key]
    assert told(held) == {"switch": "off", "words": "first"}
    assert {one.detail for one in evaluate_all(held, {}, now=0.0)} == {"NOT_CONFIGURED"}


def test_only_what_changed_is_compiled_again() -> None:
    place, other = make.environment("one"), make.environment("two")
    flag = make.flag("flag", on_in=[place])
    make.flag("still", on_in=[place, other])
    held = store()
    before = {key: dict(shot.flags) for key, shot in held.snapshots.items()}
    flags.configure(flag, place, {"fallthrough": {"variant": "on"}}, by=BY)
    assert held.refresh() is True
    assert held.refresh() is False
    assert told(held.snapshots["one"])["flag"] == "on"
    for key in ("one", "two"):
        assert held.snapshots[key].flags["still"] is before[key]["still"]
    assert held.snapshots["one"].flags["flag"] is not before["one"]["flag"]
    assert held.snapshots["two"].flags["flag"] is before["two"]["flag"]


def test_a_change_moves_on_only_the_environment_that_it_is_in() -> None:
    place, other = make.environment("one"), make.environment("two")
    flag = make.flag("flag", on_in=[place, other])
    held = store()
    before = dict(held.snapshots)
    flags.configure(flag, place, {"fallthrough": {"variant": "on"}}, by=BY)
    held.refresh()
    assert held.snapshots["one"].version > before["one"].version
    assert held.snapshots["two"].version == before["two"].version
    flags.change(flag, {"variants": [*flag.variants, {"key": "third", "value": True}]}, by=BY)
    held.refresh()
    assert held.snapshots["two"].version == held.snapshots["one"].version > before["two"].version


def test_a_flag_archived_while_an_environment_is_made_leaves_the_others_too() -> None:
    make.environment("one")
    flag = make.flag("flag")
    held = store()
    make.environment("two")
    flags.archive(flag, by=BY)
    held.refresh()
    assert [dict(shot.flags) for shot in held.snapshots.values()] == [{}, {}]


def test_the_moments_at_which_the_clock_changes_a_flag_are_known() -> None:
    place = make.environment()
    flag = make.flag("flag", on_in=[place])
    window = {"from": "2030-01-01T00:00:00Z", "until": "2031-01-01T00:00:00Z"}
    flags.configure(flag, place, {"window": window}, by=BY)
    assert store().snapshots[place.key].turns == (1893456000.0, 1924992000.0)


def test_a_segment_changes_every_flag_that_uses_it_also_through_others() -> None:
    place = make.environment()
    staff = segments.create("staff", by=BY, included=["ann"])
    segments.create("team", by=BY, conditions=[{"op": "segment", "values": ["staff"]}])
    flag = make.flag("flag")
    flags.configure(
        flag, place, {"enabled": True, "rules": [{"segments": ["team"], "serve": {"variant": "on"}}]}, by=BY
    )
    held = store()
    assert (told(held.snapshots["staging"], "ann"), told(held.snapshots["staging"], "bob")) == (
        {"flag": "on"},
        {"flag": "off"},
    )
    segments.change(staff, {"included": ["bob"]}, by=BY)
    held.refresh()
    assert (told(held.snapshots["staging"], "ann"), told(held.snapshots["staging"], "bob")) == (
        {"flag": "off"},
        {"flag": "on"},
    )


def test_archived_flags_and_deleted_segments_leave_and_new_environments_come() -> None:
    make.environment("one")
    flag = make.flag("flag")
    spare = segments.create("spare", by=BY)
    held = store()
    make.environment("two")
    assert held.refresh() is True
    assert set(held.snapshots) == {"one", "two"}
    flags.archive(flag, by=BY)
    segments.delete(spare, by=BY)
    held.refresh()
    assert [dict(shot.flags) for shot in held.snapshots.values()] == [{}, {}]
    assert held.segments == {}


def test_piece_by_piece_is_the_same_as_all_at_once() -> None:
    place = make.environment()
    segments.create("staff", by=BY, included=["u1"])
    made = [make.flag(f"f{n}") for n in range(6)]
    held = store()
    steps: list[Callable[[], object]] = [
        lambda: flags.configure(made[0], place, {"enabled": True, "fallthrough": {"variant": "on"}}, by=BY),
        lambda: flags.configure(
            made[1],
            place,
            {"enabled": True, "fallthrough": {"variant": "on"}, "prerequisites": [{"flag": "f0", "variants": ["on"]}]},
            by=BY,
        ),
        lambda: flags.configure(
            made[2], place, {"enabled": True, "rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]}, by=BY
        ),
        lambda: segments.change(segments.Segment.objects.get(), {"included": ["u2"]}, by=BY),
        lambda: flags.kill(made[0], place, by=BY),
        lambda: flags.archive(made[3], by=BY),
        lambda: flags.change(made[4], {"variants": [*made[4].variants, {"key": "third", "value": True}]}, by=BY),
    ]
    for step in steps:
        step()
        held.refresh()
        whole = store()
        for unit in ("u1", "u2"):
            assert told(held.snapshots[place.key], unit) == told(whole.snapshots[place.key], unit)
        # Clients that listen are told it, whichever process they come to.
        assert held.snapshots[place.key].version == whole.snapshots[place.key].version
    one = fresh(place, "f1")
    assert set(one.flags) == {"f0", "f1"}
    assert evaluate(one, "f1", {}, now=0.0).detail == "PREREQUISITE f0"


def test_what_was_read_of_a_flag_is_let_go_before_the_next_is_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of a batch at once would stop the process for as long as a hundred thousand objects take to end."""
    make.environment()
    for number in range(6):
        make.flag(f"f{number}")
    alive: weakref.WeakSet[snapshots.FlagRow] = weakref.WeakSet()
    left: list[int] = []

    class Row(snapshots.FlagRow):
        def __init__(self, row: Any) -> None:
            super().__init__(row)
            alive.add(self)

    def compiled(*given: Any) -> Any:
        left.append(len(alive))
        return compile_or_break(*given)

    compile_or_break = snapshots.compile_or_break
    monkeypatch.setattr(snapshots, "FlagRow", Row)
    monkeypatch.setattr(snapshots, "compile_or_break", compiled)
    assert Store().refresh()
    assert left == [6, 5, 4, 3, 2, 1]


def test_a_cycle_forced_into_the_database_errs_alone() -> None:
    place = make.environment()
    for key, other in (("a", "b"), ("b", "a"), ("c", "")):
        flag = make.flag(key, on_in=[place], serving="on")
        needs = [{"flag": other, "variants": ["on"]}] if other else []
        FlagConfig.objects.filter(flag=flag).update(prerequisites=needs)
    assert told(store().snapshots[place.key]) == {"a": None, "b": None, "c": "on"}


def test_garbage_forced_into_the_database_errs_alone() -> None:
    place = make.environment()
    make.flag("good", on_in=[place], serving="on")
    bad = make.flag("bad", on_in=[place])
    FlagConfig.objects.filter(flag=bad).update(rules=[{"nonsense": 1}])
    assert told(store().snapshots[place.key]) == {"bad": None, "good": "on"}


def test_a_change_that_is_rolled_back_is_never_seen() -> None:
    place = make.environment()
    flag = make.flag("flag", on_in=[place])
    held = store()
    with transaction.atomic():
        flags.configure(flag, place, {"fallthrough": {"variant": "on"}}, by=BY)
        transaction.set_rollback(True)
    assert held.refresh() is False


# --- The loader ---------------------------------------------------------------------------------
@pytest.fixture
async def loader() -> AsyncIterator[Loader]:
    """A loader that nobody tells anything: it has to look by itself."""
    running = Loader()
    await running.start()
    yield running
    await running.stop()


async def done(act: Callable[..., T], *given: Any, **options: Any) -> T:
    """Do it in a thread that leaves no connection behind."""

    def doing() -> T:
        try:
            return act(*given, **options)
        finally:
            connection.close()

    return await sync_to_async(doing)()


async def until(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def variant(loader: Loader, place: Environment, key: str) -> str | None:
    snapshot = loader.find(place.key)
    return evaluate(snapshot, key, {"targetingKey": "u"}, now=0.0).variant if snapshot else None


async def test_changes_come_by_themselves_without_valkey(loader: Loader) -> None:
    assert loader.ready
    place = await done(make.environment)
    flag = await done(make.flag, "flag", on_in=[place], serving="on")
    await until(lambda: variant(loader, place, "flag") == "on")
    await done(flags.kill, flag, place, by=BY)
    await until(lambda: variant(loader, place, "flag") == "off")


async def test_a_key_is_known_and_forgotten(loader: Loader) -> None:
    place = await done(make.environment)
    raw = await done(make.key, "evaluate", environments=[place])
    await until(lambda: keys.digest(raw) in loader.ring.by_digest)
    key = await done(ApiKey.objects.get)
    await done(keys.revoke, key, by=BY)
    await until(lambda: keys.digest(raw) not in loader.ring.by_digest)


async def test_a_message_wakes_the_loader_before_it_would_have_looked() -> None:
    hub = Hub()
    loader = Loader(hub)
    loader.poll_every = 3600.0
    await hub.start()
    await loader.start()
    try:
        await until(lambda: hub.connected)
        place = await done(make.environment)
        flag = await done(make.flag, "flag", on_in=[place], serving="on")
        await until(lambda: variant(loader, place, "flag") == "on")
        await done(flags.kill, flag, place, by=BY)
        await until(lambda: variant(loader, place, "flag") == "off")
    finally:
        await loader.stop()
        await hub.stop()


async def test_the_last_known_flags_are_served_while_the_store_fails(loader: Loader) -> None:
    place = await done(make.environment)
    await done(make.flag, "flag", on_in=[place], serving="on")
    await until(lambda: variant(loader, place, "flag") == "on")

    def rename(old: str, new: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {old} RENAME TO {new}")

    await done(rename, "portal_version", "portal_version_away")
    try:
        await until(lambda: loader.troubled)
        assert variant(loader, place, "flag") == "on"
    finally:
        await done(rename, "portal_version_away", "portal_version")
    flag = await done(Flag.objects.get)
    await done(flags.kill, flag, place, by=BY)
    await until(lambda: variant(loader, place, "flag") == "off")


def test_a_load_that_fails_half_way_begins_anew() -> None:
    place = make.environment()
    flag = make.flag("flag", on_in=[place])
    held = store()
    make.environment("new")
    flags.configure(flag, place, {"fallthrough": {"variant": "on"}}, by=BY)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE rollouts_flagconfig RENAME TO rollouts_flagconfig_away")
        with pytest.raises(DatabaseError):
            held.refresh()
        cursor.execute("ALTER TABLE rollouts_flagconfig_away RENAME TO rollouts_flagconfig")
    assert told(held.snapshots[place.key]) == {"flag": "off"}
    assert held.refresh() is True
    assert told(held.snapshots[place.key]) == {"flag": "on"}
    assert told(held.snapshots["new"]) == {"flag": "off"}
