"""Flags, their configs and revisions in the admin: forms and buttons that call the actions."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Func, Q, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from django.utils.safestring import SafeString

from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill
from portal.audit import Actor
from portal.errors import Refused
from rollouts.actions import flags
from rollouts.admin.fields import JsonField
from rollouts.engine import advice, documents
from rollouts.models import Flag, FlagConfig, FlagRevision


class FlagForm(ActionForm):
    variants = JsonField(
        required=False, help_text='In order: [{"key": "on", "value": true}, …]. Left empty, the flag is a switch.'
    )

    class Meta:
        model = Flag
        fields = (
            "key", "type", "value_type", "variants", "purpose", "owner", "service", "risk", "description", "tags",
            "expires_at", "permanent",
        )  # fmt: skip

    def act(self) -> Flag:
        given = dict(self.cleaned_data)
        if self.instance.pk is None:
            return flags.create(given.pop("key"), by=self.by, variants=given.pop("variants") or None, **given)
        if given["variants"] is None:
            del given["variants"]
        flags.change(self.instance, given, by=self.by)
        return self.instance


class TagFilter(admin.SimpleListFilter):
    title, parameter_name = "tag", "tag"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        seen = model_admin.get_queryset(request).values_list(Func("tags", function="unnest"), flat=True)
        return [(tag, tag) for tag in sorted(set(seen))]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Flag]") -> "QuerySet[Flag]":
        return queryset.filter(tags__contains=[self.value()]) if self.value() else queryset


class ExpiryFilter(admin.SimpleListFilter):
    title, parameter_name = "expiry", "expiry"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("expired", "expired"), ("dated", "has a date"), ("permanent", "permanent"), ("open", "neither")]

    def queryset(self, request: HttpRequest, queryset: "QuerySet[Flag]") -> "QuerySet[Flag]":
        meant = {
            "expired": Q(expires_at__lte=timezone.now()),
            "dated": Q(expires_at__isnull=False),
            "permanent": Q(permanent=True),
            "open": Q(permanent=False, expires_at=None),
        }
        return queryset.filter(meant.get(self.value() or "", Q()))


@admin.register(Flag)
class FlagAdmin(Admin[Flag]):
    form = FlagForm
    list_display = (
        "key", "type", "purpose", "owner", "service", "risk", "tagged", "expires_at", "updated_at", "archived_at",
    )  # fmt: skip
    list_filter = (
        TagFilter, ExpiryFilter, "type", "purpose", "risk", ("archived_at", admin.EmptyFieldListFilter), "service",
    )  # fmt: skip
    list_select_related = ("service",)
    search_fields = ("key", "owner", "description")
    readonly_fields = ("salt", "revision", "archived_at")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[Flag]":
        return permissions.visible(_by(request), super().get_queryset(request), environment=None, service="service")

    def get_readonly_fields(self, request: HttpRequest, obj: Flag | None = None) -> tuple[str, ...]:
        return ("key", "value_type", *self.readonly_fields) if obj else self.readonly_fields

    def has_change_permission(self, request: HttpRequest, obj: Flag | None = None) -> bool:
        return super().has_change_permission(request, obj) and (obj is None or obj.archived_at is None)

    @admin.display(description="tags")
    def tagged(self, flag: Flag) -> str:
        return ", ".join(flag.tags) or "–"

    @button("Bring back", asks_reason=True, shown=lambda flag: flag.archived_at is not None)
    def unarchive(self, request: HttpRequest, thing: Flag, because: str) -> str:
        flags.unarchive(thing, by=_by(request), because=because)
        return f"Flag {thing} is in service again, as it was"

    @button("Archive", asks_reason=True, danger=True, shown=lambda flag: flag.archived_at is None)
    def archive(self, request: HttpRequest, thing: Flag, because: str) -> str:
        flags.archive(thing, by=_by(request), because=because)
        return f"Flag {thing} is archived: clients no longer find it"


class ConfigForm(ActionForm):
    rules = JsonField(
        rows=14, required=False, help_text='[{"id", "all": [{"attr", "op", "values"}], "segments", "serve": {…}}, …]'
    )
    fallthrough = JsonField(
        required=False,
        help_text='What everyone else gets: {"variant": "off"} or {"split": {"a": 50, "b": 50}}, with "rollout": 25 '
        'for a share, or "schedule": {"kind": "linear", "points": [{"at": "2026-03-01T09:00:00Z", "rollout": 5}, …]} '
        "for one that follows the clock (kind: steps or linear)",
    )
    overrides = JsonField(required=False, help_text='{"variant": ["unit", …]}')
    prerequisites = JsonField(required=False, help_text='[{"flag": "…", "variants": ["on"]}]')
    window = JsonField(required=False, rows=2, help_text='{"from": "2026-03-01T09:00:00Z", "until": null}')
    # Two people who edit at once: the second is told.
    seen_revision = forms.IntegerField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = FlagConfig
        fields = (
            "flag", "environment", "enabled", "off_variant", "rules", "fallthrough", "overrides", "prerequisites",
            "window",
        )  # fmt: skip

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        if self.instance.pk:
            self.initial = {**self.initial, **documents.show_config(self.instance.document())}
            self.fields["seen_revision"].initial = self.instance.revision

    def act(self) -> FlagConfig:
        given = dict(self.cleaned_data)
        seen = given.pop("seen_revision")
        is_new = self.instance.pk is None
        flag, environment = (given.pop("flag"), given.pop("environment")) if is_new else (None, None)
        if is_new and FlagConfig.objects.filter(flag=flag, environment=environment).exists():
            raise Refused(f"flag {flag} has a config in {environment} already: change that one")
        empty: dict[str, Any] = {"rules": [], "overrides": {}, "prerequisites": []}
        given |= {name: value for name, value in empty.items() if given[name] is None}
        if given["fallthrough"] is None:
            given["fallthrough"] = {"variant": given["off_variant"]}
        return flags.configure(
            flag or self.instance.flag,
            environment or self.instance.environment,
            given,
            by=self.by,
            expected_revision=seen,
        )


@admin.register(FlagConfig)
class FlagConfigAdmin(Admin[FlagConfig]):
    form = ConfigForm
    list_display = ("flag", "environment", "state", "off_variant", "revision", "updated_at")
    list_filter = ("environment", "enabled")
    list_select_related = ("flag", "environment")
    search_fields = ("flag__key",)
    readonly_fields = ("served_by", "warnings", "revision")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[FlagConfig]":
        return permissions.visible(_by(request), super().get_queryset(request), service="flag__service")

    def get_readonly_fields(self, request: HttpRequest, obj: FlagConfig | None = None) -> tuple[str, ...]:
        return ("flag", "environment", *self.readonly_fields) if obj else self.readonly_fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can(_by(request), "operate", environment=permissions.ANY, service=permissions.ANY)

    def has_change_permission(self, request: HttpRequest, obj: FlagConfig | None = None) -> bool:
        return self.has_add_permission(request)

    @admin.display(description="state", ordering="enabled")
    def state(self, config: FlagConfig) -> SafeString:
        return pill("on" if config.enabled else "off")

    @admin.display(description="served by")
    def served_by(self, config: FlagConfig) -> str:
        return (
            "; ".join(
                f"deployment {rule['deployment']}: {rule['serve']['variant']} to {rule['serve']['rollout'] / 1000:g} %"
                for rule in config.reserved
            )
            or "nobody"
        )

    @admin.display(description="to look at")
    def warnings(self, config: FlagConfig) -> str:
        if not config.pk:
            return "–"
        told = advice.warnings(config.document(), config.flag.type, config.reserved)
        return "; ".join(f"{one['field']}: {one['message']}" for one in told) or "–"

    @button("Switch off", asks_reason=True, danger=True, shown=lambda config: config.enabled)
    def kill(self, request: HttpRequest, thing: FlagConfig, because: str) -> str:
        flags.kill(thing.flag, thing.environment, by=_by(request), because=because)
        return f"{thing}: everyone gets {thing.off_variant}"

    @button("Switch on", asks_reason=True, shown=lambda config: not config.enabled)
    def switch_on(self, request: HttpRequest, thing: FlagConfig, because: str) -> str:
        flags.switch_on(thing.flag, thing.environment, by=_by(request), because=because)
        return f"{thing} is on"


@admin.register(FlagRevision)
class FlagRevisionAdmin(ReadOnly[FlagRevision]):
    list_display = ("flag", "environment", "number", "actor", "because", "at")
    list_filter = ("environment",)
    list_select_related = ("flag", "environment")
    search_fields = ("flag__key", "actor", "because")

    def get_queryset(self, request: HttpRequest) -> "QuerySet[FlagRevision]":
        return permissions.visible(_by(request), super().get_queryset(request), service="flag__service")

    @button("Restore", asks_reason=True)
    def restore(self, request: HttpRequest, thing: FlagRevision, because: str) -> str:
        if thing.environment is None:
            flags.restore_definition(thing.flag, thing.number, by=_by(request), because=because)
            return f"The definition of {thing.flag} is as in revision {thing.number} again"
        config = flags.restore(thing.flag, thing.environment, thing.number, by=_by(request), because=because)
        return f"{config} is as in revision {thing.number} again: revision {config.revision}"


def _by(request: HttpRequest) -> Actor:
    return request.user  # type: ignore[return-value]
