"""Service level objectives and their error budgets by REST."""

from typing import Any

from django.core.validators import RegexValidator
from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import budgets
from monitoring.actions import slos
from monitoring.api.choosing import chosen
from monitoring.budgets import TIERS
from monitoring.judging import Phase
from monitoring.models import Alert, AlertState, Slo
from monitoring.queries import indicators
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN
from portal.verdicts import Outcome

EXAMPLE = OpenApiExample(
    "availability of the checkout",
    value={
        "key": "checkout-availability",
        "name": "checkout availability",
        "kind": "availability",
        "metric": "http_requests_total",
        "bad": "http_errors_total",
        "matchers": {"service": "checkout", "environment": "production"},
        "objective": 99.9,
        "window": 2592000,
    },
    request_only=True,
)


class BurnShape(Serializer):
    """One of the four burn alerts, as the judge last saw it change."""

    threshold = serializers.IntegerField()
    factor = serializers.FloatField()
    level = serializers.ChoiceField(Alert.Level.choices)
    long = serializers.IntegerField(help_text="seconds")
    short = serializers.IntegerField(help_text="seconds")
    phase = serializers.ChoiceField([one.value for one in Phase])
    rate = serializers.FloatField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)


class SloChange(Serializer):
    name = serializers.CharField(max_length=200)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    kind = serializers.ChoiceField(Slo.Kind.choices)
    metric = serializers.CharField(max_length=200)
    good = serializers.CharField(max_length=200, required=False, allow_blank=True)
    bad = serializers.CharField(max_length=200, required=False, allow_blank=True)
    event_matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    bound = serializers.FloatField(required=False, allow_null=True)
    matchers = serializers.DictField(child=serializers.CharField(max_length=200), required=False)
    objective = serializers.FloatField(help_text="percent; more than 0 and less than 100")
    window = serializers.IntegerField(required=False, min_value=slos.DAY, max_value=slos.LONGEST_WINDOW)


class SloShape(SloChange):
    key = serializers.CharField(max_length=128, validators=[RegexValidator(KEY_PATTERN)])
    version = serializers.IntegerField(read_only=True)
    created_by = serializers.CharField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    remaining = serializers.FloatField(read_only=True, allow_null=True, help_text="of the budget; null: not known")
    coverage = serializers.FloatField(read_only=True, help_text="the share of the window that is known")
    outcome = serializers.ChoiceField([one.value for one in Outcome], read_only=True, allow_null=True)
    reason = serializers.CharField(read_only=True)
    looked_at = serializers.DateTimeField(read_only=True, allow_null=True)
    burns = BurnShape(many=True, read_only=True)

    def to_representation(self, instance: Slo) -> dict[str, Any]:
        return {
            "key": instance.key,
            **slos.shown(instance),
            "version": instance.version,
            "created_by": instance.created_by,
            "created_at": instance.created_at,
            "remaining": instance.remaining,
            "coverage": instance.coverage,
            "outcome": instance.outcome or None,
            "reason": instance.reason,
            "looked_at": instance.looked_at,
            "burns": burns_of(instance),
        }


class HourShape(Serializer):
    at = serializers.DateTimeField()
    good = serializers.FloatField()
    total = serializers.FloatField()
    remaining = serializers.FloatField(help_text="of the budget, at the end of the hour")


class BudgetShape(Serializer):
    """The budget as it is now, and hour by hour; hours of which nothing is known are left out."""

    remaining = serializers.FloatField(allow_null=True)
    coverage = serializers.FloatField()
    outcome = serializers.ChoiceField([one.value for one in Outcome])
    reason = serializers.CharField()
    good = serializers.FloatField()
    total = serializers.FloatField()
    spent_in = serializers.IntegerField(allow_null=True, help_text="seconds until it is, as the last day went")
    hours = HourShape(many=True)


class SloFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Slo
        fields = ("kind",)


class Slos(DoorSet):
    serializer_class = SloShape
    filterset_class = SloFilter
    queryset = Slo.objects.none()

    @extend_schema(responses=SloShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(SloFilter, request, self._seen()), SloShape)

    @extend_schema(request=SloShape, responses={201: SloShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """With it come four burn alerts, judged and told as those of any threshold."""
        fields: dict[str, Any] = dict(self.body(SloShape))
        made = slos.create(fields.pop("key"), fields, by=self.by)
        return Response(SloShape(self._find(made.key)).data, status=201)

    @extend_schema(responses=SloShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(SloShape(self._find(key)).data)

    @extend_schema(request=SloChange, responses=SloShape)
    def change(self, request: Request, key: str) -> Response:
        slos.change(self._find(key), self.body(SloChange, partial=True), by=self.by)
        return Response(SloShape(self._find(key)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        """Its alerts end; what happened stays on record."""
        slos.delete(self._find(key), by=self.by)
        return Response(status=204)

    @extend_schema(responses=BudgetShape)
    def budget(self, request: Request, key: str) -> Response:
        slo, now = self._find(key), jobs.database_now()
        hours = indicators.hours(slo, now=now)
        found = budgets.budget(slo.name, hours, objective=slo.objective, window=slo.window, now=now)
        known = [hour for hour in hours if hour.tally.total > 0]
        course = budgets.course(known, objective=slo.objective, window=slo.window)
        body = {
            "remaining": found.remaining,
            "coverage": found.coverage,
            "outcome": found.verdict.outcome.value,
            "reason": found.verdict.reason,
            "good": found.tally.good,
            "total": found.tally.total,
            "spent_in": None if found.left is None else int(found.left.total_seconds()),
            "hours": [
                {"at": hour.at, "good": hour.tally.good, "total": hour.tally.total, "remaining": left}
                for hour, (_, left) in zip(known, course, strict=True)
            ],
        }
        return Response(BudgetShape(body).data)

    def _find(self, key: str) -> Slo:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> QuerySet[Slo]:
        return permissions.visible(self.by, Slo.objects.active().prefetch_related("thresholds__states"))


def burns_of(slo: Slo) -> list[dict[str, Any]]:
    """Its active burn alerts, the fastest first; of prefetched rows."""
    rows = {one.window: one for one in slo.thresholds.all() if one.active}
    found = []
    for tier in TIERS:
        if (one := rows.get(tier.long)) is None:
            continue
        state = next(iter(one.states.all()), None) or AlertState()
        found.append(
            {
                "threshold": one.pk,
                "factor": tier.factor,
                "level": tier.level.value,
                "long": tier.long,
                "short": tier.short,
                "phase": state.phase,
                "rate": state.value,
                "reason": state.reason,
            }
        )
    return found
