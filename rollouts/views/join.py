"""Where a person joins or leaves an audience by a signed link. Looking changes nothing; the button does."""

from functools import lru_cache
from typing import Any

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from portal.audit import Automaton
from portal.errors import Forbidden, Invalid, Refused
from portal.limits import Limiter
from portal.problems import PROBLEM, problem_body
from rollouts.actions import audience_links, audiences
from rollouts.actions.audience_links import Expired, Link
from rollouts.models import Audience, AudienceMember

UNIT, JOINED = "flightdeck_unit", "flightdeck_audiences"  # cookies
SALT = "flightdeck.guest"
COOKIE_LIFE = 365 * 24 * 3600  # seconds
ACTIONS = {"join": True, "leave": False}


@lru_cache(maxsize=1)
def _limiter() -> Limiter:
    return Limiter(settings.PORTAL_JOIN_RATE)


# The token is the credential, and a signed one; other sites' forms are refused below.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def join(request: HttpRequest, token: str) -> HttpResponse:
    machine = "application/json" in request.headers.get("Accept", "") and "text/html" not in request.headers["Accept"]
    try:
        response = _answer(request, token, machine)
    except (Refused, Invalid, Forbidden) as error:
        status = 410 if isinstance(error, Expired) else {Refused: 409, Invalid: 400}.get(type(error), 403)
        response = _refused(request, machine, status, str(error))
    # The address is the right to join: it goes to no other site.
    response["Referrer-Policy"] = "no-referrer"
    response["X-Robots-Tag"] = "noindex"
    return response


def _answer(request: HttpRequest, token: str, machine: bool) -> HttpResponse:
    wait = _limiter().wait(request.META.get("REMOTE_ADDR", ""))
    if wait:
        response = _refused(request, machine, 429, f"Too many requests from here: again in {wait} s.")
        response["Retry-After"] = str(wait)
        return response
    link = audience_links.read(token)
    if link is None:
        raise Http404
    unit = link.unit or request.get_signed_cookie(UNIT, "", salt=SALT, max_age=COOKIE_LIFE) or ""
    if request.method != "POST":
        return _shown(request, link, unit, machine)
    if request.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        raise Forbidden("another site may not join or leave for you")
    joined = ACTIONS.get(request.POST.get("action", "join"))
    if joined is None:
        raise Invalid.of("action", f"choose from {', '.join(ACTIONS)}")
    unit = unit or audience_links.new_unit()
    audiences.enrol(link.audience, [unit], joined=joined, by=Automaton(f"link to audience {link.audience}"))
    response = _told(link, unit) if machine else HttpResponseRedirect(reverse("join", args=[token]))
    return _remembered(response, link, unit)


def _shown(request: HttpRequest, link: Link, unit: str, machine: bool) -> HttpResponse:
    if machine:
        return _told(link, unit)
    context = {"audience": link.audience, "unit": link.unit, "said": _said(link.audience, unit)}
    return render(request, "rollouts/audiences/join.html", context)


def _told(link: Link, unit: str) -> JsonResponse:
    """For the application: what to evaluate with."""
    attributes: dict[str, Any] = {"audiences": _joined(unit)}
    if unit:
        attributes["targetingKey"] = unit
    said = _said(link.audience, unit)
    return JsonResponse(
        {"audience": link.audience.key, "unit": unit or None, "joined": said is True, "attributes": attributes}
    )


def _remembered(response: HttpResponse, link: Link, unit: str) -> HttpResponse:
    """Cookies for applications of the same site; the unit too where the portal has named it."""
    options: dict[str, Any] = {
        "max_age": COOKIE_LIFE, "secure": settings.PORTAL_HTTPS, "samesite": "Lax", "httponly": True,
        "domain": settings.PORTAL_AUDIENCE_COOKIE_DOMAIN or None,
    }  # fmt: skip
    response.set_cookie(JOINED, ":".join(_joined(unit)), **options)
    if link.unit is None:
        response.set_signed_cookie(UNIT, unit, salt=SALT, **options)
    return response


def _said(audience: Audience, unit: str) -> bool | None:
    """Whether the unit has joined or left; None when it has said nothing."""
    return AudienceMember.objects.filter(audience=audience, unit=unit).values_list("joined", flat=True).first()


def _joined(unit: str) -> list[str]:
    rows = AudienceMember.objects.filter(unit=unit, joined=True).order_by("audience__key")
    return list(rows.values_list("audience__key", flat=True)) if unit else []


def _refused(request: HttpRequest, machine: bool, status: int, message: str) -> HttpResponse:
    if machine:
        return JsonResponse(problem_body(status, message), status=status, content_type=PROBLEM)
    return render(request, "refused.html", {"message": message}, status=status)
