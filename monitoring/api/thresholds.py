"""Thresholds by REST."""

from collections.abc import Mapping
from typing import Any

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import conditions
from monitoring.actions import specs, thresholds
from monitoring.api.choosing import chosen
from monitoring.judging import OPERATORS, Change, Phase
from monitoring.models import Alert, AlertState, Threshold
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.verdicts import Outcome

EXAMPLE = OpenApiExample(
    "errors of the canary",
    value={
        "name": "error rate",
        "metric": "http_errors_total",
        "denominator": "http_requests_total",
        "matchers": {"flag": "new-checkout", "variant": "on"},
        "aggregation": "increase",
        "operator": ">",
        "warning": 0.01,
        "error": 0.02,
        "window": 300,
        "interval": 10,
        "for": 0,
        "keep_firing_for": 0,
        "min_count": 50,
        "no_data": "keep",
    },
    request_only=True,
)
IF_MATCH = OpenApiParameter("If-Match", OpenApiTypes.STR, OpenApiParameter.HEADER, description="the ETag last seen")


class BaselineShape(Serializer):
    kind = serializers.ChoiceField(["arm", "previous_release", "offset", "usual"])
    change = serializers.ChoiceField([one.value for one in Change], required=False)
    flag = serializers.CharField(required=False)
    variant = serializers.CharField(required=False)
    release = serializers.CharField(required=False)
    seconds = serializers.IntegerField(required=False, min_value=1)
    season = serializers.ChoiceField(Threshold.Season.choices, required=False, help_text="of a usual")
    weeks = serializers.IntegerField(required=False, min_value=1, max_value=specs.MOST_WEEKS, help_text="of a usual")


class FlappingShape(Serializer):
    transitions = serializers.IntegerField(required=False, min_value=0, max_value=specs.MOST_TRANSITIONS)
    window = serializers.IntegerField(required=False, min_value=1, max_value=specs.DAY)


class CombineShape(Serializer):
    of = serializers.ListField(
        child=serializers.IntegerField(min_value=1, max_value=2**62), min_length=2, max_length=specs.MOST_MEMBERS
    )
    need = serializers.IntegerField(required=False, min_value=1, help_text="so many of them; left out: all")
    level = serializers.ChoiceField(Alert.Level.choices, required=False)


class StateShape(Serializer):
    """Where the judge stands: the alert's phase, and the verdict as it was when it last changed."""

    phase = serializers.ChoiceField([one.value for one in Phase])
    level = serializers.ChoiceField(Alert.Level.choices, allow_null=True)
    outcome = serializers.ChoiceField([one.value for one in Outcome])
    reason = serializers.CharField()
    value = serializers.FloatField(allow_null=True)
    changed_at = serializers.DateTimeField()


class ThresholdShape(Serializer):
    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=200)
    condition = serializers.CharField(
        max_length=conditions.LONGEST, required=False, help_text="the same as text, in place of the fields"
    )
    metric = serializers.CharField(max_length=200, required=False, allow_null=True, help_text="null: a combination")
    denominator = serializers.CharField(max_length=200, required=False, allow_null=True)
    matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    aggregation = serializers.RegexField(f"^{specs.AGGREGATION}$", required=False)
    operator = serializers.ChoiceField(OPERATORS, required=False)
    warning = serializers.FloatField(required=False, allow_null=True)
    error = serializers.FloatField(required=False, allow_null=True)
    critical = serializers.FloatField(required=False, allow_null=True)
    clear = serializers.FloatField(required=False, allow_null=True)
    window = serializers.IntegerField(required=False, min_value=1)
    interval = serializers.IntegerField(required=False, min_value=1, max_value=specs.DAY)
    keep_firing_for = serializers.IntegerField(required=False, min_value=0, max_value=specs.LONGEST_HOLD)
    min_count = serializers.IntegerField(required=False, min_value=0, max_value=specs.MAX_COUNT)
    baseline = BaselineShape(required=False, allow_null=True)
    no_data = serializers.ChoiceField(Threshold.WithoutData.choices, required=False)
    on_error = serializers.ChoiceField(Threshold.WithoutData.choices, required=False, allow_null=True)
    flapping = FlappingShape(required=False, allow_null=True)
    combine = CombineShape(required=False, allow_null=True, help_text="thresholds of which so many have to fire")
    response = serializers.CharField(required=False, allow_null=True)
    target = serializers.RegexField(f"^{specs.TARGET}$", required=False, allow_null=True)
    runbook = serializers.CharField(max_length=10_000, required=False, allow_null=True, help_text="what to do then")
    library = serializers.CharField(read_only=True, allow_null=True, help_text="the definition that it was made of")
    owner = serializers.CharField(read_only=True, allow_null=True)
    version = serializers.IntegerField(read_only=True)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    state = StateShape(read_only=True, allow_null=True)
    alerts_had = serializers.IntegerField(read_only=True, help_text="how often it has fired")
    alerts_false = serializers.IntegerField(read_only=True)
    false_share = serializers.FloatField(read_only=True, allow_null=True, help_text="null: it has never fired")

    def get_fields(self) -> dict[str, serializers.Field[Any, Any, Any, Any]]:
        fields = super().get_fields()
        fields["for"] = serializers.IntegerField(required=False, min_value=0, max_value=specs.LONGEST_HOLD)
        return fields

    def to_representation(self, instance: Threshold) -> dict[str, Any]:
        return {
            "id": instance.pk,
            "condition": specs.text(instance),
            **specs.of(instance),
            "library": instance.library or None,
            "owner": instance.owner or None,
            "version": instance.version,
            "created_by": instance.created_by,
            "created_at": instance.created_at,
            "state": self._state(instance),
            **_false_alerts(instance),
        }

    def _state(self, threshold: Threshold) -> dict[str, Any] | None:
        state = next((one for one in threshold.states.all() if one.group == "" and one.changed_at), None)
        return StateShape(state).data | {"level": state.level or None} if state else None


def _false_alerts(threshold: Threshold) -> dict[str, Any]:
    had, false = getattr(threshold, "alerts_had", 0), getattr(threshold, "alerts_false", 0)
    return {"alerts_had": had, "alerts_false": false, "false_share": false / had if had else None}


class ThresholdFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Threshold
        fields = ("name", "metric", "owner")


class Thresholds(DoorSet):
    serializer_class = ThresholdShape
    filterset_class = ThresholdFilter
    queryset = Threshold.objects.none()

    @extend_schema(responses=ThresholdShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(ThresholdFilter, request, self._seen()), ThresholdShape)

    @extend_schema(request=ThresholdShape, responses={201: ThresholdShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        return self._show(thresholds.create(_spec(request), by=self.by), status=201)

    @extend_schema(responses=ThresholdShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return self._show(self._find(pk))

    @extend_schema(request=ThresholdShape, responses=ThresholdShape, parameters=[IF_MATCH], examples=[EXAMPLE])
    def replace(self, request: Request, pk: int) -> Response:
        """Fields that are left out take their defaults."""
        return self._change(request, pk, partly=False)

    @extend_schema(request=ThresholdShape, responses=ThresholdShape, parameters=[IF_MATCH])
    def change(self, request: Request, pk: int) -> Response:
        return self._change(request, pk, partly=True)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """Its alerts end; what happened stays on record."""
        thresholds.delete(self._find(pk), by=self.by)
        return Response(status=204)

    def _change(self, request: Request, pk: int, *, partly: bool) -> Response:
        expected = _expected_version(request)
        found = thresholds.change(self._find(pk), _spec(request), by=self.by, partly=partly, expected=expected)
        return self._show(self._find(found.pk))

    def _show(self, threshold: Threshold, status: int = 200) -> Response:
        headers = {"ETag": f'"{threshold.version}"'}
        return Response(ThresholdShape(threshold).data, status=status, headers=headers)

    def _find(self, pk: int) -> Threshold:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[Threshold]:
        rows = Threshold.objects.active().prefetch_related(Prefetch("states", AlertState.objects.filter(group="")))
        return permissions.visible(self.by, rows.with_false_alerts().order_by("name", "id"))


def _spec(request: Request) -> dict[str, Any]:
    """The body as it came: the action reads it, types and all. What only we write may be sent back to us."""
    if not isinstance(request.data, Mapping):
        raise Invalid.of("", "the body must be a JSON object")
    ours = {name for name, field in ThresholdShape().fields.items() if field.read_only}
    return {name: value for name, value in request.data.items() if name not in ours}


def _expected_version(request: Request) -> int | None:
    given = request.headers.get("If-Match", "").strip()
    if given in ("", "*"):
        return None
    bare = given.removeprefix("W/").strip('"')
    # A tag that none of our versions has: it matches nothing.
    return int(bare) if bare.isascii() and bare.isdigit() and len(bare) < 10 else -1
