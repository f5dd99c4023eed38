"""Real users on pages: what they waited for, of each service, and how a page comes to tell it."""

from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from monitoring import vitals
from monitoring.models import Series
from monitoring.queries import web_vitals
from monitoring.queries.web_vitals import Figure, Row
from monitoring.vitals import Vital
from portal import htmx, jobs, permissions
from portal.access import page, person
from portal.models import Environment, Service

PAGE_SIZE = 30
SPANS = {"hour": ("Last hour", timedelta(hours=1)), "": ("Last day", timedelta(days=1)),
         "week": ("7 days", timedelta(days=7))}  # fmt: skip
APART = {"page": "Pages", "browser": "Browsers", "device": "Devices", "release": "Releases", "variant": "Variants"}
# Query parameter and label: `page` is the number of a page of the table.
LABELS = {"path": "page", "browser": "browser", "device": "device", "release": "release", "flag": "flag",
          "variant": "variant"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure in words, and as a bar of a hundred."""

    vital: Vital
    words: str
    rating: str
    count: int
    bar: list[tuple[str, float, float]]  # tone, from, how much
    shares: str

    @property
    def good(self) -> str:
        return _bound(self.vital, self.vital.good)

    @property
    def poor(self) -> str:
        return _bound(self.vital, self.vital.poor)


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a table; `link` leads to it alone."""

    name: str
    soft: str
    link: str
    views: int
    cells: list[Cell]


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """Every service that tells anything, the one of most page views first."""
    chosen, span = _span(request)
    places = {f"{name}__key": value for name in ("environment", "service") if (value := request.GET.get(name, ""))}
    seen = permissions.visible(person(request), Series.objects.filter(**places))
    rows = web_vitals.rows(seen, span=span, now=jobs.database_now())
    found = Paginator(rows, PAGE_SIZE).get_page(request.GET.get("page"))
    lines = [
        Line(row.service, f"in {row.environment}", reverse("browsers-of", args=[row.service, row.environment]),
             row.views, _cells(row))
        for row in found.object_list
    ]  # fmt: skip
    return htmx.render(
        request,
        "monitoring/browsers/list.html",
        "_list",
        found=found,
        lines=lines,
        vitals=vitals.VITALS,
        spans=[(key, name, key == chosen) for key, (name, _) in SPANS.items()],
        environments=Environment.objects.all(),
        services=Service.objects.all(),
    )


@page
@require_GET
def detail(request: HttpRequest, service: str, environment: str) -> HttpResponse:
    """One service in one environment: as a whole, and told apart by `?by=`; every filter stands in the address."""
    chosen, span = _span(request)
    by = request.GET.get("by", "page")
    if by not in APART:
        raise Http404
    of, place = get_object_or_404(Service, key=service), get_object_or_404(Environment, key=environment)
    seen = permissions.visible(person(request), Series.objects.filter(service=of, environment=place))
    only = {label: value for name, label in LABELS.items() if (value := request.GET.get(name, ""))}
    if not seen.exists():
        raise Http404
    now = jobs.database_now()
    whole = web_vitals.rows(seen, span=span, now=now, only=only)
    parts = web_vitals.rows(seen, span=span, now=now, by=by, only=only)
    found = Paginator(parts, PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/browsers/detail.html",
        "_state",
        service=of,
        environment=place,
        whole=_cells(whole[0]) if whole else [],
        views=whole[0].views if whole else 0,
        found=found,
        lines=[Line(*_named(row.name, by, request), row.views, _cells(row)) for row in found.object_list],
        vitals=vitals.VITALS,
        column=APART[by].removesuffix("s"),
        tabs=[(key, name, key == by) for key, name in APART.items()],
        spans=[(key, name, key == chosen) for key, (name, _) in SPANS.items()],
        only=[(label, value, _address(request, **_without(name))) for name, label in LABELS.items()
              if (value := request.GET.get(name, ""))],
    )  # fmt: skip


@page
@require_GET
def connect(request: HttpRequest) -> HttpResponse:
    """What to paste into a page. `?service=` and `?environment=` choose; without them the first ones."""
    who = person(request)
    environments = list(permissions.visible(who, Environment.objects.all(), environment="id", service=None))
    services = list(permissions.visible(who, Service.objects.all(), environment=None, service="id"))
    place, of = (
        next((one for one in some if request.GET.get(name, one.key) == one.key), None)
        for name, some in (("environment", environments), ("service", services))
    )
    if (place is None and request.GET.get("environment")) or (of is None and request.GET.get("service")):
        raise Http404
    return htmx.render(
        request,
        "monitoring/browsers/connect.html",
        environments=environments,
        services=services,
        place=place,
        of=of,
        base_url=settings.PORTAL_BASE_URL,
    )


def _span(request: HttpRequest) -> tuple[str, timedelta]:
    chosen = request.GET.get("show", "")
    chosen = chosen if chosen in SPANS else ""
    return chosen, SPANS[chosen][1]


def _named(name: str, by: str, request: HttpRequest) -> tuple[str, str, str]:
    """The row's name, what stands softly beside it, and the address that shows it alone."""
    if not name:
        return f"no {by} named", "", ""
    if by == "variant":
        flag, _, variant = name.partition(" = ")
        return variant, flag, _address(request, flag=flag, variant=variant, by="page")
    return (
        name,
        "",
        _address(request, **{"path" if by == "page" else by: name}, by="page" if by != "page" else "browser"),
    )


def _without(name: str) -> dict[str, str]:
    """An arm is left as it is entered: flag and variant at once."""
    return dict.fromkeys(("flag", "variant") if name in ("flag", "variant") else (name,), "")


def _address(request: HttpRequest, **changed: str) -> str:
    query = {name: value for name, value in {**request.GET.dict(), **changed}.items() if value and name != "page"}
    return f"{request.path}?{urlencode(query)}" if query else request.path


def _cells(row: Row) -> list[Cell]:
    return [_cell(figure) for figure in row.figures]


def _cell(figure: Figure) -> Cell:
    bar, at = [], 0.0
    shares = (("ok", figure.good), ("due", figure.needs_improvement), ("bad", figure.poor))
    for tone, share in shares:
        bar.append((tone, round(at, 1), round(100 * share, 1)))
        at += 100 * share
    told = ", ".join(f"{100 * share:.0f} % {word}" for word, share in
                     (("good", figure.good), ("between", figure.needs_improvement), ("poor", figure.poor)))  # fmt: skip
    return Cell(figure.vital, words(figure.vital, figure.value), figure.rating, figure.count, bar, told)


def words(vital: Vital, value: float | None) -> str:
    """As people say it: 2.31 s, 184 ms, 0.08."""
    if value is None:
        return "–"
    if not vital.unit:
        return f"{value:.2f}"
    return f"{value:.2f}\N{NO-BREAK SPACE}s" if value >= 1 else f"{1000 * value:.0f}\N{NO-BREAK SPACE}ms"


def _bound(vital: Vital, value: float | None) -> str:
    """Without digits that say nothing: 2.5 s, 200 ms, 0.1."""
    if value is None or (vital.unit and value < 1):
        return words(vital, value)
    return f"{value:g}\N{NO-BREAK SPACE}{vital.unit}".strip()
