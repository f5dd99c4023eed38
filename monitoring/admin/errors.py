"""Errors in the admin: read here, acted upon on their pages."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.models import ErrorGroup, ErrorOccurrence
from portal import permissions
from portal.admin import ReadOnly, pill


@admin.register(ErrorGroup)
class ErrorGroupAdmin(ReadOnly[ErrorGroup]):
    show_full_result_count = False
    list_display = ("__str__", "state", "severity", "service", "environment", "count", "users", "last_seen")
    list_filter = ("status", "severity", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("type", "message", "culprit")

    @admin.display(description="status", ordering="status")
    def state(self, group: ErrorGroup) -> SafeString:
        return pill(group.status)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ErrorGroup]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]


@admin.register(ErrorOccurrence)
class ErrorOccurrenceAdmin(ReadOnly[ErrorOccurrence]):
    show_full_result_count = False
    list_display = ("key", "time", "severity", "group", "service", "environment", "release", "unit")
    list_filter = ("severity", "environment", "service")
    list_select_related = ("group", "environment", "service")
    search_fields = ("key", "unit", "release")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ErrorOccurrence]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]
