"""Segments: named groups of units that rules refer to, and every revision of them."""

from typing import Any

from django.core.serializers.json import DjangoJSONEncoder
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import key_validator


class Segment(models.Model):
    """Who belongs: the included units, and those for whom all conditions hold, without the excluded ones."""

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    name = models.CharField(max_length=200, blank=True)
    description = models.TextField(blank=True)
    conditions = models.JSONField(default=list, blank=True)
    included = models.JSONField(default=list, blank=True, help_text="units that belong whatever the conditions say")
    excluded = models.JSONField(default=list, blank=True, help_text="units that never belong")
    revision = models.PositiveIntegerField(default=0, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    changed_in = models.BigIntegerField(default=0, editable=False, db_index=True)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key

    def document(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "name": self.name,
            "description": self.description,
            "conditions": self.conditions,
            "included": self.included,
            "excluded": self.excluded,
        }


class SegmentRevision(models.Model):
    """One write of a segment, for good: a trigger forbids changing or deleting it. It outlives the segment."""

    segment = models.CharField(max_length=128, help_text="the segment's key")
    number = models.PositiveIntegerField()
    document = models.JSONField(encoder=DjangoJSONEncoder, null=True, help_text="empty: it was deleted")
    diff = models.JSONField(encoder=DjangoJSONEncoder, help_text="{field: [before, after]}")
    actor = models.CharField(max_length=200)
    because = models.TextField(blank=True)
    change_request = models.ForeignKey(
        "rollouts.ChangeRequest", models.PROTECT, null=True, related_name="+", help_text="that it carried out"
    )
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(fields=("segment", "number"), name="one_segment_revision_of_a_number"),
            models.CheckConstraint(condition=Q(number__gt=0), name="segment_revisions_count_from_one"),
        ]

    def __str__(self) -> str:
        return f"{self.segment} r{self.number}"
