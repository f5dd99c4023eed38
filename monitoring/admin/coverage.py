"""What need not be watched, in the admin."""

from django.contrib import admin
from django.http import HttpRequest

from monitoring.actions import coverage
from monitoring.models import CoverageWaiver
from portal.admin import ActionForm, Admin, button


class WaiverForm(ActionForm):
    class Meta:
        model = CoverageWaiver
        fields = ("service", "environment", "signal", "because")

    def act(self) -> CoverageWaiver:
        return coverage.waive(by=self.by, **self.cleaned_data)


@admin.register(CoverageWaiver)
class CoverageWaiverAdmin(Admin[CoverageWaiver]):
    """Made and taken away; there is nothing to edit."""

    form = WaiverForm
    list_display = ("__str__", "because", "created_by", "created_at")
    list_filter = ("signal", "environment")
    list_select_related = ("service", "environment")
    search_fields = ("service__key", "because")

    def has_change_permission(self, request: HttpRequest, obj: CoverageWaiver | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    @button("Take back", danger=True)
    def unwaive(self, request: HttpRequest, thing: CoverageWaiver, because: str) -> str:
        coverage.unwaive(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} counts again"
