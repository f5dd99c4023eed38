"""POSTs to addresses of the user's: what an answer of HTTP means to a message, and which addresses are taken."""

import ipaddress
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

import httpx

from monitoring.channels.registry import Answer, Permanent, Retry, Sent
from portal import outgoing
from portal.errors import Invalid

TIMEOUT = 5.0  # seconds; far shorter than the outbox's lease
MAX_URL = 2000
# Everything else from 400 to 499 says that this message is wrong, and will be wrong again.
ASK_AGAIN = frozenset({408, 425, 429})


def post(url: str, *, content: bytes, headers: Mapping[str, str]) -> "httpx.Response | Retry | Permanent":
    """What the receiver answered; or, when it could not be asked, what becomes of the message."""
    headers = {"Content-Type": "application/json", "User-Agent": "Flightdeck", **headers}
    try:
        return outgoing.post(url, content=content, headers=headers, timeout=TIMEOUT)
    except outgoing.NotFound as error:
        return Retry(str(error), away=True)
    except outgoing.Blocked as error:
        return Permanent(str(error))
    except httpx.HTTPError as error:
        return Retry(f"{type(error).__name__}: {error}", away=True)
    except httpx.InvalidURL as error:
        return Permanent(f"not an address: {error}")


def read(answer: "httpx.Response | Retry | Permanent") -> Answer:
    """2xx is sent; 408, 425, 429 and 5xx are tried again; everything else never."""
    if isinstance(answer, Retry | Permanent):
        return answer
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


def check_address(url: object, field: str = "url") -> str:
    """What can be seen without looking the name up; the rest is checked each time something is sent."""
    if not isinstance(url, str) or not url:
        raise Invalid.of(field, "an address is required")
    if len(url) > MAX_URL:
        raise Invalid.of(field, f"longer than {MAX_URL} characters")
    if any(character.isspace() or ord(character) < 32 for character in url):
        raise Invalid.of(field, "an address has no spaces")
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
        httpx.URL(url)
    except (ValueError, httpx.InvalidURL) as error:
        raise Invalid.of(field, f"not a web address: {error}") from None
    if parts.scheme not in ("http", "https") or not host:
        raise Invalid.of(field, "only http:// and https:// addresses are allowed")
    if parts.username or parts.password:
        raise Invalid.of(field, "an address may not carry a user or a password")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return url
    if not outgoing.allowed(host):
        raise Invalid.of(field, f"{host} is inside a network that outgoing requests may not reach")
    return url
