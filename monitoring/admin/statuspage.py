"""The public status page in the admin: what stands on it, and what is told there."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import statuspage
from monitoring.models import StatusComponent, StatusIncident, StatusUpdate
from portal.admin import ActionForm, Admin, ReadOnly, button, pill

Status = StatusIncident.Status


class ComponentForm(ActionForm):
    # Not by the name of its field: the admin refuses one that is not to be edited, however it is declared.
    says = forms.ChoiceField(label="status", choices=StatusComponent.Status, initial=StatusComponent.Status.COMPUTED)

    class Meta:
        model = StatusComponent
        fields = ("name", "description", "position", "service", "environment", "auto_publish")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.initial["says"] = self.instance.status

    def act(self) -> StatusComponent:
        component = self.instance
        fields = {name: value for name, value in self.cleaned_data.items() if name != "says"}
        if component.pk is None:
            component = statuspage.create_component(fields, by=self.by)
        return statuspage.change_component(component, fields | {"status": self.cleaned_data["says"]}, by=self.by)


@admin.register(StatusComponent)
class StatusComponentAdmin(Admin[StatusComponent]):
    form = ComponentForm
    list_display = ("name", "said", "service", "environment", "auto_publish", "position")
    list_select_related = ("service", "environment")
    search_fields = ("name",)

    @admin.display(description="status", ordering="status")
    def said(self, component: StatusComponent) -> SafeString:
        return pill(component.status)


class PublishForm(ActionForm):
    body = forms.CharField(widget=forms.Textarea(attrs={"rows": 5}), help_text="what everybody may read")

    class Meta:
        model = StatusIncident
        fields = ("name", "kind", "impact", "components", "incident", "scheduled_for", "scheduled_until")

    def act(self) -> StatusIncident:
        return statuspage.publish(by=self.by, **self.cleaned_data)


class UpdateInline(admin.TabularInline[StatusUpdate, StatusIncident]):
    model = StatusUpdate
    extra = 0
    can_delete = False
    fields = readonly_fields = ("status", "body", "at")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(StatusIncident)
class StatusIncidentAdmin(Admin[StatusIncident]):
    form = PublishForm
    inlines = (UpdateInline,)
    list_display = ("name", "kind", "state", "impact", "started_at", "updated_at")
    list_filter = ("kind", "status")
    search_fields = ("name",)
    autocomplete_fields = ("incident",)

    def has_change_permission(self, request: HttpRequest, obj: StatusIncident | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    @admin.display(description="state", ordering="status")
    def state(self, told: StatusIncident) -> SafeString:
        return pill(told.status)

    def _tell(self, request: HttpRequest, told: StatusIncident, body: str, status: str = "") -> str:
        statuspage.update(told, body, status=status, by=request.user)  # type: ignore[arg-type]
        return "It is published."

    @button("Tell more", asks_reason=True, shown=lambda told: told.status not in statuspage.OVER)
    def tell_more(self, request: HttpRequest, thing: StatusIncident, because: str) -> str:
        return self._tell(request, thing, because)

    @button("Identified", asks_reason=True, shown=lambda told: told.status == Status.INVESTIGATING)
    def identified(self, request: HttpRequest, thing: StatusIncident, because: str) -> str:
        return self._tell(request, thing, because, Status.IDENTIFIED)

    @button("Monitoring", asks_reason=True, shown=lambda told: told.status in (Status.INVESTIGATING, Status.IDENTIFIED))
    def monitoring(self, request: HttpRequest, thing: StatusIncident, because: str) -> str:
        return self._tell(request, thing, because, Status.MONITORING)

    @button("Over", asks_reason=True, shown=lambda told: told.status not in statuspage.OVER)
    def over(self, request: HttpRequest, thing: StatusIncident, because: str) -> str:
        done = Status.COMPLETED if thing.kind == StatusIncident.Kind.MAINTENANCE else Status.RESOLVED
        return self._tell(request, thing, because, done)


@admin.register(StatusUpdate)
class StatusUpdateAdmin(ReadOnly[StatusUpdate]):
    list_display = ("incident", "status", "body", "at")
    list_select_related = ("incident",)
