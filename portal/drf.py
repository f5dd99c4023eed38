"""The REST doors' common parts: who calls, JSON in and out, problems by RFC 9457, pages, idempotency."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, cast

import orjson
import structlog
from django.conf import settings
from django.core.exceptions import PermissionDenied, RequestDataTooBig
from django.core.exceptions import ValidationError as DjangoValidationError
from django.core.signals import got_request_exception
from django.db import DataError, IntegrityError, InterfaceError, OperationalError, transaction
from django.http import Http404, HttpRequest
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from rest_framework import exceptions, serializers, status
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.negotiation import BaseContentNegotiation
from rest_framework.pagination import PageNumberPagination
from rest_framework.parsers import BaseParser
from rest_framework.permissions import SAFE_METHODS, BasePermission
from rest_framework.renderers import BaseRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSetMixin

from portal import audit, keys, permissions
from portal.errors import Forbidden, Invalid, Refused, Stale, Unavailable
from portal.limits import Limiter
from portal.models import ApiKey, Reply
from portal.problems import PROBLEM, problem_body

log = structlog.get_logger(__name__)


# --- Who calls ----------------------------------------------------------------------------------
@lru_cache(maxsize=1)
def _limiter() -> Limiter:
    return Limiter(settings.PORTAL_KEY_RATE)


class KeyAuthentication(BaseAuthentication):
    """`Authorization: Bearer KEY` or `X-API-Key: KEY`."""

    def presented(self, request: Request) -> str:
        """The secret that the request carries; empty when there is none."""
        return keys.presented(request.headers.get("Authorization", ""), request.headers.get("X-API-Key", ""))

    def authenticate(self, request: Request) -> tuple[ApiKey, None] | None:
        raw = self.presented(request)
        if not raw:
            return None
        key = self.find(raw)
        if key is None:
            raise exceptions.AuthenticationFailed("the API key is unknown, revoked or expired")
        self.limit(key, request)
        return key, None

    def limit(self, key: ApiKey, request: Request) -> None:
        """One more with this key. Raises Throttled."""
        wait = _limiter().wait(key.pk)
        if wait:
            raise exceptions.Throttled(wait)

    @staticmethod
    def find(raw: str) -> ApiKey | None:
        """The key that this secret belongs to, unless it is unknown, revoked or expired."""
        key = ApiKey.objects.filter(digest=keys.digest(raw), revoked_at=None).first()
        return None if key is None or (key.expires_at and key.expires_at <= timezone.now()) else key

    def authenticate_header(self, request: Request) -> str:
        return 'Bearer realm="flightdeck"'


class PersonAuthentication(SessionAuthentication):
    """A signed-in person, with the CSRF token on writes."""


class KeyScheme(OpenApiAuthenticationExtension):
    target_class = "portal.drf.KeyAuthentication"
    name = "ApiKey"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "http", "scheme": "bearer"}


class PersonScheme(OpenApiAuthenticationExtension):
    target_class = "portal.drf.PersonAuthentication"
    name = "Session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, str]:
        return {"type": "apiKey", "in": "cookie", "name": settings.SESSION_COOKIE_NAME}


class ScopePermission(BasePermission):
    """Somebody must be there, and may view something at all; what they may do, the actions ask.

    A door with `scope = "ingest"` asks for that scope on writes instead.
    """

    def has_permission(self, request: Request, view: APIView) -> bool:
        by = cast(audit.Actor | None, request.user)
        if by is None:
            return False
        scope = getattr(view, "scope", None)
        if scope and request.method not in SAFE_METHODS:
            permissions.require_scope(by, scope)
        else:
            permissions.require(by, "view", environment=permissions.ANY, service=permissions.ANY)
        return True


# --- JSON in and out ----------------------------------------------------------------------------
class AlwaysJson(BaseContentNegotiation):
    """There is one representation; an Accept header that excludes it still gets it."""

    def select_parser(self, request: Request, parsers: Any) -> BaseParser | None:
        return next((p for p in parsers if _is_json(request.content_type)), None)

    def select_renderer(self, request: Request, renderers: Any, format_suffix: str | None = None) -> Any:
        return renderers[0], renderers[0].media_type


def _is_json(content_type: str | None) -> bool:
    kind = (content_type or "").partition(";")[0].strip().lower()
    return kind in ("", "application/json", "text/json", "application/problem+json") or kind.endswith("+json")


class Parser(BaseParser):
    """Strict JSON: no NaN, no lone surrogates, no NUL characters (PostgreSQL cannot keep them)."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        # `.body` keeps to DATA_UPLOAD_MAX_MEMORY_SIZE; a bare read would not.
        body = stream.body if isinstance(stream, HttpRequest) else stream.read()
        if not body.strip():
            return {}
        try:
            data = orjson.loads(body)
        except ValueError as error:
            raise exceptions.ParseError(f"the body is not JSON: {error}") from None
        if b"\\u0000" in body:
            for path, value in _strings("", data):
                if "\0" in value:
                    raise Invalid.of(path, "may not contain the NUL character")
        return data


def _strings(path: str, data: Any) -> Iterator[tuple[str, str]]:
    if isinstance(data, str):
        yield path, data
    elif isinstance(data, dict):
        for key, value in data.items():
            inner = f"{path}.{key}" if path else key
            yield inner, key
            yield from _strings(inner, value)
    elif isinstance(data, list):
        for index, value in enumerate(data):
            yield from _strings(f"{path}[{index}]", value)


class Renderer(BaseRenderer):
    media_type = "application/json"
    format = "json"
    charset = None

    def render(self, data: Any, accepted_media_type: str | None = None, renderer_context: Any = None) -> bytes:
        if data is None:
            return b""
        return orjson.dumps(data, default=_default, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)


def _default(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)
    return str(value)


# --- Problems -----------------------------------------------------------------------------------
def problem(error: Exception, context: Mapping[str, Any]) -> Response:
    """Every error as `application/problem+json`; what is our own fault is logged and says only that."""
    headers: dict[str, str] = {}
    fields: list[dict[str, str]] = []
    if isinstance(error, Invalid):
        code, fields = 400, [{"field": name, "message": text} for name, text in error.errors.items()]
        detail = str(error)
    elif isinstance(error, serializers.ValidationError):
        code, fields = 400, list(_field_errors("", error.detail))
        detail = "; ".join(f"{one['field']}: {one['message']}" if one["field"] else one["message"] for one in fields)
    elif isinstance(error, DjangoValidationError):
        code, detail = 400, "; ".join(error.messages)
        by_field = error.message_dict if hasattr(error, "error_dict") else {"": error.messages}
        fields = [
            {"field": name.replace("__all__", ""), "message": text}
            for name, texts in by_field.items()
            for text in texts
        ]
    elif isinstance(error, Refused):
        code, detail = 409, str(error)
    elif isinstance(error, Stale):
        code, detail = 412, str(error)
    elif isinstance(error, Forbidden | PermissionDenied):
        code, detail = 403, str(error) or "not allowed"
    elif isinstance(error, Http404):
        code, detail = 404, "not found"
    elif isinstance(error, RequestDataTooBig):
        code, detail = 413, f"the body is larger than {settings.DATA_UPLOAD_MAX_MEMORY_SIZE} bytes"
    elif isinstance(error, Unavailable):
        code, detail, headers = 503, str(error), {"Retry-After": str(error.retry_after)}
    elif isinstance(error, OperationalError | InterfaceError):
        log.warning("api.store_unavailable", error=str(error))
        code, detail, headers = 503, "the store does not answer", {"Retry-After": "2"}
    elif isinstance(error, DataError):
        log.warning("api.data_error", error=str(error))
        code, detail = 400, "a value is out of the range that can be stored"
    elif isinstance(error, IntegrityError):
        log.warning("api.integrity_error", error=str(error))
        code, detail = 409, "this contradicts something that exists already"
    elif isinstance(error, exceptions.APIException):
        code, detail = error.status_code, str(error.detail)
        if isinstance(error, exceptions.Throttled):
            headers["Retry-After"] = str(int(getattr(error, "wait", None) or 1))
        if getattr(error, "auth_header", None):
            headers["WWW-Authenticate"] = str(error.auth_header)  # type: ignore[attr-defined]
    else:
        log.exception("api.failed")
        # As Django does before its own answer: error reporting and the test client listen to it.
        got_request_exception.send(sender=problem, request=context.get("request"))
        code, detail = 500, "this went wrong on our side; the request id finds it in the log"
    return Response(problem_body(code, detail, fields), status=code, headers=headers, content_type=PROBLEM)


def _field_errors(path: str, detail: Any) -> Iterator[dict[str, str]]:
    if isinstance(detail, Mapping):
        for name, inner in detail.items():
            own = "" if name == "non_field_errors" else str(name)
            joined = f"{path}[{own}]" if isinstance(name, int) else f"{path}.{own}" if path and own else path or own
            yield from _field_errors(joined, inner)
    elif isinstance(detail, list | tuple):
        for index, inner in enumerate(detail):
            yield from _field_errors(f"{path}[{index}]" if isinstance(inner, Mapping) else path, inner)
    else:
        yield {"field": path, "message": str(detail)}


# --- OpenAPI ------------------------------------------------------------------------------------
class FieldErrorShape(serializers.Serializer[Any]):
    field = serializers.CharField(allow_blank=True)
    message = serializers.CharField()


class Problem(serializers.Serializer[Any]):
    """RFC 9457."""

    type = serializers.CharField()
    title = serializers.CharField()
    status = serializers.IntegerField()
    detail = serializers.CharField(allow_blank=True)
    errors = FieldErrorShape(many=True)  # type: ignore[assignment]
    request_id = serializers.CharField(allow_blank=True)


class Schema(AutoSchema):
    """Adds to every operation the problems that any of them can answer."""

    COMMON = (400, 401, 403, 404, 405, 409, 412, 413, 415, 429, 503)

    def _get_response_bodies(self, direction: Any = "response") -> Any:
        bodies = super()._get_response_bodies(direction)
        for code in self.COMMON:
            if str(code) not in bodies:
                described = self._get_response_for_code(Problem, str(code), [PROBLEM], direction)
                described["description"] = HTTPStatus(code).phrase
                if code in (429, 503):
                    described["headers"] = {
                        "Retry-After": {"schema": {"type": "integer"}, "description": "whole seconds"}
                    }
                bodies[str(code)] = described
        return bodies


# --- Doors --------------------------------------------------------------------------------------
class Serializer(serializers.Serializer[Any]):
    """The shape of a body: a field that is not in it is refused by name, not swallowed."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, Mapping):
            unknown = sorted(str(name) for name in set(data) - set(self.fields))
            if unknown:
                raise serializers.ValidationError({name: ["unknown field"] for name in unknown})
        return super().to_internal_value(data)


def checked(shape: type[Serializer], given: Mapping[str, Any], *, partial: bool = False) -> dict[str, Any]:
    """What did not come as a body, read as if it had. Raises Invalid, naming every field that is wrong."""
    serializer = shape(data=given, partial=partial)
    if not serializer.is_valid():
        raise Invalid({one["field"]: one["message"] for one in _field_errors("", serializer.errors)})
    return dict(serializer.validated_data)


class _Common(APIView):
    """What the doors share. A write with an Idempotency-Key happens once: its answer is kept with the change."""

    request: Any
    authentication_classes: tuple[type[BaseAuthentication], ...] = (KeyAuthentication, PersonAuthentication)
    permission_classes: tuple[type[BasePermission], ...] = (ScopePermission,)
    content_negotiation_class = AlwaysJson
    parser_classes = (Parser,)
    renderer_classes = (Renderer,)

    def get_exception_handler(self) -> Callable[..., Response]:
        return problem

    @property
    def by(self) -> audit.Actor:
        """Who calls."""
        return cast(audit.Actor, self.request.user)

    def dispatch(self, request: Any, *args: Any, **kwargs: Any) -> Any:
        view: Any = self
        view.args, view.kwargs = args, kwargs
        request = view.initialize_request(request, *args, **kwargs)
        view.request, view.headers = request, view.default_response_headers
        try:
            view.initial(request, *args, **kwargs)
            request.by = request.user
            handler = getattr(view, request.method.lower(), view.http_method_not_allowed)
            response = self._answer(request, partial(handler, request, *args, **kwargs))
        except Exception as error:
            response = view.handle_exception(error)
        view.response = view.finalize_response(request, response, *args, **kwargs)
        return view.response

    def _answer(self, request: Request, act: Callable[[], Response]) -> Response:
        key = request.headers.get("Idempotency-Key")
        if key is None or request.method in SAFE_METHODS:
            return act()
        if not 1 <= len(key) <= 200:
            raise Invalid.of("Idempotency-Key", "1 to 200 characters")
        actor = ":".join(audit.kind_of(cast(audit.Actor, request.user)))
        digest = hashlib.sha256(
            b"\0".join((str(request.method).encode(), request.get_full_path().encode(), request._request.body))
        ).hexdigest()
        with transaction.atomic():
            # A second request with this key waits here until the first has committed.
            Reply.objects.bulk_create([Reply(actor=actor, key=key, request_digest=digest)], ignore_conflicts=True)
            reply = Reply.objects.select_for_update().get(actor=actor, key=key)
            if reply.request_digest != digest:
                raise Refused("this Idempotency-Key was used for another request")
            if reply.status is not None:
                return Response(reply.body, status=reply.status, headers={"Idempotency-Replayed": "true"})
            response = act()
            reply.status = response.status_code
            reply.body = orjson.loads(Renderer().render(response.data) or b"null")
            reply.save(update_fields=["status", "body"])
        return response


class Door(_Common):
    """One address. A door translates, makes one call, translates back."""

    def body(self, shape: type[serializers.Serializer[Any]], **options: Any) -> Any:
        return _validated(self.request, shape, **options)


class Pages(PageNumberPagination):
    """`{"count","next","previous","results"}`, `?page= &page_size=`."""

    page_size = 50
    page_size_query_param = "page_size"
    max_page_size = 500


class DoorSet(ViewSetMixin, _Common):
    """The addresses of one noun."""

    # Read by the OpenAPI document; `page` is what answers.
    pagination_class = Pages

    def body(self, shape: type[serializers.Serializer[Any]], **options: Any) -> Any:
        return _validated(self.request, shape, **options)

    def page(self, rows: Any, shape: type[serializers.BaseSerializer[Any]], **context: Any) -> Response:
        """One page of `rows` in the contract's envelope."""
        pages: Any = Pages()
        found = pages.paginate_queryset(rows, self.request, view=self)
        shown = shape(found, many=True, context={"request": self.request, **context})
        return pages.get_paginated_response(shown.data)


def _validated(request: Request, shape: type[serializers.Serializer[Any]], **options: Any) -> Any:
    if not isinstance(request.data, Mapping):
        raise Invalid.of("", "the body must be a JSON object")
    serializer = shape(data=request.data, context={"request": request}, **options)
    serializer.is_valid(raise_exception=True)
    return serializer.validated_data


__all__ = ["Door", "DoorSet", "Pages", "Problem", "Serializer", "problem", "status"]
