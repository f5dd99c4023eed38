"""What users have said, in a report."""

from collections.abc import Callable
from typing import Any

from django.db.models import Avg, Case, Count, IntegerField, Q, QuerySet, Value, When
from django.urls import reverse

from feedback.models import Entry
from monitoring import sections
from monitoring.sections import Item, Scope, Section, figure

TOP = 5
LONGEST = 160  # characters of a text
RANKS = (Entry.Priority.URGENT, Entry.Priority.HIGH, Entry.Priority.NORMAL, Entry.Priority.LOW)


@sections.register("feedback", rank=60)
def feedback(scope: Scope) -> Section:
    """How much, how satisfied, and what is most urgent. Who wrote it is not told."""
    rows = scope.rows(Entry.objects.all())
    within = rows.filter(created_at__gte=scope.since, created_at__lt=scope.until)
    now = _summed(within)
    before = _summed(rows.filter(created_at__gte=scope.before, created_at__lt=scope.since))
    lines = [figure("Entries", now["count"], before["count"], words=sections.count)]
    if now["rating"] is not None or before["rating"] is not None:
        words: Callable[[float], str] = "{:.1f} of 5".format
        lines.append(figure("Mean rating", now["rating"], before["rating"], words=words, better="higher"))
    if now["count"]:
        lines.append(figure("Negative", now["negative"], before["negative"], words=sections.count, better="lower"))
    rank = Case(*(When(priority=one, then=Value(n)) for n, one in enumerate(RANKS)), output_field=IntegerField())
    top = within.exclude(text="").select_related("service").order_by(rank, "-id")[:TOP]
    items = [
        Item(
            one.text if len(one.text) <= LONGEST else f"{one.text[: LONGEST - 1].rstrip()}…",
            one.priority,
            f"{one.service}, {one.get_kind_display().lower()}" + (f", {one.rating} of 5" if one.rating else ""),
            reverse("entry", args=[one.pk]),
        )
        for one in top
    ]
    more = max(within.exclude(text="").count() - TOP, 0)
    return Section("What users said", lines, items, more, "Nobody said anything.")


def _summed(rows: "QuerySet[Entry]") -> dict[str, Any]:
    found: dict[str, Any] = rows.aggregate(
        count=Count("pk"), rating=Avg("rating"), negative=Count("pk", filter=Q(sentiment=Entry.Sentiment.NEGATIVE))
    )
    return found
