"""The floor for sockets: a bare ASGI application that writes one encoded frame a second to everybody."""

import asyncio
import time
from contextlib import suppress
from typing import Any

from bench.frames import frame_text

_sends: set[Any] = set()


async def _broadcast() -> None:
    number = 0
    while True:
        await asyncio.sleep(1)
        number += 1
        text = frame_text(number, int(time.time() * 1000))
        for send in list(_sends):
            with suppress(Exception):
                await send({"type": "websocket.send", "text": text})


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        task = asyncio.create_task(_broadcast())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        task.cancel()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["type"] != "websocket":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})
        return
    await receive()
    await send({"type": "websocket.accept"})
    _sends.add(send)
    try:
        while (await receive())["type"] != "websocket.disconnect":
            pass
    finally:
        _sends.discard(send)
