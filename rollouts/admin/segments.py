"""Segments in the admin."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest

from portal.admin import ActionForm, Admin, ReadOnly, button
from rollouts.actions import segments
from rollouts.admin.fields import JsonField
from rollouts.models import Segment, SegmentRevision
from rollouts.queries import uses


class SegmentForm(ActionForm):
    conditions = JsonField(required=False, help_text='All must hold: [{"attr": "…", "op": "in", "values": ["…"]}]')
    included = JsonField(required=False, rows=3, help_text='Units that belong all the same: ["…"]')
    excluded = JsonField(required=False, rows=3, help_text='Units that never belong: ["…"]')

    class Meta:
        model = Segment
        fields = ("key", "name", "description", "conditions", "included", "excluded")

    def act(self) -> Segment:
        given: dict[str, Any] = {name: [] if value is None else value for name, value in self.cleaned_data.items()}
        if self.instance.pk is None:
            return segments.create(given.pop("key"), by=self.by, **given)
        segments.change(self.instance, given, by=self.by)
        return self.instance


@admin.register(Segment)
class SegmentAdmin(Admin[Segment]):
    form = SegmentForm
    list_display = ("key", "name", "revision", "updated_at")
    search_fields = ("key", "name")

    def get_fields(self, request: HttpRequest, obj: Segment | None = None) -> tuple[str, ...]:
        return (*SegmentForm.Meta.fields, "used_by") if obj else SegmentForm.Meta.fields

    def get_readonly_fields(self, request: HttpRequest, obj: Segment | None = None) -> tuple[str, ...]:
        return ("key", "used_by") if obj else ()

    @admin.display(description="used by")
    def used_by(self, segment: Segment) -> str:
        # Segments are everybody's, so whoever edits one sees all that it reaches.
        named = [*uses.configs_through(segment.key), *uses.segments_with_segment(segment.key)]
        return "; ".join(map(str, named)) or "nobody"

    @button("Delete", asks_reason=True, danger=True)
    def delete(self, request: HttpRequest, thing: Segment, because: str) -> str:
        segments.delete(thing, by=request.user, because=because)  # type: ignore[arg-type]
        return f"Segment {thing} is deleted"


@admin.register(SegmentRevision)
class SegmentRevisionAdmin(ReadOnly[SegmentRevision]):
    list_display = ("segment", "number", "actor", "because", "at")
    search_fields = ("segment", "actor", "because")

    @button("Restore", asks_reason=True, shown=lambda revision: revision.document is not None)
    def restore(self, request: HttpRequest, thing: SegmentRevision, because: str) -> str:
        segment = segments.restore(thing.segment, thing.number, by=request.user, because=because)  # type: ignore[arg-type]
        return f"Segment {segment} is as in revision {thing.number} again: revision {segment.revision}"
