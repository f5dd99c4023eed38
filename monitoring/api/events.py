"""Events by REST: what units did and were shown, each with its own key; read back as they were kept."""

from functools import partial

from django_filters import rest_framework as filters
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import events, incoming
from monitoring.api import batches
from monitoring.api.batches import RESPONSES, BatchParser
from monitoring.api.choosing import chosen
from monitoring.api.ingesting import Ingesting
from monitoring.api.samples import TimeField
from monitoring.models import Event
from monitoring.models.events import LONGEST_UNIT
from portal import permissions
from portal.drf import DoorSet, Serializer
from portal.models import KEY_PATTERN


class EventFields(Serializer):
    name = serializers.CharField(
        max_length=incoming.LONGEST, help_text="`exposure` tells that the unit was shown the flag's variant"
    )
    unit = serializers.CharField(max_length=LONGEST_UNIT, help_text="whom it is about: the context's targetingKey")
    service = serializers.CharField(max_length=128, required=False)
    environment = serializers.CharField(max_length=128, required=False, help_text="the key's own when left out")
    flag = serializers.RegexField(KEY_PATTERN.replace(r"\Z", "$"), max_length=128, required=False)
    variant = serializers.RegexField(KEY_PATTERN.replace(r"\Z", "$"), max_length=128, required=False)
    value = serializers.FloatField(required=False, allow_null=True)
    properties = serializers.DictField(required=False, help_text="anything small; masked attributes are not kept")


class EventShape(EventFields):
    """The schema's words for what `events` checks, one by one."""

    id = serializers.CharField(
        max_length=incoming.LONGEST, required=False, help_text="its idempotency key: send it again freely"
    )
    idempotency_key = serializers.CharField(max_length=incoming.LONGEST, required=False, help_text="the same as id")
    time = TimeField(required=False)


class EventBatch(Serializer):
    events = EventShape(many=True, max_length=batches.MOST)  # type: ignore[call-arg]


class StoredEvent(serializers.ModelSerializer[Event]):
    id = serializers.CharField(source="key", help_text="its idempotency key")
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True, read_only=True)
    service = serializers.CharField(source="service.key", default=None, allow_null=True, read_only=True)
    properties = serializers.DictField(help_text="without masked attributes")

    class Meta:
        model = Event
        fields = ("id", "name", "unit", "time", "environment", "service", "flag", "variant", "value", "properties")


class EventFilter(filters.FilterSet):
    name = filters.CharFilter()
    unit = filters.CharFilter()
    flag = filters.CharFilter()
    variant = filters.CharFilter()
    environment = filters.CharFilter(field_name="environment__key")
    service = filters.CharFilter(field_name="service__key")

    class Meta:
        model = Event
        fields = ("name", "unit", "flag", "variant")


CHOICE = [OpenApiParameter(name, str) for name in ("name", "unit", "flag", "variant", "environment", "service")]
EXAMPLE = OpenApiExample(
    "an exposure and what came of it",
    value={
        "events": [
            {"name": "exposure", "unit": "user-17", "flag": "new-checkout", "variant": "on", "id": "e-1"},
            {"name": "order_placed", "unit": "user-17", "value": 42.5, "id": "order-981"},
        ]
    },
    request_only=True,
)


class Events(Ingesting, DoorSet):
    source = "events"
    serializer_class = StoredEvent
    parser_classes = (BatchParser,)
    scope = "ingest"

    @extend_schema(request=EventBatch, responses=RESPONSES, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """Take a batch. The good events are kept even when others are rejected (400).

        An `exposure` (or `feature_flag.evaluation`) needs flag and variant, and counts once in a window for its unit.
        """
        return batches.take(request, "events", partial(events.record, by=self.by))

    @extend_schema(responses=StoredEvent(many=True), parameters=CHOICE)
    def list(self, request: Request) -> Response:
        """Events as they were kept, newest first."""
        rows = permissions.visible(self.by, Event.objects.select_related("environment", "service"))
        return self.page(chosen(EventFilter, request, rows), StoredEvent)
