"""What stands before Django: a store that hangs, a flood, a body without end."""

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from portal.guard import Guard

pytestmark = pytest.mark.asyncio


async def _call(
    app: Any, *chunks: bytes, headers: list[tuple[bytes, bytes]] | None = None
) -> tuple[int, dict[str, str], bytes]:
    queue = [
        {"type": "http.request", "body": chunk, "more_body": index < len(chunks) - 1}
        for index, chunk in enumerate(chunks or (b"",))
    ]
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        if queue:
            return queue.pop(0)
        await asyncio.Event().wait()
        raise AssertionError

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "http", "path": "/x", "headers": headers or []}, receive, send)
    start = sent[0]
    body = b"".join(message.get("body", b"") for message in sent[1:])
    return start["status"], {k.decode(): v.decode() for k, v in start["headers"]}, body


async def _echo(scope: Any, receive: Any, send: Any) -> None:
    message = await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": message["body"]})


def _guard(app: Any, **options: Any) -> Guard:
    return Guard(app, **{"in_flight": 2, "timeout": 0.2, "max_body": 100} | options)


async def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


async def test_a_request_passes_with_its_body_whole() -> None:
    assert await _call(_guard(_echo), b"hel", b"lo") == (200, {}, b"hello")


@pytest.mark.parametrize("headers", [[(b"content-length", b"101")], [(b"content-length", b"-1")], []])
async def test_a_body_too_large_is_refused_announced_or_not(headers: list[tuple[bytes, bytes]]) -> None:
    status, _, body = await _call(_guard(_echo), b"x" * 60, b"x" * 60, headers=headers)
    assert status == 413
    assert json.loads(body)["detail"] == "the body is larger than 100 bytes"


async def test_what_hangs_gets_503_and_keeps_its_place_until_it_ends() -> None:
    release = asyncio.Event()
    answers: list[str] = []

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        answers.append("late")

    guard = _guard(hangs, in_flight=1)
    status, headers, body = await _call(guard)
    assert (status, headers["retry-after"]) == (503, "2")
    assert json.loads(body)["title"] == "Service Unavailable"
    status, headers, _ = await _call(guard)
    assert (status, headers["retry-after"]) == (503, "1")
    release.set()
    await _until(lambda: guard.free == 1)
    assert answers == ["late"]


async def test_a_fault_of_the_application_is_still_seen() -> None:
    async def breaks(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError

    guard = _guard(breaks)
    with pytest.raises(ZeroDivisionError):
        await _call(guard)
    assert guard.free == 2


async def test_while_others_hang_nobody_waits_as_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portal.guard.WHILE_OTHERS_HANG", 0.05)
    release = asyncio.Event()

    async def hangs(scope: Any, receive: Any, send: Any) -> None:
        await release.wait()

    guard = _guard(hangs, in_flight=5)
    await _call(guard)
    assert guard.patience == 0.2  # one may be slow for a reason of its own
    await _call(guard)
    assert guard.patience == 0.05
    assert (await _call(guard))[0] == 503
    assert guard.in_flight == 3
    release.set()
    await _until(lambda: guard.in_flight == 0)
    assert (guard.patience, guard.in_flight) == (0.2, 0)
