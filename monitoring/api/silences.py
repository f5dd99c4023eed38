"""Silences, maintenance windows and inhibitions by REST."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import silences
from monitoring.models import InhibitionRule, MaintenanceWindow, Silence
from monitoring.suppressing import DAYS
from portal import permissions
from portal.drf import DoorSet, Serializer


class MatcherShape(Serializer):
    """`alertname`, `metric` and `level` are matched like labels."""

    name = serializers.CharField(max_length=128)
    value = serializers.CharField(max_length=silences.LONGEST_PATTERN, allow_blank=True, trim_whitespace=False)
    is_regex = serializers.BooleanField(required=False)
    is_equal = serializers.BooleanField(required=False)


class SilenceShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    matchers = MatcherShape(many=True)
    starts_at = serializers.DateTimeField(required=False)
    ends_at = serializers.DateTimeField()
    comment = serializers.CharField(max_length=2000)
    author = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


@extend_schema_field(OpenApiTypes.STR)
class WallTime(serializers.TimeField):
    """HH:MM by the wall clock: no moment, so no offset as the format `time` of OpenAPI would have."""


class MaintenanceShape(Serializer):
    """Once, from `starts_at` to `ends_at`; or on `days` from `opens` to `closes` by the wall clock of the zone."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=200)
    matchers = MatcherShape(many=True)
    starts_at = serializers.DateTimeField(required=False)
    ends_at = serializers.DateTimeField(required=False, allow_null=True)
    days = serializers.ListField(child=serializers.ChoiceField(DAYS), required=False, max_length=7)
    opens = WallTime(required=False, allow_null=True)
    closes = WallTime(required=False, allow_null=True)
    zone = serializers.CharField(max_length=64, required=False)
    comment = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    author = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)


class InhibitionShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=200)
    active = serializers.BooleanField(required=False)
    source = MatcherShape(many=True)  # type: ignore[assignment]
    target = MatcherShape(many=True)
    equal = serializers.ListField(child=serializers.CharField(max_length=128), required=False, max_length=20)


class Silences(DoorSet):
    serializer_class = SilenceShape
    queryset = Silence.objects.none()

    @extend_schema(responses=SilenceShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), SilenceShape)

    @extend_schema(request=SilenceShape, responses={201: SilenceShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(SilenceShape))
        made = silences.silence(_plain(fields.pop("matchers")), by=self.by, **fields)
        return Response(SilenceShape(made).data, status=201)

    @extend_schema(responses=SilenceShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(SilenceShape(self._find(pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """It ends now, and stays on record."""
        silences.expire(self._find(pk), by=self.by)
        return Response(status=204)

    def _find(self, pk: int) -> Silence:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[Silence]:
        return permissions.visible(self.by, Silence.objects.select_related("service", "environment"))


class MaintenanceWindows(DoorSet):
    serializer_class = MaintenanceShape
    queryset = MaintenanceWindow.objects.none()

    @extend_schema(responses=MaintenanceShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), MaintenanceShape)

    @extend_schema(request=MaintenanceShape, responses={201: MaintenanceShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(MaintenanceShape))
        made = silences.plan(fields | {"matchers": _plain(fields["matchers"])}, by=self.by)
        return Response(MaintenanceShape(made).data, status=201)

    @extend_schema(responses=MaintenanceShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(MaintenanceShape(self._find(pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        silences.cancel(self._find(pk), by=self.by)
        return Response(status=204)

    def _find(self, pk: int) -> MaintenanceWindow:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[MaintenanceWindow]:
        return permissions.visible(self.by, MaintenanceWindow.objects.select_related("service", "environment"))


class Inhibitions(DoorSet):
    serializer_class = InhibitionShape
    queryset = InhibitionRule.objects.none()

    @extend_schema(responses=InhibitionShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), InhibitionShape)

    @extend_schema(request=InhibitionShape, responses={201: InhibitionShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(InhibitionShape))
        fields |= {name: _plain(fields[name]) for name in ("source", "target")}
        return Response(InhibitionShape(silences.inhibit(fields, by=self.by)).data, status=201)

    @extend_schema(responses=InhibitionShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(InhibitionShape(self._find(pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        silences.uninhibit(self._find(pk), by=self.by)
        return Response(status=204)

    def _find(self, pk: int) -> InhibitionRule:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[InhibitionRule]:
        permissions.require(self.by, "view", environment=permissions.ANY, service=permissions.ANY)
        return InhibitionRule.objects.all()


def _plain(matchers: Any) -> list[dict[str, Any]]:
    return [dict(one) for one in matchers]
