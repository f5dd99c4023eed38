"""Alerts in the admin: the judge writes them; people say which were false."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import alerts
from monitoring.models import Alert
from portal import permissions
from portal.admin import ReadOnly, button, pill


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

    @button("It was false", asks_reason=True, shown=lambda alert: alert.status != "pending" and alert.false_at is None)
    def mark_false(self, request: HttpRequest, thing: Alert, because: str) -> str:
        alerts.mark_false(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} counts as false"

    @button("It was true after all", shown=lambda alert: alert.false_at is not None)
    def unmark_false(self, request: HttpRequest, thing: Alert, because: str) -> str:
        alerts.unmark_false(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} counts as true"
