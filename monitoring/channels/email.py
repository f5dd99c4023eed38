"""An e-mail to one address: plain text with a small HTML part beside it.

The Message-ID is made of the dedupe key: a message that goes out twice is one message to whoever reads it. What is
said of one incident hangs together as a thread.
"""

import hashlib
import re
import smtplib
from collections.abc import Mapping
from datetime import time
from typing import Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.mail import EmailMultiAlternatives, get_connection
from django.core.validators import validate_email
from django.template.loader import render_to_string

from monitoring.channels.registry import Answer, Message, Permanent, Retry, Sent
from portal.errors import Invalid

MAX_SUBJECT = 200
MAX_ADDRESS = 254
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")
DIGEST = "digest.daily"
REPORT = "report."
FIRST = "incident.opened"
FIELDS = frozenset({"to", "digest", "digest_at", "zone"})


class Email:
    """Configuration: `to`, and for the digest of the day `digest`, `digest_at` ("08:00") and `zone` (IANA)."""

    name = "email"
    pace = 0.0
    folds_after = 10

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(config) - FIELDS)
        if unknown:
            raise Invalid(dict.fromkeys(unknown, "unknown field"))
        cleaned: dict[str, Any] = {"to": _address(config.get("to"))}
        if config.get("digest") is not None:
            cleaned["digest"] = _yes_or_no(config["digest"])
        if config.get("digest_at") is not None:
            cleaned["digest_at"] = _time(config["digest_at"])
        if config.get("zone") is not None:
            cleaned["zone"] = _zone(config["zone"])
        return cleaned

    def send(self, message: Message) -> Answer:
        try:
            letter = _compose(message)
            with get_connection() as letter.connection:
                letter.send()
        except smtplib.SMTPRecipientsRefused as error:
            return _judge(*next(iter(error.recipients.values())))
        except (smtplib.SMTPConnectError, smtplib.SMTPHeloError, smtplib.SMTPAuthenticationError) as error:
            # Not about this message: nobody could send anything there now.
            return Retry(_words(error.smtp_code, error.smtp_error), away=True)
        except smtplib.SMTPResponseException as error:
            return _judge(error.smtp_code, error.smtp_error)
        except (smtplib.SMTPException, OSError) as error:
            return Retry(f"{type(error).__name__}: {error}", away=True)
        except (UnicodeError, ValueError) as error:
            return Permanent(f"it cannot be written as an e-mail: {error}")
        return Sent()


def digest_time(config: Mapping[str, Any]) -> tuple[time, ZoneInfo]:
    """When the digest of the day is due: the recipient's own words, or 08:00 in the portal's zone."""
    return time.fromisoformat(config.get("digest_at", "08:00")), ZoneInfo(config.get("zone") or settings.PORTAL_ZONE)


def _judge(code: int, words: bytes | str) -> Answer:
    """A 4xx passes, a 5xx does not; 421 says that the server is closing down."""
    if 500 <= code < 600:
        return Permanent(_words(code, words))
    return Retry(_words(code, words), away=code == 421)


def _words(code: int, words: bytes | str) -> str:
    text = words.decode("utf-8", "replace") if isinstance(words, bytes) else words
    return f"SMTP {code} {text}".strip()


def _compose(message: Message) -> EmailMultiAlternatives:
    template = "digest" if message.kind == DIGEST else "report" if message.kind.startswith(REPORT) else "message"
    context = {"kind": message.kind, "portal": settings.PORTAL_BASE_URL, **message.payload}
    made = EmailMultiAlternatives(
        subject=" ".join(_subject(message).split())[:MAX_SUBJECT],
        body=render_to_string(f"monitoring/mail/{template}.txt", context),
        from_email=settings.DEFAULT_FROM_EMAIL,
        to=[str(message.config["to"])],
        headers={
            "Message-ID": _own_identity(message),
            "Auto-Submitted": "auto-generated",
            "X-Flightdeck-Event": message.kind,
            **_thread(message),
        },
    )
    made.attach_alternative(render_to_string(f"monitoring/mail/{template}.html", context), "text/html")
    return made


def _subject(message: Message) -> str:
    incident = message.payload.get("incident")
    if isinstance(incident, Mapping):
        event = message.kind.rpartition(".")[2]
        return f"[{incident.get('severity')} {event}] {incident.get('title')}"
    return str(message.payload.get("text") or message.kind)


def _thread(message: Message) -> dict[str, str]:
    incident = message.payload.get("incident")
    if not isinstance(incident, Mapping) or message.kind == FIRST:
        return {}
    return {"In-Reply-To": _root(incident), "References": _root(incident)}


def _own_identity(message: Message) -> str:
    """The first message of an incident is what all others answer to."""
    incident = message.payload.get("incident")
    if isinstance(incident, Mapping) and message.kind == FIRST:
        return _root(incident)
    return _identity(message.dedupe_key)


def _root(incident: Mapping[str, Any]) -> str:
    return _identity(f"incident:{incident.get('uid') or incident.get('id')}")


def _identity(key: str) -> str:
    host = urlsplit(settings.PORTAL_BASE_URL).hostname or "localhost"
    return f"<{hashlib.sha256(key.encode()).hexdigest()[:40]}@{host.strip('[]').replace(':', '-')}>"


def _address(raw: object) -> str:
    if not isinstance(raw, str) or not raw:
        raise Invalid.of("to", "the address is required; for several, make a channel for each or use a list's address")
    try:
        validate_email(raw)
    except ValidationError:
        raise Invalid.of("to", "one e-mail address, as name@example.com") from None
    if len(raw) > MAX_ADDRESS:
        raise Invalid.of("to", f"at most {MAX_ADDRESS} characters")
    return raw


def _yes_or_no(raw: object) -> bool:
    if not isinstance(raw, bool):
        raise Invalid.of("digest", "must be true or false")
    return raw


def _time(raw: object) -> str:
    if not isinstance(raw, str) or not TIME.match(raw):
        raise Invalid.of("digest_at", "must be a time of the day, as 08:00")
    return raw


def _zone(raw: object) -> str:
    try:
        return ZoneInfo(str(raw)).key
    except (KeyError, ValueError, OSError):
        raise Invalid.of("zone", "must be an IANA zone, as Europe/Warsaw") from None
