"""The shapes of flags and segments in REST, as the schema shows them. What is right in them, the actions say."""

from collections.abc import Mapping
from typing import Any

from django.utils import timezone
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from portal.drf import Serializer
from portal.models import KEY_PATTERN
from rollouts.engine import advice, documents, legacy, operators, schedules
from rollouts.engine.types import ErrorCode, Reason
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment, SegmentRevision
from rollouts.queries import usage
from rollouts.queries.history import State
from rollouts.queries.usage import Usage


class KeyField(serializers.RegexField):
    def __init__(self, **given: Any) -> None:
        super().__init__(KEY_PATTERN.replace(r"\Z", "$"), max_length=128, trim_whitespace=False, **given)


# --- Definitions --------------------------------------------------------------------------------
class VariantShape(Serializer):
    key = KeyField()
    value = serializers.JSONField(help_text="of the flag's value_type")


class FlagFields(Serializer):
    type = serializers.ChoiceField(Flag.Type.choices, required=False, help_text="the intent; boolean by default")
    variants = VariantShape(many=True, required=False, help_text="in order; a switch (on, off) by default")
    purpose = serializers.ChoiceField(Flag.Purpose.choices, required=False)
    owner = serializers.CharField(max_length=200, required=False, allow_blank=True)
    service = serializers.CharField(
        max_length=128, required=False, allow_null=True, help_text="the key of the owning service"
    )
    risk = serializers.ChoiceField(Flag.Risk.choices, required=False)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    tags = serializers.ListField(child=serializers.CharField(max_length=50), required=False, help_text="at most 20")
    expires_at = serializers.DateTimeField(
        required=False,
        allow_null=True,
        input_formats=["iso-8601", "%Y-%m-%d"],
        help_text="by when the flag is to be gone; it goes on serving",
    )
    permanent = serializers.BooleanField(required=False, help_text="meant to stay: has no expiry date")


class FlagCreate(FlagFields):
    key = KeyField()
    value_type = serializers.ChoiceField(
        Flag.ValueType.choices, required=False, help_text="by default the type of the given values; bool without any"
    )
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class FlagChange(FlagFields):
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class FlagBecause(Serializer):
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class StaleShape(Serializer):
    kind = serializers.ChoiceField(["expired", "unused", "settled"])
    environment = serializers.CharField(allow_null=True, help_text="null: everywhere")
    since = serializers.DateTimeField()
    why = serializers.CharField()


class UsageFields(serializers.Serializer[Any]):
    """By use, not by edit date; to the minute."""

    last_evaluated_at = serializers.DateTimeField(allow_null=True, read_only=True)
    last_exposed_at = serializers.DateTimeField(
        allow_null=True, read_only=True, help_text="by a single evaluation or a client's event"
    )
    stale = StaleShape(many=True, read_only=True, help_text="why it may have had its day; empty when it has not")


class FlagListShape(serializers.ListSerializer[Any]):
    """The use of all of a page's flags, asked for at once."""

    def to_representation(self, data: Any) -> list[Any]:
        flags = list(data)
        if isinstance(self.child, FlagShape):
            self.child.usage = _usage(flags, self.context)
        return super().to_representation(flags)


class FlagShape(UsageFields, serializers.ModelSerializer[Flag]):
    service = serializers.CharField(source="service.key", default=None, allow_null=True, read_only=True)
    variants = VariantShape(many=True)
    archived = serializers.SerializerMethodField()
    usage: Usage | None = None

    class Meta:
        model = Flag
        list_serializer_class = FlagListShape
        fields = (
            "key", "type", "value_type", "variants", "purpose", "owner", "service", "risk", "description",
            "tags", "expires_at", "permanent", "salt", "algo", "revision", "archived", "created_at", "updated_at",
            "last_evaluated_at", "last_exposed_at", "stale",
        )  # fmt: skip

    def to_representation(self, instance: Flag) -> dict[str, Any]:
        usage = self.usage or _usage([instance], self.context)
        instance.last_evaluated_at = usage.last_evaluated_at(instance)  # type: ignore[attr-defined]
        instance.last_exposed_at = usage.last_exposed_at(instance)  # type: ignore[attr-defined]
        instance.stale = usage.stale(instance)  # type: ignore[attr-defined]
        return super().to_representation(instance)

    def get_archived(self, flag: Flag) -> bool:
        return flag.archived_at is not None


def _usage(flags: list[Flag], context: Mapping[str, Any]) -> Usage:
    """Of the environments that the door says the caller may view."""
    return usage.of(flags, context.get("places", ()), now=timezone.now())


# --- Configs ------------------------------------------------------------------------------------
class ConditionShape(Serializer):
    attr = serializers.CharField(
        max_length=128, required=False, help_text="an attribute of the context; a path such as company.plan"
    )
    op = serializers.ChoiceField(operators.NAMES)
    values = serializers.ListField(
        child=serializers.JSONField(), required=False, help_text="one suffices; texts, numbers, true or false"
    )
    negate = serializers.BooleanField(required=False, help_text="not true of a missing attribute or a wrong type")
    ignore_case = serializers.BooleanField(required=False)
    missing = serializers.BooleanField(
        required=False, help_text="true: holds, negated or not, when the context has no such attribute"
    )
    reading = serializers.ChoiceField(
        operators.READINGS,
        required=False,
        help_text="of imported conditions. loose: what cannot be told is not so, and its negation holds; "
        "texts: moreover attributes are texts, and numbers are read out of them",
    )


class PercentField(serializers.FloatField):
    def __init__(self, **given: Any) -> None:
        super().__init__(min_value=0, max_value=100, **given)


class PointShape(Serializer):
    at = serializers.CharField(
        max_length=64, help_text="RFC 3339; without offset the zone's own time, which must be there once on that day"
    )
    rollout = PercentField()


class ScheduleShape(Serializer):
    """From its first point to its last: in steps, or evenly from point to point."""

    kind = serializers.ChoiceField(schedules.KINDS)
    points = PointShape(many=True, help_text="in the order of their times; the last lies ahead")
    zone = serializers.CharField(
        max_length=64, required=False, allow_null=True, help_text="IANA name, for times without offset"
    )


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]})
class ByField(serializers.JSONField):
    """An attribute, or several of which the first that is present counts."""


class ServeShape(Serializer):
    """Either `variant` or `split`; to everyone, to the share `rollout`, or to a share that follows `schedule`."""

    variant = KeyField(required=False)
    split = serializers.DictField(child=PercentField(), required=False, help_text="variant: weight")
    rollout = PercentField(
        required=False, help_text="percent, at most three decimals; with a schedule: what holds before its first point"
    )
    by = ByField(required=False, help_text="the unit's attribute, by default targetingKey; the first present of a list")
    schedule = ScheduleShape(required=False, allow_null=True)
    bucketing = serializers.DictField(
        required=False,
        allow_null=True,
        help_text=f"how another system divides its users, kept so that none of them moves: algo is one of "
        f"{', '.join(legacy.ALGORITHMS)}; its weights or ranges say the split. Left out: the portal's own",
    )


class RuleShape(Serializer):
    id = serializers.CharField(max_length=140, required=False, help_text="kept from write to write when left out")
    all = ConditionShape(many=True, required=False, help_text="every condition must hold")
    segments = serializers.ListField(
        child=KeyField(), required=False, help_text="the unit must belong to at least one of them"
    )
    serve = ServeShape()
    deployment = serializers.JSONField(required=False, help_text="the deployment that owns this rule")
    live = serializers.BooleanField(required=False, help_text="the deployment is live: the rule is not for editing")


class PrerequisiteShape(Serializer):
    flag = KeyField()
    variants = serializers.ListField(child=KeyField(), min_length=1)


class WindowShape(Serializer):
    until = serializers.DateTimeField(required=False, allow_null=True)

    def get_fields(self) -> dict[str, Any]:
        """With `from`, which Python does not allow as a name."""
        return {"from": serializers.DateTimeField(required=False, allow_null=True), **super().get_fields()}


class ConfigFields(Serializer):
    enabled = serializers.BooleanField(required=False, help_text="false: the off variant for everyone")
    off_variant = KeyField(required=False)
    rules = RuleShape(many=True, required=False)
    fallthrough = ServeShape(required=False)
    overrides = serializers.DictField(
        child=serializers.ListField(child=serializers.CharField(max_length=1024)),
        required=False,
        help_text="variant: the units that get it",
    )
    prerequisites = PrerequisiteShape(many=True, required=False)
    window = WindowShape(required=False, allow_null=True)


class ConfigWrite(ConfigFields):
    """A field left out keeps its value."""

    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class AdviceShape(Serializer):
    field = serializers.CharField()
    message = serializers.CharField()


class ConfigShape(UsageFields, ConfigFields):
    flag = serializers.CharField()
    environment = serializers.CharField()
    revision = serializers.IntegerField(help_text="0: never written")
    killed = serializers.BooleanField(help_text="switched off, or off and on again since its deployment looked")
    updated_at = serializers.DateTimeField(allow_null=True)
    warnings = AdviceShape(many=True, required=False, help_text="what the flag's type promises and the config lacks")


def shown_config(config: FlagConfig) -> dict[str, Any]:
    found = usage.of([config.flag], [config.environment], now=timezone.now())
    used = found.use(config.flag, config.environment)
    return {
        "flag": config.flag.key,
        "environment": config.environment.key,
        "revision": config.revision,
        "killed": config.killed and not config.is_new,
        "updated_at": config.updated_at,
        "last_evaluated_at": used.last_evaluated_at,
        "last_exposed_at": used.last_exposed_at,
        "stale": StaleShape(found.stale(config.flag), many=True).data,
        "warnings": advice.warnings(config.document(), config.flag.type, config.reserved),
        **documents.show_config(config.document(), config.reserved),
    }


def config_at(config: FlagConfig, state: State) -> dict[str, Any]:
    """What the flag did there in the past, in the shape of what it does now."""
    document = {name: state.document[name] for name in documents.EDITABLE}
    reserved = state.document["reserved"]
    killed = not document["enabled"] or any(rule.get("killed") for rule in reserved)
    return {
        "flag": config.flag.key,
        "environment": config.environment.key,
        "revision": state.revision,
        "killed": killed and state.revision > 0,
        "updated_at": state.since,
        # How it is used is known of the present alone.
        "last_evaluated_at": None,
        "last_exposed_at": None,
        "stale": [],
        **documents.show_config(document, reserved),
    }


def flag_at(flag: Flag, state: State) -> dict[str, Any]:
    """What the flag was in the past, in the shape of what it is now."""
    was = {name: value for name, value in state.document.items() if name not in ("key", "value_type")}
    return {**FlagShape(flag).data, **was, "revision": state.revision, "updated_at": state.since}


class FlagRestore(FlagBecause):
    revision = serializers.IntegerField(min_value=1, max_value=2_147_483_647)


class RevisionShape(serializers.ModelSerializer[FlagRevision]):
    flag = serializers.CharField(source="flag.key")
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True)
    revision = serializers.IntegerField(source="number")
    document = serializers.SerializerMethodField()
    diff = serializers.SerializerMethodField()

    class Meta:
        model = FlagRevision
        fields = ("id", "flag", "environment", "revision", "document", "diff", "actor", "because", "at")

    def get_document(self, revision: FlagRevision) -> dict[str, Any]:
        if revision.environment_id is None:
            return dict(revision.document)
        held = {name: revision.document[name] for name in documents.EDITABLE}
        return documents.show_config(held, revision.document["reserved"])

    def get_diff(self, revision: FlagRevision) -> dict[str, Any]:
        return documents.show_difference(revision.diff) if revision.environment_id else dict(revision.diff)


class SwitchShape(Serializer):
    """A switch to the portal's own bucketing."""

    algorithms = serializers.ListField(child=serializers.CharField(), help_text="empty: it is used already")
    moved = serializers.IntegerField(help_text="so many of `units` made-up units would get something else")
    units = serializers.IntegerField()
    words = serializers.CharField()


class ExplainAsk(Serializer):
    context = serializers.DictField()  # type: ignore[assignment]


class ExplainShape(Serializer):
    flag = serializers.CharField()
    environment = serializers.CharField()
    revision = serializers.IntegerField()
    variant = serializers.CharField(allow_null=True)
    value = serializers.JSONField(help_text="null with an error")
    reason = serializers.ChoiceField([one.value for one in Reason], allow_null=True)
    reasonDetail = serializers.CharField(allow_blank=True)
    ruleId = serializers.CharField(allow_null=True)
    errorCode = serializers.ChoiceField([one.value for one in ErrorCode], allow_null=True)
    errorDetails = serializers.CharField(allow_blank=True)
    trace = serializers.ListField(child=serializers.DictField(), help_text="what the evaluation did, step by step")


# --- Segments -----------------------------------------------------------------------------------
class SegmentFields(Serializer):
    name = serializers.CharField(max_length=200, required=False, allow_blank=True)
    description = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    conditions = ConditionShape(many=True, required=False, help_text="all must hold")
    included = serializers.ListField(
        child=serializers.CharField(max_length=1024), required=False, help_text="units that belong all the same"
    )
    excluded = serializers.ListField(
        child=serializers.CharField(max_length=1024), required=False, help_text="units that never belong"
    )


class SegmentCreate(SegmentFields):
    key = KeyField()
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class SegmentChange(SegmentFields):
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)


class SegmentShape(serializers.ModelSerializer[Segment]):
    conditions = ConditionShape(many=True)
    included = serializers.ListField(child=serializers.CharField())
    excluded = serializers.ListField(child=serializers.CharField())

    class Meta:
        model = Segment
        fields = (
            "key", "name", "description", "conditions", "included", "excluded", "revision", "created_at", "updated_at",
        )  # fmt: skip


class SegmentRevisionShape(serializers.ModelSerializer[SegmentRevision]):
    revision = serializers.IntegerField(source="number")
    document = serializers.DictField(allow_null=True, help_text="null: it was deleted")
    diff = serializers.DictField(help_text="{field: [before, after]}")

    class Meta:
        model = SegmentRevision
        fields = ("id", "segment", "revision", "document", "diff", "actor", "because", "at")


def segment_at(state: State, created_at: Any) -> dict[str, Any]:
    """Who belonged to a segment in the past, in the shape of who belongs now."""
    return {**state.document, "revision": state.revision, "created_at": created_at, "updated_at": state.since}


class SegmentPreviewAsk(SegmentFields):
    deleted = serializers.BooleanField(required=False, help_text="true: what if it were deleted")
