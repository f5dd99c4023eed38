"""Silences, maintenance windows and inhibitions in the admin."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils import timezone

from monitoring.actions import silences
from monitoring.models import InhibitionRule, MaintenanceWindow, Silence
from portal import permissions
from portal.admin import ActionForm, Admin, button


class SilenceForm(ActionForm):
    class Meta:
        model = Silence
        fields = ("matchers", "starts_at", "ends_at", "comment")

    def act(self) -> Silence:
        return silences.silence(by=self.by, **self.cleaned_data)


class _Suppressor(Admin[Any]):
    """Made and ended, never edited: what held an alert back stays readable."""

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        who: Any = request.user
        return permissions.can(who, "operate", environment=permissions.ANY, service=permissions.ANY)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        who: Any = request.user
        return permissions.visible(who, super().get_queryset(request))


@admin.register(Silence)
class SilenceAdmin(_Suppressor):
    form = SilenceForm
    list_display = ("id", "comment", "starts_at", "ends_at", "author", "service", "environment")
    list_select_related = ("service", "environment")
    search_fields = ("comment", "author")

    @button("End now", shown=lambda one: one.ends_at > timezone.now())
    def expire(self, request: HttpRequest, thing: Silence, because: str) -> str:
        silences.expire(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} has ended: what still fires is told"


class MaintenanceForm(ActionForm):
    class Meta:
        model = MaintenanceWindow
        fields = ("name", "matchers", "starts_at", "ends_at", "days", "opens", "closes", "zone", "comment")

    def act(self) -> MaintenanceWindow:
        return silences.plan(self.cleaned_data, by=self.by)


@admin.register(MaintenanceWindow)
class MaintenanceAdmin(_Suppressor):
    form = MaintenanceForm
    list_display = ("name", "starts_at", "ends_at", "days", "opens", "closes", "zone", "service", "environment")
    list_select_related = ("service", "environment")
    search_fields = ("name", "comment")

    @button("Cancel", danger=True)
    def cancel(self, request: HttpRequest, thing: MaintenanceWindow, because: str) -> str:
        silences.cancel(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is cancelled"


class InhibitionForm(ActionForm):
    class Meta:
        model = InhibitionRule
        fields = ("name", "active", "source", "target", "equal")

    def act(self) -> InhibitionRule:
        return silences.inhibit(self.cleaned_data, by=self.by)


@admin.register(InhibitionRule)
class InhibitionAdmin(Admin[InhibitionRule]):
    form = InhibitionForm
    list_display = ("name", "active", "equal")
    search_fields = ("name",)

    def has_change_permission(self, request: HttpRequest, obj: InhibitionRule | None = None) -> bool:
        return False

    @button("Delete", danger=True)
    def delete(self, request: HttpRequest, thing: InhibitionRule, because: str) -> str:
        silences.uninhibit(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is deleted"
