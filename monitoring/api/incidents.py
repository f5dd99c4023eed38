"""Incidents by REST: what is wrong, what was done, and the verbs."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import incidents
from monitoring.api.choosing import chosen
from monitoring.models import Alert, Incident, IncidentDefinition, ResponseRun, Severity, TimelineEntry
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import Environment, Service


class IncidentShape(Serializer):
    id = serializers.IntegerField()
    title = serializers.CharField()
    description = serializers.CharField()
    status = serializers.ChoiceField(Incident.Status.choices)
    severity = serializers.ChoiceField(Severity.choices)
    definition = serializers.CharField(source="definition.key", allow_null=True, default=None)
    service = serializers.CharField(source="service.key", allow_null=True, default=None)
    environment = serializers.CharField(source="environment.key", allow_null=True, default=None)
    target = serializers.CharField()
    commander = serializers.CharField(source="commander.username", allow_null=True, default=None)
    escalations = serializers.IntegerField()
    policy = serializers.CharField(source="policy.key", allow_null=True, default=None)
    pages = serializers.IntegerField(help_text="steps of the escalation policy that were taken")
    next_page_at = serializers.DateTimeField(allow_null=True, help_text="when the next step is due")
    opened_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField()
    mitigated_at = serializers.DateTimeField(allow_null=True)
    resolved_at = serializers.DateTimeField(allow_null=True)
    closed_at = serializers.DateTimeField(allow_null=True)


class IncidentAlertShape(Serializer):
    id = serializers.IntegerField()
    threshold = serializers.IntegerField(source="threshold_id")
    name = serializers.CharField(source="threshold.name")
    status = serializers.ChoiceField(Alert.Status.choices)
    level = serializers.ChoiceField(Alert.Level.choices)
    reason = serializers.CharField()


class RunShape(serializers.ModelSerializer[ResponseRun]):
    class Meta:
        model = ResponseRun
        fields = ("id", "name", "target", "status", "attempts", "because", "outcome", "created_at", "ended_at")


class TimelineEntryShape(serializers.ModelSerializer[TimelineEntry]):
    data = serializers.DictField(child=serializers.JSONField())  # type: ignore[assignment]

    class Meta:
        model = TimelineEntry
        fields = ("seq", "at", "kind", "actor", "text", "data")


class IncidentDetail(IncidentShape):
    alerts = IncidentAlertShape(many=True)
    responses = RunShape(many=True, source="runs")
    timeline = TimelineEntryShape(many=True)


class NewIncident(Serializer):
    title = serializers.CharField(max_length=300)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    severity = serializers.ChoiceField(Severity.choices, required=False)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all(), required=False, allow_null=True)
    environment = serializers.SlugRelatedField(
        "key", queryset=Environment.objects.all(), required=False, allow_null=True
    )
    definition = serializers.SlugRelatedField(
        "key", queryset=IncidentDefinition.objects.all(), required=False, allow_null=True
    )


class PossiblyBecause(Serializer):
    because = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class Escalation(PossiblyBecause):
    severity = serializers.ChoiceField(Severity.choices, required=False)


class Note(Serializer):
    """One of the two."""

    text = serializers.CharField(max_length=10_000, required=False)
    because = serializers.CharField(max_length=10_000, required=False)


class IncidentFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")
    definition = filters.CharFilter("definition__key")
    open = filters.BooleanFilter(method="only_open", label="triggered, acknowledged or mitigated")

    class Meta:
        model = Incident
        fields = ("status", "severity", "target")

    def only_open(self, rows: QuerySet[Incident], name: str, value: bool) -> QuerySet[Incident]:
        opened = Incident.objects.open().values("pk")
        return rows.filter(pk__in=opened) if value else rows.exclude(pk__in=opened)


class Incidents(DoorSet):
    serializer_class = IncidentShape
    filterset_class = IncidentFilter
    queryset = Incident.objects.none()

    @extend_schema(responses=IncidentShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(IncidentFilter, request, self._seen()), IncidentShape)

    @extend_schema(request=NewIncident, responses={201: IncidentDetail})
    def create(self, request: Request) -> Response:
        """By hand: somebody has seen what no threshold did."""
        fields: dict[str, Any] = {name: value for name, value in self.body(NewIncident).items() if value is not None}
        return self._show(incidents.open_by_hand(fields.pop("title"), by=self.by, **fields), status=201)

    @extend_schema(responses=IncidentDetail)
    def retrieve(self, request: Request, pk: int) -> Response:
        return self._show(self._find(pk))

    @extend_schema(request=PossiblyBecause, responses=IncidentDetail)
    def acknowledge(self, request: Request, pk: int) -> Response:
        return self._act(pk, incidents.acknowledge, **self.body(PossiblyBecause))

    @extend_schema(request=Escalation, responses=IncidentDetail)
    def escalate(self, request: Request, pk: int) -> Response:
        return self._act(pk, incidents.escalate, **self.body(Escalation))

    @extend_schema(request=PossiblyBecause, responses=IncidentDetail)
    def mitigate(self, request: Request, pk: int) -> Response:
        return self._act(pk, incidents.mitigate, **self.body(PossiblyBecause))

    @extend_schema(request=PossiblyBecause, responses=IncidentDetail)
    def resolve(self, request: Request, pk: int) -> Response:
        """Alerts that still fire end with it; if they are right, they fire anew, into a new incident."""
        return self._act(pk, incidents.resolve, **self.body(PossiblyBecause))

    @extend_schema(request=PossiblyBecause, responses=IncidentDetail)
    def close(self, request: Request, pk: int) -> Response:
        return self._act(pk, incidents.close, **self.body(PossiblyBecause))

    @extend_schema(request=Note, responses=IncidentDetail)
    def note(self, request: Request, pk: int) -> Response:
        body = self.body(Note)
        text = body.get("text") or body.get("because")
        if not text:
            raise Invalid.of("text", "is required")
        return self._act(pk, incidents.note, text=text)

    def _act(self, pk: int, act: Any, **options: Any) -> Response:
        incident = self._find(pk)
        act(incident, by=self.by, **options)
        return self._show(incident)

    def _show(self, incident: Incident, status: int = 200) -> Response:
        rows = self._seen().prefetch_related("alerts__threshold", "runs", "timeline")
        return Response(IncidentDetail(rows.get(pk=incident.pk)).data, status=status)

    def _find(self, pk: int) -> Incident:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[Incident]:
        rows = Incident.objects.select_related("definition", "service", "environment", "commander")
        return permissions.visible(self.by, rows)
