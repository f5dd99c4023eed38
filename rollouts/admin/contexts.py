"""Sampled contexts in the admin, to be read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from portal.admin import ReadOnly, seen_whole
from rollouts.models import ContextSample


@admin.register(ContextSample)
class ContextSampleAdmin(ReadOnly[ContextSample]):
    list_display = ("__str__", "environment", "at")
    list_filter = ("environment",)
    list_select_related = ("environment",)
    search_fields = ("unit",)
    fields = ("environment", "unit", "context", "at")
    show_full_result_count = False

    def has_view_permission(self, request: HttpRequest, obj: ContextSample | None = None) -> bool:
        return bool(seen_whole(request))

    def get_queryset(self, request: HttpRequest) -> "QuerySet[ContextSample]":
        return super().get_queryset(request).filter(environment__in=seen_whole(request))
