"""One template, three ways in: the page, its part for HTMX, its part for the live stream."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render as render_template


def is_part(request: HttpRequest) -> bool:
    """Whether HTMX asks for a part of the page only."""
    htmx = getattr(request, "htmx", None)
    return bool(htmx and not htmx.boosted)


def render(request: HttpRequest, page: str, part: str | None = None, **context: Any) -> HttpResponse:
    """The whole page, or only its `part` (a template beside it) when HTMX asks for that."""
    if part and is_part(request):
        page = f"{page.rsplit('/', 1)[0]}/{part}.html"
    response = render_template(request, page, context)
    response["Vary"] = "HX-Request"
    return response
