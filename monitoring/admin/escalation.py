"""Rotas, stand-ins and escalation policies in the admin."""

from django import forms
from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone

from monitoring.actions import escalation_policies, rotas
from monitoring.models import EscalationPolicy, Rota, RotaOverride
from portal import permissions
from portal.admin import ActionForm, Admin, button
from portal.models import User


class RotaForm(ActionForm):
    class Meta:
        model = Rota
        fields = ("key", "name", "zone", "layers")

    def act(self) -> Rota:
        fields = dict(self.cleaned_data)
        if self.instance.pk is None:
            return rotas.create(fields.pop("key"), fields, by=self.by)
        return rotas.change(self.instance, fields, by=self.by)


@admin.register(Rota)
class RotaAdmin(Admin[Rota]):
    form = RotaForm
    list_display = ("key", "name", "zone")
    search_fields = ("key", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Rota | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()

    @button("Delete", danger=True)
    def delete(self, request: HttpRequest, thing: Rota, because: str) -> str:
        rotas.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is deleted"


class OverrideForm(ActionForm):
    class Meta:
        model = RotaOverride
        fields = ("rota", "person", "starts_at", "ends_at", "comment")

    person = forms.ModelChoiceField(User.objects.filter(is_active=True))

    def act(self) -> RotaOverride:
        fields = dict(self.cleaned_data)
        return rotas.stand_in(fields.pop("rota"), fields.pop("person"), by=self.by, **fields)


@admin.register(RotaOverride)
class OverrideAdmin(Admin[RotaOverride]):
    form = OverrideForm
    list_display = ("rota", "person", "starts_at", "ends_at", "comment", "author")
    list_select_related = ("rota", "person")
    list_filter = ("rota",)

    def has_change_permission(self, request: HttpRequest, obj: RotaOverride | None = None) -> bool:
        return False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can(request.user, "operate", environment=permissions.ANY, service=permissions.ANY)  # type: ignore[arg-type]

    @button("End now", shown=lambda one: one.ends_at > timezone.now())
    def take_back(self, request: HttpRequest, thing: RotaOverride, because: str) -> str:
        rotas.take_back(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return "The rota decides again"


class PolicyForm(ActionForm):
    class Meta:
        model = EscalationPolicy
        fields = ("key", "name", "steps", "repeat", "remind_after", "is_default")

    def act(self) -> EscalationPolicy:
        fields = dict(self.cleaned_data)
        if self.instance.pk is None:
            return escalation_policies.create(fields.pop("key"), fields, by=self.by)
        return escalation_policies.change(self.instance, fields, by=self.by)


@admin.register(EscalationPolicy)
class PolicyAdmin(Admin[EscalationPolicy]):
    form = PolicyForm
    list_display = ("key", "name", "repeat", "remind_after", "is_default")
    search_fields = ("key", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: EscalationPolicy | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()

    @button("Delete", danger=True)
    def delete(self, request: HttpRequest, thing: EscalationPolicy, because: str) -> str:
        escalation_policies.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"{thing} is deleted"
