"""The audit trail by REST: read only."""

from django_filters import rest_framework as filters
from drf_spectacular.utils import extend_schema
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from portal import permissions
from portal.drf import DoorSet
from portal.models import AuditEntry


class AuditShape(serializers.ModelSerializer[AuditEntry]):
    before = serializers.DictField(allow_null=True)
    after = serializers.DictField(allow_null=True)

    class Meta:
        model = AuditEntry
        fields = (
            "id", "at", "actor_kind", "actor", "verb", "object_type", "object_id", "object_label",
            "before", "after", "because", "request_id", "position", "digest",
        )  # fmt: skip


class AuditFilter(filters.FilterSet):
    class Meta:
        model = AuditEntry
        fields = ("verb", "object_type", "object_id", "actor")


class Audit(DoorSet):
    serializer_class = AuditShape
    filterset_class = AuditFilter
    queryset = AuditEntry.objects.all()

    @extend_schema(responses=AuditShape(many=True))
    def list(self, request: Request) -> Response:
        """Entries name objects of every environment and service, so the reader must be allowed to view all."""
        permissions.require(self.by, "view")
        chosen = AuditFilter(request.query_params, AuditEntry.objects.order_by("-id"))
        return self.page(chosen.qs, AuditShape)
