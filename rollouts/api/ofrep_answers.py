"""What OFREP's doors answer with: one error body, headers that a browser may read."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import orjson

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

ORIGIN = (b"access-control-allow-origin", b"*")
# Any page may call: a key in a header is the only credential, there are no cookies.
SHARED: Headers = [ORIGIN, (b"access-control-expose-headers", b"ETag, Retry-After")]
JSON: Headers = [(b"content-type", b"application/json"), *SHARED]
# The answer depends on the body of a POST: no cache in between may keep it.
NO_STORE = (b"cache-control", b"no-store")
FRESH: Headers = [*JSON, NO_STORE]
# What only a browser reads is told to those alone that say which page they come from: each header takes its time.
FRESH_FROM_NO_PAGE: Headers = [JSON[0], NO_STORE]
PARSE_ERROR, INVALID_CONTEXT, GENERAL = "PARSE_ERROR", "INVALID_CONTEXT", "GENERAL"


class Failed(Exception):
    """An answer that is no evaluation."""

    def __init__(self, status: int, code: str, details: str, headers: Headers | None = None) -> None:
        super().__init__(details)
        self.status, self.code, self.details, self.headers = status, code, details, headers or []


async def fail(send: Send, key: str | None, failed: Failed) -> None:
    """The one error body of every status."""
    body = {"errorCode": failed.code, "errorDetails": failed.details}
    if key is not None:
        body = {"key": key[:200], **body}
    await answer(send, failed.status, orjson.dumps(body), [*FRESH, *failed.headers])


async def answer(send: Send, status: int, body: bytes, headers: Headers) -> None:
    if status not in (204, 304):
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def preflight(methods: bytes, headers: bytes) -> Headers:
    """What a page of another origin may send."""
    return [
        ORIGIN,
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", headers),
        (b"access-control-max-age", b"3600"),
        (b"vary", b"Access-Control-Request-Headers"),
    ]


def retry(seconds: int) -> tuple[bytes, bytes]:
    """Whole seconds: dates are misread by real clients."""
    return b"retry-after", str(seconds).encode()
