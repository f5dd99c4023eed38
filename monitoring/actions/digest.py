"""The digest of the day: one message for each e-mail channel that asked for it, once a day at its own hour.

It is due by the wall clock of the channel's zone, so a change to summer time moves nothing. The date and the channel
make its dedupe key: however many sweeps run at once, one message goes out.
"""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

import structlog

from monitoring.actions import outbox
from monitoring.channels.email import DIGEST, digest_time
from monitoring.models import Channel, OutboxMessage
from monitoring.queries.digest import digest
from portal import jobs

log = structlog.get_logger(__name__)

# After an outage the next digest tells of the days that were missed, too.
LONGEST = timedelta(days=7)


def send_due(*, now: datetime | None = None) -> int:
    """Put every digest that is due into the outbox. How many were."""
    now = now or jobs.database_now()
    sent = 0
    for channel in Channel.objects.filter(kind="email", active=True, config__digest=True):
        try:
            sent += _send(channel, now=now)
        except (KeyError, ValueError):
            # A zone that this machine does not know, perhaps: it is no reason to leave the others without theirs.
            log.exception("digest.failed", channel=channel.pk)
    return sent


def due_at(channel: Channel, *, now: datetime) -> datetime:
    """The last moment, up to now, at which this channel's digest was due; in its zone."""
    at, zone = digest_time(channel.config)
    local = now.astimezone(zone)
    today = datetime.combine(local.date(), at, tzinfo=zone)
    return today if today <= now else datetime.combine(local.date() - timedelta(days=1), at, tzinfo=zone)


def _send(channel: Channel, *, now: datetime) -> bool:
    due = due_at(channel, now=now)
    key = f"digest:{due:%Y-%m-%d}:{channel.pk}"
    # A channel made after its hour gets its first digest tomorrow.
    if due < channel.created_at or OutboxMessage.objects.filter(dedupe_key=key).exists():
        return False
    told = digest(_since(channel, due), due)
    payload: dict[str, Any] = {
        "id": key,
        "text": f"Flightdeck on {due:%d %B}: {told.text}",
        "date": f"{due:%Y-%m-%d}",
        "span": f"{told.since.astimezone(due.tzinfo):%d %b %H:%M} to {due:%d %b %H:%M} ({due.tzinfo})",
        **asdict(told),
        "since": told.since.isoformat(),
        "until": told.until.isoformat(),
    }
    outbox.put(channel, DIGEST, payload, dedupe_key=key)
    return True


def _since(channel: Channel, due: datetime) -> datetime:
    """Where the last digest ended; a day ago if there was none, a week at the most."""
    last = OutboxMessage.objects.filter(channel=channel, kind=DIGEST).order_by("-id").first()
    if last is None:
        return due - timedelta(days=1)
    return max(datetime.fromisoformat(last.payload["until"]), due - LONGEST)
