"""The configuration as one document, by REST: applied as a whole, and exported."""

from django.conf import settings
from django.http import HttpResponse
from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import OpenApiParameter, OpenApiResponse, extend_schema, extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.config import applying, reading
from portal.config.kinds import Scope
from portal.config.run import CHANGE, CREATE, KEEP
from portal.drf import Door, Serializer
from portal.errors import Invalid
from portal.models import KEY_PATTERN, Environment

LARGEST = 512 * 1024  # bytes of YAML: reading more takes longer than a request may


@extend_schema_field({"oneOf": [{"type": "string"}, {"type": "object"}]})
class DocumentField(serializers.JSONField):
    """YAML as a text, or the same as an object."""


class ApplyBody(Serializer):
    document = DocumentField(help_text="YAML as a text, or the same as an object")
    dry_run = serializers.BooleanField(required=False, default=False, help_text="check and compare, write nothing")
    environments = serializers.ListField(
        child=serializers.RegexField(KEY_PATTERN.replace(r"\Z", "$"), max_length=128), required=False,
        help_text="where the flags of a plain document go, which names none",
    )  # fmt: skip
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class WordsShape(Serializer):
    path = serializers.CharField(allow_blank=True)
    message = serializers.CharField()


class ChangeShape(Serializer):
    path = serializers.CharField()
    does = serializers.ChoiceField([CREATE, CHANGE])
    fields = serializers.DictField(child=serializers.ListField(), help_text="field: [before, after]")  # type: ignore[assignment]


class ApplyShape(Serializer):
    version = serializers.IntegerField(help_text="that the document was written in; 0: plain, without one")
    applied = serializers.BooleanField(help_text="false: a dry run")
    counts = serializers.DictField(child=serializers.IntegerField(), help_text=f"{CREATE}, {CHANGE}, {KEEP}")
    changes = ChangeShape(many=True)
    report = WordsShape(many=True, help_text="how a document of another version was read")
    warnings = WordsShape(many=True)


class Apply(Door):
    @extend_schema(request=ApplyBody, responses=ApplyShape)
    def post(self, request: Request) -> Response:
        """Make the portal like the document: everything is checked before anything is written, all of it or nothing."""
        given = self.body(ApplyBody)
        document = given["document"]
        source = (
            reading.from_text(document, largest=LARGEST) if isinstance(document, str) else reading.from_object(document)
        )
        read = applying.read(source, given.get("environments"))
        if given["dry_run"]:
            outcome = applying.plan(read, by=self.by)
        else:
            within = settings.PORTAL_REQUEST_TIMEOUT * 0.8
            outcome = applying.apply(read, by=self.by, because=given["because"], within=within)
        return Response(
            {
                "version": read.version,
                "applied": not given["dry_run"],
                "counts": outcome.counts,
                "changes": [{"path": one.path, "does": one.does, "fields": one.fields} for one in outcome.changed],
                "report": [{"path": path, "message": words} for path, words in read.report],
                "warnings": [{"path": path, "message": words} for path, words in outcome.warnings],
            }
        )


class Export(Door):
    serializer_class = None

    @extend_schema(
        parameters=[OpenApiParameter("environment", str, description="only what is in this one")],
        responses={
            (200, "application/yaml"): OpenApiResponse(OpenApiTypes.OBJECT, description="a document for config/apply/")
        },
    )
    def get(self, request: Request) -> HttpResponse:
        """What you may see of the portal as a document. Applied to an empty portal it decides every flag alike."""
        environment = request.query_params.get("environment")
        seen = permissions.visible(self.by, Environment.objects.all(), environment="id", service=None)
        if environment is not None and environment not in seen.values_list("key", flat=True):
            raise Invalid.of("environment", "there is no such environment")
        content, left_out = applying.export(Scope(self.by, environment))
        text = applying.as_yaml(content, [f"not in this document: {words}" for words in left_out])
        return HttpResponse(text, content_type="application/yaml; charset=utf-8")
