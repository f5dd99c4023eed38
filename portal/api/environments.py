"""Environments by REST."""

from typing import Any

from django.core.validators import RegexValidator
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions, places
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN, Environment


class EnvironmentChange(Serializer):
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    rank = serializers.IntegerField(min_value=0, max_value=32_767, required=False)
    protected = serializers.BooleanField(required=False)
    approval_policy = serializers.ChoiceField(Environment.ApprovalPolicy.choices, required=False, allow_blank=True)


class EnvironmentShape(EnvironmentChange):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])


class Environments(DoorSet):
    serializer_class = EnvironmentShape

    @extend_schema(responses=EnvironmentShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(request), EnvironmentShape)

    @extend_schema(request=EnvironmentShape, responses={201: EnvironmentShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(EnvironmentShape))
        environment = places.create_environment(fields.pop("key"), by=self.by, **fields)
        return Response(EnvironmentShape(environment).data, status=201)

    @extend_schema(responses=EnvironmentShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(EnvironmentShape(get_object_or_404(self._seen(request), key=key)).data)

    @extend_schema(request=EnvironmentChange, responses=EnvironmentShape)
    def change(self, request: Request, key: str) -> Response:
        environment = get_object_or_404(self._seen(request), key=key)
        places.change_environment(environment, self.body(EnvironmentChange), by=self.by)
        return Response(EnvironmentShape(environment).data)

    def _seen(self, request: Request) -> Any:
        return permissions.visible(self.by, Environment.objects.all(), environment="id", service=None)
