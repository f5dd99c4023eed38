"""The newcomer's six ticks: each is set by doing the thing, and kept in the session."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from monitoring.models import Incident
from portal.demo import scene
from portal.models import AuditEntry, Seat
from rollouts.models import Deployment
from rollouts.models.deployments import Status

KEY = "demo"
GetResponse = Callable[[HttpRequest], HttpResponse]


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    words: str
    url: str
    done: bool


class Steps:
    """Where this visitor stands. What others did before the visit began ticks nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.session = request.session
        self.held: dict[str, Any] = dict(self.session.get(KEY) or {})
        began = parse_datetime(str(self.held.get("began", "")))
        if began is None:
            began = timezone.now()
            self._keep("began", began.isoformat())
        self.began: datetime = began

    def tick(self, name: str) -> None:
        if not self.held.get(name):
            self._keep(name, True)

    def all(self) -> list[Step]:
        """In the order in which they make sense, ticked as far as they are done."""
        live = _runs().filter(live=True).first()
        taken_back = _runs().filter(status=Status.ROLLED_BACK, ended_at__gte=self.began).first()
        open_incident = Incident.objects.open().filter(acknowledged_at=None).order_by("id").first()
        control = reverse("demo")
        if self._has("incident.acknowledged", "monitoring.incident"):
            self.tick("acknowledge")
        if self._has("demo.injected", "portal.service"):
            self.tick("inject")
            if taken_back is not None:
                self.tick("rollback")
        wanted = (
            ("canary", "Look at the canary", _address("deployment", live) or reverse("deployments")),
            ("acknowledge", "Acknowledge an incident", _address("incident", open_incident) or reverse("incidents")),
            ("inject", "Inject errors into the new release", control),
            ("rollback", "Watch it being taken back, by itself", _address("deployment", taken_back or live) or control),
            ("record", "Read the record: what happened, and why", _record(taken_back)),
            ("say", "Say something as a customer", f"{control}#say"),
        )
        return [Step(name, words, url, bool(self.held.get(name))) for name, words, url in wanted]

    def _has(self, verb: str, object_type: str) -> bool:
        """Whether somebody at the keyboard has done it since the visit began."""
        done = AuditEntry.objects.filter(object_type=object_type, verb=verb, actor_kind="person", at__gte=self.began)
        return done.exists()

    def _keep(self, name: str, value: Any) -> None:
        self.held[name] = value
        self.session[KEY] = self.held


class Noticed:
    """The middleware that sees which page is looked at. Without the demo it asks nothing."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        response = self.get_response(request)
        seen = request.resolver_match
        if seen is not None and response.status_code == 200 and seen.url_name in ("deployment", "incident"):
            held = request.session.get(KEY) or {}
            if not (held.get("canary") and held.get("record")) and Seat.objects.exists():
                self._notice(request, str(seen.url_name), seen.kwargs.get("pk"))
        return response

    def _notice(self, request: HttpRequest, page: str, pk: Any) -> None:
        steps = Steps(request)
        if page == "incident":
            if Incident.objects.filter(pk=pk, target__startswith="deployment:").exists():
                steps.tick("record")
            return
        run = Deployment.objects.filter(pk=pk).first()
        if run is not None:
            steps.tick("canary" if run.live else "record")


def _runs() -> Any:
    return Deployment.objects.filter(service__key=scene.SERVICE, environment__key=scene.ENVIRONMENT).order_by("-id")


def _record(taken_back: Deployment | None) -> str:
    """The incident of the rollback, or of the last one before."""
    incidents = Incident.objects.filter(service__key=scene.SERVICE, target__startswith="deployment:").order_by("-id")
    if taken_back is not None:
        incidents = incidents.filter(target=f"deployment:{taken_back.pk}")
    return _address("incident", incidents.first()) or reverse("incidents")


def _address(page: str, thing: Any) -> str:
    return reverse(page, args=[thing.pk]) if thing is not None else ""
