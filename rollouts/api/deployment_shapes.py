"""What deployments look like by REST, in and out."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.drf import Serializer
from rollouts.models import FOUR_EYES, UNDER_WAY, Deployment, DeploymentFlag, Gate, Stage, Vote


@extend_schema_field(
    {
        "oneOf": [
            {"type": "integer", "minimum": 1, "description": "the id"},
            {"type": "string", "description": "service@version"},
            {
                "type": "object",
                "properties": {"service": {"type": "string"}, "version": {"type": "string"}},
                "required": ["service", "version"],
                "additionalProperties": False,
            },
        ]
    }
)
class ReleaseField(serializers.Field):
    """A release by its id, as {"service", "version"}, or as "service@version"."""

    def to_internal_value(self, data: Any) -> dict[str, Any]:
        number = _whole(data)
        if number is not None:
            return {"pk": number}
        if isinstance(data, str) and "@" in data:
            service, _, version = data.partition("@")
            return {"service__key": service, "version": version}
        if (
            isinstance(data, dict)
            and set(data) == {"service", "version"}
            and all(isinstance(one, str) for one in data.values())
        ):
            return {"service__key": data["service"], "version": data["version"]}
        raise serializers.ValidationError('must be an id, "service@version" or {"service", "version"}')

    def to_representation(self, value: Any) -> Any:
        return value


@extend_schema_field({"oneOf": [{"type": "integer", "minimum": 1}, {"type": "string", "minLength": 1}]})
class PlanField(serializers.Field):
    """A plan by its name, or by the id of its newest version."""

    def to_internal_value(self, data: Any) -> str | int:
        named: str | int | None = data if isinstance(data, str) and data else _whole(data)
        if named is None:
            raise serializers.ValidationError("must be a name or an id")
        return named

    def to_representation(self, value: Any) -> Any:
        return value


def _whole(data: Any) -> int | None:
    """An id, also as JSON may write it: 7.0."""
    if isinstance(data, float) and data.is_integer():
        data = int(data)
    return data if isinstance(data, int) and not isinstance(data, bool) and 0 < data < 2**63 else None


class ServesBody(Serializer):
    flag = serializers.CharField(max_length=128)
    variant = serializers.CharField(max_length=128, help_text="what the stage's share gets")
    baseline = serializers.CharField(max_length=128, help_text="what everybody else gets")


class DeploymentBody(Serializer):
    release = ReleaseField()
    environment = serializers.CharField(max_length=128)
    plan = PlanField()
    serves = serializers.ListField(child=ServesBody(), required=False, max_length=50)


class VerbBody(Serializer):
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, allow_null=True)


class StartBody(VerbBody):
    expected_plan_hash = serializers.CharField(max_length=64, required=False)


class ReasonBody(Serializer):
    because = serializers.CharField(max_length=10_000)


class VoteBody(Serializer):
    rule = serializers.CharField(max_length=64, help_text="one of the deployment's `votes_on`")
    value = serializers.ChoiceField(Vote.Value.choices)
    comment = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    expected_plan_hash = serializers.CharField(max_length=64)


class VoteShape(serializers.ModelSerializer[Vote]):
    person = serializers.CharField(source="person.username")

    class Meta:
        model = Vote
        fields = ("id", "rule", "value", "comment", "person", "epoch", "stage_index", "plan_hash", "at")


class GateShape(serializers.ModelSerializer[Gate]):
    class Meta:
        model = Gate
        fields = ("kind", "params", "outcome", "reason", "count", "checked_at")


class StageShape(serializers.ModelSerializer[Stage]):
    weight = serializers.SerializerMethodField()
    gates = GateShape(many=True)

    class Meta:
        model = Stage
        fields = ("index", "name", "weight", "audience", "dwell", "max_dwell", "min_sample", "gates")

    def get_weight(self, stage: Stage) -> float:
        return stage.weight / 1000


class StageName(serializers.Serializer[Any]):
    index = serializers.IntegerField()
    name = serializers.CharField()


class ServesShape(serializers.ModelSerializer[DeploymentFlag]):
    flag = serializers.CharField(source="flag.key")

    class Meta:
        model = DeploymentFlag
        fields = ("flag", "variant", "baseline")


class DeploymentShape(serializers.ModelSerializer[Deployment]):
    """A deployment as it is; `stages` are its own copy of the plan, there once it has begun."""

    release = serializers.IntegerField(source="release_id")
    version = serializers.CharField(source="release.version")
    service = serializers.CharField(source="service.key")
    environment = serializers.CharField(source="environment.key")
    plan = serializers.CharField(source="plan.name")
    plan_version = serializers.IntegerField(source="plan.version")
    serves = ServesShape(source="flags", many=True)
    weight = serializers.SerializerMethodField()
    stage = serializers.SerializerMethodField()
    stages = serializers.SerializerMethodField()
    blockers = serializers.ListField(child=serializers.CharField())
    next_look_at = serializers.DateTimeField(source="due_at", allow_null=True)
    votes_on = serializers.SerializerMethodField()
    votes = serializers.SerializerMethodField()
    created_by = serializers.CharField(source="created_by_name")
    started_by = serializers.CharField(source="started_by_name")
    timeline = serializers.SerializerMethodField()

    class Meta:
        model = Deployment
        fields = (
            "id", "release", "service", "version", "environment", "plan", "plan_version", "plan_hash", "serves",
            "status", "live", "stage", "weight", "epoch", "paused_reason", "held_because", "blockers", "next_look_at",
            "watch_until", "stages", "votes_on", "votes", "baseline_captured", "created_by", "started_by", "created_at",
            "started_at", "entered_stage_at", "ended_at", "timeline",
        )  # fmt: skip

    def get_weight(self, deployment: Deployment) -> float:
        """Percent."""
        return deployment.weight / 1000

    @extend_schema_field(StageName(allow_null=True))
    def get_stage(self, deployment: Deployment) -> Any:
        for stage in self._stages(deployment):
            if stage.index == deployment.stage_index:
                return {"index": stage.index, "name": stage.name}
        return None

    @extend_schema_field(StageShape(many=True))
    def get_stages(self, deployment: Deployment) -> Any:
        return StageShape(self._stages(deployment), many=True).data

    def get_votes_on(self, deployment: Deployment) -> list[str]:
        """The rules under which approvers may vote now."""
        if deployment.status == Deployment.Status.AWAITING_APPROVAL:
            return [FOUR_EYES]
        if deployment.status not in UNDER_WAY:
            return []
        current = [stage for stage in self._stages(deployment) if stage.index == deployment.stage_index]
        return [gate.params["rule"] for stage in current for gate in stage.gates.all() if gate.kind == "approval"]

    @extend_schema_field(VoteShape(many=True))
    def get_votes(self, deployment: Deployment) -> Any:
        """Those of this epoch. A vote on another plan hash than the deployment's does not count."""
        cast = [vote for vote in deployment.votes.all() if vote.epoch == deployment.epoch]
        return VoteShape(cast, many=True).data

    def get_timeline(self, deployment: Deployment) -> str:
        """Where its history is."""
        return f"/api/v1/audit/?object_type={deployment._meta.label_lower}&object_id={deployment.pk}"

    def _stages(self, deployment: Deployment) -> list[Stage]:
        return [stage for stage in deployment.stages.all() if stage.epoch == deployment.epoch]


class DeploymentQuery(serializers.Serializer[Any]):
    service = serializers.CharField(max_length=128, required=False)
    environment = serializers.CharField(max_length=128, required=False)
    status = serializers.ChoiceField(Deployment.Status.choices, required=False)
    live = serializers.BooleanField(required=False, allow_null=True, default=None)
