"""Audiences by REST: what one may join, who has joined and left, and links for people without an account."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from rollouts.actions import audience_links, audiences
from rollouts.api.flag_shapes import KeyField
from rollouts.engine import reading
from rollouts.models import Audience, AudienceMember

JOIN, LEAVE = "join", "leave"


class AudienceChange(Serializer):
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    open = serializers.BooleanField(required=False, help_text="false: nobody joins any more")
    capacity = serializers.IntegerField(
        min_value=0, max_value=2_147_483_647, required=False, allow_null=True, help_text="null: any number of members"
    )


class AudienceCreate(AudienceChange):
    key = KeyField()
    segment = KeyField(required=False, help_text="whom it decides; a new segment of the same key by default")


class AudienceShape(serializers.ModelSerializer[Audience]):
    segment = serializers.CharField(source="segment.key")
    members = serializers.IntegerField(source="members_joined", help_text="how many have joined")

    class Meta:
        model = Audience
        fields = ("key", "segment", "name", "description", "open", "capacity", "members", "created_at")


class MemberShape(serializers.ModelSerializer[AudienceMember]):
    by = serializers.CharField(source="actor")

    class Meta:
        model = AudienceMember
        fields = ("unit", "joined", "by", "at")


class Enrol(Serializer):
    """`unit` or `units`."""

    unit = serializers.CharField(max_length=1024, required=False, trim_whitespace=False)
    units = serializers.ListField(
        child=serializers.CharField(max_length=1024, trim_whitespace=False),
        required=False, min_length=1, max_length=audiences.MOST_AT_ONCE,
    )  # fmt: skip
    action = serializers.ChoiceField([JOIN, LEAVE], required=False, default=JOIN)
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class Enrolled(Serializer):
    audience = serializers.CharField()
    joined = serializers.BooleanField(help_text="what holds now for all of them")
    changed = serializers.IntegerField(help_text="of how many units that was not so before")
    members = serializers.IntegerField(help_text="how many have joined now")


class LinkAsk(Serializer):
    unit = serializers.CharField(
        max_length=1024, required=False, trim_whitespace=False, help_text="none: whoever opens it"
    )
    expires_in = serializers.IntegerField(
        min_value=60, max_value=audience_links.LONGEST_LIFE, required=False, default=audience_links.USUAL_LIFE,
        help_text="seconds",
    )  # fmt: skip


class LinkShape(Serializer):
    url = serializers.CharField()
    unit = serializers.CharField(allow_null=True)
    expires = serializers.IntegerField(help_text="Unix seconds")


class Audiences(DoorSet):
    serializer_class = AudienceShape

    @extend_schema(responses=AudienceShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(_seen(), AudienceShape)

    @extend_schema(request=AudienceCreate, responses={201: AudienceShape})
    def create(self, request: Request) -> Response:
        given: dict[str, Any] = dict(self.body(AudienceCreate))
        audience = audiences.create(given.pop("key"), by=self.by, **given)
        return Response(AudienceShape(audience).data, status=201)

    @extend_schema(responses=AudienceShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(AudienceShape(_find(key)).data)

    @extend_schema(request=AudienceChange, responses=AudienceShape)
    def change(self, request: Request, key: str) -> Response:
        """A field left out keeps its value."""
        audience = _find(key)
        audiences.change(audience, dict(self.body(AudienceChange)), by=self.by)
        return Response(AudienceShape(audience).data)

    @extend_schema(request=None, responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        """With everybody's word. Refused while its segment is used."""
        audiences.delete(_find(key), by=self.by)
        return Response(status=204)

    @extend_schema(
        parameters=[
            OpenApiParameter("unit", str, description="only this one"),
            OpenApiParameter("joined", bool, description="only those who have joined, or left"),
        ],
        responses=MemberShape(many=True),
    )
    def members(self, request: Request, key: str) -> Response:
        """Who has joined and who has left, newest first."""
        rows = _find(key).members.all()
        unit, joined = request.query_params.get("unit"), request.query_params.get("joined")
        if unit is not None:
            if not reading.storable(unit):
                raise Invalid.of("unit", "may not contain NUL or half characters")
            rows = rows.filter(unit=unit)
        if joined is not None:
            if joined.lower() not in ("true", "false"):
                raise Invalid.of("joined", "must be true or false")
            rows = rows.filter(joined=joined.lower() == "true")
        return self.page(rows, MemberShape)

    @extend_schema(request=Enrol, responses=Enrolled)
    def enrol(self, request: Request, key: str) -> Response:
        """Join or leave, one unit or many. Evaluation follows within the second."""
        given = self.body(Enrol)
        if ("unit" in given) == ("units" in given):
            raise Invalid.of("unit", "name either unit or units")
        audience, joined = _find(key), given["action"] == JOIN
        units = given.get("units") or [given["unit"]]
        news = audiences.enrol(audience, units, joined=joined, by=self.by, because=given["because"])
        told = {"audience": audience.key, "joined": joined, "changed": len(news), "members": audience.members_joined}
        return Response(told)

    @extend_schema(request=LinkAsk, responses={201: LinkShape})
    def link(self, request: Request, key: str) -> Response:
        """An address for one unit, or for whoever opens it. Opening it changes nothing: there is a button."""
        given = self.body(LinkAsk)
        url, link = audience_links.make(
            _find(key), unit=given.get("unit"), expires_in=given["expires_in"], by=self.by
        )  # fmt: skip
        return Response({"url": url, "unit": link.unit, "expires": link.expires}, status=201)

    @extend_schema(request=None, responses=AudienceShape)
    def revoke_links(self, request: Request, key: str) -> Response:
        """Every link that was made until now is worth nothing from now on."""
        audience = _find(key)
        audiences.revoke_links(audience, by=self.by)
        return Response(AudienceShape(audience).data)


def _seen() -> "QuerySet[Audience]":
    return Audience.objects.select_related("segment")


def _find(key: str) -> Audience:
    return get_object_or_404(_seen(), key=key)
