"""Metrics by REST: their definitions, and the lines of a chart."""

from datetime import timedelta
from typing import Any

from django.shortcuts import get_object_or_404
from django_filters import rest_framework as filters
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from monitoring import queries
from monitoring.actions import incoming, metrics
from monitoring.api import samples
from monitoring.api.choosing import chosen
from monitoring.api.samples import CHOICE, SPAN, LabelsField
from monitoring.models import Metric
from portal import jobs, permissions
from portal.drf import DoorSet, Serializer
from portal.errors import Invalid

MOST_LINES = 100
MOST_POINTS = 11_000  # of one line


class MetricShape(Serializer):
    name = serializers.RegexField("^[a-zA-Z_:][a-zA-Z0-9_:]*$", max_length=incoming.LONGEST)
    type = serializers.ChoiceField(Metric.Type.choices, required=False)
    unit = serializers.CharField(max_length=50, required=False, allow_blank=True)
    direction = serializers.ChoiceField(Metric.Direction.choices, required=False)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    signal = serializers.ChoiceField(
        Metric.SIGNALS,
        required=False,
        allow_blank=True,
        help_text="what of a service it tells: a critical metric has one; empty: as shipped for this name",
    )
    created_at = serializers.DateTimeField(read_only=True)


class MetricChange(Serializer):
    type = serializers.ChoiceField(Metric.Type.choices, required=False, help_text="only before its first sample")
    unit = serializers.CharField(max_length=50, required=False, allow_blank=True)
    direction = serializers.ChoiceField(Metric.Direction.choices, required=False)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    signal = serializers.ChoiceField(
        Metric.SIGNALS,
        required=False,
        allow_blank=True,
        help_text="what of a service it tells: a critical metric has one; empty: as shipped for this name",
    )


class LineShape(Serializer):
    labels = LabelsField()
    points = serializers.ListField(
        child=serializers.ListField(), help_text="[time, value], with a step [time, mean, least, greatest, count]"
    )


class ChartShape(Serializer):
    metric = serializers.CharField()
    type = serializers.ChoiceField(Metric.Type.choices)
    unit = serializers.CharField(allow_blank=True)
    since = serializers.DateTimeField()
    until = serializers.DateTimeField()
    step = serializers.IntegerField(allow_null=True)
    series = LineShape(many=True)
    more = serializers.BooleanField(help_text="there are more matching series than are shown")


class MetricFilter(filters.FilterSet):
    search = filters.CharFilter("name", "icontains")

    class Meta:
        model = Metric
        fields = ("type",)


class Metrics(DoorSet):
    serializer_class = MetricShape
    filterset_class = MetricFilter
    queryset = Metric.objects.none()

    @extend_schema(responses=MetricShape(many=True))
    def list(self, request: Request) -> Response:
        return self.page(chosen(MetricFilter, request, Metric.objects.all()), MetricShape)

    @extend_schema(request=MetricShape, responses={201: MetricShape})
    def create(self, request: Request) -> Response:
        fields: dict[str, Any] = dict(self.body(MetricShape))
        metric = metrics.define(fields.pop("name"), by=self.by, **fields)
        metric.refresh_from_db()
        return Response(MetricShape(metric).data, status=201)

    @extend_schema(responses=MetricShape)
    def retrieve(self, request: Request, name: str) -> Response:
        return Response(MetricShape(_find(name)).data)

    @extend_schema(request=MetricChange, responses=MetricShape)
    def change(self, request: Request, name: str) -> Response:
        return Response(MetricShape(metrics.change(_find(name), self.body(MetricChange), by=self.by)).data)

    @extend_schema(
        responses=ChartShape,
        parameters=[
            *CHOICE,
            *SPAN,
            OpenApiParameter("step", OpenApiTypes.INT, description="seconds that one point stands for"),
        ],
    )
    def points(self, request: Request, name: str) -> Response:
        """The lines of a chart: at most 100 series.

        Steps of a minute and more are read from rollups, and so is what is older than samples are kept: the step is
        then raised to whole minutes or hours and `since` lowered to one. The answer tells both as they are.
        """
        metric = _find(name)
        since, until = samples.span(request)
        step = _step(request, until - since)
        rows = permissions.visible(self.by, queries.matching(name, samples.matchers(request))).order_by("pk")
        shown = {one.pk: one for one in rows[: MOST_LINES + 1]}
        more = len(shown) > MOST_LINES
        ids = list(shown)[:MOST_LINES]
        if step is None:
            lines = queries.points(ids, since=since, until=until)
        else:
            chart = queries.chart(ids, since=since, until=until, step=step, now=jobs.database_now())
            lines, since, step = chart.lines, chart.since, chart.step
        return Response(
            {
                "metric": metric.name,
                "type": metric.type,
                "unit": metric.unit,
                "since": since,
                "until": until,
                "step": None if step is None else int(step.total_seconds()),
                "series": [
                    {
                        "labels": shown[line.series].labels,
                        "points": [
                            [point.time, point.value]
                            if step is None
                            else [point.time, point.value, point.low, point.high, point.count]
                            for point in line.points[:MOST_POINTS]
                        ],
                    }
                    for line in sorted(lines, key=lambda line: sorted(shown[line.series].labels.items()))
                ],
                "more": more,
            }
        )


def _find(name: str) -> Metric:
    if incoming.UNKEEPABLE.search(name):
        name = ""
    return get_object_or_404(Metric, name=name)


def _step(request: Request, span: timedelta) -> timedelta | None:
    raw = request.query_params.get("step")
    if raw is None:
        return None
    if not raw.isascii() or not raw.isdigit() or not 1 <= len(raw) <= 6 or int(raw) == 0:
        raise Invalid.of("step", "must be whole seconds, from 1 to 999999")
    step = timedelta(seconds=int(raw))
    if span / step > MOST_POINTS:
        raise Invalid.of("step", f"would make more than {MOST_POINTS} points")
    return step
