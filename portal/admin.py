"""The admin: change pages whose buttons and forms call actions, state as a pill."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.views.main import PAGE_VAR
from django.contrib.auth.admin import UserAdmin
from django.core.paginator import Paginator
from django.db import models, transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path, reverse

from portal import audit, keys, permissions, places, posted
from portal.audit import Actor
from portal.errors import Forbidden, Invalid, Refused, Stale
from portal.models import ApiKey, AuditEntry, Environment, Grant, Heartbeat, Service, User
from portal.pills import pill

__all__ = ["REFUSALS", "ActionForm", "Admin", "Button", "ReadOnly", "button", "pill", "site"]

M = TypeVar("M", bound=models.Model)
REFUSALS = (Refused, Forbidden, Invalid, Stale)
HISTORY_PAGE = 50


site = admin.site


@dataclass(frozen=True, slots=True)
class Button:
    """A verb on a change page."""

    name: str
    label: str
    asks_reason: bool
    danger: bool
    shown: Callable[[Any], bool]


def button(
    label: str, *, asks_reason: bool = False, danger: bool = False, shown: Callable[[Any], bool] = lambda thing: True
) -> Callable[[Callable[..., str | None]], Callable[..., str | None]]:
    """Make an Admin method `(self, request, thing, because) -> message` a button of the change page (POST only)."""

    def mark(method: Callable[..., str | None]) -> Callable[..., str | None]:
        method.button = Button(method.__name__, label, asks_reason, danger, shown)  # type: ignore[attr-defined]
        return method

    return mark


class ActionForm(forms.ModelForm[Any]):
    """A form whose saving is an action: what the action refuses stands beside the field, and nothing typed is lost."""

    by: ClassVar[Actor]

    def act(self) -> models.Model:
        """Call the action with `self.cleaned_data` (and `self.instance` when changing); return the saved row."""
        raise TypeError(f"{type(self).__name__} must say which action saves it")

    def is_valid(self) -> bool:
        if not super().is_valid():
            return False
        if not hasattr(self, "acted"):
            try:
                with transaction.atomic():
                    self.acted = self.act()
            except Invalid as error:
                for name, message in error.errors.items():
                    known = name.partition(".")[0].partition("[")[0]
                    self.add_error(known if known in self.fields else None, f"{name}: {message}" if name else message)
                return False
            except (Refused, Forbidden, Stale) as error:
                self.add_error(None, str(error))
                return False
            self.instance = self.acted
        return True

    def save(self, commit: bool = True) -> Any:
        return self.acted

    def save_m2m(self) -> None:
        """The action has written everything."""

    def _post_clean(self) -> None:
        """The action validates; the instance stays as it was until the action has said yes."""


class Admin(admin.ModelAdmin[M]):
    """What all our admin pages share. Subclasses that change anything name an ActionForm as `form`."""

    change_form_template = "admin/thing_change_form.html"
    list_per_page = 50

    def has_module_permission(self, request: HttpRequest) -> bool:
        return self.has_view_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return _may(request, "view")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return _may(request, "configure")

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return _may(request, "configure")

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """Rows end by actions (archive, revoke, cancel), which leave their history."""
        return False

    def buttons(self) -> list[Button]:
        methods = (getattr(type(self), name, None) for name in dir(type(self)))
        return [method.button for method in methods if method is not None and hasattr(method, "button")]

    def get_urls(self) -> list[URLPattern]:
        info = f"{self.opts.app_label}_{self.opts.model_name}"
        press = path("<path:object_id>/press/<str:name>/", self.admin_site.admin_view(self.press), name=f"{info}_press")
        return [press, *super().get_urls()]

    def press(self, request: HttpRequest, object_id: str, name: str) -> HttpResponse:
        """Call the button's action, show what it said, and go back to the change page."""
        pressed = next((one for one in self.buttons() if one.name == name), None)
        if pressed is None or request.method != "POST":
            return HttpResponse(status=405 if pressed else 404)
        thing = get_object_or_404(self.get_queryset(request), pk=object_id)
        try:
            because = posted.text(request, "because")
            if pressed.asks_reason and not because:
                raise Invalid.of("because", "a reason is needed")
            message = getattr(self, name)(request, thing, because)
            messages.success(request, message or f"{pressed.label}: done")
        except REFUSALS as error:
            messages.error(request, str(error))
        address = f"{self.admin_site.name}:{self.opts.app_label}_{self.opts.model_name}"
        if not self.get_queryset(request).filter(pk=object_id).exists():
            return HttpResponseRedirect(reverse(f"{address}_changelist"))  # the button has taken it away
        return HttpResponseRedirect(reverse(f"{address}_change", args=[object_id]))

    def get_form(self, request: HttpRequest, obj: M | None = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change, **kwargs)
        if issubclass(form, ActionForm):
            form.by = request.user  # type: ignore[assignment]
        return form

    def save_model(self, request: HttpRequest, obj: M, form: Any, change: bool) -> None:
        if not isinstance(form, ActionForm):
            super().save_model(request, obj, form, change)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """What was done to it through any door, from the audit trail."""
        entries = audit.of_row(self.model, unquote(object_id))
        page = Paginator(entries, HISTORY_PAGE).get_page(request.GET.get(PAGE_VAR))
        return super().history_view(request, object_id, {"entries": page, **(extra_context or {})})

    def render_change_form(
        self,
        request: HttpRequest,
        context: Any,
        add: bool = False,
        change: bool = False,
        form_url: str = "",
        obj: M | None = None,
    ) -> Any:
        context["buttons"] = [one for one in self.buttons() if one.shown(obj)] if obj else []
        return super().render_change_form(request, context, add, change, form_url, obj)


def _may(request: HttpRequest, what: str) -> bool:
    """Whether a role allows it anywhere; the action asks again, for the place itself."""
    user = request.user
    if not isinstance(user, User):
        return False
    # The side bar asks thrice for every model there is: once a request is enough.
    known: dict[str, bool] = request.__dict__.setdefault("_allowed_anywhere", {})
    if what not in known:
        known[what] = permissions.can(user, what, environment=permissions.ANY, service=permissions.ANY)
    return known[what]


def seen_whole(request: HttpRequest) -> list[Environment]:
    """The environments in which somebody may view whatever is there. Side bars ask: once a request is enough."""
    known: list[Environment] | None = request.__dict__.get("_environments_seen_whole")
    if known is None:
        known = permissions.environments_seen_whole(request.user)  # type: ignore[arg-type]
        request.__dict__["_environments_seen_whole"] = known
    return known


class ReadOnly(Admin[M]):
    """Shown, searched, never edited: the rows are written by actions."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        return False


class ServiceForm(ActionForm):
    class Meta:
        model = Service
        fields = ("key", "name", "description")

    def act(self) -> Service:
        if self.instance.pk is None:
            return places.create_service(by=self.by, **self.cleaned_data)
        return places.change_service(self.instance, self.cleaned_data, by=self.by)


@admin.register(Service)
class ServiceAdmin(Admin[Service]):
    form = ServiceForm
    list_display = ("key", "name", "created_at")
    search_fields = ("key", "name")

    def get_readonly_fields(self, request: HttpRequest, obj: Service | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()


class EnvironmentForm(ActionForm):
    class Meta:
        model = Environment
        fields = ("key", "name", "rank", "protected", "approval_policy")

    def act(self) -> Environment:
        if self.instance.pk is None:
            return places.create_environment(by=self.by, **self.cleaned_data)
        return places.change_environment(self.instance, self.cleaned_data, by=self.by)


@admin.register(Environment)
class EnvironmentAdmin(Admin[Environment]):
    form = EnvironmentForm
    list_display = ("key", "name", "rank", "protected", "approval_policy")

    def get_readonly_fields(self, request: HttpRequest, obj: Environment | None = None) -> tuple[str, ...]:
        return ("key",) if obj else ()


class ApiKeyForm(ActionForm):
    class Meta:
        model = ApiKey
        fields = ("name", "scopes", "environments", "services", "origins", "expires_at")

    scopes = forms.MultipleChoiceField(choices=ApiKey.Scope.choices, widget=forms.CheckboxSelectMultiple)
    origins = forms.CharField(
        required=False,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text="Of a browser key: the sites whose pages may use it, one a line, as https://shop.example.com",
    )

    def act(self) -> ApiKey:
        given = self.cleaned_data
        key, self.raw = keys.create(
            given["name"],
            scopes=given["scopes"],
            environments=list(given["environments"]) or None,
            services=list(given["services"]) or None,
            expires_at=given["expires_at"],
            from_origins=given["origins"].split(),
            by=self.by,
        )
        return key


@admin.register(ApiKey)
class ApiKeyAdmin(Admin[ApiKey]):
    form = ApiKeyForm
    list_display = ("name", "prefix", "scopes", "created_by", "expires_at", "revoked_at")
    search_fields = ("name", "prefix")

    def has_change_permission(self, request: HttpRequest, obj: ApiKey | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)

    def response_add(self, request: HttpRequest, obj: ApiKey, post_url_continue: str | None = None) -> HttpResponse:
        raw = request._new_key  # type: ignore[attr-defined]
        messages.success(request, f"The key, shown this once: {raw}")
        return super().response_add(request, obj, post_url_continue)

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        request._new_key = form.raw  # type: ignore[attr-defined]

    @button("Revoke", asks_reason=True, danger=True, shown=lambda key: key.revoked_at is None)
    def revoke(self, request: HttpRequest, thing: ApiKey, because: str) -> str:
        keys.revoke(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return "The key is revoked: every process forgets it within 1.5 seconds"


class GrantInline(admin.TabularInline[Grant, User]):
    model = Grant
    extra = 0


@admin.register(User)
class PersonAdmin(UserAdmin[User]):
    inlines = (GrantInline,)


@admin.register(AuditEntry)
class AuditAdmin(ReadOnly[AuditEntry]):
    list_display = ("at", "actor", "verb", "object_label", "because", "position")
    list_filter = ("actor_kind", "object_type")
    search_fields = ("actor", "verb", "object_label", "because", "request_id")
    show_full_result_count = False


@admin.register(Heartbeat)
class HeartbeatAdmin(ReadOnly[Heartbeat]):
    list_display = ("name", "at", "cycle_ms", "backlog")
