"""Service level objectives in the admin."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import slos
from monitoring.models import Slo
from portal import permissions
from portal.admin import ActionForm, Admin, button, pill

OURS = (
    "remaining", "coverage", "outcome", "reason", "looked_at", "service", "environment", "active", "version",
    "created_by", "created_at",
)  # fmt: skip


class SloForm(ActionForm):
    class Meta:
        model = Slo
        fields = (
            "key", "name", "description", "kind", "metric", "good", "bad", "event_matchers", "bound", "matchers",
            "objective", "window",
        )  # fmt: skip

    def act(self) -> Slo:
        fields = {name: value for name, value in self.cleaned_data.items() if name != "key"}
        fields |= {name: fields[name] or {} for name in ("matchers", "event_matchers")}
        if self.instance.pk is None:
            return slos.create(self.cleaned_data["key"], fields, by=self.by)
        return slos.change(self.instance, fields, by=self.by)


@admin.register(Slo)
class SloAdmin(Admin[Slo]):
    form = SloForm
    list_display = ("key", "name", "kind", "objective", "state", "remaining", "service", "environment", "active")
    list_filter = ("active", "kind", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("key", "name", "metric")

    @admin.display(description="budget", ordering="outcome")
    def state(self, slo: Slo) -> SafeString:
        return pill(slo.outcome or "pending")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Slo]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def has_change_permission(self, request: HttpRequest, obj: Slo | None = None) -> bool:
        return (obj is None or obj.active) and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Slo | None = None) -> tuple[str, ...]:
        return (*SloForm.Meta.fields, *(OURS if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: Slo | None = None) -> tuple[str, ...]:
        return ("key", *OURS) if obj else ()

    @button("Remove", asks_reason=True, danger=True, shown=lambda slo: slo.active)
    def remove(self, request: HttpRequest, thing: Slo, because: str) -> str:
        slos.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is no longer watched"
