"""What a metric will be, by REST: read only."""

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import forecasting
from monitoring.models import Metric, Series
from monitoring.queries import histories, outlooks
from monitoring.queries.histories import Measured
from monitoring.queries.windows import is_aggregation
from portal import jobs, permissions
from portal.drf import Door
from portal.errors import Invalid


class ForecastStepShape(serializers.Serializer[object]):
    at = serializers.DateTimeField(help_text="the step's start")
    value = serializers.FloatField()
    low = serializers.FloatField(help_text="of the interval")
    high = serializers.FloatField()


class ReachShape(serializers.Serializer[object]):
    """When a limit is reached; null: not within the horizon."""

    limit = serializers.FloatField(source="level")
    now = serializers.BooleanField(help_text="it is already")
    at = serializers.DateTimeField(allow_null=True)
    earliest = serializers.DateTimeField(allow_null=True)
    latest = serializers.DateTimeField(allow_null=True)


class ForecastShape(serializers.Serializer[object]):
    """Without steps nothing can be said, and `reason` says why."""

    metric = serializers.CharField()
    service = serializers.CharField(allow_blank=True)
    environment = serializers.CharField(allow_blank=True)
    aggregation = serializers.CharField()
    known = serializers.BooleanField()
    method = serializers.CharField(allow_blank=True)
    reason = serializers.CharField()
    confidence = serializers.FloatField(help_text="of the interval")
    error = serializers.FloatField(allow_null=True, help_text="mean absolute error over the history's last stretches")
    count = serializers.IntegerField(help_text="values of the history")
    step = serializers.IntegerField(help_text="seconds")
    value = serializers.FloatField(allow_null=True, help_text="the newest")
    reach = ReachShape(allow_null=True)
    steps = ForecastStepShape(many=True)


class Chosen(serializers.Serializer[object]):
    metric = serializers.CharField(max_length=200)
    service = serializers.CharField(required=False, allow_blank=True, default="")
    environment = serializers.CharField(required=False, allow_blank=True, default="")
    aggregation = serializers.CharField(required=False, allow_blank=True, default="")
    days = serializers.IntegerField(min_value=1, max_value=outlooks.LONGEST, default=7)
    limit = serializers.FloatField(required=False)

    def validate_aggregation(self, value: str) -> str:
        if value and not is_aggregation(value):
            raise serializers.ValidationError("must be mean, min, max, sum, count, stddev, last, rate, increase or p95")
        return value


class Forecasts(Door):
    @extend_schema(
        responses=ForecastShape,
        parameters=[
            OpenApiParameter("metric", str, required=True),
            OpenApiParameter("service", str),
            OpenApiParameter("environment", str),
            OpenApiParameter("aggregation", str, description="mean of a gauge, rate of a counter, p95 of a histogram"),
            OpenApiParameter("days", int, description="how far ahead: 7 by default"),
            OpenApiParameter("limit", float, description="when is it reached?"),
        ],
    )
    def get(self, request: Request) -> Response:
        """A forecast with its interval, of the series of a service in an environment, all pooled."""
        if any("\0" in value for value in request.query_params.values()):
            raise Invalid.of("metric", "may not contain the NUL character")
        asked = Chosen(data=request.query_params)
        asked.is_valid(raise_exception=True)
        chosen: dict[str, Any] = asked.validated_data
        metric = get_object_or_404(Metric, name=chosen["metric"])
        matchers = outlooks.matchers_of(chosen["service"], chosen["environment"])
        # Pooled are only series that whoever asks may see: all that match, or none.
        rows = Series.objects.filter(metric=metric, labels__contains=dict(matchers))
        if permissions.visible(self.by, rows).count() != rows.count():
            raise Invalid.of("service", "name a service and an environment: others of this metric are not yours to see")
        how = chosen["aggregation"] or histories.USUALLY[metric.type]
        now = jobs.database_now()
        found = outlooks.outlook(
            Measured(metric.name, how, matchers), until=now + timedelta(days=chosen["days"]), now=now
        )
        limit = chosen.get("limit")
        reached = None
        if limit is not None and found.forecast.known:
            reached = forecasting.reach(found.forecast, limit, value=found.value)
        body = {
            "metric": metric.name,
            "service": chosen["service"],
            "environment": chosen["environment"],
            "aggregation": how,
            "known": found.forecast.known,
            "method": found.forecast.method,
            "reason": found.forecast.reason,
            "confidence": found.forecast.confidence,
            "error": found.forecast.error,
            "count": found.forecast.count,
            "step": int(found.step.total_seconds()),
            "value": found.value,
            "reach": reached,
            "steps": found.forecast.steps,
        }
        return Response(ForecastShape(body).data)
