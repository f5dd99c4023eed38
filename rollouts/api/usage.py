"""How flags are used, by REST: counts by minute, and why a unit got what it got."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone
from django.utils.dateparse import parse_datetime
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.models import Exposure
from monitoring.models.events import LONGEST_UNIT
from monitoring.queries import exposures
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from rollouts.api.flag_shapes import ExplainShape
from rollouts.api.flags import config_at
from rollouts.queries import explaining

DEFAULT_SPAN = timedelta(hours=1)
LONGEST_SPAN = timedelta(days=92)


class CellShape(Serializer):
    time = serializers.DateTimeField(help_text="the minute; of older days the hour")
    variant = serializers.CharField(allow_blank=True, help_text="empty where the evaluation ended in an error")
    evaluations = serializers.IntegerField()
    exposures = serializers.IntegerField()


class TotalShape(Serializer):
    variant = serializers.CharField(allow_blank=True)
    evaluations = serializers.IntegerField()
    exposures = serializers.IntegerField()


class CountsShape(Serializer):
    flag = serializers.CharField()
    environment = serializers.CharField()
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    totals = TotalShape(many=True)
    points = CellShape(many=True)


class ExposureShape(Serializer):
    time = serializers.DateTimeField()
    variant = serializers.CharField()
    revision = serializers.IntegerField(allow_null=True)
    reason = serializers.CharField(allow_blank=True)
    source = serializers.ChoiceField(Exposure.Source.choices)  # type: ignore[assignment]


class WhyShape(Serializer):
    flag = serializers.CharField()
    environment = serializers.CharField()
    unit = serializers.CharField()
    recorded = ExposureShape(many=True, help_text="what it was shown, newest first: once in each window")
    context = serializers.DictField(help_text="explained for this: the newest sampled, masked")  # type: ignore[assignment]
    context_seen_at = serializers.DateTimeField(allow_null=True, help_text="null where none was sampled")
    now = ExplainShape(help_text="what it gets now")
    then = ExplainShape(
        allow_null=True, help_text="under the revision of the newest record, where that or the answer is another"
    )
    then_since = serializers.DateTimeField(allow_null=True, help_text="when that revision was written")
    then_by = serializers.CharField(allow_null=True)
    then_because = serializers.CharField(allow_null=True, allow_blank=True)
    notes = serializers.ListField(child=serializers.CharField())


class Usage(DoorSet):
    serializer_class = CountsShape

    @extend_schema(
        parameters=[
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="an hour before `until` when left out"),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="now when left out"),
        ],
        responses=CountsShape,
    )
    def counts(self, request: Request, key: str, environment: str) -> Response:
        """Evaluations and exposures of each variant, minute by minute."""
        config = config_at(self, key, environment)
        until = _time(request, "until") or timezone.now() + timedelta(minutes=1)
        since = _time(request, "since") or until - DEFAULT_SPAN
        if not timedelta(0) < until - since <= LONGEST_SPAN:
            raise Invalid.of("since", f"must be before until, by {LONGEST_SPAN.days} days at the most")
        cells = exposures.counts(config.environment, key, since=since, until=until)
        totals: dict[str, dict[str, Any]] = {}
        for cell in cells:
            total = totals.setdefault(cell.variant, {"variant": cell.variant, "evaluations": 0, "exposures": 0})
            total["evaluations"] += cell.evaluations
            total["exposures"] += cell.exposures
        body = {"flag": key, "environment": environment, "since": since, "until": until}
        body |= {"totals": [totals[one] for one in sorted(totals)], "points": [asdict(cell) for cell in cells]}
        return Response(CountsShape(body).data)

    @extend_schema(
        parameters=[OpenApiParameter("unit", str, required=True, description="the context's targetingKey")],
        responses=WhyShape,
    )
    def why(self, request: Request, key: str, environment: str) -> Response:
        """Why a unit got what it got: what was recorded of it, and what it gets now, step by step."""
        config = config_at(self, key, environment)
        unit = request.query_params.get("unit", "")
        if not unit:
            raise Invalid.of("unit", "is required")
        if len(unit) > LONGEST_UNIT or "\0" in unit:
            raise Invalid.of("unit", f"must be 1 to {LONGEST_UNIT} characters without NUL")
        sees_contexts = permissions.can(self.by, "view", environment=config.environment)
        found = explaining.why(config.flag, config.environment, unit, with_context=sees_contexts, now=timezone.now())
        held = found.then_revision if found.then else None
        return Response(
            {
                "flag": key,
                "environment": environment,
                "unit": unit,
                "recorded": ExposureShape(found.recorded, many=True).data,
                "context": found.context,
                "context_seen_at": found.context_seen_at,
                "now": found.now.as_dict(),
                "then": found.then.as_dict() if found.then else None,
                "then_since": held.at if held else None,
                "then_by": held.actor if held else None,
                "then_because": held.because if held else None,
                "notes": found.notes,
            }
        )


def _time(request: Request, name: str) -> datetime | None:
    raw = request.query_params.get(name)
    if raw is None:
        return None
    try:
        made = parse_datetime(raw.replace(" ", "+"))
    except ValueError:
        made = None
    if made is None or made.tzinfo is None or not 1900 < made.year < 9000:
        raise Invalid.of(name, "must be RFC 3339 with its zone, as 2030-01-31T12:00:00Z")
    return made
