"""Keeps Django answering: too many requests, too large a body or a store that hangs get a clear no at once."""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson
import structlog

from portal.problems import PROBLEM, problem_body

log = structlog.get_logger(__name__)

WHILE_OTHERS_HANG = 2.0  # seconds

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]


async def refuse(send: Send, status: int, detail: str, *, retry_after: int | None = None) -> None:
    """Answer with a problem before any application has seen the request."""
    headers = [(b"content-type", PROBLEM.encode())]
    if retry_after is not None:
        headers.append((b"retry-after", str(retry_after).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": orjson.dumps(problem_body(status, detail))})


class Guard:
    """Around an application whose requests hold a thread and a database connection each.

    in_flight: requests at once; timeout: seconds until the answer has begun; max_body: bytes.
    """

    def __init__(self, app: Application, *, in_flight: int, timeout: float, max_body: int) -> None:
        self.app, self.free, self.timeout, self.max_body = app, in_flight, timeout, max_body
        self._room = in_flight
        self._hanging = 0

    @property
    def in_flight(self) -> int:
        """Requests that the application works on, those among them that nobody waits for any longer."""
        return self._room - self.free

    @property
    def patience(self) -> float:
        """Seconds to wait for an answer: fewer while requests that were given up still hang. They are two at least,
        for one may be slow for a reason of its own."""
        return min(self.timeout, WHILE_OTHERS_HANG) if self._hanging >= 2 else self.timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
        if not length.isdigit() or int(length) > self.max_body:
            await refuse(send, 413, f"the body is larger than {self.max_body} bytes")
            return
        body = await self._body(receive)
        if body is None:
            await refuse(send, 413, f"the body is larger than {self.max_body} bytes")
            return
        if self.free <= 0:
            await refuse(send, 503, "too many requests at once", retry_after=1)
            return
        await self._run(scope, _replay(body, receive), send)

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None when it grows too large (it may come in chunks of no announced length)."""
        chunks, size = [], 0
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self.max_body:
                return None
            chunks.append(chunk)
            if not message.get("more_body"):
                return b"".join(chunks)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = asyncio.Event()
        given_up = False

        async def watched(message: Message) -> None:
            if not given_up:
                begun.set()
                await send(message)

        self.free -= 1
        work = asyncio.ensure_future(self.app(scope, receive, watched))
        # A thread that hangs keeps its place until it ends, whoever has stopped waiting for it.
        work.add_done_callback(self._leave)
        patience = self.patience
        beginning = asyncio.ensure_future(begun.wait())
        try:
            await asyncio.wait({work, beginning}, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if begun.is_set() or work.done():
                await work
                return
            given_up = True
            self._hanging += 1
            work.add_done_callback(self._no_longer_hangs)
            log.warning("guard.gave_up", path=scope["path"], after_seconds=patience)
            await refuse(send, 503, "the store does not answer", retry_after=2)
        except asyncio.CancelledError:
            work.cancel()
            raise
        finally:
            beginning.cancel()

    def _no_longer_hangs(self, work: "asyncio.Future[None]") -> None:
        self._hanging -= 1

    def _leave(self, work: "asyncio.Future[None]") -> None:
        self.free += 1
        if not work.cancelled() and work.exception():
            log.error("guard.failed", error=repr(work.exception()))


def _replay(body: bytes, receive: Receive) -> Receive:
    """The body as one message, then what else the server says (a disconnect)."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again
