"""Plans by REST: written by name, each change a new version."""

from typing import Any

from django.http import Http404
from drf_spectacular.utils import OpenApiExample, OpenApiParameter, extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.drf import DoorSet, Serializer
from rollouts.actions import plans
from rollouts.api import preconditions
from rollouts.gates import registry
from rollouts.models import Plan

LARGEST_ID = 2**63 - 1
IF_MATCH = OpenApiParameter(
    "If-Match", str, OpenApiParameter.HEADER, description="the ETag that was seen; another one answers 412"
)


EXAMPLE = OpenApiExample(
    "Canary",
    request_only=True,
    value={
        "name": "canary",
        "stages": [
            {
                "name": "a few",
                "weight": 5,
                "dwell": 300,
                "max_dwell": 3600,
                "min_sample": 200,
                "gates": [
                    {
                        "kind": "metric",
                        "metric": "http_errors_total",
                        "denominator": "http_requests_total",
                        "matchers": {"flag": "new-checkout", "variant": "on"},
                        "operator": "<",
                        "value": 0.02,
                        "window": 300,
                        "min_count": 100,
                    },
                    {"kind": "no_open_incident"},
                ],
            },
            {"name": "everybody", "weight": 100, "dwell": 600, "gates": [{"kind": "soak", "seconds": 600}]},
        ],
        "guardrails": [
            {
                "kind": "threshold",
                "name": "canary errors",
                "metric": "http_errors_total",
                "denominator": "http_requests_total",
                "matchers": {"flag": "new-checkout", "variant": "on"},
                "operator": ">",
                "error": 0.05,
                "window": 60,
                "min_count": 50,
            }
        ],
        "checklists": [],
    },
)


class GateBody(serializers.Serializer[Any]):
    """A gate: its kind, and the fields that the kind has."""

    kind = serializers.ChoiceField(
        registry.names(), error_messages={"invalid_choice": f"must be one of {', '.join(registry.names())}"}
    )
    metric = serializers.CharField(max_length=200, required=False, help_text="metric")
    denominator = serializers.CharField(max_length=200, required=False, allow_null=True, help_text="metric")
    matchers = serializers.DictField(
        child=serializers.CharField(), required=False, allow_null=True, help_text="metric: labels of the series"
    )
    aggregation = serializers.CharField(max_length=20, required=False, help_text="metric: mean, p95, increase…")
    operator = serializers.ChoiceField((">", ">=", "<", "<="), required=False, help_text="metric")
    value = serializers.FloatField(required=False, help_text="metric: passes while `aggregation operator value`")
    window = serializers.IntegerField(min_value=1, required=False, help_text="metric: seconds")
    min_count = serializers.IntegerField(min_value=0, required=False, help_text="metric: fewer are inconclusive")
    seconds = serializers.IntegerField(min_value=1, required=False, help_text="soak: served for so long")
    rule = serializers.CharField(max_length=64, required=False, help_text="approval: four_eyes")


class StageBody(Serializer):
    name = serializers.CharField(max_length=128)
    weight = serializers.FloatField(min_value=0, max_value=100, help_text="percent, at most three decimals")
    audience = serializers.ListField(
        child=serializers.DictField(), required=False, allow_null=True, help_text="conditions, as in a flag's rule"
    )
    dwell = serializers.IntegerField(min_value=0, help_text="seconds that the stage is served at least")
    max_dwell = serializers.IntegerField(
        min_value=1, required=False, allow_null=True, help_text="seconds after which a held stage pauses"
    )
    min_sample = serializers.IntegerField(
        min_value=1, required=False, allow_null=True, help_text="the smallest count of its metric gates"
    )
    gates = serializers.ListField(child=GateBody(), required=False, max_length=20)


class PlanBody(Serializer):
    name = serializers.CharField(max_length=128)
    stages = serializers.ListField(child=StageBody(), min_length=1, max_length=50)
    guardrails = serializers.ListField(
        child=serializers.DictField(),
        required=False,
        help_text="each a threshold with `kind` threshold, without response and target",
    )
    checklists = serializers.ListField(child=serializers.DictField(), required=False, max_length=0)
    watch = serializers.IntegerField(
        min_value=0, required=False, allow_null=True, help_text="seconds that a finished run is watched: 3600"
    )
    expected_hash = serializers.CharField(max_length=64, required=False, help_text="of the version that was seen")


class PlanShape(serializers.Serializer[Plan]):
    """One version of a plan."""

    id = serializers.IntegerField()
    name = serializers.CharField()
    version = serializers.IntegerField()
    hash = serializers.CharField(help_text="SHA-256 of the content: what votes are cast on")
    current = serializers.BooleanField()
    stages = serializers.ListField(child=serializers.DictField(), source="content.stages")
    guardrails = serializers.ListField(child=serializers.DictField(), source="content.guardrails")
    checklists = serializers.ListField(child=serializers.DictField(), source="content.checklists")
    watch = serializers.SerializerMethodField()
    author = serializers.CharField(source="author_name")
    created_at = serializers.DateTimeField()

    def get_watch(self, plan: Plan) -> int | None:
        watch: int | None = plan.content.get("watch")
        return watch


class PlanQuery(serializers.Serializer[Any]):
    name = serializers.CharField(max_length=128, required=False)
    all_versions = serializers.BooleanField(required=False, default=False)


class Plans(DoorSet):
    serializer_class = PlanShape

    @extend_schema(parameters=[PlanQuery], responses=PlanShape(many=True))
    def list(self, request: Request) -> Response:
        query = PlanQuery(data=request.query_params)
        query.is_valid(raise_exception=True)
        found = Plan.objects.all() if query.validated_data["all_versions"] else Plan.objects.filter(current=True)
        if "name" in query.validated_data:
            found = found.filter(name=query.validated_data["name"])
        return self.page(found, PlanShape)

    @extend_schema(
        request=PlanBody, parameters=[IF_MATCH], responses={200: PlanShape, 201: PlanShape}, examples=[EXAMPLE]
    )
    def create(self, request: Request) -> Response:
        """A new plan, or a new version of the one of this name. The content that is there already answers 200."""
        body = self.body(PlanBody)
        tags = preconditions.seen(request)
        expected = tags if body.get("expected_hash") is None else {body["expected_hash"]}
        # The shape is checked; the content is what was sent, in its own numbers.
        sent: dict[str, Any] = request.data  # type: ignore[assignment]  # the body is an object: its shape is checked
        content = {name: value for name, value in sent.items() if name not in ("name", "expected_hash")}
        plan, is_new = plans.write(body["name"], content, by=self.by, expected_hashes=expected)
        return Response(PlanShape(plan).data, status=201 if is_new else 200, headers={"ETag": f'"{plan.hash}"'})

    @extend_schema(responses=PlanShape, parameters=[OpenApiParameter("key", str, "path", description="name or id")])
    def retrieve(self, request: Request, key: str) -> Response:
        plan = find(key)
        if plan is None:
            raise Http404
        return Response(PlanShape(plan).data, headers={"ETag": f'"{plan.hash}"'})


def find(key: str | int) -> Plan | None:
    """The current plan of this name, else the version of this id."""
    if isinstance(key, str):
        if "\0" in key:
            return None
        named = Plan.objects.filter(name=key, current=True).first()
        if named is not None or not (key.isascii() and key.isdigit()):
            return named
    number = int(key) if len(str(key)) < 20 else LARGEST_ID
    return Plan.objects.filter(pk=number).first() if 0 < number <= LARGEST_ID else None
