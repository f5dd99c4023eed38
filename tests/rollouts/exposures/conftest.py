"""What was started ends with its test, and leaves no connection behind."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture
async def started() -> AsyncIterator[list[Any]]:
    """The writers that a test has started."""
    some: list[Any] = []
    yield some
    for one in some:
        await one.stop()
        await asyncio.to_thread(one._thread.join)
