"""Feedback in the admin: to read. Entries are what users said, nobody edits them."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from feedback import queries
from feedback.models import Entry
from portal import permissions
from portal.admin import ReadOnly, pill


@admin.register(Entry)
class EntryAdmin(ReadOnly[Entry]):
    list_display = ("id", "excerpt", "stars", "mood", "rank", "kind", "service", "environment", "release", "created_at")
    list_filter = ("sentiment", "priority", "kind", "rating", "service", "environment")
    list_select_related = ("service", "environment")
    search_fields = ("text", "release", "unit")
    date_hierarchy = "created_at"
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Entry]:
        return permissions.visible(request.user, super().get_queryset(request))  # type: ignore[arg-type]

    def get_fields(self, request: HttpRequest, obj: Entry | None = None) -> Any:
        """The writer's address is for those who may act on the entry."""
        fields = [name for name in super().get_fields(request, obj) if name != "email"]
        person: Any = request.user
        return [*fields, "email"] if obj is not None and queries.may_see_address(obj, by=person) else fields

    @admin.display(description="text", ordering="text")
    def excerpt(self, entry: Entry) -> str:
        return entry.text if len(entry.text) <= 80 else f"{entry.text[:79]}…"

    @admin.display(description="rating", ordering="rating")
    def stars(self, entry: Entry) -> str:
        return "★" * entry.rating if entry.rating else "–"

    @admin.display(description="sentiment", ordering="score")
    def mood(self, entry: Entry) -> SafeString:
        return pill(entry.sentiment or "n/a")

    @admin.display(description="priority", ordering="priority")
    def rank(self, entry: Entry) -> SafeString:
        return pill(entry.priority)
