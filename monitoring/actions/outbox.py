"""What must reach the outside: leased, sent outside any transaction, then confirmed by its lease.

Never marked before it is sent: a worker that is killed in between would have lost it. A message may so go out twice,
always with the same dedupe key.
"""

import json
import random
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from monitoring import channels
from monitoring.channels import Answer, Message, Permanent, Retry, Sent
from monitoring.models import Channel, ChannelThread, OutboxMessage
from portal import audit, jobs, live, permissions
from portal.errors import Refused

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=20)  # longer than any channel's timeout
GIVE_UP_AFTER = timedelta(hours=24)
MAX_ATTEMPTS = 100  # also ends a message that kills whoever sends it
LONGEST_PAUSE = 900.0  # seconds between two attempts
LONGEST_ASKED_PAUSE = 3600.0  # seconds of a Retry-After that are honoured
# A receiver that is in trouble is asked by one message at a time, after pauses that grow; then the others follow.
RESTS_AFTER = 3  # failures in a row
LONGEST_REST = 300.0  # seconds
# A message that fails so often while the receiver takes others no longer holds up what comes after it in its thread.
POISON = 8  # attempts
# What goes beyond a channel's messages a minute becomes one message.
STORM = "digest.storm"
STORM_EVERY = timedelta(seconds=60)
STORM_GATHERS = timedelta(seconds=5)
STORM_LISTS = 50  # of what was folded
TEST = "channel.test"
CYCLE = 3.0  # seconds; after that a run takes nothing new
SENDERS = 8
# One receiver that hangs occupies no more than this, in all processes together.
AT_ONCE_A_CHANNEL = 2
MAX_ERROR = 1000

# One row, and only one: joined to a locking subquery, an update may under some plans take several.
TAKE = """
WITH next AS (
    SELECT waiting.id, way.id AS channel_id
    FROM monitoring_outboxmessage waiting
    JOIN monitoring_channel way ON way.id = waiting.channel_id
    WHERE way.active AND waiting.state = 'pending' AND waiting.due_at <= clock_timestamp()
      AND (way.resting_until IS NULL OR way.resting_until <= clock_timestamp())
      AND (way.free_at IS NULL OR way.free_at <= clock_timestamp())
      AND (
        SELECT count(*) FROM monitoring_outboxmessage busy
        WHERE busy.channel_id = waiting.channel_id AND busy.state = 'pending'
          AND busy.lease_token IS NOT NULL AND busy.due_at > clock_timestamp()
      ) < CASE WHEN way.failures > 0 THEN 1 ELSE %(at_once)s END
      AND (waiting.thread = '' OR NOT EXISTS (
        SELECT FROM monitoring_outboxmessage earlier
        WHERE earlier.channel_id = waiting.channel_id AND earlier.thread = waiting.thread
          AND earlier.state = 'pending' AND earlier.id < waiting.id
          AND NOT (
            earlier.attempts >= %(poison)s AND earlier.lease_token IS NULL
            AND earlier.first_failed_at < way.last_sent_at
          )
      ))
    ORDER BY waiting.due_at, waiting.id
    LIMIT 1 FOR NO KEY UPDATE OF waiting, way SKIP LOCKED
), paced AS (
    UPDATE monitoring_channel way
    SET free_at = clock_timestamp() + make_interval(secs => (%(paces)s::jsonb ->> way.kind)::float)
    WHERE way.id = (SELECT channel_id FROM next) AND (%(paces)s::jsonb ->> way.kind)::float > 0
)
UPDATE monitoring_outboxmessage m
SET due_at = clock_timestamp() + make_interval(secs => %(lease)s), attempts = m.attempts + 1,
    lease_token = gen_random_uuid()
WHERE m.id = (SELECT id FROM next)
RETURNING m.id, m.lease_token, m.channel_id, m.kind, m.dedupe_key, m.attempts
"""


@dataclass(frozen=True, slots=True)
class Lease:
    """One message that is ours to send until its lease ends."""

    id: int
    token: UUID
    channel_id: int
    channel_kind: str
    attempts: int
    message: Message


def put(channel: Channel, kind: str, payload: dict[str, Any], *, dedupe_key: str, thread: str = "") -> None:
    """In the caller's transaction: it goes out iff the change is committed, and once for each dedupe key.

    What has the same `thread` ("incident:7") reaches a channel in the order in which it was put.
    """
    message = OutboxMessage(
        channel=channel,
        kind=kind,
        payload=payload,
        dedupe_key=dedupe_key,
        thread=thread,
        give_up_at=Now() + GIVE_UP_AFTER,
    )
    OutboxMessage.objects.bulk_create([message], ignore_conflicts=True)
    jobs.nudge("monitoring.deliver")


Settled = Callable[[OutboxMessage], None]
_settled: dict[str, Settled] = {}


def on_settled(prefix: str, act: Settled) -> None:
    """Called with each message of a kind that begins so when it was taken or given up, in that transaction."""
    if prefix in _settled:
        raise ValueError(f"two listen for {prefix}")
    _settled[prefix] = act


def drop(kind: str, *, thread: str) -> list[OutboxMessage]:
    """What waits in this thread is not sent any more. What somebody is sending now is not tried again.

    Inside a transaction. Answers those that were dropped: nobody has been told of them.
    """
    now = jobs.database_now()
    rows = OutboxMessage.objects.filter(kind=kind, thread=thread, state=OutboxMessage.State.PENDING).order_by("id")
    dropped = []
    # A row that is locked is being leased or settled by someone who may wait for our own locks.
    for message in rows.select_for_update(skip_locked=True, of=("self",)):
        if message.lease_token is not None and message.due_at > now:
            message.give_up_at = now
            message.save(update_fields=["give_up_at"])
            continue
        message.state, message.lease_token = OutboxMessage.State.DROPPED, None
        message.save(update_fields=["state", "lease_token"])
        live.announce("outbox", id=message.pk)
        dropped.append(message)
    return dropped


def resend(message: OutboxMessage, *, by: audit.Actor, because: str = "") -> None:
    """A dead message gets another day."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    with transaction.atomic():
        locked = OutboxMessage.objects.select_for_update(of=("self",)).select_related("channel").get(pk=message.pk)
        if locked.state != OutboxMessage.State.DEAD:
            raise Refused(f"message {locked.pk} is {locked.state}: only a dead one is sent again")
        locked.state = OutboxMessage.State.PENDING
        locked.attempts = 0
        locked.due_at = jobs.database_now()
        locked.give_up_at = locked.due_at + GIVE_UP_AFTER
        locked.save(update_fields=["state", "attempts", "due_at", "give_up_at"])
        audit.record("outbox.resent", locked, by=by, before={"last_error": locked.last_error}, because=because)
        jobs.nudge("monitoring.deliver")
        live.announce("outbox", id=locked.pk)
    message.refresh_from_db()


def test(channel: Channel, *, by: audit.Actor) -> OutboxMessage:
    """Send something there, to see that it arrives: through the outbox, like all else."""
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    if not channel.active:
        raise Refused(f"channel {channel} is switched off")
    with transaction.atomic():
        name, now = audit.describe(by), jobs.database_now()
        key = f"{TEST}:{channel.pk}:{now.timestamp():.6f}"
        text = f"A test message from Flightdeck, sent by {name}. Nothing is wrong."
        put(channel, TEST, {"id": key, "kind": TEST, "text": text}, dedupe_key=key)
        audit.record("channel.tested", channel, by=by)
    return OutboxMessage.objects.select_related("channel").get(dedupe_key=key)


def deliver() -> int:
    """Send what is due; a receiver that hangs holds up nobody else. How many attempts were made."""
    attempts = 0
    stop_at = time.monotonic() + CYCLE
    flying: dict[Future[Answer], Lease] = {}
    with ThreadPoolExecutor(SENDERS, thread_name_prefix="sender") as pool:
        while True:
            while len(flying) < SENDERS and time.monotonic() < stop_at and (taken := lease()) is not None:
                flying[pool.submit(_send, taken)] = taken
                attempts += 1
            if not flying:
                return attempts
            # Wake up now and then: what became due meanwhile need not wait for the slowest receiver.
            landed, _ = wait(flying, timeout=0.2, return_when=FIRST_COMPLETED)
            for future in landed:
                settle(flying.pop(future), future.result())


def lease() -> Lease | None:
    """Take the longest due message, committed at once. Our death only delays it until the lease ends."""
    paces = {name: kind.pace for name in channels.names() if (kind := channels.find(name)) is not None}
    asked: dict[str, Any] = {
        "lease": LEASE.total_seconds(),
        "at_once": AT_ONCE_A_CHANNEL,
        "poison": POISON,
        "paces": json.dumps(paces),
    }
    while True:
        # The channel's row is locked with its message: how many it had of late is counted by one at a time.
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(TAKE, asked)
            row = cursor.fetchone()
            if row is None:
                return None
            pk, token, channel_id, kind, dedupe_key, attempts = row
            found = OutboxMessage.objects.select_related("channel").get(pk=pk)
            if attempts == 1 and _is_too_much(found):
                _fold(found)
                continue
            mark = (
                ChannelThread.objects.filter(channel=channel_id, thread=found.thread).first() if found.thread else None
            )
        way = found.channel
        message = Message(
            kind,
            dedupe_key,
            found.payload,
            way.config,
            way.secret,
            mark=mark.mark if mark else {},
            again=attempts > 1,
            channel=way.pk,
        )
        return Lease(pk, token, channel_id, way.kind, attempts, message)


def _is_too_much(message: OutboxMessage) -> bool:
    """Whether the message's channel has had its fill of the last minute."""
    way = message.channel
    kind = channels.find(way.kind)
    limit = way.fold_after if way.fold_after is not None else kind.folds_after if kind else 0
    if not limit or not message.kind.startswith("incident."):
        return False
    now = jobs.database_now()
    lately = Q(state=OutboxMessage.State.SENT, sent_at__gt=now - STORM_EVERY)
    flying = Q(state=OutboxMessage.State.PENDING, lease_token__isnull=False, due_at__gt=now)
    others = way.messages.filter(lately | flying).exclude(pk=message.pk).exclude(kind=STORM)
    return others.count() >= limit


def _fold(message: OutboxMessage) -> None:
    """Into the channel's next message about many; it stays, and shows into which. The channel is locked."""
    now = jobs.database_now()
    storms = message.channel.messages.filter(kind=STORM)
    storm = storms.filter(state=OutboxMessage.State.PENDING, attempts=0).order_by("-id").first()
    if storm is None:
        last = storms.exclude(sent_at=None).order_by("-id").first()
        due = now + STORM_GATHERS
        if last is not None and last.sent_at is not None:
            due = max(due, last.sent_at + STORM_EVERY)
        key = f"{STORM}:{message.channel_id}:{message.pk}"
        storm = OutboxMessage(
            channel=message.channel,
            kind=STORM,
            payload={"id": key, "kind": STORM, "count": 0, "folded": []},
            dedupe_key=key,
            due_at=due,
            give_up_at=due + GIVE_UP_AFTER,
        )
    payload = storm.payload
    payload["count"] += 1
    if payload["count"] <= STORM_LISTS:
        told = {name: message.payload.get(name) for name in ("kind", "text", "incident")}
        payload["folded"].append(told | {"text": str(told["text"])[:300]})
    payload["text"] = f"{payload['count']} more messages came at once and are told together"
    storm.save()
    message.state, message.folded_into, message.lease_token = OutboxMessage.State.FOLDED, storm, None
    message.save(update_fields=["state", "folded_into", "lease_token"])


def settle(taken: Lease, answer: Answer) -> bool:
    """Write down the answer, if the lease is still ours. False when it ran out and another sender has the message."""
    with transaction.atomic():
        rows = OutboxMessage.objects.filter(pk=taken.id, lease_token=taken.token, state=OutboxMessage.State.PENDING)
        message = rows.select_for_update(of=("self",)).first()
        if message is None:
            log.info("outbox.lease_lost", message=taken.id, dedupe_key=taken.message.dedupe_key)
            return False
        way = Channel.objects.select_for_update(no_key=True).get(pk=taken.channel_id)
        now = jobs.database_now()
        message.lease_token = None
        match answer:
            case Sent(mark=mark):
                message.state, message.sent_at, message.last_error = OutboxMessage.State.SENT, now, ""
                way.last_sent_at = now
                if mark is not None and message.thread:
                    ChannelThread.objects.update_or_create(
                        channel=way, thread=message.thread, defaults={"mark": dict(mark)}
                    )
            case Permanent(reason=reason):
                message.state, message.last_error = OutboxMessage.State.DEAD, _short(reason)
            case Retry(reason=reason):
                message.last_error = _short(reason)
                message.first_failed_at = message.first_failed_at or now
                message.due_at = now + pause(taken.attempts, answer)
                if message.attempts >= MAX_ATTEMPTS or now >= message.give_up_at:
                    message.state = OutboxMessage.State.DEAD
        _rest(way, answer, now=now)
        message.save(update_fields=["state", "sent_at", "last_error", "first_failed_at", "due_at", "lease_token"])
        if message.state != OutboxMessage.State.PENDING:
            for prefix, told in _settled.items():
                if message.kind.startswith(prefix):
                    told(message)
        if message.state == OutboxMessage.State.DEAD:
            log.error("outbox.dead", message=message.pk, dedupe_key=message.dedupe_key, error=message.last_error)
        live.announce("outbox", id=message.pk)
    return True


def _rest(way: Channel, answer: Answer, *, now: datetime) -> None:
    """What an answer means to the channel (locked by the caller): a receiver in trouble is left in peace."""
    if isinstance(answer, Retry):
        way.failures += 1
        if answer.after is not None:
            way.resting_until = now + timedelta(seconds=min(answer.after, LONGEST_ASKED_PAUSE))
        elif answer.away or way.failures >= RESTS_AFTER:
            # Nobody is there: its other messages need not each find that out by waiting for a timeout.
            rest = pause(way.failures, answer).total_seconds()
            way.resting_until = now + timedelta(seconds=min(rest, LONGEST_REST))
    else:
        if way.failures >= RESTS_AFTER:
            # It is back: what failed meanwhile need not wait out pauses that were meant for its absence.
            way.messages.filter(state=OutboxMessage.State.PENDING, lease_token=None, attempts__gt=0).update(due_at=now)
        way.failures, way.resting_until = 0, None
    way.save(update_fields=["failures", "resting_until", "last_sent_at"])


def pause(attempts: int, answer: Retry) -> timedelta:
    """Until the next attempt: twice as long each time, scattered, never shorter than the receiver asked for."""
    seconds = min(2.0 ** min(attempts - 1, 20), LONGEST_PAUSE) * random.uniform(0.75, 1.25)
    if answer.after is not None:
        seconds = max(seconds, min(answer.after, LONGEST_ASKED_PAUSE))
    return timedelta(seconds=seconds)


def _send(taken: Lease) -> Answer:
    """In a thread, without a database. Whatever goes wrong is an answer: one bad message must not end the run."""
    kind = channels.find(taken.channel_kind)
    if kind is None:
        return Permanent(f"there is no kind of channel named {taken.channel_kind}")
    try:
        return kind.send(taken.message)
    except Exception as error:
        log.exception("outbox.send_failed", message=taken.id)
        return Retry(f"{type(error).__name__}: {error}")


def _short(text: str) -> str:
    return text.replace("\0", "")[:MAX_ERROR]
