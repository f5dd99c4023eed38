"""The door of Sentry's SDKs: /api/<project>/envelope/ and, for old ones, /api/<project>/store/.

The project is the number of a service, the DSN's public key one of our keys in hexadecimal digits: of scope ingest, a
secret of servers, or of scope browser, which stands in pages. Pages of its origins alone may use that one, and read the
answers. An SDK drops what is answered with anything but 200, and says so in its own log; after 429 it waits.
"""

from collections.abc import Callable
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

from django.http import HttpResponse
from django.utils.cache import patch_vary_headers
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from monitoring import browsers
from monitoring.actions import sentry as taking
from monitoring.actions import sentry_pages
from monitoring.actions.sentry import Taken
from monitoring.api import public_keys
from monitoring.api.ingesting import Repeatable
from monitoring.sources import packed, sentry
from monitoring.sources.packed import UnknownEncoding
from monitoring.sources.sentry import Envelope, Unreadable
from monitoring.sources.wire import Malformed, TooLarge
from portal import keys
from portal.drf import Door, KeyAuthentication, ScopePermission
from portal.errors import Invalid
from portal.limits import Limiter
from portal.models import ApiKey
from portal.problems import PROBLEM, problem_body

SHOWN_FAULTS = 20
LONGEST_HEADER = 8192  # bytes of an envelope's first line
TAKEN_HEADERS = "content-type, authorization, x-sentry-auth"
STRANGERS_RATE = 20  # requests a second of one address that say who they are in their envelope alone


class SentryAuthentication(KeyAuthentication):
    """`X-Sentry-Auth: Sentry sentry_key=KEY, …`, the same in `Authorization`, `?sentry_key=KEY`, or the envelope's dsn.

    Without any the answer is 403, as Sentry's: there is nothing that an SDK could be asked for.
    """

    def presented(self, request: Request) -> str:
        for header in ("X-Sentry-Auth", "Authorization"):
            if key := _named(request.headers.get(header, "")):
                return keys.from_public(key)
        given = request.query_params.get("sentry_key", "")
        return keys.from_public(given or _dsn_key(request))

    def authenticate(self, request: Request) -> tuple[ApiKey, None] | None:
        if request.method != "OPTIONS":
            return super().authenticate(request)
        public_keys.limit_address(request)
        return None

    def limit(self, key: ApiKey, request: Any) -> None:
        request.key = key  # by it the door knows which pages may read that this is too often
        if key.is_public:
            public_keys.limit_address(request)
            public_keys.limit_key(key)
        else:
            super().limit(key, request)

    def authenticate_header(self, request: Request) -> str:
        return ""


class MayReport(ScopePermission):
    """A browser that asks whether it may (OPTIONS) needs no key; a public one is asked for its own scope."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method == "OPTIONS" or (request.method == "POST" and _public(request) is not None):
            return True
        return super().has_permission(request, view)


@extend_schema(exclude=True)  # its protocol is Sentry's
class SentryEnvelope(Repeatable, Door):
    source = taking.SOURCE
    scope = "ingest"
    authentication_classes = (SentryAuthentication,)
    permission_classes = (MayReport,)
    read: Callable[[bytes], Envelope] = staticmethod(sentry.read)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """What a browser asks before it sends what a plain form could not, as a header of the SDK's user."""
        if given := request.query_params.get("sentry_key"):
            key = KeyAuthentication.find(keys.from_public(given))
            fine = key is not None and public_keys.allows(key, request)
        else:
            fine = public_keys.any_allows(request)
        return public_keys.preflight(TAKEN_HEADERS) if fine else HttpResponse(status=HTTPStatus.FORBIDDEN)

    def post(self, request: Request, project: int) -> Response:
        key = _public(request)
        if key is not None:
            return _answer(self._of_page(request, project, key))
        packing = request.headers.get("Content-Encoding", "")
        envelope = self._read(lambda: packed.unpack(request._request.body, packing, brotli=True), request)
        return _answer(taking.take(envelope, project, by=self.by))

    def _of_page(self, request: Request, project: int, key: ApiKey) -> Taken:
        if not public_keys.allows(key, request):
            raise public_keys.stranger(request)
        agent = request.headers.get("User-Agent", "")[:1000]
        with public_keys.place():
            envelope = self._read(lambda: public_keys.body(request), request)
            return sentry_pages.take(
                envelope, project, browser=browsers.family_of(agent), device=browsers.device_of(agent), by=key
            )

    def _read(self, unpack: Callable[[], bytes], request: Request) -> Envelope:
        try:
            return self.read(unpack())
        except TooLarge as error:
            raise public_keys.TooMuch(str(error)) from None
        except (Malformed, Unreadable) as error:
            raise Invalid.of("", str(error)) from None
        except UnknownEncoding as error:
            raise exceptions.UnsupportedMediaType(request.content_type or "", str(error)) from None

    def finalize_response(self, request: Any, response: Any, *args: Any, **kwargs: Any) -> Any:
        """No page may read what it did with a secret key; where no key was found, those of any public one may."""
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ["Origin"])
        key = getattr(request, "key", None)
        if request.method == "OPTIONS":
            fine = response.status_code == HTTPStatus.NO_CONTENT
        else:
            fine = public_keys.any_allows(request) if key is None else public_keys.allows(key, request)
        if fine:
            public_keys.let_read(response, request, "X-Sentry-Error, X-Sentry-Rate-Limits, Retry-After")
        return response

    def handle_exception(self, error: Exception) -> Any:
        """The problem with the headers that SDKs read."""
        answer = super().handle_exception(error)
        if answer.status_code == 429:
            # Of all categories of events (none is named), for whoever uses this key.
            answer["X-Sentry-Rate-Limits"] = f"{answer['Retry-After']}::key"
        said = " ".join(str(answer.data["detail"]).split())
        answer["X-Sentry-Error"] = said[:500].encode("ascii", "replace").decode()
        return answer


@extend_schema(exclude=True)  # its protocol is Sentry's
class SentryStore(SentryEnvelope):
    read = staticmethod(sentry.read_store)


def _named(header: str) -> str:
    """The key in `Sentry sentry_version=7, sentry_key=KEY`."""
    kind, _, rest = header.strip().partition(" ")
    if kind.lower() != "sentry":
        return ""
    parts = (part.strip().partition("=") for part in rest.split(","))
    return next((value.strip() for name, _, value in parts if name.strip() == "sentry_key"), "")


@lru_cache(maxsize=1)
def _strangers() -> Limiter:
    return Limiter(STRANGERS_RATE)


def _dsn_key(request: Request) -> str:
    """Of an envelope that came without any other sign of who sent it, as through a tunnel.

    Anybody may send one: so no more is opened and read than its first line, and of each address only so many.
    """
    wait = _strangers().wait(request.META.get("REMOTE_ADDR", ""))
    if wait:
        raise exceptions.Throttled(wait)
    raw = packed.beginning(request._request.body, request.headers.get("Content-Encoding", ""), LONGEST_HEADER)
    return sentry.dsn_key(raw)


def _public(request: Request) -> ApiKey | None:
    """The caller's key, where it is one that stands in pages."""
    by = cast(ApiKey | None, request.user)
    return by if by is not None and by.is_public else None


def _answer(taken: Taken) -> Response:
    """The id of what was kept; 400 when an event was not, with the reason in Sentry's `detail` and in our words."""
    if taken.recorded.rejected:
        first = taken.recorded.errors[0]
        detail = f"{first.field}: {first.message}" if first.field else first.message
        faults = [{"field": one.field, "message": one.message} for one in taken.recorded.errors[:SHOWN_FAULTS]]
        return Response(problem_body(400, detail, faults), status=400, content_type=PROBLEM)
    return Response({"id": taken.ids[0]} if taken.ids else {})
