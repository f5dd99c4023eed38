"""How fast incidents are answered, mitigated and resolved: mean and median, counted from their opening.

MTTA = acknowledged - opened, MTTM = mitigated - opened, MTTR = resolved - opened; of incidents that opened in the
period, each over those that got so far. The first acknowledgement counts, whatever became of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Aggregate, Avg, Count, DurationField, ExpressionWrapper, F, Q, QuerySet

from monitoring.models import Incident
from monitoring.models.incidents import OPEN

# What they may be told apart by, and the field that says it.
BY = {"": None, "service": "service__key", "definition": "definition__key", "severity": "severity"}
MOST = 100


class Median(Aggregate):
    """The value that half of them do not exceed, between the two in the middle."""

    function = "PERCENTILE_CONT"
    template = "%(function)s(0.5) WITHIN GROUP (ORDER BY %(expressions)s)"
    output_field = DurationField()


@dataclass(frozen=True, slots=True)
class Figures:
    """One line: how many incidents, and the times of those that got so far (None: of none)."""

    name: str | None
    count: int
    open: int
    mean_to_acknowledge: timedelta | None
    median_to_acknowledge: timedelta | None
    mean_to_mitigate: timedelta | None
    median_to_mitigate: timedelta | None
    mean_to_resolve: timedelta | None
    median_to_resolve: timedelta | None


def figures(rows: "QuerySet[Incident]", *, since: datetime, until: datetime, by: str = "") -> Sequence[Figures]:
    """Of the incidents among `rows` that opened in the period: one line, or one for each value of what `by` names."""
    found: Any = rows.filter(opened_at__gte=since, opened_at__lt=until).order_by()
    measured: dict[str, Any] = {"count": Count("pk"), "open": Count("pk", filter=Q(status__in=OPEN))}
    for name, until_field in (("acknowledge", "answered_at"), ("mitigate", "mitigated_at"), ("resolve", "resolved_at")):
        took = ExpressionWrapper(F(until_field) - F("opened_at"), output_field=DurationField())
        measured |= {f"mean_to_{name}": Avg(took), f"median_to_{name}": Median(took)}
    if (field := BY[by]) is None:
        whole: dict[str, Any] = found.aggregate(**measured)
        return [Figures(None, **whole)]
    lines: Any = found.values(name=F(field)).annotate(**measured).order_by("-count", "name")[:MOST]
    return [Figures(**line) for line in lines]
