"""The health of services by REST: read only."""

from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.models import Alert, Slo, Threshold
from monitoring.queries.scores import Health, healths
from portal import permissions
from portal.drf import DoorSet


class FactorShape(serializers.Serializer[object]):
    points = serializers.IntegerField(help_text="by which it lowers the score")
    reason = serializers.CharField()


class HealthScoreShape(serializers.Serializer[Health]):
    service = serializers.CharField()
    environment = serializers.CharField(help_text="empty: thresholds that name a service alone")
    score = serializers.IntegerField(source="score.value", allow_null=True, help_text="0 to 100; null: unknown")
    reason = serializers.CharField(source="score.reason")
    factors = FactorShape(source="score.factors", many=True)


class Chosen(serializers.Serializer[object]):
    service = serializers.CharField(required=False, allow_blank=True)
    environment = serializers.CharField(required=False, allow_blank=True)


CHOICE = [OpenApiParameter(name, str) for name in ("service", "environment")]


class HealthScores(DoorSet):
    serializer_class = HealthScoreShape

    @extend_schema(responses=HealthScoreShape(many=True), parameters=CHOICE)
    def list(self, request: Request) -> Response:
        """The health score of each service in each environment with what lowers it; the worst first, unknown last."""
        asked = Chosen(data=request.query_params)
        asked.is_valid(raise_exception=True)
        chosen = {f"{name}__key": value for name, value in asked.validated_data.items() if value}
        found = healths(
            permissions.visible(self.by, Threshold.objects.filter(**chosen)),
            permissions.visible(self.by, Alert.objects.filter(**chosen)),
            permissions.visible(self.by, Slo.objects.filter(**chosen)),
        )
        return self.page(found, HealthScoreShape)
