"""Advice in the admin, and what services cost."""

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import recommendations, unit_costs
from monitoring.models import Recommendation, UnitCost
from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill


def _waits(one: Recommendation) -> bool:
    return one.status in (Recommendation.Status.OPEN, Recommendation.Status.ACCEPTED)


def _is_open(one: Recommendation) -> bool:
    return one.status == Recommendation.Status.OPEN


@admin.register(Recommendation)
class RecommendationAdmin(ReadOnly[Recommendation]):
    list_display = ("title", "rule", "state", "expected", "unit", "saved", "service", "environment", "made_at")
    list_filter = ("status", "rule", "environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("title", "key")

    @admin.display(description="status", ordering="status")
    def state(self, one: Recommendation) -> SafeString:
        return pill(one.status)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Recommendation]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    @button("Accept", shown=_is_open)
    def accept(self, request: HttpRequest, thing: Recommendation, because: str) -> str:
        recommendations.accept(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: accepted"

    @button("Applied", shown=_waits)
    def applied(self, request: HttpRequest, thing: Recommendation, because: str) -> str:
        recommendations.apply(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: applied"

    @button("Dismiss", asks_reason=True, shown=_waits)
    def dismiss(self, request: HttpRequest, thing: Recommendation, because: str) -> str:
        recommendations.dismiss(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing}: dismissed"


class UnitCostForm(ActionForm):
    class Meta:
        model = UnitCost
        fields = ("service", "environment", "currency", "instance_price", "metric", "aggregation")

    def act(self) -> UnitCost:
        fields = dict(self.cleaned_data)
        service = fields.pop("service", None) or self.instance.service
        environment = fields.pop("environment", None) or self.instance.environment
        return unit_costs.put(service, environment, fields, by=self.by)


@admin.register(UnitCost)
class UnitCostAdmin(Admin[UnitCost]):
    form = UnitCostForm
    list_display = ("service", "environment", "instance_price", "currency", "metric")
    list_filter = ("environment", "service")
    list_select_related = ("environment", "service")
    search_fields = ("service__key", "metric")

    def get_queryset(self, request: HttpRequest) -> QuerySet[UnitCost]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def get_readonly_fields(self, request: HttpRequest, obj: UnitCost | None = None) -> tuple[str, ...]:
        return ("service", "environment") if obj else ()

    @button("Remove", asks_reason=True, danger=True)
    def remove(self, request: HttpRequest, thing: UnitCost, because: str) -> str:
        unit_costs.remove(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return "Removed"
