"""A signed POST of JSON to an address of the user's.

Headers: `Idempotency-Key` (the dedupe key), `X-Flightdeck-Event` (the message's kind), `X-Flightdeck-Timestamp` (Unix
seconds) and, where the channel has a secret, `X-Signature-256: sha256=HEX`: HMAC-SHA-256 with the secret over the
timestamp, a dot, and the raw body. A receiver checks the signature, refuses old timestamps, and drops keys it has seen.
"""

import hashlib
import hmac
import ipaddress
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
import orjson

from monitoring.channels.registry import Answer, Message, Permanent, Retry, Sent
from portal import outgoing
from portal.errors import Invalid

TIMEOUT = 5.0  # seconds; far shorter than the outbox's lease
MAX_URL = 2000
# Everything else from 400 to 499 says that this message is wrong, and will be wrong again.
ASK_AGAIN = frozenset({408, 425, 429})


class Webhook:
    name = "webhook"

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(config) - {"url"})
        if unknown:
            raise Invalid(dict.fromkeys(unknown, "unknown field"))
        url = config.get("url")
        if not isinstance(url, str) or not url:
            raise Invalid.of("url", "the address to POST to is required")
        _check_address(url)
        return {"url": url}

    def send(self, message: Message) -> Answer:
        body = orjson.dumps(message.payload)
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "Flightdeck",
            "Idempotency-Key": message.dedupe_key,
            "X-Flightdeck-Event": message.kind,
            "X-Flightdeck-Timestamp": timestamp,
        }
        if message.secret:
            headers["X-Signature-256"] = signature(message.secret, timestamp, body)
        try:
            answer = outgoing.post(str(message.config["url"]), content=body, headers=headers, timeout=TIMEOUT)
        except outgoing.NotFound as error:
            return Retry(str(error), away=True)
        except outgoing.Blocked as error:
            return Permanent(str(error))
        except httpx.HTTPError as error:
            return Retry(f"{type(error).__name__}: {error}", away=True)
        except httpx.InvalidURL as error:
            return Permanent(f"not an address: {error}")
        return _read(answer)


def signature(secret: str, timestamp: str, body: bytes) -> str:
    """`sha256=HEX` over "timestamp.body"."""
    return "sha256=" + hmac.new(secret.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()


def _read(answer: httpx.Response) -> Answer:
    code = answer.status_code
    if 200 <= code < 300:
        return Sent()
    words = f"HTTP {code} {answer.text[:200]}".strip()
    if code in ASK_AGAIN or code >= 500:
        return Retry(words, after=retry_after(answer.headers.get("Retry-After", "")))
    if 300 <= code < 400:
        return Permanent(f"HTTP {code}: redirects are not followed, configure the final address")
    return Permanent(words)


def retry_after(header: str, *, now: datetime | None = None) -> float | None:
    """The seconds that a Retry-After header asks for, in either of its two forms; None where there is none."""
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        until = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return None
    if until.tzinfo is None:
        until = until.replace(tzinfo=UTC)
    return max(0.0, (until - (now or datetime.now(UTC))).total_seconds())


def _check_address(url: str) -> None:
    """What can be seen without looking the name up; the rest is checked each time something is sent."""
    if len(url) > MAX_URL:
        raise Invalid.of("url", f"longer than {MAX_URL} characters")
    if any(character.isspace() or ord(character) < 32 for character in url):
        raise Invalid.of("url", "an address has no spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise Invalid.of("url", f"not a web address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid.of("url", "only http:// and https:// addresses are allowed")
    if parts.username or parts.password:
        raise Invalid.of("url", "an address may not carry a user or a password")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return
    if not outgoing.allowed(host):
        raise Invalid.of("url", f"{host} is inside a network that outgoing requests may not reach")
