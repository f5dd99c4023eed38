"""Importing by REST: a document of another system, looked at, then written."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal.drf import Door, Serializer
from rollouts.actions import configuration, imports
from rollouts.importers.formats import FORMATS
from rollouts.importers.options import REFUSE, UNKNOWN, Options


class ImportAsk(Serializer):
    format = serializers.ChoiceField(sorted(FORMATS))
    document = serializers.DictField(help_text="as the other system gives it")
    environment = serializers.CharField(
        max_length=128, required=False, default="", allow_blank=True,
        help_text="ours, that takes what the document says of one",
    )  # fmt: skip
    environments = serializers.DictField(
        child=serializers.CharField(max_length=128), required=False,
        help_text="of a document about several: its name of each: ours",
    )  # fmt: skip
    attributes = serializers.DictField(
        child=serializers.CharField(max_length=128), required=False,
        help_text='attributes that have another name here, as in {"userId": "targetingKey"}, which is so by itself',
    )  # fmt: skip
    unknown = serializers.ChoiceField(
        UNKNOWN, required=False, default=REFUSE,
        help_text="what cannot be translated is refused by name, or left out with a warning: it then holds for nobody",
    )  # fmt: skip
    flagd_encoding = serializers.ChoiceField(
        ("cbor", "text"), required=False, default="cbor", help_text="how flagd hashes: text before its CBOR encoding"
    )
    dry_run = serializers.BooleanField(required=False, default=True, help_text="false: write it")
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class StepShape(Serializer):
    kind = serializers.ChoiceField(("segment", "flag", "config"))
    key = serializers.CharField()
    environment = serializers.CharField(allow_null=True)
    does = serializers.ChoiceField((configuration.CREATE, configuration.CHANGE, configuration.KEEP))
    changes = serializers.DictField(
        child=serializers.ListField(child=serializers.JSONField()), help_text="field: [before, after]"
    )
    moved = serializers.IntegerField(
        allow_null=True,
        help_text="of `units` made-up units so many would move on a switch to the portal's own bucketing; "
        "null where it is used already",
    )


class WarningShape(Serializer):
    flag = serializers.CharField(allow_blank=True)
    message = serializers.CharField()


class ImportCountsShape(Serializer):
    create = serializers.IntegerField()  # type: ignore[assignment]
    change = serializers.IntegerField()
    keep = serializers.IntegerField()


class ImportShape(Serializer):
    applied = serializers.BooleanField(help_text="false of a dry run")
    counts = ImportCountsShape()
    units = serializers.IntegerField()
    steps = StepShape(many=True)
    warnings = WarningShape(many=True)


def shown_plan(plan: configuration.Plan, *, applied: bool) -> dict[str, Any]:
    names = ("kind", "key", "environment", "does", "changes", "moved")
    return {
        "applied": applied,
        "counts": plan.counts,
        "units": plan.units,
        "steps": [{name: getattr(step, name) for name in names} for step in plan.steps],
        "warnings": [{"flag": flag, "message": words} for flag, words in plan.warnings],
    }


class Imports(Door):
    serializer_class = ImportShape

    @extend_schema(operation_id="imports_create", request=ImportAsk, responses=ImportShape)
    def post(self, request: Request) -> Response:
        """All of it or nothing. By default a dry run: what would be written, and what is to be known of each flag."""
        given = self.body(ImportAsk)
        options = Options(
            environment=given["environment"],
            environments=given.get("environments", {}),
            attributes=given.get("attributes", {}),
            unknown=given["unknown"],
            flagd_encoding=given["flagd_encoding"],
        )
        if given["dry_run"]:
            plan = imports.preview(given["format"], given["document"], options, by=self.by)
        else:
            plan = imports.run(given["format"], given["document"], options, by=self.by, because=given["because"])
        return Response(shown_plan(plan, applied=not given["dry_run"]))
