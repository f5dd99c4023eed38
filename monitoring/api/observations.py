"""Observations by REST: ratings, errors, timings and events, each with its own key."""

from functools import partial

from drf_spectacular.utils import OpenApiExample, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring.actions import incoming, observations
from monitoring.api import batches
from monitoring.api.batches import RESPONSES, BatchParser
from monitoring.api.ingesting import Ingesting
from monitoring.api.samples import LabelsField, TimeField
from portal.drf import DoorSet, Serializer


class ObservationShape(Serializer):
    metric = serializers.RegexField("^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=incoming.LONGEST)
    key = serializers.CharField(max_length=incoming.LONGEST, help_text="known within its series: send it again freely")
    value = serializers.FloatField()
    time = TimeField(required=False)
    labels = LabelsField(required=False)


class ObservationBatch(Serializer):
    observations = ObservationShape(many=True, max_length=batches.MOST)  # type: ignore[call-arg]


EXAMPLE = OpenApiExample(
    "two ratings of the same instant",
    value={
        "observations": [
            {"metric": "satisfaction", "key": "feedback-17", "value": 4, "labels": {"variant": "on"}},
            {"metric": "satisfaction", "key": "feedback-18", "value": 2, "labels": {"variant": "on"}},
        ]
    },
    request_only=True,
)


class Observations(Ingesting, DoorSet):
    source = "observations"
    parser_classes = (BatchParser,)
    scope = "ingest"

    @extend_schema(request=ObservationBatch, responses=RESPONSES, examples=[EXAMPLE])
    def create(self, request: Request) -> Response:
        """Take a batch. The good observations are kept even when others are rejected (400)."""
        return batches.take(request, "observations", partial(observations.record, by=self.by))
