"""Audiences: people who join or leave of their own accord, kept apart from what the team writes into a segment."""

from django.db import models
from django.db.models.functions import Now

from portal.models import key_validator
from rollouts.models.segments import Segment


class Audience(models.Model):
    """An offer that one may join, such as a beta. Who has joined belongs to its segment, who has left does not."""

    key = models.CharField(max_length=128, unique=True, validators=[key_validator])
    segment = models.OneToOneField(Segment, models.PROTECT, related_name="audience")
    name = models.CharField(max_length=200, blank=True, help_text="as the page that one joins on says it")
    description = models.TextField(blank=True, help_text="what somebody should know before joining")
    open = models.BooleanField(default=True, help_text="closed: nobody joins any more, leaving is always possible")
    capacity = models.PositiveIntegerField(
        null=True, blank=True, help_text="at most so many members; empty: any number"
    )
    members_joined = models.PositiveIntegerField(default=0, editable=False)
    # Links carry it: raising it takes all that were made before out of use.
    link_epoch = models.PositiveIntegerField(default=1, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("key",)

    def __str__(self) -> str:
        return self.key

    @property
    def title(self) -> str:
        return self.name or self.key


class AudienceMember(models.Model):
    """One unit's own word: joined, or left. Without a row the segment's conditions decide."""

    audience = models.ForeignKey(Audience, models.CASCADE, related_name="members")
    unit = models.CharField(max_length=1024)
    joined = models.BooleanField()
    actor = models.CharField(max_length=200, help_text="who said so")
    at = models.DateTimeField(db_default=Now())
    changed_in = models.BigIntegerField(default=0, editable=False, db_index=True)

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=("audience", "unit"), name="one_word_of_a_unit")]
        indexes = [models.Index(fields=("unit",), name="audiences_of_a_unit")]

    def __str__(self) -> str:
        return f"{self.unit} {'in' if self.joined else 'out of'} {self.audience_id}"
