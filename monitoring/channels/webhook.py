"""A signed POST of JSON to an address of the user's.

Headers: `Idempotency-Key` (the dedupe key), `X-Flightdeck-Event` (the message's kind), `X-Flightdeck-Timestamp` (Unix
seconds) and, where the channel has a secret, `X-Signature-256: sha256=HEX`: HMAC-SHA-256 with the secret over the
timestamp, a dot, and the raw body. A receiver checks the signature, refuses old timestamps, and drops keys it has seen.
"""

import hashlib
import hmac
import time
from collections.abc import Mapping
from typing import Any

import orjson

from monitoring.channels import fields, http
from monitoring.channels.registry import Answer, Message
from monitoring.models.incidents import HOOKED
from portal.errors import Invalid


class Webhook:
    """Configuration: `url`, and `responses`: what of an incident's responses the machine behind it carries out."""

    name = "webhook"
    pace = 0.0
    folds_after = 0  # a machine wants each

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        fields.only(config, {"url", "responses"})
        cleaned: dict[str, Any] = {"url": http.check_address(config.get("url"))}
        if config.get("responses"):
            cleaned["responses"] = _responses(config["responses"])
        return cleaned

    def send(self, message: Message) -> Answer:
        body = orjson.dumps(message.payload)
        timestamp = str(int(time.time()))
        headers = {
            "Idempotency-Key": message.dedupe_key,
            "X-Flightdeck-Event": message.kind,
            "X-Flightdeck-Timestamp": timestamp,
        }
        if message.secret:
            headers["X-Signature-256"] = signature(message.secret, timestamp, body)
        return http.read(http.post(str(message.config["url"]), content=body, headers=headers))


def _responses(given: object) -> list[str]:
    if not isinstance(given, list) or any(one not in HOOKED for one in given):
        raise Invalid.of("responses", f"must be a list of {', '.join(HOOKED)}")
    return list(dict.fromkeys(given))


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`sha256=HEX` over "timestamp.body"."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
