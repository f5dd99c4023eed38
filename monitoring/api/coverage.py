"""Monitoring coverage by REST: what of a service nobody watches, and what need not be watched."""

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import coverage
from monitoring.coverage import SIGNALS, Standing
from monitoring.models import CoverageWaiver, Series, Slo, Threshold
from monitoring.queries.coverage import Covered, covered
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.models import Environment, Service


class CriticalMetricShape(serializers.Serializer[object]):
    signal = serializers.ChoiceField(SIGNALS)
    metric = serializers.CharField(allow_blank=True, help_text="empty: the signal has none here")
    standing = serializers.ChoiceField([(one.value, one.value) for one in Standing])
    reason = serializers.CharField()


class CoverageShape(serializers.Serializer[Covered]):
    service = serializers.CharField(source="service.key")
    environment = serializers.CharField(
        source="environment.key", allow_null=True, default=None, help_text="null: measured in none"
    )
    watched = serializers.IntegerField(source="coverage.watched", help_text="critical metrics with a bound and data")
    total = serializers.IntegerField(source="coverage.total", help_text="of so many, without waived signals")
    items = CriticalMetricShape(source="coverage.items", many=True)


class WaiverShape(Serializer):
    """A signal that does not concern a service. Without an environment: in none of them."""

    id = serializers.IntegerField(read_only=True)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all())
    environment = serializers.SlugRelatedField(
        "key", queryset=Environment.objects.all(), required=False, allow_null=True
    )
    signal = serializers.ChoiceField(SIGNALS)
    because = serializers.CharField(max_length=coverage.LONGEST_REASON)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class Chosen(serializers.Serializer[object]):
    service = serializers.CharField(required=False, allow_blank=True)
    environment = serializers.CharField(required=False, allow_blank=True)


CHOICE = [OpenApiParameter(name, str) for name in ("service", "environment")]


class CoverageDoor(DoorSet):
    serializer_class = CoverageShape

    @extend_schema(responses=CoverageShape(many=True), parameters=CHOICE)
    def list(self, request: Request) -> Response:
        """The critical metrics of each service in each environment, and which nobody watches; the worst first."""
        asked = Chosen(data=request.query_params)
        asked.is_valid(raise_exception=True)
        service, environment = (asked.validated_data.get(name, "") for name in ("service", "environment"))
        services = permissions.visible(self.by, Service.objects.all(), environment=None, service="pk")
        found = covered(
            services.filter(key=service) if service else services,
            permissions.visible(self.by, Threshold.objects.all()),
            permissions.visible(self.by, Slo.objects.all()),
            permissions.visible(self.by, Series.objects.all()),
            now=jobs.database_now(),
        )
        if environment:
            found = [one for one in found if one.environment and one.environment.key == environment]
        return self.page(found, CoverageShape)


class Waivers(DoorSet):
    serializer_class = WaiverShape
    queryset = CoverageWaiver.objects.none()

    @extend_schema(responses=WaiverShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen().order_by("pk"), WaiverShape)

    @extend_schema(request=WaiverShape, responses={201: WaiverShape})
    def create(self, request: Request) -> Response:
        given = {"environment": None, **self.body(WaiverShape)}
        return Response(WaiverShape(coverage.waive(by=self.by, **given)).data, status=201)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        coverage.unwaive(get_object_or_404(self._seen(), pk=pk), by=self.by)
        return Response(status=204)

    def _seen(self) -> QuerySet[CoverageWaiver]:
        return permissions.visible(self.by, CoverageWaiver.objects.select_related("service", "environment"))
