"""Audiences in the admin, with who has joined and left."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.admin import ActionForm, Admin, ReadOnly, button
from rollouts.actions import audiences
from rollouts.models import Audience, AudienceMember


class AudienceForm(ActionForm):
    class Meta:
        model = Audience
        fields = ("key", "segment", "name", "description", "open", "capacity")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "segment" in self.fields:
            self.fields["segment"].required = False
            self.fields["segment"].help_text = "Whom it decides. Empty: a new segment of the same key."

    def act(self) -> Audience:
        given: dict[str, Any] = dict(self.cleaned_data)
        if self.instance.pk is None:
            segment = given.pop("segment")
            return audiences.create(given.pop("key"), segment=segment.key if segment else None, by=self.by, **given)
        audiences.change(self.instance, given, by=self.by)
        return self.instance


@admin.register(Audience)
class AudienceAdmin(Admin[Audience]):
    form = AudienceForm
    list_display = ("key", "name", "segment", "open", "members_joined", "capacity")
    list_select_related = ("segment",)
    search_fields = ("key", "name")
    autocomplete_fields = ("segment",)

    def get_readonly_fields(self, request: HttpRequest, obj: Audience | None = None) -> tuple[str, ...]:
        return ("key", "segment") if obj else ()

    @button("Revoke all links", asks_reason=True, danger=True)
    def revoke_links(self, request: HttpRequest, thing: Audience, because: str) -> str:
        audiences.revoke_links(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"Links to audience {thing} that were made until now are worth nothing"

    @button("Delete", asks_reason=True, danger=True)
    def delete(self, request: HttpRequest, thing: Audience, because: str) -> str:
        audiences.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"Audience {thing} is deleted"


@admin.register(AudienceMember)
class AudienceMemberAdmin(ReadOnly[AudienceMember]):
    list_display = ("unit", "audience", "joined", "actor", "at")
    list_filter = ("joined", "audience")
    list_select_related = ("audience",)
    search_fields = ("unit",)
    fields = ("audience", "unit", "joined", "actor", "at")
    show_full_result_count = False
