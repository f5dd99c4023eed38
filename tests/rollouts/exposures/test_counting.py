"""Evaluations and exposures counted at the door of evaluation: each once, whatever happens to the store."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from monitoring.actions import exposures
from monitoring.models import Exposure, VariantCount, VariantUse
from rollouts.actions import tally
from rollouts.actions.tally import MOST_UNITS
from rollouts.actions.tally_writer import Load, TallyWriter
from tests import make
from tests.rollouts.engine.build import rule, source
from tests.rollouts.exposures.writing import start, until
from tests.rollouts.ofrep.build import Door


def door() -> Door:
    return Door(
        source("lamp", fallthrough={"variant": "on"}),
        source("ramp", rules=[rule(name="r1", variant="on", rollout=50_000, by="company.id")]),
        source("off", enabled=False),
    )


@pytest.fixture(autouse=True)
def one_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test asks for is counted in one minute and one window, and neither ends meanwhile."""
    now = time.time()
    monkeypatch.setattr(tally, "time", SimpleNamespace(time=lambda: now))


def counts(**which: Any) -> dict[tuple[str, str], tuple[int, int]]:
    """(flag, variant): (evaluations, exposures), of all minutes together."""
    found: dict[tuple[str, str], tuple[int, int]] = {}
    for row in VariantCount.objects.filter(**which):
        before = found.get((row.flag, row.variant), (0, 0))
        found[row.flag, row.variant] = (before[0] + row.evaluations, before[1] + row.exposures)
    return found


async def stored(**which: Any) -> dict[tuple[str, str], tuple[int, int]]:
    return await sync_to_async(counts)(**which)


@pytest.fixture
async def asked(transactional_db: None) -> Door:
    await sync_to_async(make.environment)("production")
    return door()


async def test_a_bulk_evaluation_is_no_exposure(asked: Door, started: list[TallyWriter]) -> None:
    one = await start(asked.tally, started)
    for unit in ("ann", "bob", "ann"):
        await asked.ask(None, {"targetingKey": unit})
    await one.stop()
    assert await stored() == {("lamp", "on"): (3, 0), ("off", "off"): (3, 0), ("ramp", "off"): (3, 0)}
    assert await sync_to_async(Exposure.objects.count)() == 0


async def test_a_single_evaluation_exposes_its_unit_once(asked: Door, started: list[TallyWriter]) -> None:
    one = await start(asked.tally, started)
    for unit in ("ann", "bob", "ann", "ann"):
        await asked.ask("lamp", {"targetingKey": unit})
        await until(lambda: True)
    await asked.ask("off", {"targetingKey": "ann"})
    await asked.ask("lamp", {})
    await one.stop()
    assert await stored() == {("lamp", "on"): (5, 2), ("off", "off"): (1, 1)}
    row = await sync_to_async(lambda: Exposure.objects.select_related("environment").get(flag="lamp", unit="ann"))()
    assert (row.environment.key, row.variant, row.revision, row.reason, row.source) == (
        "production", "on", 1, "FALLTHROUGH", "evaluation",
    )  # fmt: skip


async def test_the_unit_is_what_the_rule_decides_by(asked: Door, started: list[TallyWriter]) -> None:
    one = await start(asked.tally, started)
    variants = {
        (await asked.ask("ramp", {"company": {"id": n}, "targetingKey": "ann"})).json()["variant"] for n in range(9)
    }
    assert variants == {"on", "off"}
    await one.stop()
    units = await sync_to_async(lambda: set(Exposure.objects.filter(variant="on").values_list("unit", flat=True)))()
    assert units
    assert units <= {str(n) for n in range(9)}


async def test_an_error_is_an_evaluation_without_a_variant(started: list[TallyWriter], transactional_db: None) -> None:
    await sync_to_async(make.environment)("production")
    asked = Door(source("ramp", rules=[rule(name="r1", variant="on", rollout=50_000)]))
    one = await start(asked.tally, started)
    assert (await asked.ask("ramp", {})).status_code == 400
    assert (await asked.ask("ghost", {"targetingKey": "ann"})).status_code == 404
    await one.stop()
    assert await stored() == {("ramp", ""): (1, 0)}


async def test_two_web_processes_add_up_and_a_unit_still_counts_once(asked: Door, started: list[TallyWriter]) -> None:
    other = door()
    for one in (asked, other):
        process = await start(one.tally, started)
        for _ in range(3):
            await one.ask("lamp", {"targetingKey": "ann"})
            await one.ask(None, {"targetingKey": "ann"})
        await process.stop()
    assert (await stored())["lamp", "on"] == (12, 1)


async def test_a_write_whose_end_is_unknown_is_not_counted_twice(
    asked: Door, started: list[TallyWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = TallyWriter._send
    cut_off: list[Load] = []

    def cut(self: TallyWriter, load: Load) -> None:
        real(self, load)
        if not cut_off:
            cut_off.append(load)
            raise OperationalError("committed, but the answer never came")

    monkeypatch.setattr(TallyWriter, "_send", cut)
    await start(asked.tally, started)
    await asked.ask("lamp", {"targetingKey": "ann"})
    await until(lambda: bool(cut_off))
    await asked.ask("lamp", {"targetingKey": "bob"})
    await until(lambda: Exposure.objects.count() == 2)
    assert await stored() == {("lamp", "on"): (2, 2)}


async def test_while_the_store_is_away_evaluation_goes_on_and_the_counts_wait(
    asked: Door, started: list[TallyWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exposures.count

    def away(*_: Any) -> bool:
        raise OperationalError("the server is away")

    monkeypatch.setattr(exposures, "count", away)
    one = await start(asked.tally, started)
    for n in range(3):
        assert (await asked.ask("lamp", {"targetingKey": f"u{n}"})).status_code == 200
        await asyncio.sleep(0.05)
    await until(lambda: one.troubled)
    monkeypatch.setattr(exposures, "count", real)
    await until(lambda: counts().get(("lamp", "on")) == (3, 3))


async def test_what_the_store_never_takes_does_not_block_the_rest(
    asked: Door, started: list[TallyWriter], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = exposures.count
    refused: list[Any] = []

    def poisoned(*given: Any) -> bool:
        if not refused:
            refused.append(given)
            raise ValueError("no store takes this")
        return real(*given)

    monkeypatch.setattr(exposures, "count", poisoned)
    await start(asked.tally, started)
    await asked.ask("lamp", {"targetingKey": "ann"})
    await until(lambda: bool(refused))
    await asked.ask("lamp", {"targetingKey": "bob"})
    await until(lambda: counts().get(("lamp", "on")) == (1, 1))


async def test_units_that_cannot_be_kept_are_counted_all_the_same(asked: Door, started: list[TallyWriter]) -> None:
    one = await start(asked.tally, started)
    for unit in ("a\0b", "u" * 600, "ann"):
        assert (await asked.ask("lamp", {"targetingKey": unit})).status_code == 200
    await one.stop()
    assert await stored() == {("lamp", "on"): (3, 1)}


async def test_a_masked_unit_is_exposed_under_its_pseudonym(
    asked: Door, started: list[TallyWriter], settings: Any
) -> None:
    settings.PORTAL_CONTEXT_MASK = ["targetingkey"]
    one = await start(asked.tally, started)
    for unit in ("ann@example.com", "bob@example.com", "ann@example.com"):
        await asked.ask("lamp", {"targetingKey": unit})
    await one.stop()
    rows = await sync_to_async(lambda: list(Exposure.objects.values()))()
    assert len(rows) == 2
    assert "example.com" not in str(rows)


async def test_when_a_variant_was_used_last_is_known_at_once(asked: Door, started: list[TallyWriter]) -> None:
    one = await start(asked.tally, started)
    await asked.ask(None, {"targetingKey": "ann"})
    await asked.ask("lamp", {"targetingKey": "ann"})
    await one.stop()
    uses = await sync_to_async(lambda: {use.flag: use for use in VariantUse.objects.all()})()
    assert uses["lamp"].last_exposed_at == uses["lamp"].last_evaluated_at == uses["off"].last_evaluated_at
    assert uses["off"].last_exposed_at is None


async def test_memory_is_bounded_by_the_batch(asked: Door) -> None:
    asked.tally._unit_room = 3
    for n in range(5):
        await asked.ask("lamp", {"targetingKey": f"u{n}"})
    (exposed,) = asked.tally.take().exposed.values()
    assert (exposed.count, len(exposed.units)) == (5, 3)
    assert asked.tally._unit_room == MOST_UNITS
