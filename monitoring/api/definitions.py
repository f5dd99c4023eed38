"""Incident definitions by REST."""

from typing import Any

from django.core.validators import RegexValidator
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import definitions
from monitoring.models import Channel, EscalationPolicy, IncidentDefinition, Severity, Threshold
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN


class DefinitionChange(Serializer):
    name = serializers.CharField(max_length=200)
    active = serializers.BooleanField(required=False)
    rank = serializers.IntegerField(min_value=0, max_value=IncidentDefinition.LAST, required=False)
    min_level = serializers.ChoiceField(IncidentDefinition.MinLevel.choices, required=False)
    matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    thresholds = serializers.PrimaryKeyRelatedField(
        queryset=Threshold.objects.active(),
        many=True,
        required=False,
        pk_field=serializers.IntegerField(max_value=2**62),
    )
    group_by = serializers.ListField(child=serializers.CharField(max_length=128), required=False, max_length=20)
    severity = serializers.ChoiceField(Severity.choices, required=False, allow_blank=True)
    responses = serializers.ListField(child=serializers.CharField(max_length=320), required=False, max_length=20)
    cool_down = serializers.IntegerField(min_value=0, max_value=31 * 86_400, required=False)
    channels = serializers.SlugRelatedField(
        "name", queryset=Channel.objects.all(), many=True, required=False, help_text="their names"
    )
    escalation = serializers.SlugRelatedField(
        "key", queryset=EscalationPolicy.objects.all(), required=False, allow_null=True
    )
    runbook = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class DefinitionShape(DefinitionChange):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])


class Definitions(DoorSet):
    serializer_class = DefinitionShape
    queryset = IncidentDefinition.objects.none()

    @extend_schema(responses=DefinitionShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), DefinitionShape)

    @extend_schema(request=DefinitionShape, responses={201: DefinitionShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(DefinitionShape))
        return Response(DefinitionShape(definitions.create(fields.pop("key"), fields, by=self.by)).data, status=201)

    @extend_schema(responses=DefinitionShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(DefinitionShape(self._find(key)).data)

    @extend_schema(request=DefinitionChange, responses=DefinitionShape)
    def change(self, request: Request, key: str) -> Response:
        fields = self.body(DefinitionChange, partial=True)
        return Response(DefinitionShape(definitions.change(self._find(key), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        definitions.delete(self._find(key), by=self.by)
        return Response(status=204)

    def _find(self, key: str) -> IncidentDefinition:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> Any:
        permissions.require(self.by, "view", environment=permissions.ANY, service=permissions.ANY)
        return IncidentDefinition.objects.select_related("escalation").prefetch_related("thresholds", "channels")
