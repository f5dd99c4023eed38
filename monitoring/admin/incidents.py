"""Incidents in the admin: opened here by hand, everything else is a button that calls an action."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import definitions, incidents, responses
from monitoring.models import Alert, Incident, IncidentAttachment, IncidentDefinition, ResponseRun, TimelineEntry
from monitoring.models.incidents import OPEN
from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill

RESOLVED = Incident.Status.RESOLVED


class DefinitionForm(ActionForm):
    class Meta:
        model = IncidentDefinition
        fields = (
            "key", "name", "active", "rank", "min_level", "matchers", "thresholds", "group_by", "severity",
            "responses", "cool_down", "channels", "escalation", "runbook",
        )  # fmt: skip

    def act(self) -> IncidentDefinition:
        fields = dict(self.cleaned_data)
        fields |= {name: fields[name] or [] for name in ("group_by", "responses")}
        fields |= {name: list(fields[name]) for name in definitions.RELATED}
        fields["matchers"] = fields["matchers"] or {}
        if self.instance.pk is None:
            return definitions.create(fields.pop("key"), fields, by=self.by)
        return definitions.change(self.instance, fields, by=self.by)


@admin.register(IncidentDefinition)
class DefinitionAdmin(Admin[IncidentDefinition]):
    form = DefinitionForm
    list_display = ("key", "name", "active", "rank", "min_level", "severity", "responses")
    search_fields = ("key", "name")
    filter_horizontal = ("thresholds", "channels")

    def get_readonly_fields(self, request: HttpRequest, obj: IncidentDefinition | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()


class _Part(admin.TabularInline[Any, Incident]):
    """Rows that belong to an incident, to read."""

    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the incident


class EntryInline(_Part):
    model = TimelineEntry
    fields = ("seq", "at", "kind", "actor", "text")


class AlertInline(_Part):
    model = Alert
    fields = ("threshold", "status", "level", "reason", "fired_at", "resolved_at")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("threshold")


class RunInline(_Part):
    model = ResponseRun
    fields = ("name", "target", "status", "attempts", "outcome", "ended_at")


class IncidentForm(ActionForm):
    class Meta:
        model = Incident
        fields = ("title", "description", "severity", "service", "environment", "definition")

    def act(self) -> Incident:
        return incidents.open_by_hand(by=self.by, **self.cleaned_data)


def _while(*statuses: str) -> Callable[[Incident], bool]:
    return lambda incident: incident.status in statuses


@admin.register(Incident)
class IncidentAdmin(Admin[Incident]):
    form = IncidentForm
    inlines = (EntryInline, AlertInline, RunInline)
    list_display = ("id", "title", "state", "severity", "service", "environment", "opened_at", "acknowledged_by")
    list_display_links = ("id", "title")
    list_filter = ("status", "severity", "environment", "service")
    list_select_related = ("service", "environment")
    search_fields = ("title", "target")

    @admin.display(description="status", ordering="status")
    def state(self, incident: Incident) -> SafeString:
        return pill(incident.status)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Incident]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def get_fields(self, request: HttpRequest, obj: Incident | None = None) -> tuple[str, ...]:
        if obj is None:
            return IncidentForm.Meta.fields
        return (
            "title", "state", "severity", "service", "environment", "target", "description", "definition",
            "commander", "communications", "scribe",
            "escalations", "opened_at", "acknowledged_at", "acknowledged_by", "mitigated_at", "resolved_at",
            "closed_at",
        )  # fmt: skip

    def get_readonly_fields(self, request: HttpRequest, obj: Incident | None = None) -> tuple[str, ...]:
        return self.get_fields(request, obj) if obj else ()

    def get_inlines(self, request: HttpRequest, obj: Incident | None) -> Any:
        return self.inlines if obj else ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        who: Any = request.user
        return permissions.can(who, "operate", environment=permissions.ANY, service=permissions.ANY)

    def has_change_permission(self, request: HttpRequest, obj: Incident | None = None) -> bool:
        return False

    @button("Acknowledge", shown=lambda incident: incident.status in OPEN and incident.acknowledged_at is None)
    def acknowledge(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.acknowledge(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Escalate", asks_reason=True, shown=_while(*OPEN))
    def escalate(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.escalate(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Mitigated", asks_reason=True, shown=_while(Incident.Status.TRIGGERED, Incident.Status.ACKNOWLEDGED))
    def mitigate(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.mitigate(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Resolve", asks_reason=True, shown=_while(*OPEN))
    def resolve(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.resolve(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Resolve despite alerts", asks_reason=True, shown=_while(*OPEN))
    def resolve_despite(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.resolve(thing, by=request.user, because=because, despite_alerts=True)  # type: ignore[arg-type]

    @button("Close", asks_reason=True, shown=_while(RESOLVED))
    def close(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.close(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Note", asks_reason=True)
    def note(self, request: HttpRequest, thing: Incident, because: str) -> None:
        incidents.note(thing, because, by=request.user)  # type: ignore[arg-type]


class OfIncident(ReadOnly[Any]):
    """Rows that are seen by whoever sees their incident."""

    list_select_related = ("incident",)
    list_filter = ("incident__environment", "incident__service")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        who: Any = request.user
        return permissions.visible(
            who, super().get_queryset(request), environment="incident__environment", service="incident__service"
        )


@admin.register(TimelineEntry)
class EntryAdmin(OfIncident):
    list_display = ("incident", "seq", "at", "kind", "actor", "text")


@admin.register(ResponseRun)
class RunAdmin(OfIncident):
    list_display = ("incident", "name", "target", "state", "attempts", "outcome", "ended_at")

    @admin.display(description="status", ordering="status")
    def state(self, run: ResponseRun) -> SafeString:
        return pill(run.status)

    @button("Do it", asks_reason=True, shown=lambda run: run.status == "proposed")
    def confirm(self, request: HttpRequest, thing: ResponseRun, because: str) -> None:
        responses.confirm(thing, by=request.user, because=because)  # type: ignore[arg-type]

    @button("Try anew", asks_reason=True, shown=lambda run: run.status in ("failed", "refused"))
    def retry(self, request: HttpRequest, thing: ResponseRun, because: str) -> None:
        responses.retry(thing, by=request.user, because=because)  # type: ignore[arg-type]


@admin.register(IncidentAttachment)
class AttachmentAdmin(OfIncident):
    list_display = ("incident", "name", "created_at", "sha256")
