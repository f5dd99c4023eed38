"""What happens around every page: a request id, and actions' refusals shown as pages."""

import re
import uuid
from collections.abc import Callable

import structlog
from django.contrib import messages
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.utils.http import url_has_allowed_host_and_scheme

from portal.errors import Forbidden, Invalid, Refused, Stale, Unavailable
from portal.logs import request_id

log = structlog.get_logger(__name__)
GetResponse = Callable[[HttpRequest], HttpResponse]
SOUND_ID = re.compile(r"[A-Za-z0-9._-]{1,64}\Z")


# What machines send is judged by the doors themselves, and refused in JSON.
DOORS = ("/api/", "/ingest/", "/ofrep/", "/hooks/")


class RequestId:
    """Takes a caller's X-Request-ID when it is sound, else makes one; logs and audit carry it."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        given = request.headers.get("X-Request-ID", "")
        current = given if SOUND_ID.match(given) else uuid.uuid4().hex
        token = request_id.set(current)
        try:
            response = self.get_response(request)
        finally:
            request_id.reset(token)
        response["X-Request-ID"] = current
        return response


class Refusals:
    """Shows what an action refused: back on the page as a message after a form, else as a page of its own."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        if not request.path.startswith(DOORS):
            if "\0" in request.path:
                raise Http404
            field = _field_with_nul(request)
            if field is not None:
                # No row holds a NUL, and PostgreSQL fails on being asked for one.
                refusal = self.process_exception(request, Invalid.of(field, "must not contain a NUL character"))
                assert refusal is not None
                return refusal
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, Unavailable | OperationalError | InterfaceError):
            log.warning("page.unavailable", error=str(error))
            response = render(request, "503.html", status=503)
            response["Retry-After"] = str(error.retry_after if isinstance(error, Unavailable) else 2)
            return response
        status = {Refused: 409, Forbidden: 403, Stale: 412, Invalid: 400}.get(type(error))
        if status is None:
            return None
        if request.method == "POST" and not getattr(request, "htmx", False):
            back = request.headers.get("Referer", "")
            if url_has_allowed_host_and_scheme(back, {request.get_host()}, request.is_secure()):
                messages.error(request, str(error))
                return HttpResponseRedirect(back)
        return render(request, "refused.html", {"message": str(error)}, status=status)


def _field_with_nul(request: HttpRequest) -> str | None:
    for given in (request.GET, request.POST):
        for name, values in given.lists():
            if any("\0" in value for value in (name, *values)):
                return name.replace("\0", "")
    return None
