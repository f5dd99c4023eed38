"""Post-mortems and action items in the admin: to look through; they are written on their pages."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from monitoring.actions import action_items, postmortems
from monitoring.admin.incidents import OfIncident
from monitoring.models import ActionItem, PostMortem, PostMortemVersion
from portal import permissions
from portal.admin import ReadOnly, button, pill


@admin.register(PostMortem)
class PostMortemAdmin(OfIncident):
    list_display = ("incident", "state", "version", "due_at", "published_at")

    @admin.display(description="status", ordering="status")
    def state(self, post_mortem: PostMortem) -> SafeString:
        return pill(post_mortem.status)

    @button("Publish", shown=lambda one: one.status != "published")
    def publish(self, request: HttpRequest, thing: PostMortem, because: str) -> None:
        postmortems.publish(thing, by=request.user)  # type: ignore[arg-type]

    @button("Waive", asks_reason=True, danger=True, shown=lambda one: one.status == "draft")
    def waive(self, request: HttpRequest, thing: PostMortem, because: str) -> None:
        postmortems.waive(thing, by=request.user, because=because)  # type: ignore[arg-type]


@admin.register(PostMortemVersion)
class VersionAdmin(ReadOnly[PostMortemVersion]):
    list_display = ("post_mortem", "number", "author", "at")
    list_select_related = ("post_mortem",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[PostMortemVersion]:
        who: Any = request.user
        place = "post_mortem__incident"
        rows = super().get_queryset(request)
        return permissions.visible(who, rows, environment=f"{place}__environment", service=f"{place}__service")


@admin.register(ActionItem)
class ActionItemAdmin(OfIncident):
    list_display = ("title", "incident", "owner", "due_on", "state")
    list_select_related = ("incident", "owner")  # type: ignore[assignment]
    search_fields = ("title",)

    @admin.display(description="status", ordering="status")
    def state(self, item: ActionItem) -> SafeString:
        return pill(item.status)

    @button("Done", shown=lambda item: item.status == "open")
    def done(self, request: HttpRequest, thing: ActionItem, because: str) -> None:
        action_items.end(thing, "done", by=request.user, because=because)  # type: ignore[arg-type]

    @button("Drop", asks_reason=True, shown=lambda item: item.status == "open")
    def drop(self, request: HttpRequest, thing: ActionItem, because: str) -> None:
        action_items.end(thing, "dropped", by=request.user, because=because)  # type: ignore[arg-type]
