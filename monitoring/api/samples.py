"""Samples by REST: sent in batches, read back as they were sent."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import queries
from monitoring.actions import incoming, metrics
from monitoring.api import batches
from monitoring.api.batches import RESPONSES, BatchParser
from monitoring.api.ingesting import Ingesting
from monitoring.models import Sample
from monitoring.models.metrics import RESERVED_LABELS
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid

DEFAULT_SPAN = timedelta(hours=1)

LABELS = {
    "type": "object",
    "additionalProperties": {"type": "string", "maxLength": incoming.LONGEST},
    "propertyNames": {"pattern": "^[a-zA-Z][a-zA-Z0-9_]{0,199}$"},
    "maxProperties": incoming.MOST_LABELS,
}
TIME = {
    "oneOf": [{"type": "string", "format": "date-time"}, {"type": "number"}, {"type": "null"}],
    "description": "RFC 3339 or Unix seconds; now when left out",
}
DISTRIBUTION = {
    "type": "object",
    "required": ["count", "sum", "buckets"],
    "additionalProperties": False,
    "description": "what was observed since the last sample; [upper bound, count in this bucket alone] each",
    "properties": {
        "count": {"type": "integer", "minimum": 0},
        "sum": {"type": "number"},
        "min": {"type": "number"},
        "max": {"type": "number"},
        "buckets": {
            "type": "array",
            "maxItems": incoming.MOST_BUCKETS,
            "items": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": ["number", "string"]}},
        },
    },
}


@extend_schema_field(LABELS)
class LabelsField(serializers.JSONField):
    """Label names and their values."""


@extend_schema_field(TIME)
class TimeField(serializers.JSONField):
    """RFC 3339 or Unix seconds."""


@extend_schema_field({"oneOf": [{"type": "number"}, DISTRIBUTION]})
class ValueField(serializers.JSONField):
    """A number, or a distribution."""


class SampleShape(Serializer):
    """The schema's words for what `incoming` checks, sample by sample."""

    metric = serializers.RegexField("^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=incoming.LONGEST)
    value = ValueField()
    time = TimeField(required=False)
    labels = LabelsField(required=False)


class SampleBatch(Serializer):
    samples = SampleShape(many=True, max_length=batches.MOST)  # type: ignore[call-arg]


class StoredSample(Serializer):
    metric = serializers.CharField(source="series.metric.name")
    labels = LabelsField(source="series.labels")
    time = serializers.DateTimeField()
    value = serializers.FloatField(allow_null=True, help_text="of a distribution the mean")
    histogram = serializers.DictField(allow_null=True)


EXAMPLE = OpenApiExample(
    "a batch",
    value={
        "samples": [
            {"metric": "http_requests_total", "value": 1027, "labels": {"flag": "new-checkout", "variant": "on"}},
            {"metric": "response_seconds", "value": {"count": 3, "sum": 0.9, "buckets": [[0.25, 2], ["+Inf", 1]]}},
        ]
    },
    request_only=True,
)
SPAN = [
    OpenApiParameter("since", OpenApiTypes.DATETIME, description="an hour before `until` when left out"),
    OpenApiParameter("until", OpenApiTypes.DATETIME, description="now when left out"),
]
CHOICE = [
    *(OpenApiParameter(name, OpenApiTypes.STR) for name in RESERVED_LABELS),
    OpenApiParameter("label", OpenApiTypes.STR, many=True, description="`name:value` of any other label"),
]


class Samples(Ingesting, DoorSet):
    source = "samples"
    serializer_class = StoredSample
    parser_classes = (BatchParser,)
    scope = "ingest"

    @extend_schema(request=SampleBatch, responses=RESPONSES, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """Take a batch. The good samples are kept even when others are rejected (400)."""
        return batches.take(request, "samples", partial(metrics.record, by=self.by))

    @extend_schema(
        responses=StoredSample(many=True),
        parameters=[OpenApiParameter("metric", OpenApiTypes.STR, required=True), *CHOICE, *SPAN],
    )
    def list(self, request: Request) -> Response:
        """Samples as they were sent, oldest first."""
        metric = request.query_params.get("metric", "")
        if not metric:
            raise Invalid.of("metric", "is required")
        since, until = span(request)
        series = permissions.visible(self.by, queries.matching(metric, matchers(request)))
        rows = Sample.objects.filter(series__in=series.values("pk"), time__gte=since, time__lt=until)
        return self.page(rows.select_related("series__metric").order_by("time", "series_id"), StoredSample)


def matchers(request: Request) -> dict[str, str]:
    """The labels that the query parameters ask for."""
    given = {name: request.query_params[name] for name in RESERVED_LABELS if name in request.query_params}
    for pair in request.query_params.getlist("label"):
        name, colon, value = pair.partition(":")
        if not colon or not name:
            raise Invalid.of("label", "must be name:value")
        given[name] = value
    for name, value in [*given.items(), ("metric", request.query_params.get("metric", ""))]:
        if incoming.UNKEEPABLE.search(name + value):
            raise Invalid.of(name if name in RESERVED_LABELS else "label", "may not contain the NUL character")
    return given


def span(request: Request) -> tuple[datetime, datetime]:
    """From when to when: the last hour, unless told."""
    now = jobs.database_now()
    until = _time(request, "until") or now + timedelta(seconds=60)
    since = _time(request, "since") or until - DEFAULT_SPAN
    if since >= until:
        raise Invalid.of("since", "must be before until")
    return since, until


def _time(request: Request, name: str) -> datetime | None:
    raw: Any = request.query_params.get(name)
    if raw is None:
        return None
    try:
        made = parse_datetime(raw.replace(" ", "+"))
    except ValueError:
        made = None
    if made is None or made.tzinfo is None or not 1900 < made.year < 9000:
        raise Invalid.of(name, "must be RFC 3339 with its zone, as 2030-01-31T12:00:00Z")
    return made
