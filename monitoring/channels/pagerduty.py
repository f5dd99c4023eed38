"""PagerDuty's Events API v2: an incident of ours is one of theirs, by its dedup_key."""

import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import orjson
from django.conf import settings

from monitoring.channels import fields, http
from monitoring.channels.registry import Answer, Message, Permanent, Sent

SEVERITIES = {"SEV1": "critical", "SEV2": "error", "SEV3": "warning", "SEV4": "info"}
ACTIONS = {"incident.acknowledged": "acknowledge", "incident.resolved": "resolve"}
TEST = "channel.test"
MAX_SUMMARY = 1024
MAX_DEDUP_KEY = 255
KEY_LENGTH = 32


class PagerDuty:
    """No configuration; the secret is the integration's routing key, of 32 characters."""

    name = "pagerduty"
    pace = 0.0
    folds_after = 0  # its incidents would stay open

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, ())
        return {}

    def send(self, message: Message) -> Answer:
        if len(message.secret) != KEY_LENGTH:
            return Permanent(f"the channel's secret must be the routing key, of {KEY_LENGTH} characters")
        answer = self._enqueue(message, ACTIONS.get(message.kind, "trigger"))
        if message.kind == TEST and isinstance(answer, Sent):
            # Nobody is to be woken for longer than it takes.
            return self._enqueue(message, "resolve")
        return answer

    def _enqueue(self, message: Message, action: str) -> Answer:
        event: dict[str, Any] = {
            "routing_key": message.secret,
            "event_action": action,
            "dedup_key": _dedup_key(message),
            "client": "Flightdeck",
            "client_url": settings.PORTAL_BASE_URL,
        }
        if action == "trigger":
            event |= _alert(message)
        return http.read(
            http.post(
                f"{settings.PORTAL_PAGERDUTY_URL.rstrip('/')}/v2/enqueue",
                content=orjson.dumps(event),
                headers={"Idempotency-Key": message.dedupe_key},
            )
        )


def _alert(message: Message) -> dict[str, Any]:
    found = message.payload.get("incident")
    incident: Mapping[str, Any] = found if isinstance(found, Mapping) else {}
    text = str(message.payload.get("text") or message.kind)
    severity = SEVERITIES.get(str(incident.get("severity")), "info" if message.kind == TEST else "critical")
    payload: dict[str, Any] = {
        "summary": text[:MAX_SUMMARY],
        "source": str(incident.get("service") or urlsplit(settings.PORTAL_BASE_URL).hostname or "flightdeck"),
        "severity": severity,
        "custom_details": {**incident, "event": message.kind},
    }
    if incident.get("opened_at"):
        payload["timestamp"] = incident["opened_at"]
    if incident.get("service"):
        payload["component"] = incident["service"]
    if incident.get("environment"):
        payload["group"] = incident["environment"]
    url = incident.get("url")
    links = [{"href": url, "text": "The incident in Flightdeck"}] if url else []
    return {"payload": payload, "links": links}


def _dedup_key(message: Message) -> str:
    incident = message.payload.get("incident")
    if isinstance(incident, Mapping) and incident.get("uid"):
        return f"incident-{incident['uid']}"
    if len(message.dedupe_key) <= MAX_DEDUP_KEY:
        return message.dedupe_key
    return hashlib.sha256(message.dedupe_key.encode()).hexdigest()
