"""Errors by REST: reported in batches, read as groups with their hours and occurrences, and what is said of a group."""

from datetime import timedelta
from functools import partial
from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import error_groups, errors, incoming
from monitoring.actions.error_reports import MOST_FRAMES, MOST_PARTS, SAID_SEVERITIES
from monitoring.api import batches
from monitoring.api.batches import RESPONSES, BatchParser
from monitoring.api.choosing import chosen
from monitoring.api.ingesting import Ingesting
from monitoring.api.samples import LabelsField, TimeField
from monitoring.models import ErrorGroup, ErrorOccurrence, ErrorSeverity
from monitoring.models.errors import LONGEST_RELEASE, LONGEST_TYPE, LONGEST_UNIT
from monitoring.queries import errors as questions
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.models import User

SPAN = timedelta(days=7)
LATEST = 20


class FrameShape(Serializer):
    """One call of a stack."""

    function = serializers.CharField(required=False)
    file = serializers.CharField(required=False)
    line = serializers.IntegerField(required=False)
    module = serializers.CharField(required=False)
    in_app = serializers.BooleanField(required=False, help_text="of the application itself; guessed when left out")


class ErrorReport(Serializer):
    """The schema's words for what `error_reports` checks, one by one."""

    type = serializers.CharField(max_length=LONGEST_TYPE)
    message = serializers.CharField(required=False, help_text="cut when too long; sensitive values are masked")
    stack = serializers.CharField(required=False, help_text="as the language prints it")
    frames = FrameShape(many=True, required=False, max_length=MOST_FRAMES, help_text="the innermost first")  # type: ignore[call-arg]
    severity = serializers.ChoiceField(
        SAID_SEVERITIES, required=False, help_text="error when left out; fatal is critical"
    )
    service = serializers.CharField(max_length=128)
    environment = serializers.CharField(max_length=128, required=False, help_text="the key's own when left out")
    release = serializers.CharField(max_length=LONGEST_RELEASE, required=False)
    unit = serializers.CharField(max_length=LONGEST_UNIT, required=False, help_text="who met it")
    time = TimeField(required=False)
    key = serializers.CharField(max_length=incoming.LONGEST, required=False, help_text="send it again freely")
    labels = LabelsField(required=False)
    url = serializers.CharField(required=False)
    fingerprint = serializers.ListField(
        child=serializers.CharField(max_length=incoming.LONGEST),
        max_length=MOST_PARTS,
        required=False,
        help_text="what makes it the same error as another, where the sender knows better",
    )


class ErrorBatch(Serializer):
    errors = ErrorReport(many=True, max_length=batches.MOST)  # type: ignore[call-arg, assignment]


class ErrorGroupShape(Serializer):
    id = serializers.IntegerField()
    type = serializers.CharField()
    message = serializers.CharField(help_text="of the last occurrence, its beginning")
    culprit = serializers.CharField(help_text="the innermost call of the own code")
    severity = serializers.ChoiceField(ErrorSeverity.choices, help_text="the worst so far")
    service = serializers.CharField(source="service.key")
    environment = serializers.CharField(source="environment.key")
    status = serializers.ChoiceField(ErrorGroup.Status.choices)
    status_by = serializers.CharField()
    status_because = serializers.CharField()
    resolved_at = serializers.DateTimeField(allow_null=True)
    regressed_at = serializers.DateTimeField(allow_null=True, help_text="when it came again after it was resolved")
    assignee = serializers.CharField(source="assignee.username", allow_null=True, default=None)
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    count = serializers.IntegerField()
    users = serializers.IntegerField(help_text="different units that met it")
    first_release = serializers.CharField()
    last_release = serializers.CharField()


class ErrorHourShape(Serializer):
    at = serializers.DateTimeField()
    count = serializers.IntegerField()


class ErrorReleaseShape(Serializer):
    release = serializers.CharField()
    first_seen = serializers.DateTimeField()
    last_seen = serializers.DateTimeField()
    count = serializers.IntegerField()


class ErrorOccurrenceShape(serializers.ModelSerializer[ErrorOccurrence]):
    labels = LabelsField()

    class Meta:
        model = ErrorOccurrence
        fields = ("key", "time", "severity", "message", "stack", "release", "unit", "url", "labels")


class ErrorGroupDetail(ErrorGroupShape):
    hours = ErrorHourShape(many=True, help_text="of the last 7 days, those without any included")
    releases = ErrorReleaseShape(many=True)
    occurrences = ErrorOccurrenceShape(many=True, help_text="the latest that are kept")


class ErrorRemark(Serializer):
    because = serializers.CharField(max_length=2000, required=False, allow_blank=True, default="")


class ErrorReason(Serializer):
    because = serializers.CharField(max_length=2000)


class ErrorAssignee(Serializer):
    person = serializers.SlugRelatedField("username", queryset=User.objects.filter(is_active=True), allow_null=True)


class ErrorFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")
    release = filters.CharFilter("releases__release", label="seen in this release")
    assignee = filters.CharFilter("assignee__username")
    text = filters.CharFilter(method="with_text", label="in type, message or culprit")
    regressed = filters.BooleanFilter("regressed_at", lookup_expr="isnull", exclude=True)

    class Meta:
        model = ErrorGroup
        fields = ("status", "severity")

    def with_text(self, rows: QuerySet[ErrorGroup], name: str, value: str) -> QuerySet[ErrorGroup]:
        return questions.chosen(rows, text=value)


EXAMPLE = OpenApiExample(
    "one error of a checkout",
    value={
        "errors": [
            {
                "type": "KeyError",
                "message": "'price'",
                "stack": 'Traceback (most recent call last):\n  File "/srv/shop/cart.py", line 12, in total\n',
                "severity": "critical",
                "service": "checkout",
                "release": "2026.47",
                "unit": "user-17",
                "key": "b7c1f0",
            }
        ]
    },
    request_only=True,
)


class Errors(Ingesting, DoorSet):
    source = errors.SOURCE
    serializer_class = ErrorGroupShape
    filterset_class = ErrorFilter
    queryset = ErrorGroup.objects.none()
    parser_classes = (BatchParser,)
    scope = "ingest"

    @extend_schema(request=ErrorBatch, responses=RESPONSES, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """Take a batch, or one report alone. The good ones are kept even when others are rejected (400)."""
        return batches.take(request, "errors", partial(errors.record, by=self.by), single=True)

    @extend_schema(responses=ErrorGroupShape(many=True))
    def list(self, request: Request) -> Response:
        """Groups, the last seen first."""
        return self.page(chosen(ErrorFilter, request, self._seen()), ErrorGroupShape)

    @extend_schema(responses=ErrorGroupDetail)
    def retrieve(self, request: Request, pk: int) -> Response:
        return self._show(pk)

    def _show(self, pk: int) -> Response:
        group, now = get_object_or_404(self._seen(), pk=pk), jobs.database_now()
        hours = questions.hourly([group], since=now - SPAN, until=now)[group.pk]
        body = {
            **ErrorGroupShape(group).data,
            "hours": [{"at": at, "count": count} for at, count in hours],
            "releases": ErrorReleaseShape(group.releases.all(), many=True).data,
            "occurrences": ErrorOccurrenceShape(group.occurrences.all()[:LATEST], many=True).data,
        }
        return Response(body)

    def _seen(self) -> QuerySet[ErrorGroup]:
        return permissions.visible(self.by, ErrorGroup.objects.select_related("service", "environment", "assignee"))


class ErrorVerbs(DoorSet):
    """What people say of a group: with the scope write, as any change."""

    @extend_schema(request=ErrorRemark, responses=ErrorGroupShape)
    def resolve(self, request: Request, pk: int) -> Response:
        """It is mended. When it comes again in a newer release, it is open again, and said to be back."""
        return self._act(pk, error_groups.resolve, **self.body(ErrorRemark))

    @extend_schema(request=ErrorReason, responses=ErrorGroupShape)
    def ignore(self, request: Request, pk: int) -> Response:
        """Nobody needs to care: it is counted on, and in no threshold's sample any more."""
        return self._act(pk, error_groups.ignore, **self.body(ErrorReason))

    @extend_schema(request=ErrorRemark, responses=ErrorGroupShape)
    def reopen(self, request: Request, pk: int) -> Response:
        return self._act(pk, error_groups.reopen, **self.body(ErrorRemark))

    @extend_schema(request=ErrorAssignee, responses=ErrorGroupShape)
    def assign(self, request: Request, pk: int) -> Response:
        """null: nobody's."""
        return self._act(pk, error_groups.assign, **self.body(ErrorAssignee))

    def _act(self, pk: int, act: Any, **said: Any) -> Response:
        rows = permissions.visible(self.by, ErrorGroup.objects.select_related("service", "environment", "assignee"))
        group = get_object_or_404(rows, pk=pk)
        act(group, by=self.by, **said)
        return Response(ErrorGroupShape(rows.get(pk=pk)).data)
