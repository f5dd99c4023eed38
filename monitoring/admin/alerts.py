"""Alerts in the admin: the judge writes them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.models import Alert
from portal import permissions
from portal.admin import ReadOnly, pill


@admin.register(Alert)
class AlertAdmin(ReadOnly[Alert]):
    list_display = ("id", "threshold", "state", "level", "service", "environment", "reason", "fired_at", "incident")
    list_filter = ("status", "level", "environment", "service")
    list_select_related = ("threshold", "service", "environment", "incident")
    search_fields = ("threshold__name", "reason")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Alert]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    @admin.display(description="status", ordering="status")
    def state(self, alert: Alert) -> SafeString:
        return pill(alert.status)
