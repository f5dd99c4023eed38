"""Several writes of flags at once: what each has checked is still true when it commits."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from portal import versions
from portal.errors import Invalid, Refused, Stale
from rollouts.actions import flags, segments
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment
from tests import make

pytestmark = pytest.mark.django_db(transaction=True)
BY = make.BY


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """What each returned or raised, in order; all begin together."""
    found: list[Any] = [None] * len(acts)
    line = threading.Barrier(len(acts))

    def go(index: int, act: Callable[[], Any]) -> None:
        line.wait()
        try:
            found[index] = act()
        except Exception as error:
            found[index] = error
        finally:
            connection.close()

    threads = [threading.Thread(target=go, args=one) for one in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


def of_kind(found: list[Any], kind: type) -> int:
    return sum(isinstance(one, kind) for one in found)


def test_of_many_creations_of_one_key_exactly_one_succeeds() -> None:
    found = at_once(*[lambda: flags.create("same", by=BY)] * 6)
    assert (of_kind(found, Flag), of_kind(found, Refused)) == (1, 5)
    assert FlagRevision.objects.count() == 1


def test_of_many_edits_of_one_revision_exactly_one_succeeds() -> None:
    flag, place = make.flag("flag"), make.environment()

    def edit(n: int) -> Callable[[], Any]:
        config = {"overrides": {"on": [f"u{n}"]}}
        return lambda: flags.configure(Flag.objects.get(pk=flag.pk), place, config, by=BY, expected_revision=0)

    found = at_once(*(edit(n) for n in range(6)))
    assert (of_kind(found, FlagConfig), of_kind(found, Stale)) == (1, 5)
    assert FlagConfig.objects.get().revision == 1


def test_edits_without_a_revision_all_count_and_versions_are_in_order() -> None:
    place = make.environment()
    made = [make.flag(f"flag{n}", on_in=[place]) for n in range(3)]
    before = versions.current()["flags"]

    def edit(n: int) -> Callable[[], Any]:
        flag = Flag.objects.get(pk=made[n % 3].pk)
        return lambda: flags.configure(flag, place, {"overrides": {"on": [f"u{n}"]}}, by=BY)

    at_once(*(edit(n) for n in range(9)))
    assert versions.current()["flags"] == before + 9
    for flag in made:
        config = FlagConfig.objects.get(flag=flag)
        assert config.revision == 4
        kept = FlagRevision.objects.filter(flag=flag, environment=place).order_by("number")
        assert [one.number for one in kept] == [1, 2, 3, 4]
        assert {**config.document(), "reserved": []} == kept[3].document


def test_two_prerequisites_never_make_a_cycle_together() -> None:
    place = make.environment()
    a, b = make.flag("a"), make.flag("b")

    def need(flag: Flag, other: str) -> Callable[[], Any]:
        config = {"prerequisites": [{"flag": other, "variants": ["on"]}]}
        return lambda: flags.configure(flag, place, config, by=BY)

    found = at_once(need(a, "b"), need(b, "a"))
    assert (of_kind(found, FlagConfig), of_kind(found, Invalid)) == (1, 1)


def test_a_segment_is_not_deleted_while_a_flag_begins_to_use_it() -> None:
    place, flag = make.environment(), make.flag("flag")
    staff = segments.create("staff", by=BY)
    config = {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]}
    at_once(
        lambda: flags.configure(flag, place, config, by=BY),
        lambda: segments.delete(staff, by=BY),
    )
    used = FlagConfig.objects.filter(rules__contains=[{"segments": ["staff"]}]).exists()
    assert used == Segment.objects.exists()


def test_a_kill_and_a_stage_at_once_end_with_the_flag_off() -> None:
    place, flag = make.environment(), make.flag("flag")

    def serve(weight: int) -> Callable[[], Any]:
        mine = Flag.objects.get(pk=flag.pk)
        return lambda: flags.serve(
            mine, place, deployment=1, variant="on", baseline="off", weight=weight, by=BY, because="stage"
        )

    serve(5_000)()
    at_once(serve(25_000), lambda: flags.kill(Flag.objects.get(pk=flag.pk), place, by=BY), serve(50_000))
    config = FlagConfig.objects.get()
    assert not config.enabled
    assert config.killed
