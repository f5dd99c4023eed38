"""Escalation policies and rotas by REST: who is called, and who is on call when."""

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import escalation_policies, rotas
from monitoring.api.choosing import moment
from monitoring.models import EscalationPolicy, Rota, RotaOverride
from monitoring.queries import rotas as on_call
from monitoring.suppressing import DAYS
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import KEY_PATTERN, User

LONGEST = timedelta(days=92)


class EscalationStepShape(Serializer):
    """Whom it calls, and how many seconds it waits for an answer before the next step."""

    delay = serializers.IntegerField(min_value=30, max_value=escalation_policies.LONGEST_DELAY, required=False)
    people = serializers.ListField(child=serializers.CharField(max_length=150), required=False, max_length=20)
    rotas = serializers.ListField(child=serializers.CharField(max_length=128), required=False, max_length=20)
    channels = serializers.ListField(child=serializers.CharField(max_length=200), required=False, max_length=20)


class PolicyChange(Serializer):
    name = serializers.CharField(max_length=200, required=False)
    steps = EscalationStepShape(many=True)
    repeat = serializers.IntegerField(min_value=0, max_value=escalation_policies.MOST_LAPS, required=False)
    remind_after = serializers.IntegerField(
        min_value=60, max_value=escalation_policies.LONGEST_DELAY, required=False, allow_null=True
    )
    is_default = serializers.BooleanField(required=False)


class PolicyShape(PolicyChange):
    key = serializers.RegexField(KEY_PATTERN, max_length=128)


class HoursShape(Serializer):
    days = serializers.ListField(child=serializers.ChoiceField(DAYS), max_length=7)
    opens = serializers.CharField(max_length=5)
    closes = serializers.CharField(max_length=5)


class LayerShape(Serializer):
    """`people` take turns, from `starts_on`, every `day` or `week`, at `handover` by the wall clock."""

    people = serializers.ListField(child=serializers.CharField(max_length=150), max_length=100)
    every = serializers.ChoiceField(sorted(on_call.TURNS), required=False)
    handover = serializers.CharField(max_length=5, required=False)
    starts_on = serializers.CharField(max_length=10, help_text="as 2026-11-02")
    hours = HoursShape(many=True, required=False)


class RotaChange(Serializer):
    name = serializers.CharField(max_length=200, required=False)
    zone = serializers.CharField(max_length=64, required=False)
    layers = LayerShape(many=True)


class RotaShape(RotaChange):
    key = serializers.RegexField(KEY_PATTERN, max_length=128)


class ShiftShape(Serializer):
    person = serializers.CharField(allow_null=True)
    starts_at = serializers.DateTimeField()
    ends_at = serializers.DateTimeField()
    is_override = serializers.BooleanField()


class OverrideShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    person = serializers.SlugRelatedField("username", queryset=User.objects.filter(is_active=True))
    starts_at = serializers.DateTimeField(required=False)
    ends_at = serializers.DateTimeField()
    comment = serializers.CharField(max_length=2000, required=False, allow_blank=True)
    author = serializers.CharField(read_only=True)


class Policies(DoorSet):
    serializer_class = PolicyShape
    queryset = EscalationPolicy.objects.none()

    @extend_schema(responses=PolicyShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), PolicyShape)

    @extend_schema(request=PolicyShape, responses={201: PolicyShape})
    def create(self, request: Request) -> Response:
        fields = _plain(self.body(PolicyShape))
        made = escalation_policies.create(fields.pop("key"), fields, by=self.by)
        return Response(PolicyShape(made).data, status=201)

    @extend_schema(responses=PolicyShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(PolicyShape(self._find(key)).data)

    @extend_schema(request=PolicyChange, responses=PolicyShape)
    def change(self, request: Request, key: str) -> Response:
        fields = _plain(self.body(PolicyChange, partial=True))
        return Response(PolicyShape(escalation_policies.change(self._find(key), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        escalation_policies.delete(self._find(key), by=self.by)
        return Response(status=204)

    def _find(self, key: str) -> EscalationPolicy:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> Any:
        permissions.require(self.by, "view", environment=permissions.ANY, service=permissions.ANY)
        return EscalationPolicy.objects.all()


class Rotas(DoorSet):
    serializer_class = RotaShape
    queryset = Rota.objects.none()

    @extend_schema(responses=RotaShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), RotaShape)

    @extend_schema(request=RotaShape, responses={201: RotaShape})
    def create(self, request: Request) -> Response:
        fields = _plain(self.body(RotaShape))
        return Response(RotaShape(rotas.create(fields.pop("key"), fields, by=self.by)).data, status=201)

    @extend_schema(responses=RotaShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(RotaShape(self._find(key)).data)

    @extend_schema(request=RotaChange, responses=RotaShape)
    def change(self, request: Request, key: str) -> Response:
        fields = _plain(self.body(RotaChange, partial=True))
        return Response(RotaShape(rotas.change(self._find(key), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        rotas.delete(self._find(key), by=self.by)
        return Response(status=204)

    @extend_schema(
        parameters=[
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="default: now"),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="default: 14 days later; at most 92"),
        ],
        responses=ShiftShape(many=True),
        filters=False,
    )
    def shifts(self, request: Request, key: str) -> Response:
        """Who is on call, without gap or overlap; the first one covers `since`."""
        found = self._find(key)
        since = moment(request, "since") or jobs.database_now()
        until = moment(request, "until") or since + on_call.LOOKS_AHEAD
        if not since < until <= since + LONGEST:
            raise Invalid.of("until", f"must lie after since, by {LONGEST.days} days at most")
        return self.page(on_call.shifts(found, since, until), ShiftShape)

    @extend_schema(responses=OverrideShape(many=True))
    def overrides(self, request: Request, key: str) -> Response:
        return self.page(self._find(key).overrides.select_related("person"), OverrideShape)

    @extend_schema(request=OverrideShape, responses={201: OverrideShape})
    def stand_in(self, request: Request, key: str) -> Response:
        """Somebody is on call instead of whoever would be."""
        fields: dict[str, Any] = dict(self.body(OverrideShape))
        made = rotas.stand_in(self._find(key), fields.pop("person"), by=self.by, **fields)
        return Response(OverrideShape(made).data, status=201)

    @extend_schema(responses={204: None})
    def take_back(self, request: Request, key: str, pk: int) -> Response:
        rows = RotaOverride.objects.filter(rota=self._find(key)).select_related("rota")
        rotas.take_back(get_object_or_404(rows, pk=pk), by=self.by)
        return Response(status=204)

    def _find(self, key: str) -> Rota:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> Any:
        permissions.require(self.by, "view", environment=permissions.ANY, service=permissions.ANY)
        return Rota.objects.all()


def _plain(given: Any) -> Any:
    """Mappings and lists of our own, as they are kept."""
    if isinstance(given, dict):
        return {name: _plain(value) for name, value in given.items()}
    return [_plain(one) for one in given] if isinstance(given, list) else given
