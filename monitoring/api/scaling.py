"""Scaling by REST: policies, what was decided by them, and a person's word on it."""

from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import scaling, scaling_policies
from monitoring.api.choosing import chosen
from monitoring.models import ScalingDecision, ScalingPolicy
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN

EXAMPLE = OpenApiExample(
    "by CPU",
    value={
        "key": "checkout",
        "name": "checkout by CPU",
        "service": "checkout",
        "environment": "production",
        "metric": "cpu_percent",
        "target": 60,
        "minimum": 2,
        "maximum": 12,
        "instances_metric": "instances",
        "mode": "advise",
    },
    request_only=True,
)


class ScalingPolicyChange(Serializer):
    name = serializers.CharField(max_length=200)
    service = serializers.CharField(max_length=128)
    environment = serializers.CharField(max_length=128)
    metric = serializers.CharField(max_length=200)
    aggregation = serializers.CharField(max_length=20, required=False, allow_blank=True)
    matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    target = serializers.FloatField(help_text="of the metric, for each instance")
    tolerance = serializers.FloatField(required=False, help_text="a share of the target; within it nothing is done")
    window = serializers.IntegerField(required=False, help_text="seconds that are looked back")
    minimum = serializers.IntegerField(required=False)
    maximum = serializers.IntegerField(required=False)
    up_step = serializers.IntegerField(required=False)
    down_step = serializers.IntegerField(required=False)
    up_cool_down = serializers.IntegerField(required=False, help_text="seconds")
    down_cool_down = serializers.IntegerField(required=False, help_text="seconds")
    lead = serializers.IntegerField(required=False, help_text="seconds that are looked ahead; 0: not at all")
    interval = serializers.IntegerField(required=False, help_text="seconds; at the most 90")
    instances_metric = serializers.CharField(max_length=200, required=False, allow_blank=True)
    instances = serializers.IntegerField(required=False, allow_null=True)
    mode = serializers.ChoiceField(ScalingPolicy.Mode.choices, required=False)
    channel = serializers.CharField(
        max_length=200, required=False, allow_blank=True, help_text="the name of the webhook that is told"
    )


class ScalingPolicyShape(ScalingPolicyChange):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])
    version = serializers.IntegerField(read_only=True)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    way = serializers.ChoiceField(ScalingDecision.Way.choices, read_only=True, allow_null=True)
    wanted = serializers.IntegerField(read_only=True, allow_null=True)
    reason = serializers.CharField(read_only=True)
    value = serializers.FloatField(read_only=True, allow_null=True)
    looked_at = serializers.DateTimeField(read_only=True, allow_null=True)

    def to_representation(self, instance: ScalingPolicy) -> dict[str, Any]:
        return {
            "key": instance.key,
            **scaling_policies.shown(instance),
            "version": instance.version,
            "created_by": instance.created_by,
            "created_at": instance.created_at,
            "way": instance.way or None,
            "wanted": instance.wanted,
            "reason": instance.reason,
            "value": instance.value,
            "looked_at": instance.looked_at,
        }


class ScalingDecisionShape(serializers.Serializer[ScalingDecision]):
    id = serializers.IntegerField()
    policy = serializers.CharField(source="policy.key")
    service = serializers.CharField(source="service.key")
    environment = serializers.CharField(source="environment.key")
    way = serializers.ChoiceField(ScalingDecision.Way.choices)
    before = serializers.IntegerField(allow_null=True, help_text="instances; null: not known")
    wanted = serializers.IntegerField(allow_null=True)
    urgency = serializers.ChoiceField(ScalingDecision.Urgency.choices)
    code = serializers.CharField()
    reason = serializers.CharField()
    evidence = serializers.DictField(help_text="what was known when it was decided")
    made_at = serializers.DateTimeField()
    status = serializers.ChoiceField(ScalingDecision.Status.choices)
    decided_by = serializers.CharField()
    decided_at = serializers.DateTimeField(allow_null=True)
    said = serializers.CharField(help_text="why, in the words of who decided")
    outcome = serializers.CharField()


class SaidShape(Serializer):
    because = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class ReasonShape(Serializer):
    because = serializers.CharField(max_length=2000)


class PolicyFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = ScalingPolicy
        fields = ("mode",)


class DecisionFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")
    policy = filters.CharFilter("policy__key")

    class Meta:
        model = ScalingDecision
        fields = ("status", "way", "urgency")


class ScalingPolicies(DoorSet):
    serializer_class = ScalingPolicyShape
    filterset_class = PolicyFilter
    queryset = ScalingPolicy.objects.none()

    @extend_schema(responses=ScalingPolicyShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(PolicyFilter, request, self._seen()), ScalingPolicyShape)

    @extend_schema(request=ScalingPolicyShape, responses={201: ScalingPolicyShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """It is decided at once, and then in each interval."""
        fields: dict[str, Any] = dict(self.body(ScalingPolicyShape))
        made = scaling_policies.create(fields.pop("key"), fields, by=self.by)
        return Response(ScalingPolicyShape(self._find(made.key)).data, status=201)

    @extend_schema(responses=ScalingPolicyShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(ScalingPolicyShape(self._find(key)).data)

    @extend_schema(request=ScalingPolicyChange, responses=ScalingPolicyShape)
    def change(self, request: Request, key: str) -> Response:
        scaling_policies.change(self._find(key), self.body(ScalingPolicyChange, partial=True), by=self.by)
        return Response(ScalingPolicyShape(self._find(key)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        scaling_policies.delete(self._find(key), by=self.by)
        return Response(status=204)

    def _find(self, key: str) -> ScalingPolicy:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> QuerySet[ScalingPolicy]:
        rows = ScalingPolicy.objects.active().select_related("service", "environment", "channel")
        return permissions.visible(self.by, rows)


class ScalingDecisions(DoorSet):
    serializer_class = ScalingDecisionShape
    filterset_class = DecisionFilter
    queryset = ScalingDecision.objects.none()

    @extend_schema(responses=ScalingDecisionShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(DecisionFilter, request, self._seen()), ScalingDecisionShape)

    @extend_schema(responses=ScalingDecisionShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ScalingDecisionShape(self._find(pk)).data)

    @extend_schema(request=SaidShape, responses=ScalingDecisionShape)
    def accept(self, request: Request, pk: int) -> Response:
        """It is sent where the policy names a webhook; else whoever accepts does it by hand."""
        scaling.accept(self._find(pk), by=self.by, because=self.body(SaidShape)["because"])
        return Response(ScalingDecisionShape(self._find(pk)).data)

    @extend_schema(request=ReasonShape, responses=ScalingDecisionShape)
    def decline(self, request: Request, pk: int) -> Response:
        scaling.decline(self._find(pk), by=self.by, because=self.body(ReasonShape)["because"])
        return Response(ScalingDecisionShape(self._find(pk)).data)

    def _find(self, pk: int) -> ScalingDecision:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[ScalingDecision]:
        rows = ScalingDecision.objects.select_related("policy", "service", "environment")
        return permissions.visible(self.by, rows)
