"""The public status page by REST: its components, and what is published."""

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import statuspage
from monitoring.models import Incident, StatusComponent, StatusIncident, StatusUpdate
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import Environment, Service


class StatusComponentShape(Serializer):
    """`status` is what a person says; `computed` leaves it to what is open and published."""

    id = serializers.CharField(source="code", read_only=True)
    name = serializers.CharField(max_length=100)
    description = serializers.CharField(max_length=300, required=False, allow_blank=True)
    position = serializers.IntegerField(min_value=0, max_value=32_767, required=False)
    status = serializers.ChoiceField(StatusComponent.Status.choices, required=False)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all(), required=False, allow_null=True)
    environment = serializers.SlugRelatedField(
        "key", queryset=Environment.objects.all(), required=False, allow_null=True
    )
    auto_publish = serializers.BooleanField(required=False)


class StatusUpdateShape(Serializer):
    id = serializers.CharField(source="code", read_only=True)
    status = serializers.ChoiceField(StatusIncident.Status.choices, required=False)
    impact = serializers.ChoiceField(StatusIncident.Impact.choices, required=False, write_only=True)
    body = serializers.CharField(max_length=statuspage.LONGEST_BODY)
    at = serializers.DateTimeField(read_only=True)


class StatusIncidentShape(Serializer):
    id = serializers.CharField(source="code", read_only=True)
    name = serializers.CharField(max_length=200)
    body = serializers.CharField(max_length=statuspage.LONGEST_BODY, write_only=True)
    kind = serializers.ChoiceField(StatusIncident.Kind.choices, required=False)
    impact = serializers.ChoiceField(StatusIncident.Impact.choices, required=False)
    status = serializers.ChoiceField(StatusIncident.Status.choices, read_only=True)
    components = serializers.SlugRelatedField("code", queryset=StatusComponent.objects.all(), many=True, required=False)
    incident = serializers.PrimaryKeyRelatedField(queryset=Incident.objects.all(), required=False, allow_null=True)
    scheduled_for = serializers.DateTimeField(required=False, allow_null=True)
    scheduled_until = serializers.DateTimeField(required=False, allow_null=True)
    started_at = serializers.DateTimeField(read_only=True)
    resolved_at = serializers.DateTimeField(read_only=True, allow_null=True)
    updates = StatusUpdateShape(many=True, read_only=True)


class StatusComponents(DoorSet):
    serializer_class = StatusComponentShape
    queryset = StatusComponent.objects.none()

    @extend_schema(responses=StatusComponentShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(StatusComponent.objects.select_related("service", "environment"), StatusComponentShape)

    @extend_schema(request=StatusComponentShape, responses={201: StatusComponentShape})
    def create(self, request: Request) -> Response:
        fields = self.body(StatusComponentShape)
        return Response(StatusComponentShape(statuspage.create_component(fields, by=self.by)).data, status=201)

    @extend_schema(responses=StatusComponentShape)
    def retrieve(self, request: Request, code: str) -> Response:
        return Response(StatusComponentShape(get_object_or_404(StatusComponent, code=code)).data)

    @extend_schema(request=StatusComponentShape, responses=StatusComponentShape)
    def change(self, request: Request, code: str) -> Response:
        fields = self.body(StatusComponentShape, partial=True)
        component = get_object_or_404(StatusComponent, code=code)
        return Response(StatusComponentShape(statuspage.change_component(component, fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, code: str) -> Response:
        statuspage.delete_component(get_object_or_404(StatusComponent, code=code), by=self.by)
        return Response(status=204)


class StatusIncidents(DoorSet):
    """What the public is told."""

    serializer_class = StatusIncidentShape
    queryset = StatusIncident.objects.none()

    @extend_schema(responses=StatusIncidentShape(many=True))
    def list(self, request: Request) -> Response:
        rows = StatusIncident.objects.prefetch_related("components", "updates")
        return self.page(rows, StatusIncidentShape)

    @extend_schema(request=StatusIncidentShape, responses={201: StatusIncidentShape})
    def create(self, request: Request) -> Response:
        fields = self.body(StatusIncidentShape)
        incident = fields.get("incident")
        if incident is not None:
            get_object_or_404(permissions.visible(self.by, Incident.objects.all()), pk=incident.pk)
        return Response(StatusIncidentShape(statuspage.publish(by=self.by, **fields)).data, status=201)

    @extend_schema(responses=StatusIncidentShape)
    def retrieve(self, request: Request, code: str) -> Response:
        return Response(StatusIncidentShape(get_object_or_404(StatusIncident, code=code)).data)

    @extend_schema(request=StatusUpdateShape, responses={201: StatusUpdateShape})
    def update(self, request: Request, code: str) -> Response:
        """Say more, and how it stands now."""
        told = get_object_or_404(StatusIncident, code=code)
        statuspage.update(told, by=self.by, **self.body(StatusUpdateShape))
        return Response(StatusUpdateShape(StatusUpdate.objects.filter(incident=told).latest("id")).data, status=201)
