"""What a form of a page says, and where its sender goes next."""

from django.http import HttpRequest, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme

from portal.errors import Invalid

LONGEST_TEXT = 10_000
LONGEST_DOCUMENT = 1_000_000


def text(request: HttpRequest, name: str) -> str:
    """What was typed into a field; a novel is refused by name."""
    value = request.POST.get(name, "").strip()
    if len(value) > LONGEST_TEXT:
        raise Invalid.of(name, f"is longer than {LONGEST_TEXT} characters")
    return value


def document(request: HttpRequest, name: str) -> str:
    """JSON that was typed: what it may be, its reader says."""
    value = request.POST.get(name, "")
    if len(value) > LONGEST_DOCUMENT:
        raise Invalid.of(name, f"is longer than {LONGEST_DOCUMENT} characters")
    return value


def back(request: HttpRequest, otherwise: str) -> HttpResponseRedirect:
    """To the page whose button was pressed, by the form's `back`; never to another host."""
    there = request.POST.get("back", "")
    is_ours = there.startswith("/") and url_has_allowed_host_and_scheme(
        there, {request.get_host()}, request.is_secure()
    )
    return HttpResponseRedirect(there if is_ours else otherwise)
