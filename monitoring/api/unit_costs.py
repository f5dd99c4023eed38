"""What services cost, by REST."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import unit_costs
from monitoring.models import UnitCost
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import Environment, Service


class UnitCostShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all())
    environment = serializers.SlugRelatedField("key", queryset=Environment.objects.all())
    currency = serializers.CharField(max_length=3, required=False, help_text="EUR by default")
    instance_price = serializers.FloatField(
        required=False, allow_null=True, help_text="of one instance for 30 days; or"
    )
    metric = serializers.CharField(max_length=200, required=False, allow_blank=True, help_text="the cost, summed up")
    aggregation = serializers.ChoiceField(["sum", "increase"], required=False)


class UnitCosts(DoorSet):
    serializer_class = UnitCostShape
    queryset = UnitCost.objects.none()

    @extend_schema(responses=UnitCostShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), UnitCostShape)

    @extend_schema(request=UnitCostShape, responses=UnitCostShape)
    def put(self, request: Request) -> Response:
        """What is there of this service in this environment is replaced."""
        fields: dict[str, Any] = dict(self.body(UnitCostShape))
        made = unit_costs.put(fields.pop("service"), fields.pop("environment"), fields, by=self.by)
        return Response(UnitCostShape(made).data)

    @extend_schema(responses=UnitCostShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(UnitCostShape(get_object_or_404(self._seen(), pk=pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        unit_costs.remove(get_object_or_404(self._seen(), pk=pk), by=self.by)
        return Response(status=204)

    def _seen(self) -> QuerySet[UnitCost]:
        return permissions.visible(self.by, UnitCost.objects.select_related("service", "environment"))
