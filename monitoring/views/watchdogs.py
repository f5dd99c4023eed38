"""Signs of life on a page: who owes them, who is silent, and what to call."""

from django.core.paginator import Paginator
from django.db.models import Case, Value, When
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.views.decorators.http import require_GET

from monitoring.models import Watchdog
from portal import htmx, permissions
from portal.access import page, person

PAGE_SIZE = 50
# The silent first.
ORDER = Case(
    When(active=False, then=Value(3)),
    When(status__in=(Watchdog.Status.SILENT, Watchdog.Status.FAILING), then=Value(0)),
    When(status=Watchdog.Status.WAITING, then=Value(1)),
    default=Value(2),
)


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    rows = permissions.visible(person(request), Watchdog.objects.select_related("service", "environment"))
    found = Paginator(rows.order_by(ORDER, "name", "id"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/watchdogs/list.html",
        "_list",
        found=found,
        example=request.build_absolute_uri(f"{reverse('home')}api/v1/watchdogs/KEY/beat/"),
        may=permissions.can(person(request), "configure", environment=permissions.ANY, service=permissions.ANY),
    )
