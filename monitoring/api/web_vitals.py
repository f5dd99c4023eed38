"""What users waited for, by REST: read only."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.models import Series
from monitoring.queries import web_vitals
from monitoring.queries.web_vitals import APART, Row
from monitoring.vitals import Rating
from portal import jobs, permissions
from portal.drf import DoorSet

LABELS = {"path": "page", "browser": "browser", "device": "device", "release": "release", "flag": "flag",
          "variant": "variant"}  # fmt: skip
LONGEST_SPAN = 720  # hours


class FigureShape(serializers.Serializer[Any]):
    p75 = serializers.FloatField(source="value", allow_null=True, help_text="seconds (cls: its own number)")
    count = serializers.IntegerField(help_text="page views that told it")
    rating = serializers.ChoiceField(
        [one.value for one in Rating], help_text="by the field's bounds; without enough data it is not good"
    )
    good = serializers.FloatField(help_text="the share of page views that were good; likewise the others")
    needs_improvement = serializers.FloatField()
    poor = serializers.FloatField()


class VitalsShape(serializers.Serializer[Any]):
    lcp = FigureShape(help_text="largest contentful paint")
    inp = FigureShape(help_text="interaction to next paint")
    cls = FigureShape(help_text="cumulative layout shift")
    fcp = FigureShape(help_text="first contentful paint")
    ttfb = FigureShape(help_text="time to first byte")


class WebVitalsShape(serializers.Serializer[Row]):
    service = serializers.CharField()
    environment = serializers.CharField()
    name = serializers.CharField(help_text="the page, browser, device, release or arm (flag = variant); empty: all")
    views = serializers.IntegerField()
    vitals = serializers.SerializerMethodField()

    @extend_schema_field(VitalsShape)
    def get_vitals(self, row: Row) -> dict[str, Any]:
        return {one.vital.key: FigureShape(one).data for one in row.figures}


class Chosen(serializers.Serializer[Any]):
    service = serializers.CharField(required=False, allow_blank=True)
    environment = serializers.CharField(required=False, allow_blank=True)
    by = serializers.ChoiceField(list(APART), required=False, allow_blank=True)
    hours = serializers.IntegerField(min_value=1, max_value=LONGEST_SPAN, required=False)
    path = serializers.CharField(required=False, allow_blank=True)
    browser = serializers.CharField(required=False, allow_blank=True)
    device = serializers.CharField(required=False, allow_blank=True)
    release = serializers.CharField(required=False, allow_blank=True)
    flag = serializers.CharField(required=False, allow_blank=True)
    variant = serializers.CharField(required=False, allow_blank=True)


CHOICE = [
    *(OpenApiParameter(name, str) for name in ("service", "environment")),
    OpenApiParameter("by", str, enum=list(APART), description="told apart by; without it whole services"),
    OpenApiParameter("hours", {"type": "integer", "minimum": 1, "maximum": LONGEST_SPAN, "default": 24}),
    *(OpenApiParameter(name, str, description=f"only this {label}") for name, label in LABELS.items()),
]


class WebVitals(DoorSet):
    serializer_class = WebVitalsShape

    @extend_schema(responses=WebVitalsShape(many=True), parameters=CHOICE)
    def list(self, request: Request) -> Response:
        """Web vitals of the last day at the 75th percentile of page views, with what they are worth; the row of most
        page views first. Percentiles are of all views together, within 1 %."""
        asked = Chosen(data=request.query_params)
        asked.is_valid(raise_exception=True)
        chosen = {name: value for name, value in asked.validated_data.items() if value}
        places = {f"{name}__key": chosen[name] for name in ("service", "environment") if name in chosen}
        found = web_vitals.rows(
            permissions.visible(self.by, Series.objects.filter(**places)),
            span=timedelta(hours=chosen.get("hours", 24)),
            now=jobs.database_now(),
            by=chosen.get("by", ""),
            only={label: chosen[name] for name, label in LABELS.items() if name in chosen},
        )
        return self.page(found, WebVitalsShape)
