"""Alerts by REST: the judge writes them; people say which were false."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import alerts
from monitoring.api.choosing import chosen
from monitoring.models import Alert
from portal import permissions
from portal.drf import DoorSet, Serializer


class AlertShape(Serializer):
    id = serializers.IntegerField()
    threshold = serializers.IntegerField(source="threshold_id")
    name = serializers.CharField(source="threshold.name")
    metric = serializers.CharField(source="threshold.metric")
    group = serializers.CharField()
    status = serializers.ChoiceField(Alert.Status.choices)
    level = serializers.ChoiceField(Alert.Level.choices)
    reason = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    labels = serializers.DictField(child=serializers.CharField())
    service = serializers.CharField(source="service.key", allow_null=True, default=None)
    environment = serializers.CharField(source="environment.key", allow_null=True, default=None)
    incident = serializers.IntegerField(source="incident_id", allow_null=True)
    started_at = serializers.DateTimeField()
    fired_at = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    resolved_because = serializers.CharField()
    told_at = serializers.DateTimeField(allow_null=True)
    held_at = serializers.DateTimeField(allow_null=True)
    held_because = serializers.CharField()
    flapping = serializers.BooleanField()
    false_at = serializers.DateTimeField(allow_null=True)
    false_by = serializers.CharField()
    false_because = serializers.CharField()


class FalseAlert(Serializer):
    because = serializers.CharField(max_length=2000)


class TrueAlert(Serializer):
    because = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class AlertFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")
    threshold = filters.NumberFilter("threshold_id", min_value=1, max_value=2**62)
    incident = filters.NumberFilter("incident_id", min_value=1, max_value=2**62)

    class Meta:
        model = Alert
        fields = ("status", "level")


class Alerts(DoorSet):
    serializer_class = AlertShape
    filterset_class = AlertFilter
    queryset = Alert.objects.none()

    @extend_schema(responses=AlertShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(AlertFilter, request, self._seen()), AlertShape)

    @extend_schema(responses=AlertShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(AlertShape(get_object_or_404(self._seen(), pk=pk)).data)

    @extend_schema(request=FalseAlert, responses=AlertShape)
    def mark_false(self, request: Request, pk: int) -> Response:
        """Nothing was wrong: it counts against its threshold."""
        alert = get_object_or_404(self._seen(), pk=pk)
        return Response(AlertShape(alerts.mark_false(alert, by=self.by, **self.body(FalseAlert))).data)

    @extend_schema(request=TrueAlert, responses=AlertShape)
    def unmark_false(self, request: Request, pk: int) -> Response:
        alert = get_object_or_404(self._seen(), pk=pk)
        return Response(AlertShape(alerts.unmark_false(alert, by=self.by, **self.body(TrueAlert))).data)

    def _seen(self) -> QuerySet[Alert]:
        rows = Alert.objects.select_related("threshold", "service", "environment")
        return permissions.visible(self.by, rows)
