"""Asking over HTTP: the secret in its place, the answer unpacked within bounds, what went wrong in words."""

import base64
import ssl
import time
from collections.abc import Mapping
from email.utils import parsedate_to_datetime
from typing import Any, Final

import httpx

from monitoring.sources import packed
from monitoring.sources.packed import UnknownEncoding
from monitoring.sources.wire import Malformed, TooLarge
from portal import outgoing
from portal.outgoing import Got

AGENT: Final = "Flightdeck"
LONGEST_WORDS: Final = 300
# How every word about such a certificate begins.
DISTRUSTED: Final = "the certificate is not trusted"


class Failed(Exception):
    """The source could not be asked, or did not answer as it should; the message says why."""


def ask(
    config: Mapping[str, Any],
    secret: str,
    *,
    timeout: float,
    at_most: int,
    url: str = "",
    method: str = "GET",
    headers: Mapping[str, str] | None = None,
    content: bytes = b"",
) -> Got:
    """One request; raises Failed in words. Errors of certificates keep their cause."""
    sent = {"User-Agent": AGENT, **(headers or {}), **config.get("headers", {}), **authorization(config, secret)}
    try:
        return outgoing.request(
            method,
            url or config["url"],
            headers=sent,
            content=content,
            timeout=timeout,
            at_most=at_most,
            verify=config.get("verify", True),
        )
    except outgoing.Blocked as error:
        raise Failed(str(error)) from error
    except httpx.TimeoutException as error:
        raise Failed(f"no whole answer within {timeout:.3g} s") from error
    except httpx.InvalidURL as error:
        raise Failed(f"not an address: {error}") from error
    except (httpx.HTTPError, UnicodeError) as error:
        raise Failed(words(error)) from error


def authorization(config: Mapping[str, Any], secret: str) -> dict[str, str]:
    """The header that carries the secret."""
    match config.get("auth"):
        case "bearer":
            return {"Authorization": f"Bearer {secret}"}
        case "basic":
            pair = f"{config['user']}:{secret}".encode()
            return {"Authorization": f"Basic {base64.b64encode(pair).decode()}"}
        case "header":
            return {config["auth_header"]: secret}
    return {}


def opened(got: Got, *, at_most: int) -> bytes:
    """The whole body, unpacked; raises Failed."""
    if not got.whole:
        raise Failed(f"the answer is larger than {at_most} bytes")
    try:
        return packed.unpack(got.body, got.headers.get("Content-Encoding", ""))
    except (TooLarge, Malformed, UnknownEncoding) as error:
        raise Failed(str(error)) from None


def skew(got: Got, began: float, elapsed: float) -> float | None:
    """How far the server's clock is ahead of ours, in seconds; its Date header knows whole ones only."""
    try:
        theirs = parsedate_to_datetime(got.headers.get("Date", "")).timestamp() + 0.5
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    found = theirs - (began + elapsed)
    return 0.0 if abs(found) < 1.0 else round(found, 1)


def refusal(got: Got) -> str:
    """An answer that is not what was asked for, in words."""
    if 300 <= got.status < 400:
        return f"HTTP {got.status}: redirects are not followed, configure the final address"
    shown = got.body[:LONGEST_WORDS].decode(errors="replace").split("\n")[0].strip()
    return f"HTTP {got.status} {shown}".strip() if shown.isprintable() else f"HTTP {got.status}"


def words(error: BaseException) -> str:
    """An error of the network as people read it."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{DISTRUSTED}: {error.verify_message}"
    text = str(error)
    _, distrust, why = text.partition("certificate verify failed:")
    if distrust:
        return f"{DISTRUSTED}: {why.partition('(_ssl')[0].strip()}"
    return (f"{type(error).__name__}: {text}" if text else type(error).__name__)[:LONGEST_WORDS]


class Stopwatch:
    """Seconds since it was made."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began
