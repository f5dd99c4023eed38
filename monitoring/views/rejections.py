"""What was turned away at the ways in, on a page: by reason, over the last day."""

from datetime import timedelta

from django.core.paginator import Paginator
from django.db.models import Max, Sum
from django.http import HttpRequest, HttpResponse
from django.views.decorators.http import require_GET

from monitoring.models import Rejection
from portal import htmx, jobs, permissions
from portal.access import page, person

PAGE_SIZE = 50
SPANS = {"": ("Last hour", timedelta(hours=1)), "day": ("Last day", timedelta(days=1)), "all": ("7 days", None)}


@page
@require_GET
def index(request: HttpRequest) -> HttpResponse:
    """One line for each way in, sender and reason, what came last first."""
    chosen = request.GET.get("show", "")
    span = SPANS.get(chosen, SPANS[""])[1]
    rows = permissions.visible(person(request), Rejection.objects.all(), service=None)
    if span is not None:
        rows = rows.filter(minute__gte=jobs.database_now() - span)
    if source := request.GET.get("source", ""):
        rows = rows.filter(source=source)
    # Of the examples any will do; the greatest is the one that SQL gives without a second look.
    summed = rows.order_by().values("source", "sender", "reason")
    summed = summed.annotate(total=Sum("count"), newest=Max("minute"), shown=Max("example"))
    found = Paginator(summed.order_by("-newest", "-total", "reason"), PAGE_SIZE).get_page(request.GET.get("page"))
    return htmx.render(
        request,
        "monitoring/rejections/list.html",
        "_list",
        found=found,
        chosen=chosen,
        source=source,
        spans=[(key, name) for key, (name, _) in SPANS.items()],
    )
