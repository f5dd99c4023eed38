"""The demo's own page: what to inject into the simulated service, whose seat to take, and how to start empty."""

from functools import cached_property
from typing import Any

from django.conf import settings
from django.contrib import auth, messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.functional import SimpleLazyObject
from django.views.decorators.http import require_GET, require_POST

from feedback.actions import entries
from portal import audit, htmx, permissions, posted
from portal.access import page, person
from portal.demo import scene
from portal.errors import Invalid, Refused
from portal.management.demo import emptying
from portal.management.demo.cast import PASSWORD
from portal.models import Environment, Seat, Service, User
from portal.pages import demo_service
from portal.pages.demo_steps import KEY, Step, Steps
from rollouts.models import Deployment

GONE_WITHIN = 5  # seconds until the web that answered has ended

# Every button: its label, what it asks of the service, and what a visitor will see of it.
INJECTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "errors": (
        "Inject errors",
        {"errors": 0.35, "arm": "variant"},
        "A third of the new build's requests fail. The guardrail takes the release back within seconds.",
    ),
    "latency": (
        "Inject latency",
        {"latency": 1200, "arm": "variant"},
        "The new build answers a good second later. Its p95 takes the release back.",
    ),
    "angry": (
        "Angry feedback",
        {"angry": True, "arm": "variant"},
        "Nothing is measurably wrong, but people who got the new build hate it, and say so in two languages.",
    ),
    "both": (
        "Errors in both arms",
        {"errors": 0.35, "arm": "both"},
        "The old build fails as often: it is the environment, not the release. The run pauses instead.",
    ),
    "calm": (
        "Calm down",
        {"errors": 0, "latency": 0, "angry": False, "arm": "variant"},
        "Everything is well again at once.",
    ),
}


class Demo:
    """What templates ask of the demo. Nothing is asked of the database until one does."""

    password = PASSWORD

    def __init__(self, request: HttpRequest) -> None:
        self.request = request

    @cached_property
    def seats(self) -> list[Seat]:
        return list(Seat.objects.select_related("user").filter(user__is_active=True))

    @property
    def active(self) -> bool:
        return bool(self.seats)

    @property
    def sitting(self) -> Seat | None:
        """The seat of who is signed in."""
        return next((seat for seat in self.seats if seat.user == self.request.user), None)

    @cached_property
    def steps(self) -> list[Step]:
        return Steps(self.request).all()

    @property
    def done(self) -> int:
        return sum(step.done for step in self.steps)


def context(request: HttpRequest) -> dict[str, Any]:
    """The context processor."""
    return {"demo": SimpleLazyObject(lambda: Demo(request))}


@page
@require_GET
def control(request: HttpRequest) -> HttpResponse:
    _require_loaded()
    who = person(request)
    return htmx.render(
        request,
        "demo/page.html",
        injections=[(name, label, words) for name, (label, _, words) in INJECTIONS.items()],
        may_inject=permissions.can(who, "operate", **_place()),
        may_empty=permissions.can(who, "administer"),
        **_state(who),
    )


@page
@require_GET
def state(request: HttpRequest) -> HttpResponse:
    """How the service and its release stand, fetched again and again."""
    _require_loaded()
    return htmx.render(request, "demo/_state.html", **_state(person(request)))


@page
@require_GET
def card(request: HttpRequest) -> HttpResponse:
    _require_loaded()
    return htmx.render(request, "demo/_card.html")


@page
@require_POST
def inject(request: HttpRequest, what: str) -> HttpResponse:
    if what not in INJECTIONS:
        raise Http404
    _require_loaded()
    who = person(request)
    place = _place()
    permissions.require(who, "operate", **place)
    label, wanted, words = INJECTIONS[what]
    verb = "demo.calmed" if what == "calm" else "demo.injected"
    with transaction.atomic():
        audit.record(verb, place["service"], by=who, after=wanted, because=label)
        # Last: a service that does not answer leaves no line that says it had been asked.
        told = demo_service.inject(wanted)
    if what != "calm" and not told["release"]["variant"]:
        words = "No release is on its way just now: the next one will carry it."
    messages.success(request, words)
    return posted.back(request, "/demo/")


@page
@require_POST
def say(request: HttpRequest) -> HttpResponse:
    """A customer's words, handed in by the visitor."""
    _require_loaded()
    stars = request.POST.get("rating", "")
    if stars not in ("", "1", "2", "3", "4", "5"):
        raise Invalid.of("rating", "from 1 to 5 stars")
    who = person(request)
    entry = entries.submit(
        service=scene.SERVICE,
        environment=scene.ENVIRONMENT,
        by=who,
        rating=int(stars) if stars else None,
        text=posted.text(request, "text"),
        unit="visitor",
        page="/checkout/done",
        labels=_labels(who),
    )
    Steps(request).tick("say")
    felt = entry.sentiment or "in a language that cannot be judged"
    messages.success(request, f"Taken as {felt}, to be read with {entry.priority} priority.")
    return posted.back(request, "/demo/")


@require_POST
def sit(request: HttpRequest, username: str) -> HttpResponse:
    """Take a seat: a login with the password that everybody knows, and no other."""
    seat = get_object_or_404(Seat.objects.select_related("user"), user__username=username)
    user = auth.authenticate(request, username=seat.user.get_username(), password=PASSWORD)
    if user is None:
        raise Refused(f"{seat.user} has a password of their own now: sign in with it")
    kept = request.session.get(KEY)
    auth.login(request, user)
    if kept:
        request.session[KEY] = kept
    return posted.back(request, settings.LOGIN_REDIRECT_URL)


@page
@require_POST
def start_empty(request: HttpRequest) -> HttpResponse:
    """Everything goes: by the supervisor, who stops what runs and makes the database anew."""
    _require_loaded()
    who = person(request)
    permissions.require(who, "administer")
    because = posted.text(request, "because")
    if not because:
        raise Invalid.of("because", "say why: it becomes the first line of the new audit trail")
    if request.POST.get("sure") != "yes":
        raise Invalid.of("sure", "say that you know what goes")
    if not emptying.is_supervised(settings.DATA_DIR):
        raise Refused("this portal was not started by `up` here: run manage.py demo --start-empty where it was")
    emptying.wish(settings.DATA_DIR, by=f"{who} ({who.get_username()})", because=because)
    response = render(request, "demo/emptying.html")
    # The next request waits in the socket that the supervisor holds, until the new portal takes it.
    response["Refresh"] = f"{GONE_WITHIN}; url={reverse('login')}"
    return response


def _require_loaded() -> None:
    if not Seat.objects.exists():
        raise Http404("the demo is not loaded")


def _place() -> dict[str, Any]:
    """Where the simulated service runs."""
    return {
        "environment": get_object_or_404(Environment, key=scene.ENVIRONMENT),
        "service": get_object_or_404(Service, key=scene.SERVICE),
    }


def _state(who: User) -> dict[str, Any]:
    told = demo_service.state()
    return {"service_state": told, "run": _run(who), "injected": _injected(told["injected"]) if told else ""}


def _injected(held: dict[str, Any]) -> str:
    """What the customers meet now, in words; empty when they are well."""
    found = [
        name
        for name, here in (("errors", held["errors"]), ("latency", held["latency"]), ("anger", held["angry"]))
        if here
    ]
    where = "both builds" if held["arm"] == "both" else "the new build"
    return f"Injected into {where}, {held['seconds']:.0f} s ago: {' and '.join(found)}." if found else ""


def _run(who: User) -> Deployment | None:
    """The newest release of the simulated service."""
    rows = Deployment.objects.filter(service__key=scene.SERVICE, environment__key=scene.ENVIRONMENT)
    seen = permissions.visible(who, rows).select_related("release__service", "environment")
    return seen.prefetch_related("flags").order_by("-id").first()


def _labels(who: User) -> dict[str, str]:
    """What a customer's entry would carry who got the new build, or the build that everybody has."""
    run = _run(who)
    served = run.flags.all()[0] if run is not None and run.flags.all() else None
    if run is None or served is None:
        return {}
    build = served.variant if run.live else served.baseline
    return {"flag": scene.FLAG, "variant": build} | ({"release": run.release.version} if run.live else {})
