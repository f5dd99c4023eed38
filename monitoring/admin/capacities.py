"""Limits of metrics in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import capacities
from monitoring.models import Capacity
from portal import permissions
from portal.admin import ActionForm, Admin, button, pill

OURS = (
    "state", "reason", "value", "expected", "low", "high", "reached_at", "earliest_at", "latest_at", "method",
    "looked_at", "service", "environment", "active", "version", "created_by", "created_at",
)  # fmt: skip


class CapacityForm(ActionForm):
    class Meta:
        model = Capacity
        fields = ("key", "name", "kind", "metric", "aggregation", "matchers", "limit", "share", "horizon")

    def act(self) -> Capacity:
        fields = {name: value for name, value in self.cleaned_data.items() if name != "key"}
        fields["matchers"] = fields["matchers"] or {}
        if self.instance.pk is None:
            return capacities.create(self.cleaned_data["key"], fields, by=self.by)
        return capacities.change(self.instance, fields, by=self.by)


@admin.register(Capacity)
class CapacityAdmin(Admin[Capacity]):
    form = CapacityForm
    list_display = (
        "key",
        "name",
        "kind",
        "standing",
        "value",
        "limit",
        "reached_at",
        "service",
        "environment",
        "active",
    )
    list_filter = ("active", "kind", "state", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("key", "name", "metric")

    @admin.display(description="state", ordering="state")
    def standing(self, capacity: Capacity) -> SafeString:
        return pill(capacity.state)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Capacity]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def has_change_permission(self, request: HttpRequest, obj: Capacity | None = None) -> bool:
        return (obj is None or obj.active) and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Capacity | None = None) -> tuple[str, ...]:
        return (*CapacityForm.Meta.fields, *(OURS if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Capacity | None = None) -> tuple[str, ...]:
        return ("key", *OURS) if obj else ()

    @button("Remove", asks_reason=True, danger=True, shown=lambda capacity: capacity.active)
    def remove(self, request: HttpRequest, thing: Capacity, because: str) -> str:
        capacities.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is no longer watched"
