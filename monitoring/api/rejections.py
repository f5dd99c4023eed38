"""What was turned away, by REST: read only."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.api.choosing import chosen
from monitoring.models import Rejection
from portal import permissions
from portal.drf import DoorSet


class RejectionShape(serializers.ModelSerializer[Rejection]):
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True, read_only=True)

    class Meta:
        model = Rejection
        fields = ("source", "sender", "reason", "minute", "count", "example", "environment")


class RejectionFilter(filters.FilterSet):
    source = filters.CharFilter()
    sender = filters.CharFilter()
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Rejection
        fields = ("source", "sender")


CHOICE = [OpenApiParameter(name, str) for name in ("source", "sender", "environment")]


class Rejections(DoorSet):
    serializer_class = RejectionShape
    queryset = Rejection.objects.none()

    @extend_schema(responses=RejectionShape(many=True), parameters=CHOICE)
    def list(self, request: Request) -> Response:
        """What was refused at the ways in and why, counted by the minute, newest first; kept for seven days."""
        rows = permissions.visible(self.by, Rejection.objects.select_related("environment"), service=None)
        return self.page(chosen(RejectionFilter, request, rows), RejectionShape)
