"""How fast incidents are answered and ended, on a page."""

from datetime import timedelta

from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from monitoring.models import Incident
from monitoring.queries.incident_figures import figures
from portal import htmx, jobs, permissions
from portal.access import page, person

SPANS = {"": ("30 days", 30), "week": ("7 days", 7), "quarter": ("90 days", 90), "year": ("A year", 365)}
LINES = {"service": "By service", "definition": "By definition", "severity": "By severity"}


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    chosen = request.GET.get("show", "")
    days = timedelta(days=SPANS.get(chosen, SPANS[""])[1])
    now = jobs.database_now()
    rows = permissions.visible(person(request), Incident.objects.all())
    before = figures(rows, since=now - 2 * days, until=now - days)[0]
    return htmx.render(
        request,
        "monitoring/incidents/figures.html",
        spans=[(key, label, key == chosen) for key, (label, _) in SPANS.items()],
        whole=figures(rows, since=now - days, until=now)[0],
        before=before,
        tables=[(label, by, figures(rows, since=now - days, until=now, by=by)) for by, label in LINES.items()],
    )
