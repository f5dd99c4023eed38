"""What was captured for an incident, on a page: each series as a small chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from monitoring.models import IncidentAttachment
from monitoring.views.incidents import visible
from portal import htmx
from portal.access import page

WIDTH, HEIGHT = 600, 80  # of a chart's own coordinates


@dataclass(frozen=True, slots=True)
class Line:
    """One series: its name, its range, and its points in the chart's coordinates."""

    name: str
    labels: str
    unit: str
    low: float
    high: float
    last: float
    path: str


@page
@require_GET
def detail(request: HttpRequest, pk: int, attachment: int) -> HttpResponse:
    incident = get_object_or_404(visible(request), pk=pk)
    found = get_object_or_404(IncidentAttachment.objects.filter(incident=incident), pk=attachment)
    return htmx.render(
        request,
        "monitoring/incidents/attachment.html",
        incident=incident,
        attachment=found,
        content=found.content,
        lines=[_line(one) for one in found.content.get("series", ())],
    )


def _line(series: Mapping[str, Any]) -> Line:
    points: Sequence[Sequence[float]] = series["points"]
    times, values = [point[0] for point in points], [point[1] for point in points]
    first, span = times[0], (times[-1] - times[0]) or 1
    low, high = min(values), max(values)
    height = (high - low) or 1
    spots = (
        f"{(time - first) / span * WIDTH:.1f},{HEIGHT - (value - low) / height * HEIGHT:.1f}"
        for time, value in zip(times, values, strict=True)
    )
    labels = ", ".join(f"{name}={value}" for name, value in sorted(series["labels"].items()))
    return Line(series["metric"], labels, series["unit"], low, high, values[-1], " ".join(spots))
