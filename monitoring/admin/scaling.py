"""Scaling in the admin: policies, and what was decided by them."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import scaling, scaling_policies
from monitoring.models import ScalingDecision, ScalingPolicy
from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill

OURS = ("way", "wanted", "reason", "value", "looked_at", "active", "version", "created_by", "created_at")


class ScalingPolicyForm(ActionForm):
    class Meta:
        model = ScalingPolicy
        fields = (
            "key", "name", "service", "environment", "metric", "aggregation", "matchers", "target", "tolerance",
            "window", "minimum", "maximum", "up_step", "down_step", "up_cool_down", "down_cool_down", "lead",
            "instances_metric", "instances", "mode", "channel", "interval",
        )  # fmt: skip

    def act(self) -> ScalingPolicy:
        fields = {name: value for name, value in self.cleaned_data.items() if name != "key"}
        fields["matchers"] = fields["matchers"] or {}
        if self.instance.pk is None:
            return scaling_policies.create(self.cleaned_data["key"], fields, by=self.by)
        return scaling_policies.change(self.instance, fields, by=self.by)


@admin.register(ScalingPolicy)
class ScalingPolicyAdmin(Admin[ScalingPolicy]):
    form = ScalingPolicyForm
    list_display = ("key", "name", "service", "environment", "decision", "wanted", "mode", "looked_at", "active")
    list_filter = ("active", "mode", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("key", "name", "metric")

    @admin.display(description="decision", ordering="way")
    def decision(self, policy: ScalingPolicy) -> SafeString:
        return pill(policy.way or "pending")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScalingPolicy]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def has_change_permission(self, request: HttpRequest, obj: ScalingPolicy | None = None) -> bool:
        return (obj is None or obj.active) and super().has_change_permission(request, obj)

    def get_fields(self, request: HttpRequest, obj: ScalingPolicy | None = None) -> tuple[str, ...]:
        return (*ScalingPolicyForm.Meta.fields, *(OURS if obj else ()))

    def get_readonly_fields(self, request: HttpRequest, obj: ScalingPolicy | None = None) -> tuple[str, ...]:
        return ("key", *OURS) if obj else ()

    @button("Remove", asks_reason=True, danger=True, shown=lambda policy: policy.active)
    def remove(self, request: HttpRequest, thing: ScalingPolicy, because: str) -> str:
        scaling_policies.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} decides no more"


def _waits(decision: ScalingDecision) -> bool:
    return decision.status == ScalingDecision.Status.ADVISED


@admin.register(ScalingDecision)
class ScalingDecisionAdmin(ReadOnly[ScalingDecision]):
    list_display = ("made_at", "policy", "state", "way", "before", "wanted", "urgency", "reason")
    list_filter = ("status", "way", "urgency", "environment", "service")
    list_select_related = ("policy",)
    search_fields = ("policy__key", "reason")

    @admin.display(description="status", ordering="status")
    def state(self, decision: ScalingDecision) -> SafeString:
        return pill(decision.status)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScalingDecision]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    @button("Accept", shown=_waits)
    def accept(self, request: HttpRequest, thing: ScalingDecision, because: str) -> str:
        scaling.accept(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: {thing.status}"

    @button("Decline", asks_reason=True, shown=_waits)
    def decline(self, request: HttpRequest, thing: ScalingDecision, because: str) -> str:
        scaling.decline(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: declined"
