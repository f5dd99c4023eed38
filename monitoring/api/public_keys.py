"""What the doors of public keys share: whose pages may use one, how often, and which answers they may read."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from django.conf import settings
from django.db import InterfaceError, OperationalError
from django.http import HttpResponse
from rest_framework import exceptions
from rest_framework.request import Request

from portal import origins
from portal.errors import Forbidden, Unavailable
from portal.limits import Limiter
from portal.models import ApiKey

LARGEST = 65_536  # bytes: what a browser lets go out of a page that is being left
ORIGINS_ANEW = 5.0  # seconds that a process goes by the origins it has read
REMEMBERED = "86400"  # seconds that a browser keeps the answer to its asking


class TooMuch(exceptions.APIException):
    status_code = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


# --- How often, and how much at once --------------------------------------------------------------
@lru_cache(maxsize=1)
def _addresses() -> Limiter:
    return Limiter(settings.PORTAL_BROWSER_RATE)


@lru_cache(maxsize=1)
def _keys() -> Limiter:
    return Limiter(settings.PORTAL_BROWSER_KEY_RATE)


@lru_cache(maxsize=1)
def _places() -> threading.BoundedSemaphore:
    """For reports that are worked on: each holds a thread that the portal's own pages wait for, too."""
    return threading.BoundedSemaphore(settings.PORTAL_BROWSER_IN_FLIGHT)


def limit_address(request: Request) -> None:
    """One more from this address. Raises Throttled."""
    _or_later(_addresses(), request.META.get("REMOTE_ADDR", ""))


def limit_key(key: ApiKey) -> None:
    """One more with this key. Raises Throttled."""
    _or_later(_keys(), key.pk)


def _or_later(limiter: Limiter, caller: object) -> None:
    wait = limiter.wait(caller)
    if wait:
        raise exceptions.Throttled(wait)


@contextmanager
def place() -> Iterator[None]:
    """While a report is worked on. Raises Unavailable where all places are taken."""
    places = _places()
    if not places.acquire(blocking=False):
        raise Unavailable("too many reports of browsers at once")
    try:
        yield
    finally:
        places.release()


def body(request: Request) -> bytes:
    """As it came: small, and not packed, for what a stranger has packed may grow to anything."""
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise exceptions.UnsupportedMediaType(request.content_type or "", "send it unpacked")
    raw: bytes = request._request.body
    if len(raw) > LARGEST:
        raise TooMuch(f"at most {LARGEST} bytes in one report, not {len(raw)}")
    return raw


# --- Whose pages ----------------------------------------------------------------------------------
def allows(key: ApiKey, request: Request) -> bool:
    """Whether the page that this comes from may use this public key. What names no origin comes from no page."""
    origin = request.headers.get("Origin", "")
    return bool(origin) and key.is_public and origins.allows(key.origins, origin)


def any_allows(request: Request) -> bool:
    """Whether the page may use at least one: where it is not known which key it is about."""
    origin = request.headers.get("Origin", "")
    return bool(origin) and origins.allows(_known_origins(), origin)


def stranger(request: Request) -> Forbidden:
    """What a page that may not use the key is told."""
    origin = request.headers.get("Origin", "")[:200]
    return Forbidden(
        f"pages of '{origin}' may not use this key" if origin else "a report comes from a page: without Origin"
    )


_origins: tuple[float, frozenset[str]] = (float("-inf"), frozenset())


def _known_origins() -> frozenset[str]:
    """Those of all public keys, as they were within the last seconds; while the store is gone, as they were last."""
    global _origins
    read, known = _origins
    if time.monotonic() - read > ORIGINS_ANEW:
        # Asked for an answer, too, that says that the store is gone.
        with suppress(OperationalError, InterfaceError):
            live = ApiKey.objects.filter(scopes=[ApiKey.Scope.BROWSER], revoked_at=None)
            known = frozenset(one for some in live.values_list("origins", flat=True) for one in some)
        _origins = (time.monotonic(), known)
    return known


def forget_origins() -> None:
    """Read them anew."""
    global _origins
    _origins = (float("-inf"), frozenset())


# --- What they may read ---------------------------------------------------------------------------
def preflight(headers: str) -> HttpResponse:
    """To a browser that asks whether its page may send what a plain form could not: yes, these headers."""
    response = HttpResponse(status=HTTPStatus.NO_CONTENT)
    response["Access-Control-Allow-Methods"] = "POST"
    response["Access-Control-Allow-Headers"] = headers
    response["Access-Control-Max-Age"] = REMEMBERED
    return response


def let_read(response: Any, request: Request, headers: str) -> None:
    """The page that asked may read this answer, and these headers of it."""
    response["Access-Control-Allow-Origin"] = request.headers["Origin"]
    response["Access-Control-Expose-Headers"] = headers
