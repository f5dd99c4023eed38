"""What a person chooses of how they are told; and what waits for its time."""

from collections.abc import Mapping
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from monitoring.actions import outbox
from monitoring.models import Channel, NotificationPreference, OutboxMessage
from monitoring.preferences import Preferences, Urgency, When
from monitoring.suppressing import DAYS, Recurrence
from portal import audit, jobs, permissions
from portal.audit import Actor
from portal.errors import Invalid
from portal.models import User

HELD = "digest.held"
LISTED = 100  # of what waits in one message
TIMES = ("opens", "closes", "digest_at")
QUIET = ("quiet_from", "quiet_until")
# What is critical is told at once: that is not to be chosen.
CHOSEN = (Urgency.WARNING, Urgency.INFO)
FIELDS = ("zone", "days", *TIMES, *QUIET, *CHOSEN, "channels")


def choose(person: User, fields: Mapping[str, Any], *, by: Actor) -> NotificationPreference:
    """Everybody for themselves; who administers for others, too. What is left out keeps its value."""
    if by != person:
        permissions.require(by, "administer")
    with transaction.atomic():
        User.objects.select_for_update(no_key=True).get(pk=person.pk)
        found = NotificationPreference.objects.filter(user=person).first()
        found = found or NotificationPreference(user=person, days=list(DAYS[:5]))
        before = shown(found)
        faults = _write(found, fields)
        if faults:
            raise Invalid(faults)
        found.changed_at = jobs.database_now()
        found.save()
        if "channels" in fields:
            found.channels.set(fields["channels"])
        audit.record("notification_preference.chosen", found, by=by, before=before, after=shown(found))
    return found


def forget(person: User, *, by: Actor) -> None:
    """Everything comes at once again. What waits already still comes at its time."""
    if by != person:
        permissions.require(by, "administer")
    with transaction.atomic():
        found = NotificationPreference.objects.filter(user=person).first()
        if found is not None:
            audit.record("notification_preference.forgotten", found, by=by, before=shown(found))
            found.delete()


def due(person: User, urgency: Urgency, now: datetime) -> datetime | None:
    """When the person wants to be told of something that urgent; None: never."""
    found = NotificationPreference.objects.filter(user=person).first()
    return now if found is None else of(found).due(urgency, now)


def of(found: NotificationPreference) -> Preferences:
    zone = ZoneInfo(found.zone)
    quiet = None
    if found.quiet_from is not None and found.quiet_until is not None:
        quiet = Recurrence(frozenset(range(7)), found.quiet_from, found.quiet_until, zone)
    days = frozenset(DAYS.index(day) for day in found.days)
    business = Recurrence(days, found.opens, found.closes, zone)
    choices = {one: When(getattr(found, one)) for one in CHOSEN}
    return Preferences(zone, business, quiet, found.digest_at, choices)


def ways(person: User) -> list[Channel]:
    """Those of the person's own channels that they have chosen; all of them when they have chosen none."""
    own = person.channels.filter(active=True)
    found = NotificationPreference.objects.filter(user=person).first()
    chosen = own.filter(pk__in=found.channels.values("pk")) if found is not None else own.none()
    return list(chosen) or list(own)


def hold(channel: Channel, kind: str, payload: Mapping[str, Any], *, due_at: datetime) -> None:
    """In the caller's transaction: told with everything else that this channel is to be told then, in one message.

    A row that is due, not a memory: a portal that is down at that time tells it when it is back.
    """
    Channel.objects.select_for_update(no_key=True).get(pk=channel.pk)
    key = f"{HELD}:{channel.pk}:{due_at:%Y%m%dT%H%M%S}"
    message = OutboxMessage.objects.filter(dedupe_key=key, attempts=0, state=OutboxMessage.State.PENDING).first()
    if message is None:
        if OutboxMessage.objects.filter(dedupe_key=key).exists():
            key = f"{key}:{payload['id']}"[:200]  # that one is under way
        message = OutboxMessage(
            channel=channel,
            kind=HELD,
            payload={"id": key, "kind": HELD, "count": 0, "folded": []},
            dedupe_key=key,
            due_at=due_at,
            give_up_at=due_at + outbox.GIVE_UP_AFTER,
        )
    said = message.payload
    if any(one["key"] == payload["id"] for one in said["folded"]):
        return
    said["count"] += 1
    if said["count"] <= LISTED:
        told = {"key": payload["id"], "kind": kind, "incident": payload.get("incident")}
        said["folded"].append(told | {"text": str(payload["text"])[:300]})
    said["text"] = f"{said['count']} message{'s' if said['count'] > 1 else ''} waited for this time"
    message.save()


def shown(found: NotificationPreference) -> dict[str, Any]:
    return {
        name: value.strftime("%H:%M") if isinstance(value, time) else value
        for name in FIELDS
        if name != "channels"
        for value in [getattr(found, name)]
    } | {"channels": sorted(one.name for one in found.channels.all()) if found.pk else []}


def _write(found: NotificationPreference, fields: Mapping[str, Any]) -> dict[str, str]:
    faults: dict[str, str] = {}
    for name in FIELDS:
        if name in fields and name != "channels":
            setattr(found, name, fields[name])
    try:
        ZoneInfo(found.zone)
    except (KeyError, ValueError, OSError, TypeError):
        faults["zone"] = "is no zone of the IANA database, such as Europe/Warsaw"
    if unknown := [day for day in found.days if day not in DAYS]:
        faults["days"] = f"{unknown[0]} is none of {', '.join(DAYS)}"
    for name in CHOSEN:
        if getattr(found, name) not in NotificationPreference.When.values:
            faults[name] = f"must be one of {', '.join(NotificationPreference.When.values)}"
        if getattr(found, name) == When.BUSINESS_HOURS and not found.days:
            faults["days"] = "business hours need a day"
    if (found.quiet_from is None) != (found.quiet_until is None):
        faults["quiet_until"] = "quiet hours have a beginning and an end"
    for channel in fields.get("channels", ()):
        if channel.owner_id != found.user_id:
            faults["channels"] = f"{channel} is not a channel of theirs"
    return faults
