"""Deployments in the admin: drafts are made here, everything else is a button that calls an action."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill
from portal.errors import Invalid
from rollouts.actions import deployments
from rollouts.models import NOT_BEGUN, Deployment, DeploymentFlag, Gate, Plan, Stage, Vote
from rollouts.models.deployments import Status

SERVES = ("flag", "variant", "baseline")


class DeploymentForm(ActionForm):
    serves = forms.JSONField(
        initial=[],
        required=False,
        help_text='flags that bring the release to people: [{"flag": "…", "variant": "on", "baseline": "off"}]',
    )

    class Meta:
        model = Deployment
        fields = ("release", "environment", "plan")

    def act(self) -> Deployment:
        given = self.cleaned_data
        serves = given["serves"] or []
        if not isinstance(serves, list) or not all(_is_served(one) for one in serves):
            raise Invalid.of("serves", "a list of objects with flag, variant and baseline")
        return deployments.create(given["release"], given["environment"], given["plan"], serves, by=self.by)


def _is_served(one: Any) -> bool:
    return isinstance(one, dict) and set(one) == set(SERVES) and all(isinstance(one[name], str) for name in SERVES)


def _while(*statuses: str) -> Callable[[Deployment], bool]:
    return lambda deployment: deployment.status in statuses


class Shown(admin.TabularInline[Any, Deployment]):
    """Rows that belong to a deployment, to read."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the deployment


class FlagInline(Shown):
    model = DeploymentFlag
    fields = SERVES
    verbose_name_plural = "serves"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("flag")


class StageInline(Shown):
    model = Stage
    fields = ("epoch", "index", "name", "weight", "dwell", "max_dwell", "min_sample", "audience")


class VoteInline(Shown):
    model = Vote
    fields = ("epoch", "stage_index", "rule", "person", "value", "comment", "plan_hash", "at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("person")


@admin.register(Deployment)
class DeploymentAdmin(Admin[Deployment]):
    form = DeploymentForm
    inlines = (FlagInline, StageInline, VoteInline)
    list_display = ("__str__", "state", "percent", "stage_index", "held_because", "due_at", "created_by_name")
    list_filter = ("status", "live", "environment", "service")
    list_select_related = ("release__service", "environment")
    search_fields = ("release__version", "service__key", "plan__name")

    @admin.display(description="status", ordering="status")
    def state(self, deployment: Deployment) -> SafeString:
        return pill(deployment.status)

    @admin.display(description="weight", ordering="weight")
    def percent(self, deployment: Deployment) -> str:
        return f"{deployment.weight / 1000:g} %"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Deployment]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def get_fields(self, request: HttpRequest, obj: Deployment | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("release", "environment", "plan", "serves")
        return (
            "release", "environment", "plan", "plan_hash", "state", "percent", "stage_index", "epoch", "paused_reason",
            "held_because", "blockers", "due_at", "watch_until", "baseline_captured", "created_by_name",
            "started_by_name", "created_at", "started_at", "entered_stage_at", "ended_at",
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Deployment | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Deployment | None) -> Any:
        return self.inlines if obj else ()

    def formfield_for_foreignkey(self, db_field: Any, request: HttpRequest, **options: Any) -> Any:
        if db_field.name == "plan":
            options["queryset"] = Plan.objects.filter(current=True)
        return super().formfield_for_foreignkey(db_field, request, **options)

    def has_add_permission(self, request: HttpRequest) -> bool:
        who: Any = request.user
        return permissions.can(who, "deploy", environment=permissions.ANY, service=permissions.ANY)

    def has_change_permission(self, request: HttpRequest, obj: Deployment | None = None) -> bool:
        return False

    @button("Start", shown=_while(Status.DRAFT))
    def start(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.start(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Advance", shown=_while(Status.PROGRESSING))
    def advance(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.advance(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Pause", asks_reason=True, shown=_while(Status.PROGRESSING))
    def pause(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.pause(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Resume", shown=_while(Status.PAUSED))
    def resume(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.resume(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Roll back", asks_reason=True, danger=True, shown=lambda deployment: deployment.live)
    def roll_back(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.roll_back(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Cancel", asks_reason=True, danger=True, shown=_while(*NOT_BEGUN))
    def cancel(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.cancel(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)

    @button("Retry", shown=_while(Status.ROLLED_BACK))
    def retry(self, request: HttpRequest, thing: Deployment, because: str) -> str:
        deployments.retry(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return _now(thing)


def _now(deployment: Deployment) -> str:
    deployment.refresh_from_db()
    state = f"Deployment {deployment.pk} is {deployment.get_status_display()} at {deployment.weight / 1000:g} %"
    return f"{state}: {deployment.held_because}" if deployment.held_because else state


class PartOfDeployment(ReadOnly[Any]):
    """What a deployment consists of, searchable across all of them."""

    of = "deployment"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Model]:
        rows: QuerySet[Model] = super().get_queryset(request)
        who: Any = request.user
        return permissions.visible(who, rows, environment=f"{self.of}__environment", service=f"{self.of}__service")


@admin.register(DeploymentFlag)
class DeploymentFlagAdmin(PartOfDeployment):
    list_display = ("deployment_id", "flag", "environment", "variant", "baseline", "live")
    list_filter = ("live", "environment")
    list_select_related = ("flag", "environment")


@admin.register(Stage)
class StageAdmin(PartOfDeployment):
    list_display = ("deployment_id", "epoch", "index", "name", "weight", "dwell", "max_dwell", "min_sample")


@admin.register(Gate)
class GateAdmin(PartOfDeployment):
    of = "stage__deployment"
    list_display = ("stage", "position", "kind", "outcome", "reason", "count", "checked_at")
    list_filter = ("kind", "outcome")
    list_select_related = ("stage",)


@admin.register(Vote)
class VoteAdmin(PartOfDeployment):
    list_display = ("deployment_id", "epoch", "stage_index", "rule", "person", "value", "comment", "at")
    list_filter = ("value", "rule")
    list_select_related = ("person",)
