"""What an edit would do, and who uses what is edited: their shapes by REST."""

from typing import Any

from rest_framework import serializers

from portal.drf import Serializer
from rollouts.actions.previews import Preview
from rollouts.engine.replay import Impact
from rollouts.models import ChangeRequest, DeploymentFlag, FlagConfig
from rollouts.queries.uses import FlagUses, SegmentUses

SHARE = "percent of the sampled contexts; null when none has been seen"


# --- Previews -----------------------------------------------------------------------------------
class MoveShape(Serializer):
    to = serializers.CharField(help_text="the same variant when it is its value that changes")
    count = serializers.IntegerField()
    share = serializers.FloatField(allow_null=True, help_text=SHARE)

    def get_fields(self) -> dict[str, Any]:
        """With `from`, which Python does not allow as a name."""
        told = "a variant, or an error such as (TARGETING_KEY_MISSING)"
        return {"from": serializers.CharField(help_text=told), **super().get_fields()}


class ImpactShape(Serializer):
    flag = serializers.CharField()
    changed = serializers.IntegerField()
    share = serializers.FloatField(allow_null=True, help_text=SHARE)
    moves = MoveShape(many=True)


class PreviewShape(Serializer):
    """What an edit of a flag would do in one environment."""

    flag = serializers.CharField()
    environment = serializers.CharField()
    sampled = serializers.IntegerField(help_text="contexts seen of late on which both were tried")
    changed = serializers.IntegerField(help_text="of them would get something else of this flag")
    share = serializers.FloatField(allow_null=True, help_text=SHARE)
    moves = MoveShape(many=True)
    also = ImpactShape(many=True, help_text="flags that depend on it")
    words = serializers.CharField(help_text='such as "no contexts seen yet"')


class PlacePreviewShape(Serializer):
    """What an edit would do in one environment, flag by flag."""

    environment = serializers.CharField()
    sampled = serializers.IntegerField()
    changed = serializers.IntegerField(help_text="contexts that would get something else of any of the flags")
    share = serializers.FloatField(allow_null=True, help_text=SHARE)
    flags = ImpactShape(many=True)
    words = serializers.CharField()


class PreviewsShape(Serializer):
    environments = PlacePreviewShape(many=True)


def shown_preview(preview: Preview) -> dict[str, Any]:
    own = preview.own
    assert own is not None
    return {
        **_shown_impact(own, preview),
        "environment": preview.environment.key,
        "sampled": preview.replay.sampled,
        "also": [_shown_impact(one, preview) for one in preview.others],
        "words": preview.words,
    }


def shown_previews(previews: list[Preview]) -> dict[str, Any]:
    return {
        "environments": [
            {
                "environment": one.environment.key,
                "sampled": one.replay.sampled,
                "changed": one.replay.changed,
                "share": one.share(one.replay.changed),
                "flags": [_shown_impact(impact, one) for impact in one.replay.impacts],
                "words": one.words,
            }
            for one in previews
        ]
    }


def _shown_impact(impact: Impact, preview: Preview) -> dict[str, Any]:
    return {
        "flag": impact.flag,
        "changed": impact.changed,
        "share": preview.share(impact.changed),
        "moves": [
            {"from": move.before, "to": move.after, "count": move.count, "share": preview.share(move.count)}
            for move in impact.moves
        ],
    }


# --- Uses ---------------------------------------------------------------------------------------
class PlaceShape(Serializer):
    flag = serializers.CharField()
    environment = serializers.CharField()
    enabled = serializers.BooleanField()


class NeedShape(Serializer):
    flag = serializers.CharField()
    environment = serializers.CharField()


class SegmentUseShape(Serializer):
    segment = serializers.CharField()
    environment = serializers.CharField()


class DeploymentUseShape(Serializer):
    id = serializers.IntegerField()
    release = serializers.CharField()
    environment = serializers.CharField()
    status = serializers.CharField()
    variant = serializers.CharField()
    live = serializers.BooleanField()


class RequestUseShape(Serializer):
    id = serializers.IntegerField()
    title = serializers.CharField()
    status = serializers.ChoiceField(ChangeRequest.Status.choices)


class FlagUsesShape(Serializer):
    flag = serializers.CharField()
    needed_by = PlaceShape(many=True, help_text="flags that have it as a prerequisite")
    needs = NeedShape(many=True, help_text="its own prerequisites")
    segments = SegmentUseShape(many=True, help_text="that its rules name")
    deployments = DeploymentUseShape(many=True, help_text="that serve it, or will")
    change_requests = RequestUseShape(many=True)


class SegmentUsesShape(Serializer):
    segment = serializers.CharField()
    flags = PlaceShape(many=True, help_text="whose rules name it")
    flags_through = PlaceShape(many=True, help_text="that it reaches by way of other segments")
    segments = serializers.ListField(child=serializers.CharField(), help_text="that refer to it")
    change_requests = RequestUseShape(many=True)


def shown_flag_uses(key: str, found: FlagUses) -> dict[str, Any]:
    return {
        "flag": key,
        "needed_by": [_place(one) for one in found.needed_by],
        "needs": [{"flag": key, "environment": config.environment.key} for config, key in found.needs],
        "segments": [{"segment": key, "environment": config.environment.key} for config, key in found.segments],
        "deployments": [_deployment(one) for one in found.deployments],
        "change_requests": [_request(one) for one in found.requests],
    }


def shown_segment_uses(key: str, found: SegmentUses) -> dict[str, Any]:
    return {
        "segment": key,
        "flags": [_place(one) for one in found.configs],
        "flags_through": [_place(one) for one in found.through],
        "segments": [one.key for one in found.segments],
        "change_requests": [_request(one) for one in found.requests],
    }


def _place(config: FlagConfig) -> dict[str, Any]:
    return {"flag": config.flag.key, "environment": config.environment.key, "enabled": config.enabled}


def _deployment(one: DeploymentFlag) -> dict[str, Any]:
    return {
        "id": one.deployment_id,
        "release": str(one.deployment.release),
        "environment": one.environment.key,
        "status": one.deployment.status,
        "variant": one.variant,
        "live": one.live,
    }


def _request(one: ChangeRequest) -> dict[str, Any]:
    return {"id": one.pk, "title": one.title, "status": one.status}
