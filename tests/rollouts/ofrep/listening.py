"""A client of an event stream over ASGI: what it was sent, and how it leaves."""

import asyncio
import json
from collections.abc import MutableMapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from rollouts.api.ofrep import Ofrep

WITHIN = 60.0  # seconds; what is asserted is that it comes, not when


class Listener:
    """`async with Listener(app, address) as one: await one.event()`."""

    def __init__(self, app: Ofrep, address: str, *, last: str = "", method: str = "GET", reads: bool = True) -> None:
        parts = urlsplit(address)
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": parts.path,
            "query_string": parts.query.encode(),
            "headers": [(b"last-event-id", last.encode())] if last else [],
        }
        self.app, self.reads = app, reads
        self.status = 0
        self.headers: dict[str, str] = {}
        self.text = ""
        self.ended = False
        self._left = asyncio.Event()
        self._news = asyncio.Event()
        self._given = 0

    async def __aenter__(self) -> Self:
        self.task = asyncio.create_task(self.app(self.scope, self._receive, self._send))
        await self.until(lambda: bool(self.text) or self.ended or not self.reads)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, what: object, where: TracebackType | None) -> None:
        self._left.set()
        async with asyncio.timeout(WITHIN):
            await self.task

    async def until(self, happened: Any) -> None:
        async with asyncio.timeout(WITHIN):
            while not happened():
                self._news.clear()
                await self._news.wait()

    @property
    def events(self) -> list[dict[str, str]]:
        """Every event that was complete, as its fields; comments and `retry` are none."""
        blocks = [block.splitlines() for block in self.text.split("\n\n")[:-1]]
        read = [dict(line.split(": ", 1) for line in block if not line.startswith(":")) for block in blocks]
        return [one for one in read if "data" in one]

    async def event(self) -> dict[str, Any]:
        """The data of the next event that nobody has asked for, with its id."""
        await self.until(lambda: len(self.events) > self._given)
        found = self.events[self._given]
        self._given += 1
        assert found["event"] == "message"
        data: dict[str, Any] = json.loads(found["data"])
        return data | {"id": found["id"]}

    async def _receive(self) -> dict[str, Any]:
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if not self.reads:
            await self._left.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            self.text += message.get("body", b"").decode()
            self.ended = not message.get("more_body", False)
        self._news.set()
