"""A process of its own that opens many sockets on one page and notes how late each frame comes.

No WebSocket library: what a client costs is taken from the cores that the server is measured on.
"""

import asyncio
import base64
import json
import os
import struct
import sys
import time
from typing import cast
from urllib.parse import urlsplit

import uvloop

SUBSCRIBE = json.dumps({"subscribe": ["chart:bench:1"]}).encode()
OPENED_AT_ONCE = 50
JOINS_WITHIN = 60.0  # seconds
SWITCHING = b"HTTP/1.1 101 "
TEXT, CLOSE, PING, PONG = 0x1, 0x8, 0x9, 0xA


class Page(asyncio.Protocol):
    """One socket: it shakes hands, asks for the chart, and notes when each frame arrives."""

    def __init__(self, request: bytes, heard: list[tuple[float, float]]) -> None:
        loop = asyncio.get_running_loop()
        self.joined: asyncio.Future[None] = loop.create_future()
        self.request, self.heard = request, heard
        self.buffer = bytearray()
        self.is_open = False
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are none by class.
        self.transport = cast(asyncio.Transport, transport)
        self.transport.write(self.request)

    def connection_lost(self, error: Exception | None) -> None:
        if not self.joined.done():
            self.joined.set_exception(ConnectionError("the server closed the socket"))

    def data_received(self, data: bytes) -> None:
        now = time.time()
        buffer = self.buffer
        buffer += data
        if not self.is_open:
            end = buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            if not buffer.startswith(SWITCHING):
                self.joined.set_exception(ConnectionError(bytes(buffer[:end]).decode("latin-1")))
                self.transport.close()
                return
            del buffer[: end + 4]
            self.is_open = True
            self.transport.write(_masked(TEXT, SUBSCRIBE))
        while (size := _frame_size(buffer)) is not None:
            self._take(now, buffer[0] & 0x0F, size)

    def _take(self, now: float, opcode: int, size: tuple[int, int]) -> None:
        start, end = size
        if opcode == TEXT:
            # Cutting the number out costs less than parsing 2 KB a thousand times.
            at = self.buffer.find(b'"t":', start, end)
            if at >= 0:
                if not self.joined.done():
                    self.joined.set_result(None)
                self.heard.append((now, float(self.buffer[at + 4 : self.buffer.find(b",", at, end)]) / 1000))
        elif opcode == PING:
            self.transport.write(_masked(PONG, bytes(self.buffer[start:end])))
        elif opcode == CLOSE:
            self.transport.close()
        del self.buffer[:end]


def _frame_size(buffer: bytearray) -> tuple[int, int] | None:
    """Where the payload of the first frame begins and ends; None while it is not whole."""
    if len(buffer) < 2:
        return None
    start, length = 2, buffer[1] & 0x7F
    if length >= 126:
        start = 4 if length == 126 else 10
        if len(buffer) < start:
            return None
        length = int.from_bytes(buffer[2:start], "big")
    return (start, start + length) if len(buffer) >= start + length else None


def _masked(opcode: int, payload: bytes) -> bytes:
    """A short frame as clients must send it; the mask of zeros leaves the payload as it is."""
    assert len(payload) < 126
    return struct.pack("!BB4x", 0x80 | opcode, 0x80 | len(payload)) + payload


async def _open(url: str, cookie: str, opening: asyncio.Semaphore, heard: list[tuple[float, float]]) -> Page:
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or 80
    request = (
        f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nOrigin: http://{parts.netloc}\r\n"
        f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}\r\nCookie: {cookie}\r\n\r\n"
    ).encode()
    async with opening:
        loop = asyncio.get_running_loop()
        _, page = await loop.create_connection(lambda: Page(request, heard), host, port)
        await asyncio.wait_for(page.joined, JOINS_WITHIN)
        return page


async def main(url: str, cookie: str, count: int, seconds: float) -> None:
    heard: list[tuple[float, float]] = []
    opening = asyncio.Semaphore(OPENED_AT_ONCE)
    pages = await asyncio.gather(*(_open(url, cookie, opening, heard) for _ in range(count)))
    # What was published before is no measurement: a page that comes later is shown the frame that stands.
    since = time.time()
    print("joined", flush=True)
    await asyncio.sleep(seconds)
    for page in pages:
        page.transport.close()
    print(json.dumps([(arrived, arrived - published) for arrived, published in heard if published >= since]))


if __name__ == "__main__":
    uvloop.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])))
