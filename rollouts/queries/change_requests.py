"""Change requests with what a reader needs beside them, in a fixed number of queries."""

from django.db.models import Case, F, IntegerField, OuterRef, Prefetch, QuerySet, Subquery, Value, When
from django.db.models.functions import Coalesce

from rollouts.models import Approval, ChangeRequest, FlagConfig, Segment

Kind = ChangeRequest.Kind


def shown(rows: "QuerySet[ChangeRequest]") -> "QuerySet[ChangeRequest]":
    """With everything that a door prints of them, and as `current` the revision at which the thing is now."""
    config = FlagConfig.objects.filter(flag=OuterRef("flag"), environment=OuterRef("environment"))
    segment = Segment.objects.filter(key=OuterRef("segment"))
    current = Case(
        When(kind=Kind.CONFIG, then=Subquery(config.values("revision"))),
        When(kind=Kind.SEGMENT, then=Subquery(segment.values("revision"))),
        default=F("flag__revision"),
        output_field=IntegerField(),
    )
    approvals = Approval.objects.select_related("person")
    return (
        rows.annotate(current=Coalesce(current, Value(0)))
        .select_related("flag__service", "environment", "author")
        .prefetch_related(Prefetch("approvals", approvals), "editors")
    )
