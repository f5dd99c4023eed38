"""Releases by REST."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import Service
from rollouts.actions import releases
from rollouts.models import Release


class TypeField(serializers.ChoiceField):
    """`blue_green` is taken for `blue-green`, and so on."""

    def to_internal_value(self, data: Any) -> Any:
        return super().to_internal_value(data.replace("_", "-") if isinstance(data, str) else data)


class ReleaseChange(Serializer):
    commit = serializers.CharField(max_length=128, required=False, allow_blank=True)
    type = TypeField(Release.Type.choices, required=False)
    risk = serializers.ChoiceField(Release.Risk.choices, required=False)
    notes = serializers.CharField(max_length=100_000, required=False, allow_blank=True)
    captain = serializers.CharField(
        max_length=150, required=False, allow_blank=True, allow_null=True, help_text="a user name"
    )
    zone = serializers.CharField(max_length=64, required=False, help_text="an IANA time zone, as Europe/Berlin")
    t0 = serializers.DateTimeField(required=False, allow_null=True, help_text="no deployment begins before")

    def validate_captain(self, value: str | None) -> str:
        return value or ""


class ReleaseBody(ReleaseChange):
    service = serializers.CharField(max_length=128)
    version = serializers.CharField(max_length=128)


class ReleaseShape(serializers.ModelSerializer[Release]):
    service = serializers.CharField(source="service.key")
    captain = serializers.SerializerMethodField()

    class Meta:
        model = Release
        fields = (
            "id", "service", "version", "commit", "type", "risk", "notes", "captain", "zone", "t0", "created_at",
        )  # fmt: skip

    def get_captain(self, release: Release) -> str | None:
        return release.captain or None


class ReleaseQuery(serializers.Serializer[Any]):
    service = serializers.CharField(max_length=128, required=False)
    version = serializers.CharField(max_length=128, required=False)


class Releases(DoorSet):
    serializer_class = ReleaseShape

    @extend_schema(parameters=[ReleaseQuery], responses=ReleaseShape(many=True))
    def list(self, request: Request) -> Response:
        query = ReleaseQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        found = self._seen()
        if "service" in query.validated_data:
            found = found.filter(service__key=query.validated_data["service"])
        if "version" in query.validated_data:
            found = found.filter(version=query.validated_data["version"])
        return self.page(found, ReleaseShape)

    @extend_schema(request=ReleaseBody, responses={201: ReleaseShape})
    def create(self, request: Request) -> Response:
        given: dict[str, Any] = dict(self.body(ReleaseBody))
        key = given.pop("service")
        service = Service.objects.filter(key=key).first()
        if service is None:
            raise Invalid.of("service", f"there is no service {key}")
        release = releases.create(service, given.pop("version"), by=self.by, **given)
        return Response(ReleaseShape(release).data, status=201)

    @extend_schema(responses=ReleaseShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ReleaseShape(get_object_or_404(self._seen(), pk=pk)).data)

    @extend_schema(request=ReleaseChange, responses=ReleaseShape)
    def change(self, request: Request, pk: int) -> Response:
        release = get_object_or_404(self._seen(), pk=pk)
        changed = releases.change(release, by=self.by, **self.body(ReleaseChange))
        return Response(ReleaseShape(changed).data)

    def _seen(self) -> Any:
        return permissions.visible(
            self.by, Release.objects.select_related("service"), environment=None, service="service"
        )
