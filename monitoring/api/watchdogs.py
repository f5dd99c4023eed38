"""Signs of life by REST: who owes them, and the address that a job calls."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import watchdogs
from monitoring.api.choosing import chosen
from monitoring.models import Watchdog
from monitoring.models.watchdogs import LONGEST, LONGEST_GRACE, SHORTEST
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import Environment, Service

NIGHTLY = OpenApiExample(
    "a nightly job that calls by itself",
    value={"key": "backup", "name": "Nightly backup", "every": 86_400, "grace": 3600, "service": "checkout"},
    request_only=True,
)
PROMETHEUS = OpenApiExample(
    "a Prometheus by its alert that always fires",
    value={"key": "prometheus-eu", "matchers": {"alertname": "Watchdog", "cluster": "eu"}, "every": 60, "grace": 240},
    request_only=True,
)


class WatchdogShape(Serializer):
    """Somebody who must be heard in an interval. `matchers` empty: by `POST …/beat/` alone."""

    key = serializers.SlugField(max_length=100)
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    matchers = serializers.DictField(child=serializers.CharField(), required=False)
    service = serializers.SlugRelatedField("key", queryset=Service.objects.all(), required=False, allow_null=True)
    environment = serializers.SlugRelatedField(
        "key", queryset=Environment.objects.all(), required=False, allow_null=True
    )
    every = serializers.IntegerField(min_value=SHORTEST, max_value=LONGEST, required=False, help_text="seconds")
    grace = serializers.IntegerField(min_value=0, max_value=LONGEST_GRACE, required=False, help_text="seconds")
    level = serializers.ChoiceField(Watchdog.Level.choices, required=False)
    runbook = serializers.CharField(max_length=20_000, required=False, allow_blank=True)
    active = serializers.BooleanField(required=False)
    state = serializers.CharField(read_only=True, help_text="waiting, alive, silent, failing, paused")
    heard_at = serializers.DateTimeField(read_only=True, allow_null=True)
    heard_from = serializers.CharField(read_only=True)
    said = serializers.CharField(read_only=True, help_text="with its last sign of life")
    due_at = serializers.DateTimeField(read_only=True, allow_null=True, help_text="when its silence is told")
    created_at = serializers.DateTimeField(read_only=True)


class BeatShape(Serializer):
    """`failed`: alive, but what it had to do went wrong; its alert fires at once."""

    status = serializers.ChoiceField([("ok", "ok"), ("failed", "failed")], required=False)
    message = serializers.CharField(max_length=watchdogs.LONGEST_MESSAGE, required=False, allow_blank=True)


class WatchdogFilter(filters.FilterSet):
    service = filters.CharFilter("service__key")
    environment = filters.CharFilter("environment__key")

    class Meta:
        model = Watchdog
        fields = ("status", "active")


class Watchdogs(DoorSet):
    serializer_class = WatchdogShape
    filterset_class = WatchdogFilter
    queryset = Watchdog.objects.none()

    @extend_schema(responses=WatchdogShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(WatchdogFilter, request, self._seen()), WatchdogShape)

    @extend_schema(request=WatchdogShape, responses={201: WatchdogShape}, examples=[NIGHTLY, PROMETHEUS])
    def create(self, request: Request) -> Response:
        return Response(WatchdogShape(watchdogs.create(self.body(WatchdogShape), by=self.by)).data, status=201)

    @extend_schema(responses=WatchdogShape)
    def retrieve(self, request: Request, key: str) -> Response:
        return Response(WatchdogShape(self._find(key)).data)

    @extend_schema(request=WatchdogShape, responses=WatchdogShape)
    def change(self, request: Request, key: str) -> Response:
        fields = self.body(WatchdogShape, partial=True)
        return Response(WatchdogShape(watchdogs.change(self._find(key), fields, by=self.by)).data)

    @extend_schema(responses={204: None})
    def destroy(self, request: Request, key: str) -> Response:
        watchdogs.delete(self._find(key), by=self.by)
        return Response(status=204)

    def _find(self, key: str) -> Watchdog:
        return get_object_or_404(self._seen(), key=key)

    def _seen(self) -> QuerySet[Watchdog]:
        return permissions.visible(self.by, Watchdog.objects.select_related("service", "environment"))


class Beats(DoorSet):
    serializer_class = BeatShape
    scope = "ingest"

    @extend_schema(request=BeatShape, responses={204: None})
    def beat(self, request: Request, key: str) -> Response:
        """A sign of life, by a key of scope ingest. An empty body will do."""
        fields: dict[str, Any] = dict(self.body(BeatShape))
        failed, said = fields.get("status") == "failed", fields.get("message", "")
        watchdogs.beat(get_object_or_404(Watchdog, key=key), by=self.by, failed=failed, said=said)
        return Response(status=204)
