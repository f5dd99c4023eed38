"""Change requests in the admin: asked for and edited in a form, agreed on and applied by buttons."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from portal import permissions
from portal.admin import ActionForm, Admin, ReadOnly, button, pill
from portal.audit import Actor
from portal.errors import Invalid
from rollouts.actions import change_requests
from rollouts.admin.fields import JsonField
from rollouts.engine import documents
from rollouts.models import Approval, ChangeRequest, Segment
from rollouts.models.change_requests import Status
from rollouts.queries import uses

Kind = ChangeRequest.Kind
APPLICABLE = (Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.FAILED)


class ChangeRequestForm(ActionForm):
    about_segment = forms.ModelChoiceField(
        Segment.objects.all(), required=False, label="segment", help_text="instead of a flag"
    )
    document = JsonField(
        rows=16, help_text="what it is to be; what is left out stays. Without environment: the flag's variants"
    )
    # What the editor has seen: somebody else's edit meanwhile is not written over.
    seen_hash = forms.CharField(required=False, widget=forms.HiddenInput)

    class Meta:
        model = ChangeRequest
        fields = ("flag", "environment", "title", "because", "document", "apply_at")

    def __init__(self, *args: Any, **given: Any) -> None:
        super().__init__(*args, **given)
        if "title" not in self.fields:
            return  # only shown
        self.fields["title"].required = False
        if self.instance.pk:
            self.fields.pop("about_segment", None)
            if self.instance.kind == Kind.CONFIG:
                self.initial["document"] = documents.show_config(self.instance.document)
            self.fields["seen_hash"].initial = self.instance.hash

    def act(self) -> ChangeRequest:
        given = dict(self.cleaned_data)
        if self.instance.pk is None:
            return self._open(given)
        if self.has_changed() and {"document", "title", "because"} & set(self.changed_data):
            change_requests.edit(
                self.instance, given["document"], by=self.by, title=given["title"], because=given["because"],
                expected_hash=given["seen_hash"] or None,
            )  # fmt: skip
        if "apply_at" in self.changed_data and given["apply_at"] is None:
            change_requests.unschedule(self.instance, by=self.by)
        elif "apply_at" in self.changed_data:
            change_requests.schedule(self.instance, given["apply_at"], by=self.by)
        return self.instance

    def _open(self, given: dict[str, Any]) -> ChangeRequest:
        told = {name: given[name] for name in ("title", "because", "apply_at")} | {"by": self.by}
        if given["about_segment"] is not None:
            if given["flag"] or given["environment"]:
                raise Invalid.of("about_segment", "not together with a flag or an environment")
            return change_requests.open_segment(given["about_segment"], given["document"], **told)
        if given["flag"] is None:
            raise Invalid.of("flag", "choose a flag or a segment")
        if given["environment"] is None:
            return change_requests.open_variants(given["flag"], given["document"], **told)
        return change_requests.open(given["flag"], given["environment"], given["document"], **told)


class ApprovalInline(admin.TabularInline[Any, ChangeRequest]):
    """What people said, to read."""

    model = Approval
    fields = ("person", "value", "comment", "hash", "at")
    readonly_fields = fields
    extra = 0
    can_delete = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).select_related("person")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return True  # whoever sees the change request


@admin.register(ChangeRequest)
class ChangeRequestAdmin(Admin[ChangeRequest]):
    form = ChangeRequestForm
    inlines = (ApprovalInline,)
    list_display = ("__str__", "state", "flag", "environment", "segment", "author_name", "apply_at", "created_at")
    list_filter = ("status", "kind", "environment")
    list_select_related = ("flag", "environment")
    search_fields = ("title", "flag__key", "segment", "author_name")

    def get_queryset(self, request: HttpRequest) -> QuerySet[ChangeRequest]:
        return permissions.visible(
            _by(request), super().get_queryset(request), environment="environment", service="flag__service"
        )

    def get_fields(self, request: HttpRequest, obj: ChangeRequest | None = None) -> tuple[str, ...]:
        if obj is None:
            return ("flag", "environment", "about_segment", "title", "because", "document", "apply_at")
        shown = (
            "state", "held_because", "kind", "flag", "environment", "segment", "author_name", "base_revision",
            "applied_revision", "title", "because", "document", "apply_at",
        )  # fmt: skip
        return (*shown, "seen_hash") if self.has_change_permission(request, obj) else shown

    def get_readonly_fields(self, request: HttpRequest, obj: ChangeRequest | None = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        return (
            "state", "held_because", "kind", "flag", "environment", "segment", "author_name", "base_revision",
            "applied_revision",
        )  # fmt: skip

    def get_inlines(self, request: HttpRequest, obj: ChangeRequest | None) -> Any:
        return self.inlines if obj else ()

    def has_add_permission(self, request: HttpRequest) -> bool:
        return permissions.can(_by(request), "operate", environment=permissions.ANY, service=permissions.ANY)

    def has_change_permission(self, request: HttpRequest, obj: ChangeRequest | None = None) -> bool:
        return self.has_add_permission(request) and (obj is None or obj.pending or obj.status == Status.REJECTED)

    @admin.display(description="status", ordering="status")
    def state(self, request: ChangeRequest) -> SafeString:
        return pill(request.status)

    @button("Approve", shown=lambda one: one.status in APPLICABLE)
    def approve(self, request: HttpRequest, thing: ChangeRequest, because: str) -> str:
        seen = request.POST.get("seen") or None
        change_requests.approve(thing, by=_by(request), comment=because, expected_hash=seen)
        return f"{thing}: your approval counts"

    @button("Reject", asks_reason=True, danger=True, shown=lambda one: one.pending)
    def reject(self, request: HttpRequest, thing: ChangeRequest, because: str) -> str:
        change_requests.reject(thing, by=_by(request), because=because)
        return f"{thing} is rejected"

    @button("Apply now", shown=lambda one: one.status in APPLICABLE)
    def apply(self, request: HttpRequest, thing: ChangeRequest, because: str) -> str:
        change_requests.apply(thing, by=_by(request), because=because)
        return f"{thing} is applied: revision {thing.applied_revision}"

    @button("Rebase", shown=lambda one: one.pending)
    def rebase(self, request: HttpRequest, thing: ChangeRequest, because: str) -> str:
        overlapping = change_requests.rebase(thing, by=_by(request))
        also = f"; changed meanwhile as well: {', '.join(overlapping)}" if overlapping else ""
        return f"{thing} is made on revision {thing.base_revision}{also}"

    @button("Withdraw", asks_reason=True, danger=True, shown=lambda one: one.pending)
    def withdraw(self, request: HttpRequest, thing: ChangeRequest, because: str) -> str:
        change_requests.withdraw(thing, by=_by(request), because=because)
        return f"{thing} is withdrawn"


@admin.register(Approval)
class ApprovalAdmin(ReadOnly[Approval]):
    list_display = ("change_request", "person", "value", "comment", "at")
    list_filter = ("value",)
    list_select_related = ("change_request", "person")
    search_fields = ("change_request__title", "person__username")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        seen = uses.requests_seen(_by(request), ChangeRequest.objects.all())
        return super().get_queryset(request).filter(change_request__in=seen)


def _by(request: HttpRequest) -> Actor:
    return request.user  # type: ignore[return-value]
