"""Buttons pressed in Slack: proven to come from there, once, from a person of ours; answered in words."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction

from monitoring.actions import incidents, outbox, responses
from monitoring.channels import slack
from monitoring.models import Channel, HookReceipt, Incident
from portal import jobs, permissions
from portal.errors import Forbidden, Invalid, Refused
from portal.models import User

VERSION = "v0"
WINDOW = timedelta(minutes=5)
VERBS = {
    "acknowledge": (incidents.acknowledge, "acknowledged"),
    "resolve": (incidents.resolve, "resolved"),
    "confirm": (responses.confirm_proposed, "acted on as proposed"),
}


def press(
    body: bytes, payload: Mapping[str, Any], *, timestamp: str, signature: str, now: datetime | None = None
) -> str:
    """Do what was pressed, as the person who pressed it. What became of it, in words; refusals are words, too.

    Raises Forbidden when the request is not Slack's, or too old; Refused when it was taken before.
    """
    now = now or jobs.database_now()
    incident_id, channel = _pressed(payload)
    _prove(body, channel, timestamp=timestamp, signature=signature, now=now)
    with transaction.atomic():
        if not _is_new(signature, now=now):
            raise Refused("this request was taken before")
        words = _act(payload, incident_id, channel)
        url = str(payload.get("response_url") or "")
        if channel is not None and url:
            answer = {"text": words, "response_url": url}
            outbox.put(channel, slack.REPLY, answer, dedupe_key=f"{slack.REPLY}:{_digest(signature)}")
    return words


def _pressed(payload: Mapping[str, Any]) -> tuple[int | None, Channel | None]:
    """The incident and the channel that the button's value names."""
    actions = payload.get("actions")
    first = actions[0] if isinstance(actions, list) and actions else {}
    value = first.get("value") if isinstance(first, Mapping) else None
    incident, _, channel = str(value or "").partition(":")
    if not (incident.isdecimal() and channel.isdecimal() and len(value or "") < 30):
        return None, None
    kinds = (slack.Bot.name, slack.IncomingWebhook.name)
    return int(incident), Channel.objects.filter(pk=int(channel), kind__in=kinds, active=True).first()


def _prove(body: bytes, channel: Channel | None, *, timestamp: str, signature: str, now: datetime) -> None:
    secret = (channel.signing_secret if channel else "") or settings.PORTAL_SLACK_SIGNING_SECRET
    if not secret:
        raise Forbidden("no signing secret is configured for Slack")
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12):
        raise Forbidden("X-Slack-Request-Timestamp must be Unix seconds")
    if abs(now.timestamp() - int(timestamp)) > WINDOW.total_seconds():
        raise Forbidden("the request is too old, or from the future")
    signed = f"{VERSION}:{timestamp}:".encode() + body
    expected = f"{VERSION}={hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()}"
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        raise Forbidden("the signature is not Slack's")


def _is_new(signature: str, *, now: datetime) -> bool:
    """Whether it has never been taken. Receipts are kept for as long as their request would be believed."""
    HookReceipt.objects.filter(at__lt=now - 3 * WINDOW).delete()
    _, is_new = HookReceipt.objects.get_or_create(digest=_digest(signature), defaults={"at": now})
    return is_new


def _digest(signature: str) -> str:
    return hashlib.sha256(signature.encode()).hexdigest()


def _act(payload: Mapping[str, Any], incident_id: int | None, channel: Channel | None) -> str:
    verb = payload["actions"][0].get("action_id") if incident_id is not None else None
    if channel is None or incident_id is None or verb not in VERBS:
        return "Flightdeck knows no such button."
    person = _person(payload, channel)
    if person is None:
        return "Flightdeck does not know who you are: your Slack e-mail address must be that of your account there."
    incident = permissions.visible(person, Incident.objects.filter(pk=incident_id)).first()
    if incident is None:
        return "There is no such incident that you may see."
    act, done = VERBS[str(verb)]
    try:
        with transaction.atomic():
            act(incident, by=person, because="pressed in Slack")
    except (Refused, Forbidden, Invalid) as refusal:
        return str(refusal)
    return f"Incident {incident.pk} is {done} by {person}."


def _person(payload: Mapping[str, Any], channel: Channel) -> User | None:
    """Whose own channel is this Slack user, or whose e-mail address Slack says it has."""
    user = payload.get("user")
    identity = user.get("id") if isinstance(user, Mapping) else None
    if not isinstance(identity, str) or not identity:
        return None
    own = Channel.objects.filter(kind=slack.Bot.name, config__channel=identity, active=True, owner__is_active=True)
    found = own.select_related("owner").first()
    if found is not None:
        return found.owner
    if channel.kind != slack.Bot.name:
        return None
    email = slack.email_of(channel.secret, identity)
    people = list(User.objects.filter(email__iexact=email, is_active=True)[:2]) if email else []
    return people[0] if len(people) == 1 else None
