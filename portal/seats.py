"""One socket's outbox: written to at once while the client reads, and kept to the newest while it does not."""

import asyncio
import struct
import time
from collections.abc import Awaitable, Callable, Coroutine, Generator
from types import coroutine
from typing import Any, Self

Send = Callable[[dict[str, Any]], Coroutine[Any, Any, None]]

MAX_WAITING = 500  # distinct messages that wait for one client


class Message:
    """One text for many sockets: as ASGI says it, and as it goes over the wire (RFC 6455, 5.2), encoded once."""

    __slots__ = ("event", "frame")

    def __init__(self, text: str) -> None:
        self.event = {"type": "websocket.send", "text": text}
        payload = text.encode()
        size = len(payload)
        if size < 126:
            head = struct.pack("!BB", 0x81, size)
        else:
            head = struct.pack("!BBH", 0x81, 126, size) if size < 1 << 16 else struct.pack("!BBQ", 0x81, 127, size)
        self.frame = head + payload


class Line:
    """The server's connection below ASGI, which knows no way to cut it, nor one to write the same to many."""

    def __init__(self, transport: asyncio.Transport | None) -> None:
        self.transport = transport

    @classmethod
    def of(cls, send: Any) -> Self:
        server: Any = getattr(send, "__self__", None)
        # Of another server we do not know what it does with its transport.
        ours = type(server).__module__.startswith("uvicorn.protocols.websockets.")
        return cls(server.transport if ours else None)

    def write(self, frame: bytes) -> bool:
        """Whether it was taken: not when something waits before it, or when nothing may follow."""
        line = self.transport
        if line is None or line.is_closing() or line.get_write_buffer_size():
            return False
        line.write(frame)
        return True

    def cut(self) -> bool:
        """Whether it could be. A server's own close waits until all is written: if nobody reads, forever."""
        if self.transport is None:
            return False
        self.transport.abort()
        return True


class Seat:
    """Hands the server one message after the other. Of those that must wait, the newest under each name is kept:
    a slow client gets fewer messages, not old ones."""

    def __init__(self, send: Send, line: Line) -> None:
        self.send, self.line = send, line
        self.waiting: dict[str, Message] = {}
        self.overflowed = False
        self.is_left = False
        self.blocked_since: float | None = None
        self._writer: asyncio.Task[None] | None = None

    def put(self, name: str, message: Message) -> None:
        if self.is_left:
            return
        if self._writer is not None:
            self._keep(name, message)
            return
        # What the server makes of a frame for each of a thousand sockets costs more than writing it.
        if self.line.write(message.frame):
            return
        # So would a task for each: the server is called here, and only what it cannot take at once is left to one.
        sending = self.send(message.event)
        try:
            awaited = sending.send(None)
        except StopIteration:
            return
        except Exception:
            # The socket is gone, and its consumer is about to hear of it; the next seat must get its frame.
            self.leave()
            return
        self.blocked_since = time.monotonic()
        self._writer = asyncio.create_task(self._write(_rest(sending, awaited)), name="socket writer")

    def leave(self) -> None:
        """Nothing is written any more."""
        self.is_left = True
        self.waiting.clear()
        if self._writer is not None:
            self._writer.cancel()

    def _keep(self, name: str, message: Message) -> None:
        if len(self.waiting) >= MAX_WAITING and name not in self.waiting:
            self.overflowed = True
        else:
            self.waiting[name] = message

    async def _write(self, begun: Awaitable[None]) -> None:
        try:
            await begun
            while self.waiting:
                kept, self.waiting = self.waiting, {}
                for message in kept.values():
                    self.blocked_since = time.monotonic()
                    await self.send(message.event)
        except Exception:
            self.leave()
        finally:
            self.blocked_since = self._writer = None


@coroutine
def _rest(sending: Coroutine[Any, Any, None], awaited: Any) -> Generator[Any, Any, None]:
    """Await, in a task, a call that was begun outside of it and waits for `awaited`."""
    try:
        yield awaited
    except BaseException:
        sending.close()
        raise
    yield from sending
