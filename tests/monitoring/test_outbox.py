"""What must reach the outside does, whoever hangs, refuses or is slow; nothing goes out twice under two keys."""

import hashlib
import hmac
import json
import socket
import struct
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django.fixtures import Settings

from monitoring.actions import outbox
from monitoring.channels import Permanent, Retry, Sent
from monitoring.channels.http import retry_after
from monitoring.channels.webhook import Webhook
from monitoring.models import Channel, OutboxMessage
from portal import audit, jobs
from portal.audit import Automaton
from portal.errors import Forbidden, Invalid, Refused
from portal.models import User
from tests.monitoring.receiver import Call, Receiver, Reply

pytestmark = pytest.mark.django_db
BY = Automaton("test")


def make_channel(url: str, name: str = "ops", secret: str = "") -> Channel:
    return Channel.objects.create(name=name, kind="webhook", config={"url": url}, secret=secret)


def put(channel: Channel, key: str = "k1", **payload: Any) -> OutboxMessage:
    outbox.put(channel, "incident.opened", payload or {"text": "hello"}, dedupe_key=key)
    return OutboxMessage.objects.get(dedupe_key=key)


def make_due(message: OutboxMessage) -> None:
    OutboxMessage.objects.filter(pk=message.pk).update(due_at=datetime(2020, 1, 1, tzinfo=UTC))


@pytest.fixture
def long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first pause is of a second, which a busy machine may let pass before the next line is run."""
    pause = outbox.pause
    monkeypatch.setattr(outbox, "pause", lambda *told: timedelta(minutes=5) + pause(*told))


def test_a_message_arrives_signed_with_its_dedupe_key(receiver: Receiver) -> None:
    message = put(make_channel(receiver.url, secret="sesame"), text="größer")
    assert outbox.deliver() == 1
    message.refresh_from_db()
    assert (message.state, message.attempts, message.last_error) == ("sent", 1, "")
    assert message.sent_at is not None
    call = receiver.calls[0]
    assert json.loads(call.body) == {"text": "größer"}
    assert call.headers["Idempotency-Key"] == "k1"
    assert call.headers["X-Flightdeck-Event"] == "incident.opened"
    signed = call.headers["X-Flightdeck-Timestamp"].encode() + b"." + call.body
    expected = hmac.new(b"sesame", signed, hashlib.sha256).hexdigest()
    assert call.headers["X-Signature-256"] == f"sha256={expected}"


def test_without_a_secret_nothing_is_signed(receiver: Receiver) -> None:
    put(make_channel(receiver.url))
    outbox.deliver()
    assert "X-Signature-256" not in receiver.calls[0].headers


def test_the_secret_is_not_readable_in_the_database(receiver: Receiver) -> None:
    channel = make_channel(receiver.url, secret="sesame")
    with transaction.get_connection().cursor() as cursor:
        cursor.execute("SELECT secret FROM monitoring_channel WHERE id = %s", [channel.pk])
        assert "sesame" not in cursor.fetchone()[0]


def test_the_same_dedupe_key_is_one_message(receiver: Receiver) -> None:
    channel = make_channel(receiver.url)
    put(channel, text="first")
    put(channel, text="second")
    assert outbox.deliver() == 1
    assert json.loads(receiver.calls[0].body) == {"text": "first"}


@pytest.mark.usefixtures("long_pauses")
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503])
def test_a_receiver_in_trouble_is_asked_again_with_the_same_key(receiver: Receiver, status: int) -> None:
    answers = iter([Reply(status, body=b"busy"), Reply(204)])
    receiver.answer = lambda call: next(answers)
    message = put(make_channel(receiver.url))
    assert outbox.deliver() == 1
    message.refresh_from_db()
    assert (message.state, message.last_error) == ("pending", f"HTTP {status} busy")
    assert message.due_at > jobs.database_now()
    assert outbox.deliver() == 0
    make_due(message)
    outbox.deliver()
    message.refresh_from_db()
    assert (message.state, message.attempts, message.last_error) == ("sent", 2, "")
    assert receiver.keys == ["k1", "k1"]


@pytest.mark.usefixtures("long_pauses")
def test_a_connection_that_is_reset_is_tried_again_with_the_same_key(receiver: Receiver, settings: Settings) -> None:
    """Invariant 17, with the tests beside it: nothing that passes is given up, and nothing has a second key."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        thread = threading.Thread(target=_reset, args=[server])
        thread.start()
        channel = make_channel(f"http://127.0.0.1:{server.getsockname()[1]}/hook")
        message = put(channel)
        outbox.deliver()
        thread.join()
    message.refresh_from_db()
    assert (message.state, message.attempts) == ("pending", 1)
    Channel.objects.update(config={"url": receiver.url}, resting_until=None)
    make_due(message)
    outbox.deliver()
    assert receiver.keys == ["k1"]


def _reset(server: socket.socket) -> None:
    """Take one connection and throw it away in the middle of its request."""
    connected, _ = server.accept()
    connected.recv(1)
    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connected.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 422, 301, 302, 307])
def test_a_refusal_is_a_dead_letter_that_says_why(receiver: Receiver, status: int) -> None:
    receiver.answer = lambda call: Reply(status, {"Location": receiver.url}, b"no thanks")
    message = put(make_channel(receiver.url))
    outbox.deliver()
    message.refresh_from_db()
    assert message.state == "dead"
    assert f"HTTP {status}" in message.last_error
    assert len(receiver.calls) == 1


def test_retry_after_is_honoured_up_to_a_cap(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(429, {"Retry-After": call.headers["X-Flightdeck-Event"].partition(":")[2]})
    channel = make_channel(receiver.url)
    for seconds in (120, 10**8):
        outbox.put(channel, f"x:{seconds}", {}, dedupe_key=str(seconds))
    before = jobs.database_now()
    outbox.deliver()
    took = (jobs.database_now() - before).total_seconds()
    waits = {message.dedupe_key: (message.due_at - before).total_seconds() for message in OutboxMessage.objects.all()}
    assert 120 <= waits["120"] <= 120 + took
    assert 3600 <= waits["100000000"] <= 3600 + took


def test_pauses_grow_and_are_scattered() -> None:
    pauses = [[outbox.pause(attempts, Retry("busy")).total_seconds() for _ in range(20)] for attempts in range(1, 30)]
    assert all(0.75 * min(2**n, 900) <= each <= 1.25 * min(2**n, 900) for n, row in enumerate(pauses) for each in row)
    assert len(set(pauses[5])) > 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        (" 0 ", 0.0),
        ("Tue, 01 Jan 2030 12:00:30 GMT", 30.0),
        ("Tue, 01 Jan 2030 11:00:00 GMT", 0.0),
        ("soon", None),
        ("", None),
        ("-5", None),
        ("²", None),
    ],
)
def test_both_forms_of_retry_after_are_read(header: str, seconds: float | None) -> None:
    assert retry_after(header, now=datetime(2030, 1, 1, 12, tzinfo=UTC)) == seconds


@pytest.mark.usefixtures("long_pauses")
def test_nobody_at_the_address_is_tried_again_and_rests_the_channel(receiver: Receiver) -> None:
    gone = make_channel("http://127.0.0.1:9/hook", name="gone")
    first, second = put(gone, "k1"), put(gone, "k2")
    well = put(make_channel(receiver.url, name="well"), "k3")
    outbox.AT_ONCE_A_CHANNEL, kept = 1, outbox.AT_ONCE_A_CHANNEL
    try:
        outbox.deliver()
    finally:
        outbox.AT_ONCE_A_CHANNEL = kept
    for message in (first, second, well):
        message.refresh_from_db()
    assert (first.state, first.attempts, second.attempts) == ("pending", 1, 0)
    channel = Channel.objects.get(name="gone")
    assert channel.failures == 1
    assert channel.resting_until is not None
    assert channel.resting_until > jobs.database_now()
    assert well.state == "sent"


def test_a_receiver_that_hangs_holds_up_nobody_else(receiver: Receiver) -> None:
    quick_ones_arrived = threading.Event()

    def answer(call: Call) -> Reply:
        if b"slow" in call.body:
            quick_ones_arrived.wait(10)  # less than a sender waits for an answer
        elif sum(key.startswith("quick") for key in receiver.keys) == 10:
            quick_ones_arrived.set()
        return Reply()

    receiver.answer = answer
    slow = make_channel(receiver.url, name="slow")
    quick = make_channel(receiver.url, name="quick")
    for n in range(10):
        put(slow, f"slow-{n}", text="slow")
    for n in range(10):
        put(quick, f"quick-{n}", text="quick")
    outbox.deliver()
    assert OutboxMessage.objects.filter(channel=quick, state="sent").count() == 10
    quick_at = [n for n, key in enumerate(receiver.keys) if key.startswith("quick")]
    slow_at = [n for n, key in enumerate(receiver.keys) if key.startswith("slow")]
    assert max(quick_at) < slow_at[outbox.AT_ONCE_A_CHANNEL * 2 - 1]


def test_a_message_that_nobody_can_send_does_not_end_the_run(receiver: Receiver) -> None:
    broken = Channel.objects.create(name="broken", kind="webhook", config={})
    unknown = Channel.objects.create(name="unknown", kind="pigeon", config={})
    poison, lost = put(broken, "k1"), put(unknown, "k2")
    well = put(make_channel(receiver.url), "k3")
    outbox.deliver()
    for message in (poison, lost, well):
        message.refresh_from_db()
    assert (poison.state, lost.state, well.state) == ("pending", "dead", "sent")
    assert "KeyError" in poison.last_error
    assert "pigeon" in lost.last_error


def test_after_a_day_a_message_is_dead_and_a_person_sends_it_again(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(500)
    message = put(make_channel(receiver.url))
    OutboxMessage.objects.update(give_up_at=jobs.database_now() - timedelta(seconds=1))
    outbox.deliver()
    message.refresh_from_db()
    assert message.state == "dead"
    assert outbox.deliver() == 0
    receiver.answer = lambda call: Reply(200)
    outbox.resend(message, by=BY, because="receiver repaired")
    assert message.state == "pending"
    assert audit.of(message).first().because == "receiver repaired"  # type: ignore[union-attr]
    outbox.deliver()
    message.refresh_from_db()
    assert message.state == "sent"
    assert set(receiver.keys) == {"k1"}


def test_only_a_dead_message_is_sent_again_and_only_by_those_who_may(receiver: Receiver) -> None:
    message = put(make_channel(receiver.url))
    with pytest.raises(Refused):
        outbox.resend(message, by=BY)
    OutboxMessage.objects.update(state="dead")
    with pytest.raises(Forbidden):
        outbox.resend(message, by=User.objects.create(username="dana"))


def test_a_message_that_kills_its_senders_comes_to_an_end(receiver: Receiver) -> None:
    receiver.answer = lambda call: Reply(500)
    message = put(make_channel(receiver.url))
    OutboxMessage.objects.update(attempts=outbox.MAX_ATTEMPTS - 1)
    outbox.deliver()
    message.refresh_from_db()
    assert message.state == "dead"


def test_an_answer_after_the_lease_is_not_believed(receiver: Receiver) -> None:
    message = put(make_channel(receiver.url))
    first = outbox.lease()
    assert first is not None
    assert outbox.lease() is None
    make_due(message)
    second = outbox.lease()
    assert second is not None
    assert outbox.settle(first, Permanent("late")) is False
    message.refresh_from_db()
    assert message.state == "pending"
    assert outbox.settle(second, Sent()) is True
    assert outbox.settle(second, Sent()) is False


def test_a_channel_that_is_switched_off_keeps_its_messages(receiver: Receiver) -> None:
    channel = make_channel(receiver.url)
    put(channel)
    Channel.objects.update(active=False)
    assert outbox.deliver() == 0
    Channel.objects.update(active=True)
    assert outbox.deliver() == 1


def test_what_is_rolled_back_is_not_sent(receiver: Receiver) -> None:
    channel = make_channel(receiver.url)
    with transaction.atomic():
        put(channel)
        transaction.set_rollback(True)
    assert outbox.deliver() == 0


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/x",
        "http://10.0.0.1/x",
        "http://169.254.169.254/latest",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://user:pw@example.com/",
        "http://",
        "example.com",
        "http://example.com:99999/",
        "http://exa mple.com/",
        "",
        None,
        7,
    ],
)
def test_an_address_that_may_not_be_reached_is_refused_when_it_is_given(url: object, settings: Settings) -> None:
    settings.PORTAL_OUTGOING_ALLOW = []
    with pytest.raises(Invalid) as refusal:
        Webhook().clean({"url": url})
    assert "url" in refusal.value.errors


def test_an_address_inside_our_network_is_a_dead_letter_when_it_is_a_name(
    receiver: Receiver, settings: Settings
) -> None:
    settings.PORTAL_OUTGOING_ALLOW = []
    message = put(make_channel(receiver.url.replace("127.0.0.1", "localhost")))
    outbox.deliver()
    message.refresh_from_db()
    assert message.state == "dead"
    assert not receiver.calls


def test_calls_are_recorded(receiver: Receiver) -> None:
    """The receiver itself: without this, "nothing arrived" would prove nothing."""
    put(make_channel(receiver.url))
    outbox.deliver()
    assert [type(call) for call in receiver.calls] == [Call]


@pytest.mark.parametrize("plan", ["hashjoin", "mergejoin, material, hashagg", "indexscan, bitmapscan, hashjoin"])
def test_one_lease_takes_one_message_under_any_plan(plan: str) -> None:
    """An update joined to a locking subquery may run it once for each row of the other side, and lease as many."""
    channels = [make_channel("https://example.com/", name=f"c{number}") for number in range(5)]
    for number in range(40):
        put(channels[number % 5], key=f"k{number}")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE monitoring_outboxmessage")
        for name in plan.split(", "):
            cursor.execute(f"SET LOCAL enable_{name} = off")
    for leased in (1, 2, 3):
        assert outbox.lease() is not None
        assert OutboxMessage.objects.exclude(lease_token=None).count() == leased
