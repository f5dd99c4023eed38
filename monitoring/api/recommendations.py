"""Advice by REST: what the rules found, a person's word on it, and what was saved."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import recommendations
from monitoring.api.choosing import chosen
from monitoring.api.scaling import ReasonShape, SaidShape
from monitoring.models import Recommendation
from portal import permissions
from portal.drf import DoorSet


class RecommendationShape(serializers.Serializer[Recommendation]):
    id = serializers.IntegerField()
    rule = serializers.ChoiceField(Recommendation.Rule.choices)
    title = serializers.CharField()
    advice = serializers.CharField()
    service = serializers.CharField(source="service.key", default=None, allow_null=True)
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True)
    evidence = serializers.DictField()
    unit = serializers.CharField(help_text="of the savings")
    expected = serializers.FloatField(allow_null=True, help_text="saved in 30 days; null: not known")
    status = serializers.ChoiceField(Recommendation.Status.choices)
    made_at = serializers.DateTimeField()
    seen_at = serializers.DateTimeField(help_text="when it last held")
    decided_by = serializers.CharField()
    decided_at = serializers.DateTimeField(allow_null=True)
    said = serializers.CharField(help_text="why, in the words of who decided")
    applied_at = serializers.DateTimeField(allow_null=True)
    saved = serializers.FloatField(allow_null=True, help_text="measured, in 30 days; null: unknown, or not yet")
    measured_at = serializers.DateTimeField(allow_null=True)
    measured_because = serializers.CharField()


class SavingsShape(serializers.Serializer[Any]):
    """In 30 days."""

    unit = serializers.CharField()
    pending = serializers.FloatField(help_text="expected of what is open or accepted")
    applied = serializers.FloatField(help_text="expected of what was applied")
    saved = serializers.FloatField(help_text="measured of what was applied")
    measured = serializers.IntegerField(help_text="recommendations whose saving is known")
    unknown = serializers.IntegerField(help_text="applied ones whose saving is not, or not yet")


class RecommendationFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Recommendation
        fields = ("status", "rule")


class Recommendations(DoorSet):
    serializer_class = RecommendationShape
    filterset_class = RecommendationFilter
    queryset = Recommendation.objects.none()

    @extend_schema(responses=RecommendationShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(RecommendationFilter, request, self._seen()), RecommendationShape)

    @extend_schema(responses=RecommendationShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(RecommendationShape(self._find(pk)).data)

    @extend_schema(responses=SavingsShape(many=True), filters=True)
    def savings(self, request: Request) -> Response:
        """By unit: what is expected, and what was measured."""
        rows = chosen(RecommendationFilter, request, self._seen())
        return self.page(recommendations.totals(rows), SavingsShape)

    @extend_schema(request=SaidShape, responses=RecommendationShape)
    def accept(self, request: Request, pk: int) -> Response:
        """Somebody will see to it."""
        recommendations.accept(self._find(pk), by=self.by, because=self.body(SaidShape)["because"])
        return Response(RecommendationShape(self._find(pk)).data)

    @extend_schema(request=SaidShape, responses=RecommendationShape)
    def apply(self, request: Request, pk: int) -> Response:
        """It is done: its saving is measured by the week that follows the next day."""
        recommendations.apply(self._find(pk), by=self.by, because=self.body(SaidShape)["because"])
        return Response(RecommendationShape(self._find(pk)).data)

    @extend_schema(request=ReasonShape, responses=RecommendationShape)
    def dismiss(self, request: Request, pk: int) -> Response:
        recommendations.dismiss(self._find(pk), by=self.by, because=self.body(ReasonShape)["because"])
        return Response(RecommendationShape(self._find(pk)).data)

    def _find(self, pk: int) -> Recommendation:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[Recommendation]:
        return permissions.visible(self.by, Recommendation.objects.select_related("service", "environment"))
