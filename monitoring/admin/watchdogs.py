"""Signs of life that others owe us, in the admin."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import watchdogs
from monitoring.models import Watchdog
from portal.admin import ActionForm, Admin, button, pill


class WatchdogForm(ActionForm):
    class Meta:
        model = Watchdog
        fields = ("key", "name", "matchers", "service", "environment", "every", "grace", "level", "runbook", "active")

    def act(self) -> Watchdog:
        fields = {**self.cleaned_data, "matchers": self.cleaned_data["matchers"] or {}}
        if self.instance.pk is None:
            return watchdogs.create(fields, by=self.by)
        return watchdogs.change(self.instance, fields, by=self.by)


@admin.register(Watchdog)
class WatchdogAdmin(Admin[Watchdog]):
    form = WatchdogForm
    list_display = ("name", "key", "state_pill", "service", "environment", "every", "grace", "heard_at", "due_at")
    list_filter = ("status", "active", "level")
    list_select_related = ("service", "environment")
    search_fields = ("name", "key")

    @admin.display(description="state")
    def state_pill(self, watchdog: Watchdog) -> SafeString:
        return pill(watchdog.state)

    @button("Pause", shown=lambda watchdog: watchdog.active)
    def pause(self, request: HttpRequest, thing: Watchdog, because: str) -> str:
        return self._set(request, thing, because, active=False) + " is not watched any more"

    @button("Resume", shown=lambda watchdog: not watchdog.active)
    def resume(self, request: HttpRequest, thing: Watchdog, because: str) -> str:
        return self._set(request, thing, because, active=True) + " is watched again"

    @button("Delete", danger=True)
    def delete(self, request: HttpRequest, thing: Watchdog, because: str) -> str:
        watchdogs.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is deleted"

    def _set(self, request: HttpRequest, thing: Watchdog, because: str, **fields: Any) -> str:
        return str(watchdogs.change(thing, fields, by=request.user, because=because))  # type: ignore[arg-type]
