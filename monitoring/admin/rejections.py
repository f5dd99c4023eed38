"""What was turned away at the ways in, in the admin, to be read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from monitoring.models import Rejection
from portal import permissions
from portal.admin import ReadOnly


@admin.register(Rejection)
class RejectionAdmin(ReadOnly[Rejection]):
    list_display = ("minute", "source", "sender", "reason", "count", "environment")
    list_filter = ("source", "environment")
    list_select_related = ("environment",)
    search_fields = ("reason", "sender", "example")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Rejection]:
        rows = super().get_queryset(request)
        return permissions.visible(request.user, rows, service=None)  # type: ignore[arg-type]
