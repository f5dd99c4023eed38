"""Limits of metrics by REST: capacities, and budgets of a month."""

from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import capacities
from monitoring.api.choosing import chosen
from monitoring.api.forecasts import ForecastStepShape
from monitoring.models import Capacity
from monitoring.queries import standings
from monitoring.queries.outlooks import LONGEST
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN

EXAMPLE = OpenApiExample(
    "a disk",
    value={
        "key": "orders-disk",
        "name": "disk of the orders",
        "kind": "capacity",
        "metric": "disk_used_bytes",
        "aggregation": "max",
        "matchers": {"service": "orders", "environment": "production"},
        "limit": 500000000000,
        "share": 0.9,
        "horizon": 90,
    },
    request_only=True,
)


class CapacityChange(Serializer):
    name = serializers.CharField(max_length=200)
    kind = serializers.ChoiceField(Capacity.Kind.choices, required=False)
    metric = serializers.CharField(max_length=200)
    aggregation = serializers.CharField(max_length=20, required=False, allow_blank=True)
    matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    limit = serializers.FloatField(help_text="in the metric's unit; of a budget for a calendar month")
    share = serializers.FloatField(required=False, help_text="of the limit that must not be reached")
    horizon = serializers.IntegerField(required=False, min_value=1, max_value=LONGEST, help_text="days")


class CapacityShape(CapacityChange):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])
    version = serializers.IntegerField(read_only=True)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    state = serializers.ChoiceField(Capacity.State.choices, read_only=True)
    reason = serializers.CharField(read_only=True)
    method = serializers.CharField(read_only=True)
    value = serializers.FloatField(read_only=True, allow_null=True, help_text="now; of a budget what is spent")
    expected = serializers.FloatField(
        read_only=True, allow_null=True, help_text="at the horizon, or by the month's end"
    )
    low = serializers.FloatField(read_only=True, allow_null=True)
    high = serializers.FloatField(read_only=True, allow_null=True)
    reached_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="null: not by the horizon")
    earliest_at = serializers.DateTimeField(read_only=True, allow_null=True)
    latest_at = serializers.DateTimeField(read_only=True, allow_null=True)
    looked_at = serializers.DateTimeField(read_only=True, allow_null=True)


class OutlookShape(serializers.Serializer[Any]):
    """As it stands now, with the forecast step by step."""

    state = serializers.ChoiceField(Capacity.State.choices)
    reason = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    expected = serializers.FloatField(allow_null=True)
    low = serializers.FloatField(allow_null=True)
    high = serializers.FloatField(allow_null=True)
    reached_at = serializers.DateTimeField(source="at", allow_null=True)
    earliest_at = serializers.DateTimeField(source="earliest", allow_null=True)
    latest_at = serializers.DateTimeField(source="latest", allow_null=True)
    method = serializers.CharField(allow_blank=True)


class CapacityOutlookShape(OutlookShape):
    step = serializers.IntegerField(help_text="seconds")
    steps = ForecastStepShape(many=True)


class CapacityFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Capacity
        fields = ("kind", "state")


class Capacities(DoorSet):
    serializer_class = CapacityShape
    filterset_class = CapacityFilter
    queryset = Capacity.objects.none()

    @extend_schema(responses=CapacityShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(CapacityFilter, request, self._seen()), CapacityShape)

    @extend_schema(request=CapacityShape, responses={201: CapacityShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """A capacity (its forecast says when a share of it is reached) or a budget (what the month will come to)."""
        fields: dict[str, Any] = dict(self.body(CapacityShape))
        made = capacities.create(fields.pop("key"), fields, by=self.by)
        return Response(CapacityShape(self._find(made.key)).data, status=201)

    @extend_schema(responses=CapacityShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(CapacityShape(self._find(key)).data)

    @extend_schema(request=CapacityChange, responses=CapacityShape)
    def change(self, request: Request, key: str) -> Response:
        capacities.change(self._find(key), self.body(CapacityChange, partial=True), by=self.by)
        return Response(CapacityShape(self._find(key)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        capacities.delete(self._find(key), by=self.by)
        return Response(status=204)

    @extend_schema(responses=CapacityOutlookShape)
    def outlook(self, request: Request, key: str) -> Response:
        found, outlook = standings.standing(self._find(key), now=jobs.database_now())
        steps = ForecastStepShape(outlook.forecast.steps, many=True).data
        body = {**OutlookShape(found).data, "step": int(outlook.step.total_seconds()), "steps": steps}
        return Response(body)

    def _find(self, key: str) -> Capacity:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> QuerySet[Capacity]:
        return permissions.visible(self.by, Capacity.objects.active())
