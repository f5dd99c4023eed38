"""Incidents by REST: what is wrong, what was done, and the verbs."""

from datetime import timedelta
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import incidents, responses
from monitoring.api.choosing import chosen, moment
from monitoring.models import (
    Alert,
    Incident,
    IncidentAttachment,
    IncidentDefinition,
    ResponseRun,
    Severity,
    TimelineEntry,
)
from monitoring.queries import incident_figures
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import Environment, Service, User


@extend_schema_field(OpenApiTypes.DOUBLE)
class Seconds(serializers.Field[Any, Any, Any, Any]):
    """A length of time."""

    def to_representation(self, value: timedelta) -> float:
        return round(value.total_seconds(), 3)


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
    communications = serializers.CharField(source="communications.username", allow_null=True, default=None)
    scribe = serializers.CharField(source="scribe.username", allow_null=True, default=None)
    escalations = serializers.IntegerField()
    policy = serializers.CharField(source="policy.key", allow_null=True, default=None)
    pages = serializers.IntegerField(help_text="steps of the escalation policy that were taken")
    next_page_at = serializers.DateTimeField(allow_null=True, help_text="when the next step is due")
    opened_at = serializers.DateTimeField()
    acknowledged_at = serializers.DateTimeField(allow_null=True)
    acknowledged_by = serializers.CharField()
    answered_at = serializers.DateTimeField(
        allow_null=True, help_text="the first acknowledgement, whatever became of it"
    )
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


class AttachmentShape(serializers.ModelSerializer[IncidentAttachment]):
    content = serializers.DictField(child=serializers.JSONField())

    class Meta:
        model = IncidentAttachment
        fields = ("id", "name", "sha256", "created_at", "content")


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


class Resolution(PossiblyBecause):
    despite_alerts = serializers.BooleanField(
        required=False, help_text="although an alert of it still fires; then with a reason"
    )


class Assignment(PossiblyBecause):
    role = serializers.ChoiceField(list(incidents.ROLES))
    person = serializers.SlugRelatedField("username", queryset=User.objects.filter(is_active=True), allow_null=True)


class Reclassification(Serializer):
    severity = serializers.ChoiceField(Severity.choices)
    because = serializers.CharField(max_length=2000)


class FiguresShape(Serializer):
    """Times are seconds, of the incidents that got so far; null: none did."""

    name = serializers.CharField(allow_null=True)
    count = serializers.IntegerField()
    open = serializers.IntegerField()
    mean_to_acknowledge = Seconds(allow_null=True)
    median_to_acknowledge = Seconds(allow_null=True)
    mean_to_mitigate = Seconds(allow_null=True)
    median_to_mitigate = Seconds(allow_null=True)
    mean_to_resolve = Seconds(allow_null=True)
    median_to_resolve = Seconds(allow_null=True)


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

    @extend_schema(request=Resolution, responses=IncidentDetail)
    def resolve(self, request: Request, pk: int) -> Response:
        """Alerts that still fire end with it, if that is said; if they are right, they fire anew, into a new one."""
        return self._act(pk, incidents.resolve, **self.body(Resolution))

    @extend_schema(request=Assignment, responses=IncidentDetail)
    def assign(self, request: Request, pk: int) -> Response:
        """Commander, communications or scribe; null: nobody."""
        return self._act(pk, incidents.assign, **self.body(Assignment))

    @extend_schema(request=Reclassification, responses=IncidentDetail)
    def severity(self, request: Request, pk: int) -> Response:
        return self._act(pk, incidents.set_severity, **self.body(Reclassification))

    @extend_schema(
        parameters=[
            OpenApiParameter("by", OpenApiTypes.STR, enum=[name for name in incident_figures.BY if name]),
            OpenApiParameter("since", OpenApiTypes.DATETIME, description="default: 30 days before until"),
            OpenApiParameter("until", OpenApiTypes.DATETIME, description="default: now"),
        ],
        responses=FiguresShape(many=True),
        filters=False,
    )
    def figures(self, request: Request) -> Response:
        """How fast incidents that opened in the period were acknowledged, mitigated and resolved."""
        by = request.query_params.get("by", "")
        if by not in incident_figures.BY:
            raise Invalid.of("by", f"must be one of {', '.join(name for name in incident_figures.BY if name)}")
        until = moment(request, "until") or jobs.database_now()
        since = moment(request, "since") or until - timedelta(days=30)
        rows = permissions.visible(self.by, Incident.objects.all())
        return self.page(incident_figures.figures(rows, since=since, until=until, by=by), FiguresShape)

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

    @extend_schema(responses=AttachmentShape(many=True))
    def attachments(self, request: Request, pk: int) -> Response:
        """What was captured for it, as it was."""
        return self.page(self._find(pk).attachments.all(), AttachmentShape)

    @extend_schema(request=PossiblyBecause, responses=IncidentDetail)
    def confirm(self, request: Request, pk: int, run: int) -> Response:
        """A response that is proposed is done now."""
        incident = self._find(pk)
        found = get_object_or_404(incident.runs.select_related("service", "environment"), pk=run)
        responses.confirm(found, by=self.by, **self.body(PossiblyBecause))
        return self._show(incident)

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
        rows = Incident.objects.select_related(
            "definition", "service", "environment", "commander", "communications", "scribe"
        )
        return permissions.visible(self.by, rows)
