"""What the portal asks by itself, by REST. An address may be a secret itself: only who may configure there sees it."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import sources as kinds
from monitoring.actions import sources
from monitoring.api.choosing import chosen
from monitoring.models import MetricSource
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import Environment, Service

SCRAPE = OpenApiExample(
    "a target to scrape",
    value={
        "name": "checkout",
        "kind": "scrape",
        "config": {"url": "https://checkout.example.com/metrics", "auth": "bearer"},
        "secret": "sesame",
        "interval": 15,
    },
    request_only=True,
)
QUERIES = OpenApiExample(
    "a Prometheus",
    value={
        "name": "prometheus",
        "kind": "prometheus",
        "config": {
            "url": "https://prometheus.example.com",
            "queries": [{"metric": "checkout_errors", "query": 'sum(rate(errors_total{job="checkout"}[5m]))'}],
        },
    },
    request_only=True,
)


class SourceShape(Serializer):
    """`config` is described by kind in docs/recipes.md. `secret` is written, never shown."""

    id = serializers.IntegerField(read_only=True)
    name = serializers.CharField(max_length=100)
    kind = serializers.ChoiceField(kinds.names())
    config = serializers.DictField(child=serializers.JSONField(), required=False)
    secret = serializers.CharField(
        max_length=sources.LONGEST_SECRET, required=False, allow_blank=True, write_only=True, trim_whitespace=False
    )
    labels = serializers.DictField(child=serializers.CharField(), required=False)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all(), required=False, allow_null=True)
    environment = serializers.SlugRelatedField(
        "key", queryset=Environment.objects.all(), required=False, allow_null=True
    )
    interval = serializers.IntegerField(min_value=1, max_value=sources.LONGEST_INTERVAL, required=False)
    timeout = serializers.IntegerField(min_value=1, max_value=sources.LONGEST_TIMEOUT, required=False)
    active = serializers.BooleanField(required=False)
    has_secret = serializers.SerializerMethodField()
    due_at = serializers.DateTimeField(read_only=True)
    outcome = serializers.CharField(read_only=True, help_text="of the last pull: waiting, ok, partly, failing")
    failures = serializers.IntegerField(read_only=True)
    last_pull_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_ok_at = serializers.DateTimeField(read_only=True, allow_null=True)
    last_error = serializers.CharField(read_only=True)
    duration = serializers.FloatField(read_only=True, allow_null=True)
    samples = serializers.IntegerField(read_only=True)
    rejected = serializers.IntegerField(read_only=True)
    skew = serializers.FloatField(read_only=True, allow_null=True)
    created_at = serializers.DateTimeField(read_only=True)

    def get_has_secret(self, source: MetricSource) -> bool:
        return bool(source.secret)


class TriedSampleShape(serializers.Serializer[Any]):
    metric = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField())
    value = serializers.FloatField()
    time = serializers.FloatField(help_text="Unix seconds")


class TriedFaultShape(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    field = serializers.CharField(allow_blank=True)
    message = serializers.CharField()


class TriedShape(serializers.Serializer[Any]):
    """What a pull would have brought: the first hundred samples as they would be kept, the first twenty faults."""

    error = serializers.CharField(allow_blank=True)
    duration = serializers.FloatField()
    skew = serializers.FloatField(allow_null=True)
    samples = TriedSampleShape(many=True)
    total = serializers.IntegerField()
    skipped = serializers.IntegerField(help_text="NaN, infinite, or older than the lookback")
    rejected = serializers.IntegerField()
    faults = TriedFaultShape(many=True)


class SourceFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = MetricSource
        fields = ("kind", "outcome", "active")


class Sources(DoorSet):
    serializer_class = SourceShape
    filterset_class = SourceFilter
    queryset = MetricSource.objects.none()

    @extend_schema(responses=SourceShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(SourceFilter, request, self._seen()), SourceShape)

    @extend_schema(request=SourceShape, responses={201: SourceShape}, examples=[SCRAPE, QUERIES])
    def create(self, request: Request) -> Response:
        return Response(SourceShape(sources.create(self.body(SourceShape), by=self.by)).data, status=201)

    @extend_schema(responses=SourceShape)
    def retrieve(self, request: Request, pk: int) -> Response:
        return Response(SourceShape(self._find(pk)).data)

    @extend_schema(request=SourceShape, responses=SourceShape, examples=[SCRAPE])
    def replace(self, request: Request, pk: int) -> Response:
        """The secret, which is never shown, stays as it is when it is left out and the address is the same."""
        usual: dict[str, Any] = {
            "config": {}, "labels": {}, "service": None, "environment": None, "active": True,
        }  # fmt: skip
        return Response(SourceShape(sources.change(self._find(pk), usual | self.body(SourceShape), by=self.by)).data)

    @extend_schema(request=SourceShape, responses=SourceShape)
    def change(self, request: Request, pk: int) -> Response:
        fields = self.body(SourceShape, partial=True)
        return Response(SourceShape(sources.change(self._find(pk), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, pk: int) -> Response:
        sources.delete(self._find(pk), by=self.by)
        return Response(status=204)

    @extend_schema(request=SourceShape, responses=TriedShape, examples=[SCRAPE])
    def try_out(self, request: Request) -> Response:
        """Ask what is described now, within five seconds, and keep nothing."""
        return Response(TriedShape(sources.try_out(self.body(SourceShape), by=self.by)).data)

    @extend_schema(request=None, responses=TriedShape, operation_id="sources_try_again")
    def try_(self, request: Request, pk: int) -> Response:
        """Ask it now, within five seconds, and keep nothing."""
        return Response(TriedShape(sources.try_(self._find(pk), by=self.by)).data)

    @extend_schema(request=None, responses={202: SourceShape})
    def pull(self, request: Request, pk: int) -> Response:
        """Have it asked at once, without waiting for its turn."""
        source = self._find(pk)
        sources.pull_now(source, by=self.by)
        return Response(SourceShape(source).data, status=202)

    def _find(self, pk: int) -> MetricSource:
        return get_object_or_404(self._seen(), pk=pk)

    def _seen(self) -> QuerySet[MetricSource]:
        permissions.require(self.by, "configure", environment=permissions.ANY, service=permissions.ANY)
        return permissions.visible(self.by, MetricSource.objects.select_related("service", "environment"))
