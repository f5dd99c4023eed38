"""The door of Sentry's SDKs: /api/<project>/envelope/ and, for old ones, /api/<project>/store/.

The project is the number of a service, the DSN's public key one of our keys with the scope ingest, in hexadecimal
digits. An SDK drops what is answered with anything but 200, and says so in its own log; after 429 it waits.
"""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import sentry as taking
from monitoring.actions.sentry import Taken
from monitoring.api.ingesting import Repeatable
from monitoring.sources import packed, sentry
from monitoring.sources.packed import UnknownEncoding
from monitoring.sources.sentry import Envelope, Unreadable
from monitoring.sources.wire import Malformed, TooLarge
from portal import keys
from portal.drf import Door, KeyAuthentication
from portal.errors import Invalid
from portal.problems import PROBLEM, problem_body

SHOWN_FAULTS = 20


class TooMuch(exceptions.APIException):
    status_code = 413


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

    def authenticate_header(self, request: Request) -> str:
        return ""


@extend_schema(exclude=True)  # its protocol is Sentry's
class SentryEnvelope(Repeatable, Door):
    source = taking.SOURCE
    scope = "ingest"
    authentication_classes = (SentryAuthentication,)

    def post(self, request: Request, project: int) -> Response:
        return _answer(taking.take(_envelope(request), project, by=self.by))

    def handle_exception(self, error: Exception) -> Any:
        """The problem with the headers that SDKs read."""
        answer = super().handle_exception(error)
        if answer.status_code == 429:
            # Of all categories of events (none is named), for whoever uses this key.
            answer["X-Sentry-Rate-Limits"] = f"{answer['Retry-After']}::key"
        answer["X-Sentry-Error"] = str(answer.data["detail"])[:500].encode("ascii", "replace").decode()
        return answer


@extend_schema(exclude=True)  # its protocol is Sentry's
class SentryStore(SentryEnvelope):
    def post(self, request: Request, project: int) -> Response:
        return _answer(taking.take(_read(request, sentry.read_store), project, by=self.by))


def _named(header: str) -> str:
    """The key in `Sentry sentry_version=7, sentry_key=KEY`."""
    kind, _, rest = header.strip().partition(" ")
    if kind.lower() != "sentry":
        return ""
    parts = (part.strip().partition("=") for part in rest.split(","))
    return next((value.strip() for name, _, value in parts if name.strip() == "sentry_key"), "")


def _dsn_key(request: Request) -> str:
    """Of an envelope that came without any other sign of who sent it, as through a tunnel."""
    try:
        return sentry.dsn_key(_envelope(request).header)
    except (exceptions.APIException, Invalid):
        return ""


def _envelope(request: Request) -> Envelope:
    return _read(request, sentry.read)


def _read(request: Request, reader: Any) -> Envelope:
    try:
        raw = packed.unpack(request._request.body, request.headers.get("Content-Encoding", ""))
        found: Envelope = reader(raw)
    except TooLarge as error:
        raise TooMuch(str(error)) from None
    except (Malformed, Unreadable) as error:
        raise Invalid.of("", str(error)) from None
    except UnknownEncoding as error:
        raise exceptions.UnsupportedMediaType(request.content_type or "", str(error)) from None
    return found


def _answer(taken: Taken) -> Response:
    """The id of what was kept; 400 when an event was not, with the reason in Sentry's `detail` and in our words."""
    if taken.recorded.rejected:
        first = taken.recorded.errors[0]
        detail = f"{first.field}: {first.message}" if first.field else first.message
        faults = [{"field": one.field, "message": one.message} for one in taken.recorded.errors[:SHOWN_FAULTS]]
        return Response(problem_body(400, detail, faults), status=400, content_type=PROBLEM)
    return Response({"id": taken.ids[0]} if taken.ids else {})
