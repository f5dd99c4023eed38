"""Services by REST."""

from typing import Any

from django.core.validators import RegexValidator
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions, places
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN, Service


class ServiceShape(Serializer):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class ServiceChange(Serializer):
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class Services(DoorSet):
    serializer_class = ServiceShape

    @extend_schema(responses=ServiceShape(many=True))
    def list(self, request: Request) -> Response:
        seen = permissions.visible(self.by, Service.objects.all(), environment=None, service="id")
        return self.page(seen, ServiceShape)

    @extend_schema(request=ServiceShape, responses={201: ServiceShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(ServiceShape))
        service = places.create_service(fields.pop("key"), by=self.by, **fields)
        return Response(ServiceShape(service).data, status=201)

    @extend_schema(responses=ServiceShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(ServiceShape(self._find(request, key)).data)

    @extend_schema(request=ServiceChange, responses=ServiceShape)
    def change(self, request: Request, key: str) -> Response:
        service = self._find(request, key)
        places.change_service(service, self.body(ServiceChange), by=self.by)
        return Response(ServiceShape(service).data)

    def _find(self, request: Request, key: str) -> Service:
        seen = permissions.visible(self.by, Service.objects.all(), environment=None, service="id")
        return get_object_or_404(seen, key=key)
