"""A writer of tallies that writes often, and waiting for what it does."""

import asyncio
import time
from collections.abc import Callable

from asgiref.sync import sync_to_async

from rollouts.actions.tally import Tally
from rollouts.actions.tally_writer import TallyWriter

SOON = 20.0  # seconds; what is asserted is that it comes, not when


async def start(tally: Tally, started: list[TallyWriter]) -> TallyWriter:
    made = TallyWriter(tally)
    made.every = 0.02
    await made.start()
    started.append(made)
    return made


async def until(reached: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SOON
    while not await sync_to_async(reached)():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
