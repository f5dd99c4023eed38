"""What change requests look like by REST, in and out."""

from typing import Any

from rest_framework import serializers

from portal.drf import Serializer
from rollouts.engine import documents
from rollouts.models import Approval, ChangeRequest

Kind = ChangeRequest.Kind
DOCUMENT = (
    "with `environment` the fields of the flag's config, without it its `variants`, with `segment` the segment's "
    "fields; a field left out keeps its value"
)


class ChangeRequestQuery(Serializer):
    status = serializers.ChoiceField(ChangeRequest.Status.choices, required=False)
    pending = serializers.BooleanField(
        required=False, allow_null=True, default=None, help_text="whether it may still be applied"
    )
    flag = serializers.CharField(required=False, max_length=128)
    environment = serializers.CharField(required=False, max_length=128)
    segment = serializers.CharField(required=False, max_length=128)
    page = serializers.IntegerField(required=False)
    page_size = serializers.IntegerField(required=False)


class ChangeRequestOpen(Serializer):
    flag = serializers.CharField(max_length=128, required=False)
    environment = serializers.CharField(max_length=128, required=False)
    segment = serializers.CharField(max_length=128, required=False)
    document = serializers.DictField(required=False, help_text=DOCUMENT)
    revision = serializers.IntegerField(
        required=False, min_value=1, max_value=2_147_483_647,
        help_text="instead of a document: the earlier revision of the config that is to be the current one again",
    )  # fmt: skip
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    apply_at = serializers.DateTimeField(required=False, allow_null=True, help_text="once it is approved; not past")


class ChangeRequestEdit(Serializer):
    document = serializers.DictField(required=False, help_text=DOCUMENT)
    title = serializers.CharField(max_length=200, required=False, allow_blank=True)
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True)
    expected_hash = serializers.CharField(max_length=64, required=False, help_text="of what you have seen")


class ApproveBody(Serializer):
    comment = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")
    because = serializers.CharField(
        max_length=10_000, required=False, allow_blank=True, default="", help_text="the same as comment"
    )
    expected_hash = serializers.CharField(max_length=64, required=False, help_text="of what you have seen")


class RejectBody(Serializer):
    because = serializers.CharField(max_length=10_000)


class BecauseBody(Serializer):
    because = serializers.CharField(max_length=10_000, required=False, allow_blank=True, default="")


class ScheduleBody(BecauseBody):
    apply_at = serializers.DateTimeField(help_text="RFC 3339 with its offset; not past")


class ApprovalShape(serializers.ModelSerializer[Approval]):
    person = serializers.CharField(source="person.username")
    counts = serializers.SerializerMethodField(help_text="false: said of what it asked for earlier")

    class Meta:
        model = Approval
        fields = ("person", "value", "comment", "hash", "at", "counts")

    def get_counts(self, approval: Approval) -> bool:
        return approval.hash == self.context["hash"] and approval.person.is_active


class ChangeRequestShape(serializers.ModelSerializer[ChangeRequest]):
    """Of rows that queries.change_requests.shown has fetched."""

    flag = serializers.CharField(source="flag.key", default=None, allow_null=True)
    environment = serializers.CharField(source="environment.key", default=None, allow_null=True)
    segment = serializers.SerializerMethodField()
    document = serializers.SerializerMethodField(help_text="what it is to be, whole")
    diff = serializers.SerializerMethodField(help_text="{field: [before, after]}")
    current_revision = serializers.SerializerMethodField(help_text="at which the thing is now")
    stale = serializers.SerializerMethodField(help_text="what it was made on has changed: rebase it")
    approvals = serializers.SerializerMethodField()
    author = serializers.CharField(source="author_name")

    class Meta:
        model = ChangeRequest
        fields = (
            "id", "kind", "flag", "environment", "segment", "title", "because", "status", "held_because", "author",
            "document", "diff", "hash", "base_revision", "current_revision", "stale", "approvals", "apply_at",
            "applied_revision", "created_at", "updated_at", "ended_at",
        )  # fmt: skip

    def get_segment(self, request: ChangeRequest) -> str | None:
        return request.segment or None

    def get_document(self, request: ChangeRequest) -> dict[str, Any]:
        document: dict[str, Any] = request.document
        return documents.show_config(document) if request.kind == Kind.CONFIG else document

    def get_diff(self, request: ChangeRequest) -> dict[str, Any]:
        changes = request.changes()
        return documents.show_difference(changes) if request.kind == Kind.CONFIG else changes

    def get_current_revision(self, request: ChangeRequest) -> int:
        return int(request.current)  # type: ignore[attr-defined]

    def get_stale(self, request: ChangeRequest) -> bool:
        return request.pending and self.get_current_revision(request) != request.base_revision

    def get_approvals(self, request: ChangeRequest) -> list[dict[str, Any]]:
        context = {"hash": request.hash}
        return [dict(ApprovalShape(one, context=context).data) for one in request.approvals.all()]


class RebasedShape(ChangeRequestShape):
    overlapping = serializers.SerializerMethodField(
        help_text="fields that have been changed meanwhile, too: the request's word stands there"
    )

    class Meta(ChangeRequestShape.Meta):
        fields = (*ChangeRequestShape.Meta.fields, "overlapping")  # type: ignore[assignment]

    def get_overlapping(self, request: ChangeRequest) -> list[str]:
        return list(self.context["overlapping"])
