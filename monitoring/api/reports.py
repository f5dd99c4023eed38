"""Reports and who wants them, by REST: everybody for themselves, who administers for all."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import report_subscriptions, reports
from monitoring.api.silences import WallTime
from monitoring.models import Report, ReportSubscription
from monitoring.models.reports import Period
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid
from portal.models import User

EXAMPLE = OpenApiExample(
    "each Monday at eight",
    value={"period": "weekly", "weekday": 0, "at": "08:00", "zone": "Europe/Warsaw", "services": ["checkout"]},
    request_only=True,
)


class ReportSubscriptionChange(Serializer):
    period = serializers.ChoiceField(Period.choices, required=False)
    services = serializers.ListField(
        child=serializers.CharField(max_length=128), required=False, max_length=200, help_text="none: all one may see"
    )
    environment = serializers.CharField(max_length=128, required=False, allow_blank=True, help_text="empty: all")
    at = WallTime(required=False)
    weekday = serializers.IntegerField(required=False, min_value=0, max_value=6, help_text="0 is Monday")
    zone = serializers.CharField(max_length=64, required=False, help_text="by default the person's, or the portal's")
    by_mail = serializers.BooleanField(required=False)


class ReportSubscriptionShape(ReportSubscriptionChange):
    person = serializers.CharField(max_length=150, required=False, help_text="a user name; by default who calls")
    id = serializers.IntegerField(read_only=True)
    due_at = serializers.DateTimeField(read_only=True)
    created_at = serializers.DateTimeField(read_only=True)

    def to_representation(self, instance: ReportSubscription) -> dict[str, Any]:
        return {
            "id": instance.pk,
            "person": instance.person.username,
            **report_subscriptions.shown(instance),
            "due_at": instance.due_at,
            "created_at": instance.created_at,
        }


class ReportListShape(serializers.Serializer[Report]):
    id = serializers.IntegerField()
    person = serializers.CharField(source="person.username")
    period = serializers.ChoiceField(Period.choices)
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    zone = serializers.CharField()
    services = serializers.ListField(child=serializers.CharField())
    title = serializers.CharField(source="content.title")
    made_at = serializers.DateTimeField()
    sha256 = serializers.CharField(help_text="of the content as canonical JSON")


class ReportFigureShape(serializers.Serializer[Any]):
    label = serializers.CharField()  # type: ignore[assignment]
    value = serializers.CharField()
    before = serializers.CharField(allow_blank=True, help_text="in the period before; empty: not known")
    trend = serializers.ChoiceField(["rising", "falling", "stable"], allow_blank=True)
    effect = serializers.ChoiceField(["better", "worse", "neutral"], allow_blank=True)
    note = serializers.CharField(allow_blank=True)


class ReportItemShape(serializers.Serializer[Any]):
    text = serializers.CharField()
    state = serializers.CharField(allow_blank=True)
    note = serializers.CharField(allow_blank=True)
    address = serializers.CharField(allow_blank=True)


class ReportSectionShape(serializers.Serializer[Any]):
    key = serializers.CharField()
    title = serializers.CharField()
    figures = ReportFigureShape(many=True)
    items = ReportItemShape(many=True)
    more = serializers.IntegerField(help_text="items that are not listed")
    empty = serializers.CharField(allow_blank=True)


class ReportShape(ReportListShape):
    sections = ReportSectionShape(many=True, source="content.sections")


class ReportSubscriptions(DoorSet):
    serializer_class = ReportSubscriptionShape
    queryset = ReportSubscription.objects.none()

    @extend_schema(responses=ReportSubscriptionShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(self._seen(), ReportSubscriptionShape)

    @extend_schema(request=ReportSubscriptionShape, responses={201: ReportSubscriptionShape}, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(ReportSubscriptionShape))
        made = report_subscriptions.create(self._person(fields.pop("person", "")), fields, by=self.by)
        return Response(ReportSubscriptionShape(self._find(made.pk)).data, status=201)

    @extend_schema(responses=ReportSubscriptionShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ReportSubscriptionShape(self._find(pk)).data)

    @extend_schema(request=ReportSubscriptionChange, responses=ReportSubscriptionShape)
    def change(self, request: Request, pk: int) -> Response:
        report_subscriptions.change(self._find(pk), self.body(ReportSubscriptionChange, partial=True), by=self.by)
        return Response(ReportSubscriptionShape(self._find(pk)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        """The reports that were made stay."""
        report_subscriptions.delete(self._find(pk), by=self.by)
        return Response(status=204)

    @extend_schema(request=None, responses=ReportShape)
    def make(self, request: Request, pk: int) -> Response:
        """The report of the last whole period, now; the same one when it is there already."""
        made = reports.make_now(self._find(pk), by=self.by)
        return Response(ReportShape(made).data)

    def _person(self, username: str) -> User:
        if isinstance(self.by, User) and username in ("", self.by.username):
            return self.by
        permissions.require(self.by, "administer")
        if not username:
            raise Invalid.of("person", "is required: a key has no mailbox")
        found = User.objects.filter(username=username, is_active=True).first()
        if found is None:
            raise Invalid.of("person", f"nobody is called '{username}'"[:200])
        return found

    def _find(self, pk: int) -> ReportSubscription:
        found: ReportSubscription = get_object_or_404(self._seen(), pk=pk)
        return found

    def _seen(self) -> "QuerySet[ReportSubscription]":
        return report_subscriptions.visible(self.by)


class Reports(DoorSet):
    serializer_class = ReportShape
    queryset = Report.objects.none()

    @extend_schema(responses=ReportListShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(reports.visible(self.by), ReportListShape)

    @extend_schema(responses=ReportShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ReportShape(get_object_or_404(reports.visible(self.by), pk=pk)).data)
