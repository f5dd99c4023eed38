"""What the portal asks by itself, in the admin."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring import sources as kinds
from monitoring.actions import sources
from monitoring.models import MetricSource
from portal import permissions
from portal.admin import ActionForm, Admin, button, pill


class SourceForm(ActionForm):
    kind = forms.ChoiceField(choices=lambda: [(name, name) for name in kinds.names()])
    secret = forms.CharField(
        required=False,
        max_length=sources.LONGEST_SECRET,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="token, password or header's value; left empty, it stays as it is",
    )

    class Meta:
        model = MetricSource
        fields = (
            "name", "kind", "config", "secret", "service", "environment", "labels", "interval", "timeout", "active",
        )  # fmt: skip

    def act(self) -> MetricSource:
        fields = {**self.cleaned_data, "config": self.cleaned_data["config"] or {}}
        fields["labels"] = fields["labels"] or {}
        if not fields["secret"]:
            fields.pop("secret")
        if self.instance.pk is None:
            return sources.create(fields, by=self.by)
        return sources.change(self.instance, fields, by=self.by)


@admin.register(MetricSource)
class SourceAdmin(Admin[MetricSource]):
    form = SourceForm
    list_display = (
        "name", "kind", "state_pill", "service", "environment", "interval", "last_pull_at", "samples", "rejected",
    )  # fmt: skip
    list_filter = ("kind", "outcome", "active")
    list_select_related = ("service", "environment")
    search_fields = ("name", "last_error")

    def has_view_permission(self, request: HttpRequest, obj: MetricSource | None = None) -> bool:
        """An address may be a secret itself."""
        who: Any = request.user
        return permissions.can(who, "configure", environment=permissions.ANY, service=permissions.ANY)

    def get_queryset(self, request: HttpRequest) -> QuerySet[MetricSource]:
        who: Any = request.user
        return permissions.visible(who, super().get_queryset(request))

    @admin.display(description="state")
    def state_pill(self, source: MetricSource) -> SafeString:
        return pill(source.state)

    @button("Try")
    def try_(self, request: HttpRequest, thing: MetricSource, because: str) -> str:
        return str(sources.try_(thing, by=request.user))  # type: ignore[arg-type]

    @button("Pull now", shown=lambda source: source.active)
    def pull(self, request: HttpRequest, thing: MetricSource, because: str) -> str:
        sources.pull_now(thing, by=request.user)  # type: ignore[arg-type]
        return f"{thing} is asked at once"

    @button("Pause", shown=lambda source: source.active)
    def pause(self, request: HttpRequest, thing: MetricSource, because: str) -> str:
        sources.change(thing, {"active": False}, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is not asked any more"

    @button("Resume", shown=lambda source: not source.active)
    def resume(self, request: HttpRequest, thing: MetricSource, because: str) -> str:
        sources.change(thing, {"active": True}, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is asked again"

    @button("Delete", danger=True)
    def delete(self, request: HttpRequest, thing: MetricSource, because: str) -> str:
        sources.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is deleted; what it brought stays"
