"""The door of users' browsers: the script that pages include, and where it reports, from any origin of its key."""

import gzip
import hashlib
from functools import lru_cache
from http import HTTPStatus
from typing import Any, cast

import orjson
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.cache import patch_vary_headers
from django.views.decorators.http import require_safe
from drf_spectacular.utils import extend_schema
from rest_framework import exceptions
from rest_framework.permissions import BasePermission
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from monitoring import browsers
from monitoring.actions import browser
from monitoring.api import public_keys
from monitoring.api.ingesting import Repeatable
from portal import permissions
from portal.drf import Door, KeyAuthentication
from portal.errors import Forbidden, Invalid
from portal.models import ApiKey
from portal.problems import PROBLEM, problem_body

SCRIPT = settings.BASE_DIR / "static" / "js" / "browser.js"
# A page asks for it once a day; meanwhile, and for a week more, it takes the one that it has.
CACHED = "public, max-age=86400, stale-while-revalidate=604800"
KINDS = ("", "text/plain", "application/json")


# --- The script ---------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _script() -> tuple[bytes, bytes, str]:
    """As it is sent, plain and packed, and its ETag. Without comments and indentation, else as it was written."""
    lines = (line.strip() for line in SCRIPT.read_text(encoding="utf-8").splitlines())
    sent = "\n".join(line for line in lines if line and not line.startswith("//")).encode()
    return sent, gzip.compress(sent, mtime=0), hashlib.sha256(sent).hexdigest()[:32]


@require_safe
def script(request: HttpRequest) -> HttpResponse:
    plain, packed, digest = _script()
    packs = "gzip" in request.headers.get("Accept-Encoding", "")
    etag = f'"{digest}{"-gzip" if packs else ""}"'
    known = [one.strip().removeprefix("W/") for one in request.headers.get("If-None-Match", "").split(",")]
    if etag in known or "*" in known:
        response = HttpResponse(status=304)
    else:
        response = HttpResponse(packed if packs else plain, content_type="text/javascript; charset=utf-8")
        if packs:
            response["Content-Encoding"] = "gzip"
    response["ETag"] = etag
    response["Cache-Control"] = CACHED
    response["Access-Control-Allow-Origin"] = "*"
    # A page that is isolated from other sites takes only what says that it may be taken.
    response["Cross-Origin-Resource-Policy"] = "cross-origin"
    response["Timing-Allow-Origin"] = "*"
    patch_vary_headers(response, ["Accept-Encoding"])
    return response


# --- Its reports --------------------------------------------------------------------------------
class BrowserKey(KeyAuthentication):
    """The key of a public page, in the address: a browser that sends a header of its own asks first, each time."""

    def authenticate(self, request: Request) -> tuple[ApiKey, None] | None:
        # Before the database is asked whose key it is, or whose origin: anybody may come here.
        public_keys.limit_address(request)
        if request.method == "OPTIONS":
            return None
        found = super().authenticate(request)
        if found is None:
            key = _of_address(request)
            found = None if key is None else (key, None)
        if found is not None:
            public_keys.limit_key(found[0])
        return found


class MayReport(BasePermission):
    """A browser that asks whether it may (OPTIONS) needs no key."""

    def has_permission(self, request: Request, view: APIView) -> bool:
        if request.method == "OPTIONS":
            return True
        by = cast(ApiKey | None, request.user)
        if by is None:
            return False
        permissions.require_scope(by, ApiKey.Scope.BROWSER)
        return True


@extend_schema(exclude=True)  # spoken by the script alone
class Browser(Repeatable, Door):
    """204 when all is kept; 400 with what was rejected, and the good is kept nevertheless."""

    source = browser.SOURCE
    authentication_classes = (BrowserKey,)
    permission_classes = (MayReport,)

    def options(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        """What a browser asks before it sends what a plain form could not."""
        if not _allowed(request, _of_address(request)):
            return HttpResponse(status=HTTPStatus.FORBIDDEN)
        return public_keys.preflight("content-type, authorization, x-api-key")

    def post(self, request: Request) -> Response:
        if not _allowed(request, cast(ApiKey, self.by)):
            raise public_keys.stranger(request)
        report, agent = _body(request), request.headers.get("User-Agent", "")[:1000]
        with public_keys.place():
            outcome = browser.take(
                report,
                browser=browsers.family_of(agent),
                device=browsers.device_of(agent, touches=_touches(report)),
                by=cast(ApiKey, self.by),
            )
        if not outcome.rejected:
            return Response(status=HTTPStatus.NO_CONTENT)
        detail = f"{outcome.rejected} parts of the report were rejected; the others are kept"
        body = problem_body(HTTPStatus.BAD_REQUEST, detail) | outcome.as_dict()
        return Response(body, status=HTTPStatus.BAD_REQUEST, content_type=PROBLEM)

    def finalize_response(self, request: Request, response: Any, *args: Any, **kwargs: Any) -> Any:
        """Refusals, too, are to be read by the page that is refused, where its origin is right."""
        response = super().finalize_response(request, response, *args, **kwargs)
        patch_vary_headers(response, ["Origin"])
        by = getattr(request, "by", None)
        if request.method == "OPTIONS":
            fine = response.status_code == HTTPStatus.NO_CONTENT
        else:
            fine = isinstance(by, ApiKey) and _allowed(request, by)
        if fine:
            public_keys.let_read(response, request, "Retry-After")
            # sendBeacon asks for it; nothing here looks at a cookie.
            response["Access-Control-Allow-Credentials"] = "true"
        return response


def _of_address(request: Request) -> ApiKey | None:
    """The key in the address. One that may do anything else is a secret, and a secret is not sent so."""
    raw = request.query_params.get("key", "")
    if not raw:
        return None
    key = KeyAuthentication.find(raw)
    if request.method != "OPTIONS":
        if key is None:
            raise exceptions.AuthenticationFailed("the API key is unknown, revoked or expired")
        if not key.is_public:
            raise Forbidden("only a key of scope browser may stand in an address: this one is a secret, revoke it")
    return key


def _allowed(request: Request, key: ApiKey | None) -> bool:
    """Whether pages of this origin may use the key; without a key in the address, whether any key lets them."""
    if not request.headers.get("Origin"):
        return False
    if key is not None:
        # A key that is a secret, in a header: whoever has it is no stranger.
        return not key.is_public or public_keys.allows(key, request)
    return not request.query_params.get("key") and public_keys.any_allows(request)


def _body(request: Request) -> dict[str, Any]:
    kind = str(request.headers.get("Content-Type", "")).partition(";")[0].strip().lower()
    if kind not in KINDS:
        raise exceptions.UnsupportedMediaType(kind[:100], "send application/json, or JSON as text/plain")
    raw = public_keys.body(request)
    try:
        made = orjson.loads(raw)
    except ValueError as error:
        raise exceptions.ParseError(f"the body is not JSON: {error}") from None
    if not isinstance(made, dict):
        raise Invalid.of("", "the body must be a JSON object")
    return made


def _touches(report: dict[str, Any]) -> int:
    touch = report.get("touch")
    return touch if type(touch) is int else 0
