"""Services on pages: how each is, what lowers its score, and what of it nobody watches."""

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET, require_POST

from monitoring.actions import coverage
from monitoring.coverage import Item, Standing
from monitoring.models import Alert, CoverageWaiver, Incident, Series, Slo, Threshold
from monitoring.queries.coverage import Covered, covered
from monitoring.queries.scores import healths
from monitoring.scores import Score
from portal import htmx, jobs, permissions, posted
from portal.access import page, person
from portal.errors import Invalid
from portal.models import Environment, Service, User

PAGE_SIZE = 50
WELL, FAIR = 90, 60  # points from which a score looks well, and not badly
UNKNOWN = Score(None, "nothing is watched")
FILTERS = {"": "All", "unwell": "Unwell", "gaps": "With gaps"}


@dataclass(frozen=True, slots=True)
class Line:
    """One service in one environment."""

    covered: Covered
    score: Score
    incidents: int = 0

    @property
    def tone(self) -> str:
        return score_tone(self.score)

    @property
    def items(self) -> list[tuple[Item, str]]:
        """Each critical metric, with the form in which a bound on it is begun."""
        return [(item, self._bound(item)) for item in self.covered.coverage.items]

    def _bound(self, item: Item) -> str:
        if not item.metric or self.covered.environment is None:
            return ""
        place = f'service="{self.covered.service.key}", environment="{self.covered.environment.key}"'
        return f"{reverse('threshold-new')}?{urlencode({'condition': f'{item.metric}{{{place}}} > '})}"


@dataclass(slots=True)
class Gaps:
    """What of which services nobody watches, for who could change it."""

    places: list[Covered] = field(default_factory=list)

    @property
    def count(self) -> int:
        return sum(len(one.coverage.gaps) for one in self.places)


def score_tone(score: Score) -> str:
    if score.value is None:
        return "idle"
    return "ok" if score.value >= WELL else "due" if score.value >= FAIR else "bad"


def gaps(who: User) -> Gaps:
    """Those of services in environments whose deployments are approved, where this person configures."""
    if not permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY):
        return Gaps()
    found = [
        one
        for one in _covered(who)
        if one.environment is not None
        and one.environment.approval_policy == Environment.ApprovalPolicy.FOUR_EYES
        and one.coverage.gaps
        and permissions.can(who, "configure", environment=one.environment, service=one.service)
    ]
    return Gaps(found)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """The worst first; where nothing is known comes last, and is not called well."""
    chosen = request.GET.get("show", "")
    lines = _lines(person(request))
    if environment := request.GET.get("environment", ""):
        lines = [one for one in lines if one.covered.environment and one.covered.environment.key == environment]
    counts = {name: sum(_fits(one, name) for one in lines) for name in FILTERS}
    shown = [one for one in lines if _fits(one, chosen)]
    found = Paginator(shown, PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/services/list.html",
        "_list",
        found=found,
        filters=[(name, label, counts[name], name == chosen) for name, label in FILTERS.items()],
        chosen=chosen,
        environments=Environment.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, key: str) -> HttpResponse:
    who = person(request)
    service = get_object_or_404(_services(who), key=key)
    lines = [one for one in _lines(who, service) if one.covered.service == service]
    waivers = permissions.visible(who, CoverageWaiver.objects.filter(service=service).select_related("environment"))
    return htmx.render(
        request,
        "monitoring/services/detail.html",
        "_state",
        service=service,
        lines=sorted(lines, key=_by_rank),
        waived=list(waivers),
        may=permissions.can(who, "configure", environment=permissions.ANY, service=service),
    )


@page
@require_POST
def waive(request: HttpRequest, key: str) -> HttpResponse:
    who = person(request)
    service = get_object_or_404(_services(who), key=key)
    permissions.require(who, "configure", environment=permissions.ANY, service=service)
    environment = Environment.objects.filter(key=posted.text(request, "environment")).first()
    if environment is None:
        raise Invalid.of("environment", "there is none of this name")
    signal, because = posted.text(request, "signal"), posted.text(request, "because")
    made = coverage.waive(service, environment, signal, by=who, because=because)
    messages.success(request, f"{made} counts as no gap any more.")
    return HttpResponseRedirect(reverse("service", args=[key]))


@page
@require_POST
def unwaive(request: HttpRequest, key: str, pk: int) -> HttpResponse:
    who = person(request)
    rows = permissions.visible(who, CoverageWaiver.objects.select_related("service", "environment"))
    waiver = get_object_or_404(rows, pk=pk, service__key=key)
    coverage.unwaive(waiver, by=who)
    messages.success(request, f"{waiver} counts again.")
    return HttpResponseRedirect(reverse("service", args=[key]))


def _services(who: User) -> Any:
    return permissions.visible(who, Service.objects.all(), environment=None, service="pk")


def _covered(who: User, service: Service | None = None) -> list[Covered]:
    """Of one service only its own rows are read, and those that stand for every service."""
    services, series = _services(who), permissions.visible(who, Series.objects.all())
    if service is not None:
        services, series = services.filter(pk=service.pk), series.filter(service=service)
    thresholds = permissions.visible(who, Threshold.objects.all())
    return covered(services, thresholds, permissions.visible(who, Slo.objects.all()), series, now=jobs.database_now())


def _lines(who: User, service: Service | None = None) -> list[Line]:
    own = {} if service is None else {"service": service}
    found = healths(
        permissions.visible(who, Threshold.objects.filter(**own)),
        permissions.visible(who, Alert.objects.filter(**own)),
        permissions.visible(who, Slo.objects.filter(**own)),
    )
    scores = {(one.service, one.environment): one.score for one in found}
    open_ = permissions.visible(who, Incident.objects.open())
    going_on = Counter[tuple[int | None, int | None]](open_.values_list("service", "environment"))
    lines = []
    for one in _covered(who, service):
        place = (one.service.pk, one.environment.pk if one.environment else None)
        score = scores.get((one.service.key, one.environment.key if one.environment else ""), UNKNOWN)
        lines.append(Line(one, score, going_on[place]))
    return sorted(lines, key=_worst_first)


def _worst_first(line: Line) -> tuple[bool, int, int, str]:
    value = line.score.value
    return value is None, value or 0, -len(line.covered.coverage.gaps), line.covered.service.key


def _by_rank(line: Line) -> tuple[int, str]:
    environment = line.covered.environment
    return (-environment.rank, environment.key) if environment else (0, "")


def _fits(line: Line, chosen: str) -> bool:
    if chosen == "unwell":
        return line.score.value is not None and line.score.value < WELL
    if chosen == "gaps":
        return any(item.standing is not Standing.WAIVED for item in line.covered.coverage.gaps)
    return True
