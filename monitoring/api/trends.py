"""Trends of metrics by REST: read only."""

from datetime import timedelta
from typing import Any

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.models import Metric, Series
from monitoring.queries import histories
from monitoring.queries.trends import seen
from monitoring.queries.windows import is_aggregation
from monitoring.trends import Direction, Effect
from portal import jobs, permissions
from portal.drf import DoorSet, Pages
from portal.errors import Invalid


class TrendShape(serializers.Serializer[Any]):
    metric = serializers.CharField(source="subject.metric")
    unit = serializers.CharField(source="subject.unit")
    direction_of_metric = serializers.ChoiceField(Metric.Direction.choices, source="subject.direction")
    service = serializers.CharField(source="subject.service", help_text="empty: series that name none")
    environment = serializers.CharField(source="subject.environment")
    aggregation = serializers.CharField()
    direction = serializers.ChoiceField([one.value for one in Direction], source="trend.direction")
    effect = serializers.ChoiceField([one.value for one in Effect], help_text="by the metric's direction")
    reason = serializers.CharField(source="trend.reason")
    method = serializers.CharField(source="trend.method")
    season = serializers.CharField(source="trend.season", help_text="what was taken out before; empty: nothing")
    level = serializers.FloatField(source="trend.level", allow_null=True, help_text="the median")
    change = serializers.FloatField(
        source="trend.change", allow_null=True, help_text="over the window, as a share of the level"
    )
    change_low = serializers.FloatField(source="trend.change_low", allow_null=True, help_text="of its 95 % interval")
    change_high = serializers.FloatField(source="trend.change_high", allow_null=True)
    slope = serializers.FloatField(allow_null=True, help_text="Theil-Sen, a day")
    p = serializers.FloatField(allow_null=True, help_text="Mann-Kendall, two-sided")
    effective = serializers.FloatField(allow_null=True, help_text="independent values that the series is worth")
    count = serializers.IntegerField(source="trend.count", help_text="values known")
    expected = serializers.IntegerField(source="trend.expected", help_text="values that there could be")


class Chosen(serializers.Serializer[object]):
    metric = serializers.CharField(required=False, allow_blank=True, max_length=200)
    service = serializers.CharField(required=False, allow_blank=True)
    environment = serializers.CharField(required=False, allow_blank=True)
    window = serializers.ChoiceField(list(histories.WINDOWS), default="7d")
    aggregation = serializers.CharField(required=False, allow_blank=True)
    relevant = serializers.FloatField(required=False, min_value=0.001, max_value=10)

    def validate_aggregation(self, value: str) -> str:
        if value and not is_aggregation(value):
            raise serializers.ValidationError("must be mean, min, max, sum, count, stddev, last, rate, increase or p95")
        return value


class TrendPages(Pages):
    # Each row is computed from its values.
    page_size = 20
    max_page_size = 50


class Trends(DoorSet):
    serializer_class = TrendShape
    pagination_class = TrendPages

    @extend_schema(
        responses=TrendShape(many=True),
        parameters=[
            OpenApiParameter("metric", str, description="its name"),
            OpenApiParameter("service", str),
            OpenApiParameter("environment", str),
            OpenApiParameter("window", str, enum=list(histories.WINDOWS), description="7d by default"),
            OpenApiParameter("aggregation", str, description="mean of a gauge, rate of a counter, p95 of a histogram"),
            OpenApiParameter("relevant", float, description="the change that matters, as a share: 0.05 by default"),
        ],
    )
    def list(self, request: Request) -> Response:
        """Whether each metric of each service rises, falls or is stable; unknown where too little is known."""
        asked = Chosen(data=request.query_params)
        asked.is_valid(raise_exception=True)
        chosen: dict[str, Any] = asked.validated_data
        if any("\0" in value for value in request.query_params.values()):
            raise Invalid.of("metric", "may not contain the NUL character")
        window, step = histories.WINDOWS[chosen["window"]]
        rows = permissions.visible(self.by, Series.objects.all())
        for name, column in (
            ("metric", "metric__name"),
            ("service", "service__key"),
            ("environment", "environment__key"),
        ):
            if value := chosen.get(name):
                rows = rows.filter(**{column: value})
        now = jobs.database_now()
        pages: Any = TrendPages()
        heard = now - max(window, timedelta(days=1))
        page = pages.paginate_queryset(histories.subjects(rows, heard_since=heard), request, view=self)
        found = seen(
            [histories.subject(row) for row in page],
            window=window,
            step=step,
            now=now,
            aggregation=chosen.get("aggregation", ""),
            **({"relevant": chosen["relevant"]} if "relevant" in chosen else {}),
        )
        return pages.get_paginated_response(TrendShape(found, many=True).data)
