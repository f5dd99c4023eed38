"""The shipped definitions by REST: what there is for a place, and taking it over."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import library as taking
from monitoring.queries import library
from monitoring.queries.library import Offer
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import Environment, Service


class OfferShape(Serializer):
    key = serializers.CharField()
    group = serializers.CharField()
    name = serializers.CharField()
    metric = serializers.CharField()
    condition = serializers.CharField()
    advice = serializers.CharField()
    threshold = serializers.IntegerField(allow_null=True, help_text="the one that was made of it there")
    measured = serializers.BooleanField(help_text="whether its metrics have series there")


class OffersShape(Serializer):
    offers = OfferShape(many=True)


class TakeShape(Serializer):
    service = serializers.CharField(max_length=128)
    environment = serializers.CharField(max_length=128)
    keys = serializers.ListField(child=serializers.CharField(max_length=128), min_length=1, max_length=100)


class TakenShape(Serializer):
    key = serializers.CharField()
    threshold = serializers.IntegerField()
    made = serializers.BooleanField(help_text="false: it was there, and stays as it is")


class TakenListShape(Serializer):
    taken = TakenShape(many=True)


PLACE = [OpenApiParameter(name, str, required=True) for name in ("service", "environment")]


class Library(DoorSet):
    serializer_class = OffersShape

    @extend_schema(responses=OffersShape, parameters=PLACE)
    def offers(self, request: Request) -> Response:
        """The definitions, as they would be for this service in this environment."""
        service, environment = self._place(request.query_params)
        permissions.require(self.by, "view", environment=environment, service=service)
        return Response({"offers": [shown(one) for one in library.offers(service, environment)]})

    @extend_schema(request=TakeShape, responses=TakenListShape)
    def take(self, request: Request) -> Response:
        """Make the thresholds that are not there yet; what is stays as people have made it."""
        given = self.body(TakeShape)
        service, environment = self._place(given)
        found = taking.take(service, environment, given["keys"], by=self.by)
        rows = [{"key": one.definition.key, "threshold": one.threshold.pk, "made": one.made} for one in found]
        return Response({"taken": rows})

    def _place(self, given: Any) -> tuple[Service, Environment]:
        keys = {name: str(given.get(name, "")) for name in ("service", "environment")}
        if faults := {name: "is required" for name, key in keys.items() if not key or "\0" in key}:
            raise Invalid(faults)
        rows = permissions.visible(self.by, Service.objects.all(), environment=None, service="pk")
        return get_object_or_404(rows, key=keys["service"]), get_object_or_404(Environment, key=keys["environment"])


def shown(offer: Offer) -> dict[str, Any]:
    one = offer.definition
    return {
        "key": one.key,
        "group": one.group,
        "name": one.name,
        "metric": one.metric,
        "condition": one.condition,
        "advice": one.advice,
        "threshold": offer.threshold.pk if offer.threshold else None,
        "measured": offer.measured,
    }
