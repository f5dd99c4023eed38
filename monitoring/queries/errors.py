"""What is asked of errors: how many came in each hour, and which of them came of late."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count, Max, Q, QuerySet

from monitoring.models import ErrorGroup, ErrorHour, ErrorOccurrence
from portal.models import Environment, Service

HOUR = timedelta(hours=1)
NEW_FOR = timedelta(hours=24)  # since a group was first seen


@dataclass(frozen=True, slots=True)
class Recent:
    """A group, and how often it came of late."""

    group: ErrorGroup
    count: int


def begin(at: datetime) -> datetime:
    """The beginning of the hour."""
    return at.replace(minute=0, second=0, microsecond=0)


def hourly(
    groups: Collection[ErrorGroup], *, since: datetime, until: datetime
) -> Mapping[int, list[tuple[datetime, int]]]:
    """For each group every hour from that of `since` to that of `until`, with how often it came: one query."""
    first, last = begin(since), begin(until)
    hours = [first + HOUR * n for n in range(int((last - first) / HOUR) + 1)]
    rows = ErrorHour.objects.filter(group__in=groups, hour__gte=first, hour__lte=last)
    counts = {(row.group_id, row.hour): row.count for row in rows}
    return {group.pk: [(hour, counts.get((group.pk, hour), 0)) for hour in hours] for group in groups}


def chosen(
    rows: QuerySet[ErrorGroup],
    *,
    service: str = "",
    environment: str = "",
    severity: str = "",
    release: str = "",
    text: str = "",
) -> QuerySet[ErrorGroup]:
    """The groups that fit all that is given. `text` is looked for in type, message and culprit."""
    if service:
        rows = rows.filter(service__key=service)
    if environment:
        rows = rows.filter(environment__key=environment)
    if severity:
        rows = rows.filter(severity=severity)
    if release:
        rows = rows.filter(releases__release=release)
    if text:
        rows = rows.filter(Q(type__icontains=text) | Q(message__icontains=text) | Q(culprit__icontains=text))
    return rows


def recent(service: Service, environment: Environment, *, since: datetime, most: int) -> list[Recent]:
    """The groups of a place that came since then, the most frequent first: two queries."""
    counted = (
        ErrorOccurrence.objects.filter(service=service, environment=environment, time__gte=since)
        .order_by()
        .values("group")
        .annotate(many=Count("pk"), newest=Max("time"))
        .order_by("-many", "-newest")[:most]
    )
    counts = {row["group"]: row["many"] for row in counted}
    groups = ErrorGroup.objects.in_bulk(list(counts))
    return [Recent(groups[pk], many) for pk, many in counts.items() if pk in groups]
