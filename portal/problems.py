"""The body of every error that a machine gets: RFC 9457."""

import json
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.views.defaults import page_not_found

from portal.logs import request_id

PROBLEM = "application/problem+json"


def problem_body(status: int, detail: str, fields: list[dict[str, str]] | None = None) -> dict[str, Any]:
    """`fields` are {"field","message"}, one for each input that was wrong."""
    return {
        "type": "about:blank",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "errors": fields or [],
        "request_id": request_id.get(),
    }


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """An address that leads nowhere: a problem below /api/, a page elsewhere."""
    if request.path.startswith("/api/"):
        return HttpResponse(json.dumps(problem_body(404, "not found")), status=404, content_type=PROBLEM)
    return page_not_found(request, exception)
