"""Post-mortems and action items by REST."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import action_items, postmortems
from monitoring.api.choosing import chosen
from monitoring.models import ActionItem, Incident, PostMortem
from monitoring.queries.postmortems import SECTIONS
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import User


class Sections(Serializer):
    """The text of each section; what is left out keeps its own."""

    summary = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    impact = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    timeline = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    root_cause = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    monitoring_review = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    response_review = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)
    lessons = serializers.CharField(max_length=postmortems.LONGEST, allow_blank=True, required=False)


assert set(SECTIONS) == set(Sections().fields)


class PostMortemShape(Serializer):
    incident = serializers.IntegerField(source="incident_id")
    status = serializers.ChoiceField(PostMortem.Status.choices)
    version = serializers.IntegerField()
    content = Sections()
    due_at = serializers.DateTimeField()
    published_at = serializers.DateTimeField(allow_null=True)
    waived_because = serializers.CharField()


class PostMortemEdit(Serializer):
    content = Sections()
    expected_version = serializers.IntegerField(min_value=0, required=False, help_text="another one answers 412")


class VersionShape(Serializer):
    number = serializers.IntegerField()
    author = serializers.CharField()
    at = serializers.DateTimeField()
    content = Sections()


class Waiver(Serializer):
    because = serializers.CharField(max_length=2000)


class ItemChange(Serializer):
    title = serializers.CharField(max_length=300)
    owner = serializers.SlugRelatedField(
        "username", queryset=User.objects.filter(is_active=True), required=False, allow_null=True
    )
    due_on = serializers.DateField(required=False, allow_null=True)


class ItemShape(ItemChange):
    id = serializers.IntegerField(read_only=True)
    incident = serializers.PrimaryKeyRelatedField(
        queryset=Incident.objects.all(), pk_field=serializers.IntegerField(max_value=2**62)
    )
    status = serializers.ChoiceField(ActionItem.Status.choices, read_only=True)
    created_at = serializers.DateTimeField(read_only=True)
    ended_at = serializers.DateTimeField(read_only=True, allow_null=True)


class ItemEnd(Serializer):
    status = serializers.ChoiceField(ActionItem.Status.choices)
    because = serializers.CharField(max_length=2000, required=False, allow_blank=True)


class ItemFilter(filters.FilterSet):
    incident = filters.NumberFilter("incident__pk", max_value=2**62)
    owner = filters.CharFilter("owner__username")

    class Meta:
        model = ActionItem
        fields = ("status",)


class PostMortems(DoorSet):
    serializer_class = PostMortemShape
    queryset = PostMortem.objects.none()

    @extend_schema(responses=PostMortemShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        """Of the incident with this id: there from its resolution on."""
        return self._show(self._find(pk))

    @extend_schema(request=PostMortemEdit, responses=PostMortemShape)
    def change(self, request: Request, pk: int) -> Response:
        body = self.body(PostMortemEdit)
        expected = body.get("expected_version")
        return self._show(
            postmortems.edit(self._find(pk), dict(body["content"]), by=self.by, expected_version=expected)
        )

    @extend_schema(request=None, responses=PostMortemShape)
    def publish(self, request: Request, pk: int) -> Response:
        return self._show(postmortems.publish(self._find(pk), by=self.by))

    @extend_schema(request=Waiver, responses=PostMortemShape)
    def waive(self, request: Request, pk: int) -> Response:
        return self._show(postmortems.waive(self._find(pk), by=self.by, **self.body(Waiver)))

    @extend_schema(responses=VersionShape(many=True))
    def versions(self, request: Request, pk: int) -> Response:
        """The newest first."""
        return self.page(self._find(pk).versions.all(), VersionShape)

    def _show(self, found: PostMortem) -> Response:
        return Response(PostMortemShape(found).data)

    def _find(self, pk: int) -> PostMortem:
        seen = permissions.visible(self.by, Incident.objects.all())
        rows = PostMortem.objects.select_related("incident__service", "incident__environment")
        return get_object_or_404(rows.filter(incident__in=seen), incident=pk)


class ActionItems(DoorSet):
    serializer_class = ItemShape
    queryset = ActionItem.objects.none()

    @extend_schema(responses=ItemShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(ItemFilter, request, self._seen()), ItemShape)

    # The filters are the list's alone.
    filterset_class = ItemFilter

    @extend_schema(request=ItemShape, responses={201: ItemShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(ItemShape))
        incident = fields.pop("incident")
        get_object_or_404(permissions.visible(self.by, Incident.objects.all()), pk=incident.pk)
        return Response(ItemShape(action_items.add(incident, fields, by=self.by)).data, status=201)

    @extend_schema(responses=ItemShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(ItemShape(self._find(pk)).data)

    @extend_schema(request=ItemChange, responses=ItemShape)
    def change(self, request: Request, pk: int) -> Response:
        fields = self.body(ItemChange, partial=True)
        return Response(ItemShape(action_items.change(self._find(pk), fields, by=self.by)).data)

    @extend_schema(request=ItemEnd, responses=ItemShape)
    def end(self, request: Request, pk: int) -> Response:
        """Done; dropped, with a reason; or open again."""
        return Response(ItemShape(action_items.end(self._find(pk), by=self.by, **self.body(ItemEnd))).data)

    def _find(self, pk: int) -> ActionItem:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[ActionItem]:
        rows = ActionItem.objects.select_related("owner", "incident__service", "incident__environment")
        return permissions.visible(self.by, rows, environment="incident__environment", service="incident__service")
