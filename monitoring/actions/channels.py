"""Making, changing and taking away the places where messages go."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring import channels
from monitoring.models import Channel, ScalingPolicy
from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused

LONGEST_SECRET = 1000
SHOWN = ("name", "kind", "config", "active", "fold_after")


def create(fields: Mapping[str, Any], *, by: Actor) -> Channel:
    permissions.require(by, "configure")
    channel = Channel(**fields)
    with transaction.atomic():
        _check(channel)
        channel.save()
        audit.record("channel.created", channel, by=by, after=_shown(channel))
    return channel


def change(channel: Channel, fields: Mapping[str, Any], *, by: Actor) -> Channel:
    """Replace the fields given. The secret is written over, never read."""
    permissions.require(by, "configure")
    with transaction.atomic():
        channel = _lock(channel)
        before = _shown(channel)
        for name, value in fields.items():
            setattr(channel, name, value)
        _check(channel)
        channel.save()
        after = _shown(channel) | ({"secret": "changed"} if "secret" in fields else {})
        if after != before:
            audit.record("channel.changed", channel, by=by, before=before, after=after)
    return channel


def delete(channel: Channel, *, by: Actor, because: str = "") -> None:
    """What waits to be sent there goes with it. A policy that sends its decisions there has to be changed before."""
    permissions.require(by, "configure")
    with transaction.atomic():
        channel = _lock(channel)
        telling = [str(one) for one in ScalingPolicy.objects.active().filter(channel=channel)]
        if telling:
            raise Refused(f"channel {channel.name} is told by scaling policies: {', '.join(telling)}")
        ScalingPolicy.objects.filter(channel=channel).update(channel=None)  # removed ones decide no more
        waiting = channel.messages.filter(state="pending").count()
        audit.record("channel.deleted", channel, by=by, before=_shown(channel) | {"waiting": waiting}, because=because)
        channel.delete()


def _check(channel: Channel) -> None:
    kind = channels.find(channel.kind)
    if kind is None:
        raise Invalid.of("kind", f"must be one of {', '.join(channels.names())}")
    if not isinstance(channel.config, Mapping):
        raise Invalid.of("config", "must be an object")
    try:
        channel.config = kind.clean(channel.config)
    except Invalid as wrong:
        raise Invalid({f"config.{name}": message for name, message in wrong.errors.items()}) from None
    if Channel.objects.filter(name=channel.name).exclude(pk=channel.pk).exists():
        raise Refused(f"there is a channel named {channel.name} already")


def _lock(channel: Channel) -> Channel:
    found = Channel.objects.select_for_update().filter(pk=channel.pk).first()
    if found is None:
        raise Refused(f"channel {channel.name} has been deleted")
    return found


def _shown(channel: Channel) -> dict[str, Any]:
    return {name: getattr(channel, name) for name in SHOWN}
