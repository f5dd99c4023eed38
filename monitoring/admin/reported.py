"""Alerts that others report to us, in the admin, to be read."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.models import ReportedAlert
from portal import permissions
from portal.admin import ReadOnly, pill


@admin.register(ReportedAlert)
class ReportedAlertAdmin(ReadOnly[ReportedAlert]):
    list_display = ("threshold", "state", "level", "service", "environment", "starts_at", "reported_at", "sender")
    list_filter = ("phase", "level", "environment", "service")
    list_select_related = ("threshold", "service", "environment")
    search_fields = ("threshold__name", "fingerprint")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ReportedAlert]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    @admin.display(description="phase", ordering="phase")
    def state(self, alert: ReportedAlert) -> SafeString:
        return pill(alert.phase)
