"""Live pages' sockets: who may watch what, what is told, and what happens to a client that never reads."""

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import psutil
import pytest
import redis.asyncio
import uvicorn
import websockets
from asgiref.testing import ApplicationCommunicator
from channels.db import database_sync_to_async
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.db import connections
from websockets.frames import Frame, Opcode

from portal import live, seats, sockets
from portal.models import User
from portal.supervise import ports

pytestmark = [pytest.mark.asyncio, pytest.mark.django_db(transaction=True)]
ORIGIN = (b"origin", b"http://testserver")
NO_LINE = seats.Line(None)
LONG = 60.0  # seconds; what is asserted is that it comes, not when


@pytest.fixture(autouse=True)
def no_connection_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a web process: what a thread borrowed it gives back."""
    monkeypatch.setitem(connections.settings["default"], "CONN_MAX_AGE", 0)


@pytest.fixture
def topics() -> Iterator[dict[str, Any]]:
    """Topics of this test alone."""
    kept = dict(live.TOPICS)
    live.TOPICS.clear()
    drawn: dict[str, Any] = {"count": 0, "value": 1}

    def frame(what: str) -> dict[str, Any]:
        drawn["count"] += 1
        return {"series": {"errors": [[1, drawn["value"]]]}}

    live.topic("things", may=lambda user, what: what != "9" and user.username == "dana")
    live.chart("thing", may=lambda user, what: user.username == "dana", frame=frame)
    yield drawn
    live.TOPICS.clear()
    live.TOPICS.update(kept)


@pytest.fixture
async def stage(topics: Any) -> AsyncIterator[sockets.Stage]:
    hub = live.Hub()
    stage = sockets.Stage(hub)
    await hub.start()
    await stage.start()
    await _until(lambda: hub.connected)
    yield stage
    await stage.stop()
    await hub.stop()


async def _until(true: Any) -> None:
    deadline = time.monotonic() + LONG
    while not true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def _session(username: str) -> str:
    person, _ = User.objects.get_or_create(username=username)
    session = SessionStore()
    session[SESSION_KEY] = str(person.pk)
    session["_auth_user_backend"] = "django.contrib.auth.backends.ModelBackend"
    session["_auth_user_hash"] = person.get_session_auth_hash()
    session.save()
    return str(session.session_key)


class Page(ApplicationCommunicator):
    """One page's end of the socket."""

    connected = False

    async def open(self) -> None:
        await self.send_input({"type": "websocket.connect"})
        self.connected = (await self.receive_output(timeout=LONG))["type"] == "websocket.accept"

    async def say(self, text: str) -> None:
        await self.send_input({"type": "websocket.receive", "text": text})

    async def watch(self, *topics: str) -> None:
        await self.say(json.dumps({"subscribe": topics}))

    async def leave(self) -> None:
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=LONG)


async def _connect(stage: sockets.Stage, username: str | None = "dana", origin: Any = ORIGIN) -> Page:
    headers = [origin, (b"host", b"testserver")]
    if username:
        key = await database_sync_to_async(_session)(username)
        headers.append((b"cookie", f"sessionid={key}".encode()))
    scope = {"type": "websocket", "path": "/live/", "query_string": b"", "headers": headers, "subprotocols": []}
    page = Page(sockets.application(stage), scope)
    await page.open()
    return page


async def _hear(socket: Any) -> Any:
    return json.loads((await socket.receive_output(timeout=LONG))["text"])


async def _announce(**fields: Any) -> None:
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        await client.publish(live.channel(), json.dumps(fields))


async def test_a_page_hears_what_changed_and_nothing_else(stage: sockets.Stage) -> None:
    socket = await _connect(stage)
    assert await _hear(socket) == {"state": "live"}
    await socket.watch("things:7")
    await _until(lambda: stage.seats)
    await _announce(topic="others", id=7)
    await _announce(topic="things", id=8)
    await _announce(topic="things", id=7, secret="never told")
    assert await _hear(socket) == {"topic": "things", "id": 7}
    assert await socket.receive_nothing()
    await socket.leave()
    assert not stage.seats
    assert not stage.consumers


async def test_the_whole_topic_hears_every_id(stage: sockets.Stage) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    await socket.watch("things")
    await _until(lambda: stage.seats)
    for number in (1, 2):
        await _announce(topic="things", id=number)
    assert [await _hear(socket), await _hear(socket)] == [{"topic": "things", "id": n} for n in (1, 2)]
    await socket.leave()


async def test_nobody_and_strangers_get_no_socket(stage: sockets.Stage) -> None:
    assert not (await _connect(stage, None)).connected
    assert not (await _connect(stage, "eve", (b"origin", b"http://evil.example"))).connected


@pytest.mark.parametrize(
    ("topic", "why"),
    [
        ("things:9", "not allowed"),
        ("nothing", "there is no such topic"),
        ("chart:thing", "there is no such topic"),
        ("", "there is no such topic"),
        ("x" * 5000, "there is no such topic"),
    ],
)
async def test_a_topic_it_may_not_see_is_refused_by_name(stage: sockets.Stage, topic: str, why: str) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    await socket.watch(topic)
    assert await _hear(socket) == {"refused": topic[:200], "why": why}
    assert not stage.seats
    await socket.leave()


async def test_somebody_without_rights_is_refused(stage: sockets.Stage) -> None:
    socket = await _connect(stage, "eve")
    await _hear(socket)
    await socket.watch("things", "chart:thing:1")
    assert {(await _hear(socket))["refused"] for _ in range(2)} == {"things", "chart:thing:1"}
    await socket.leave()


async def test_a_page_may_watch_only_so_many_topics(stage: sockets.Stage) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    wanted = [f"things:{number}" for number in range(100, 100 + sockets.MAX_TOPICS + 1)]
    await socket.watch(*wanted)
    assert (await _hear(socket))["refused"] == wanted[-1]
    await socket.leave()


@pytest.mark.parametrize("said", ["{", "[]", '{"subscribe": 1}', '{"subscribe": [1]}', "null", "[" * 20000])
async def test_nonsense_closes_the_socket(stage: sockets.Stage, said: str) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    await socket.say(said)
    closed = await socket.receive_output(timeout=LONG)
    assert (closed["type"], closed["code"]) == ("websocket.close", 4400)
    await socket.leave()


async def test_bytes_close_the_socket(stage: sockets.Stage) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    await socket.send_input({"type": "websocket.receive", "bytes": b'{"subscribe": ["things"]}'})
    assert (await socket.receive_output(timeout=LONG))["code"] == 4400
    await socket.leave()


async def test_a_chart_is_drawn_once_for_all_who_watch_and_told_when_it_changed(
    stage: sockets.Stage, topics: dict[str, Any]
) -> None:
    pages = [await _connect(stage), await _connect(stage)]
    for page in pages:
        await _hear(page)
        await page.watch("chart:thing:1")
    frames = [await _hear(page) for page in pages]
    assert [(frame["v"], frame["series"]) for frame in frames] == [(1, {"errors": [[1, 1]]})] * 2
    drawn = topics["count"]
    topics["value"] = 2
    later = [await _hear(page) for page in pages]
    assert [frame["series"]["errors"] for frame in later] == [[[1, 2]]] * 2
    assert later[0]["seq"] > frames[0]["seq"]
    assert topics["count"] - drawn <= 2  # for both of them: once a second, not once a page
    for page in pages:
        await page.leave()
    await _until(lambda: not stage._artists)


async def test_a_page_that_comes_later_gets_the_frame_that_stands(stage: sockets.Stage) -> None:
    first = await _connect(stage)
    await _hear(first)
    await first.watch("chart:thing:1")
    await _hear(first)
    later = await _connect(stage)
    await _hear(later)
    await later.watch("chart:thing:1")
    assert (await _hear(later))["series"] == {"errors": [[1, 1]]}
    await first.leave()
    await later.leave()


class Client:
    """The server's end of a connection, which may take a while."""

    def __init__(self) -> None:
        self.taken: list[str] = []
        self.reads = asyncio.Event()
        self.gone = False

    async def send(self, message: Any) -> None:
        await self.reads.wait()
        if self.gone:
            raise ConnectionError
        self.taken.append(message["text"])


async def test_who_reads_is_written_to_at_once_and_in_order() -> None:
    client = Client()
    client.reads.set()
    seat = seats.Seat(client.send, NO_LINE)
    for number in range(3):
        seat.put("chart", seats.Message(str(number)))
    assert client.taken == ["0", "1", "2"]


async def test_who_does_not_read_gets_fewer_messages_and_the_newest() -> None:
    client = Client()
    seat = seats.Seat(client.send, NO_LINE)
    for number in range(5):
        seat.put("chart", seats.Message(str(number)))
    seat.put("things:1", seats.Message("one"))
    assert client.taken == []
    assert seat.blocked_since is not None
    client.reads.set()
    await _until(lambda: len(client.taken) == 3)
    assert client.taken == ["0", "4", "one"]
    await _until(lambda: seat.blocked_since is None)
    seat.put("chart", seats.Message("5"))
    assert client.taken[-1] == "5"


async def test_too_much_that_waits_is_noticed_and_bounded() -> None:
    seat = seats.Seat(Client().send, NO_LINE)
    for number in range(seats.MAX_WAITING + 5):
        seat.put(str(number), seats.Message("x"))
    assert seat.overflowed
    assert len(seat.waiting) == seats.MAX_WAITING
    seat.leave()
    assert not seat.waiting


@pytest.mark.parametrize("blocked", [False, True])
async def test_a_client_that_is_gone_is_written_to_no_more(blocked: bool) -> None:
    client = Client()
    client.gone = True
    seat = seats.Seat(client.send, NO_LINE)
    if not blocked:
        client.reads.set()
    seat.put("chart", seats.Message("1"))
    client.reads.set()
    await _until(lambda: seat.is_left)
    seat.put("chart", seats.Message("2"))
    assert (client.taken, seat.waiting) == ([], {})


@asynccontextmanager
async def _served(stage: sockets.Stage) -> AsyncIterator[uvicorn.Server]:
    """A real server in front of the stage."""
    with ports.listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        config = uvicorn.Config(sockets.application(stage), port=port, lifespan="off", log_level="critical")
        server = uvicorn.Server(config)
        serving = asyncio.create_task(server.serve(sockets=[listener]))
        await _until(lambda: server.started)
        yield server
        server.should_exit = server.force_exit = True
        await serving


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536, 300_000])
async def test_what_is_written_past_the_server_is_what_the_server_would_write(size: int) -> None:
    text = "ż" * (size // 2) + "x" * (size % 2)
    assert seats.Message(text).frame == Frame(Opcode.TEXT, text.encode()).serialize(mask=False)


async def test_a_client_that_never_reads_is_cut_off_and_the_others_hear_on(
    stage: sockets.Stage, topics: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    # A pause of this whole process must not look like a client that does not read.
    monkeypatch.setattr(sockets, "SEND_WITHIN", 5.0)
    monkeypatch.setattr(sockets, "CLOSE_WITHIN", 0.1)
    monkeypatch.setattr(sockets, "FRAME_EVERY", 0.02)
    await stage.stop()
    monkeypatch.setattr(sockets, "CHECK_EVERY", 0.1)
    await stage.start()
    numbers = itertools.count()
    live.chart("large", may=lambda user, what: True, frame=lambda what: {"n": next(numbers), "more": "x" * 200_000})
    monkeypatch.setattr(settings, "ALLOWED_HOSTS", ["127.0.0.1"])
    key = await database_sync_to_async(_session)("dana")
    async with _served(stage) as server:
        host = f"127.0.0.1:{server.config.port}"
        opened = partial(
            websockets.connect,
            f"ws://{host}/live/",
            additional_headers={"Cookie": f"sessionid={key}"},
            origin=websockets.Origin(f"http://{host}"),
            compression=None,
            ping_interval=None,
            close_timeout=0.1,
            max_queue=1,
        )
        async with opened() as reads, opened() as never:
            for one in (reads, never):
                await one.send('{"subscribe": ["chart:large:1"]}')
            deadline = time.monotonic() + LONG
            while len(stage.consumers) != 1 or len(server.server_state.connections) != 1:
                assert time.monotonic() < deadline, "it was not cut off"
                await asyncio.wait_for(reads.recv(), LONG)
            later = [json.loads(await reads.recv())["n"] for _ in range(3)]
            assert later == sorted(set(later))


async def test_a_socket_does_not_outlive_its_session_or_its_rights(
    stage: sockets.Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sockets, "RECHECK_EVERY", 0.0)
    socket = await _connect(stage)
    await _hear(socket)
    (consumer,) = stage.consumers
    await consumer.check()
    assert await socket.receive_nothing()
    await User.objects.filter(username="dana").aupdate(is_active=False)
    await consumer.check()
    assert (await socket.receive_output(timeout=LONG))["code"] == 4403
    await socket.leave()


async def test_when_valkey_is_gone_the_page_is_told_and_told_again_when_it_is_back(stage: sockets.Stage) -> None:
    socket = await _connect(stage)
    await _hear(socket)
    await socket.watch("things")
    await _until(lambda: stage.seats)
    # Of this process alone: others test on the same Valkey.
    ours = {str(one.laddr.port) for one in psutil.Process().net_connections("tcp")}
    async with redis.asyncio.Redis.from_url(settings.REDIS_URL) as client:
        for one in await client.client_list(_type="pubsub"):
            if one["addr"].rpartition(":")[2] in ours:
                await client.client_kill_filter(_id=one["id"])
    assert await _hear(socket) == {"state": "lost"}
    assert await _hear(socket) == {"state": "live"}
    await _announce(topic="things", id=1)
    assert await _hear(socket) == {"topic": "things", "id": 1}
    await socket.leave()
