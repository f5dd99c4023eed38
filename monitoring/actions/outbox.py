"""What must reach the outside: leased, sent outside any transaction, then confirmed by its lease.

Never marked before it is sent: a worker that is killed in between would have lost it. A message may so go out twice,
always with the same dedupe key.
"""

import random
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import structlog
from django.db import connection, transaction
from django.db.models.functions import Now

from monitoring import channels
from monitoring.channels import Answer, Message, Permanent, Retry, Sent
from monitoring.models import Channel, OutboxMessage
from portal import audit, jobs, live, permissions
from portal.errors import Refused

log = structlog.get_logger(__name__)

LEASE = timedelta(seconds=20)  # longer than any channel's timeout
GIVE_UP_AFTER = timedelta(hours=24)
MAX_ATTEMPTS = 100  # also ends a message that kills whoever sends it
LONGEST_PAUSE = 900.0  # seconds between two attempts
LONGEST_ASKED_PAUSE = 3600.0  # seconds of a Retry-After that are honoured
CYCLE = 3.0  # seconds; after that a run takes nothing new
SENDERS = 8
# One receiver that hangs occupies no more than this, in all processes together.
AT_ONCE_A_CHANNEL = 2
MAX_ERROR = 1000

TAKE = """
UPDATE monitoring_outboxmessage m
SET due_at = clock_timestamp() + make_interval(secs => %s), attempts = m.attempts + 1, lease_token = gen_random_uuid()
FROM (
    SELECT waiting.id FROM monitoring_outboxmessage waiting
    JOIN monitoring_channel way ON way.id = waiting.channel_id AND way.active
    WHERE waiting.state = 'pending' AND waiting.due_at <= clock_timestamp()
      AND (
        SELECT count(*) FROM monitoring_outboxmessage busy
        WHERE busy.channel_id = waiting.channel_id AND busy.state = 'pending'
          AND busy.lease_token IS NOT NULL AND busy.due_at > clock_timestamp()
      ) < %s
    ORDER BY waiting.due_at, waiting.id
    LIMIT 1 FOR UPDATE OF waiting SKIP LOCKED
) next
WHERE m.id = next.id
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


def put(channel: Channel, kind: str, payload: dict[str, Any], *, dedupe_key: str) -> None:
    """In the caller's transaction: it goes out iff the change is committed, and once for each dedupe key."""
    message = OutboxMessage(
        channel=channel, kind=kind, payload=payload, dedupe_key=dedupe_key, give_up_at=Now() + GIVE_UP_AFTER
    )
    OutboxMessage.objects.bulk_create([message], ignore_conflicts=True)
    jobs.nudge("monitoring.deliver")


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
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TAKE, [LEASE.total_seconds(), AT_ONCE_A_CHANNEL])
        row = cursor.fetchone()
        if row is None:
            return None
        pk, token, channel_id, kind, dedupe_key, attempts = row
        found = OutboxMessage.objects.select_related("channel").get(pk=pk)
    message = Message(kind, dedupe_key, found.payload, found.channel.config, found.channel.secret)
    return Lease(pk, token, channel_id, found.channel.kind, attempts, message)


def settle(taken: Lease, answer: Answer) -> bool:
    """Write down the answer, if the lease is still ours. False when it ran out and another sender has the message."""
    with transaction.atomic():
        rows = OutboxMessage.objects.filter(pk=taken.id, lease_token=taken.token, state=OutboxMessage.State.PENDING)
        message = rows.select_for_update(of=("self",)).first()
        if message is None:
            log.info("outbox.lease_lost", message=taken.id, dedupe_key=taken.message.dedupe_key)
            return False
        now = jobs.database_now()
        message.lease_token = None
        match answer:
            case Sent():
                message.state, message.sent_at, message.last_error = OutboxMessage.State.SENT, now, ""
            case Permanent(reason=reason):
                message.state, message.last_error = OutboxMessage.State.DEAD, _short(reason)
            case Retry(reason=reason):
                message.last_error = _short(reason)
                message.due_at = now + pause(taken.attempts, answer)
                if message.attempts >= MAX_ATTEMPTS or now >= message.give_up_at:
                    message.state = OutboxMessage.State.DEAD
                if answer.away:
                    # Nobody is there: its other messages need not each find that out by waiting for a timeout.
                    OutboxMessage.objects.filter(
                        channel_id=taken.channel_id, state=OutboxMessage.State.PENDING, lease_token=None
                    ).exclude(pk=message.pk).filter(due_at__lt=message.due_at).update(due_at=message.due_at)
        message.save(update_fields=["state", "sent_at", "last_error", "due_at", "lease_token"])
        if message.state == OutboxMessage.State.DEAD:
            log.error("outbox.dead", message=message.pk, dedupe_key=message.dedupe_key, error=message.last_error)
            live.announce("outbox", id=message.pk)
    return True


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
