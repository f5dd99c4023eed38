"""Thresholds in the admin, and where the judge stands with each."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring import conditions
from monitoring.actions import specs, thresholds
from monitoring.models import AlertState, Threshold
from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill

OURS = ("owner", "source", "service", "environment", "active", "version", "due_at", "created_by", "created_at")


class ThresholdForm(ActionForm):
    condition = forms.CharField(
        required=False,
        max_length=conditions.LONGEST,
        widget=forms.Textarea(attrs={"rows": 2}),
        help_text="as text, in place of the fields below: rate(errors_total) / rate(requests_total) > 5% for 5m",
    )
    baseline = forms.JSONField(
        required=False,
        help_text='for changes: {"kind": "arm", "previous_release", "offset" or "usual", "change": "ratio"}',
    )

    class Meta:
        model = Threshold
        fields = (
            "name", "metric", "denominator", "matchers", "aggregation", "operator", "warning", "error", "critical",
            "clear", "window", "interval", "hold", "keep_firing_for", "min_count", "no_data", "on_error",
            "flap_transitions", "flap_window", "response", "target", "runbook",
        )  # fmt: skip

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name in ("metric", "aggregation", "operator"):
            if name in self.fields:  # the condition may say it
                self.fields[name].required = False
        if self.instance.pk and "baseline" in self.fields:
            self.fields["baseline"].initial = specs.of(self.instance)["baseline"]
            self.fields["condition"].initial = specs.text(self.instance, specs.member_names([self.instance]))

    def act(self) -> Threshold:
        spec = dict(self.cleaned_data)
        spec["for"] = spec.pop("hold")
        condition = spec.pop("condition")
        if condition and "condition" in self.changed_data:
            spec = {name: value for name, value in spec.items() if name not in conditions.FIELDS}
            spec["condition"] = condition
        elif self.instance.members:
            spec = {name: value for name, value in spec.items() if name not in conditions.FIELDS}
            spec["combine"] = specs.of(self.instance)["combine"]
        spec["flapping"] = {"transitions": spec.pop("flap_transitions"), "window": spec.pop("flap_window")}
        if self.instance.pk is None:
            return thresholds.create(spec, by=self.by)
        return thresholds.change(self.instance, spec, by=self.by)


@admin.register(Threshold)
class ThresholdAdmin(Admin[Threshold]):
    form = ThresholdForm
    list_display = ("name", "asks", "response", "owner", "active")
    list_filter = ("active", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("name", "metric", "owner")

    @admin.display(description="condition")
    def asks(self, threshold: Threshold) -> str:
        return specs.text(threshold)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Threshold]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def get_readonly_fields(self, request: HttpRequest, obj: Threshold | None = None) -> tuple[str, ...]:
        return OURS if obj else ()

    def has_change_permission(self, request: HttpRequest, obj: Threshold | None = None) -> bool:
        is_ours = obj is not None and (bool(obj.owner) or not obj.active)
        return not is_ours and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: Threshold | None = None) -> tuple[str, ...]:
        own = ThresholdForm.Meta.fields
        if obj and not self.has_change_permission(request, obj):
            return (*own, "baseline_kind", "baseline_change", "baseline_labels", "baseline_seconds", *OURS)
        return ("name", "condition", *own[1:], "baseline", *(OURS if obj else ()))

    @button("Remove", asks_reason=True, danger=True, shown=lambda threshold: threshold.active and not threshold.source)
    def remove(self, request: HttpRequest, thing: Threshold, because: str) -> str:
        thresholds.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is no longer judged"


@admin.register(AlertState)
class AlertStateAdmin(ReadOnly[AlertState]):
    list_display = ("threshold", "group", "state", "level", "outcome", "reason", "changed_at")
    list_filter = ("phase", "outcome")
    list_select_related = ("threshold",)
    search_fields = ("threshold__name",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[AlertState]:
        rows = super().get_queryset(request)
        who: Any = request.user
        return permissions.visible(who, rows, environment="threshold__environment", service="threshold__service")

    @admin.display(description="phase", ordering="phase")
    def state(self, state: AlertState) -> SafeString:
        return pill(state.phase)
