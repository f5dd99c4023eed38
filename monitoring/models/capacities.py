"""Limits that metrics have: a capacity that one may reach, a budget that a month may cost."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service, key_validator


class CapacityQuerySet(models.QuerySet["Capacity"]):
    """The questions about limits."""

    def active(self) -> Self:
        return self.filter(active=True)


class Capacity(models.Model):
    """One limit of one metric. Removed ones stay, inactive, for what was said of them."""

    class Kind(models.TextChoices):
        CAPACITY = "capacity", "capacity: what there is of it"
        BUDGET = "budget", "budget: what a calendar month may cost"

    class State(models.TextChoices):
        WITHIN = "within"
        AT_RISK = "at_risk", "at risk"
        OVER = "over"
        UNKNOWN = "unknown"

    key = models.CharField(max_length=128, validators=[key_validator])
    name = models.CharField(max_length=200)
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.CAPACITY)
    metric = models.CharField(max_length=200)
    aggregation = models.CharField(
        max_length=20,
        blank=True,
        help_text="a capacity: mean, max, last, p95…; a budget: sum, or increase of a counter",
    )
    matchers = models.JSONField(default=dict, blank=True, help_text="labels that a series must carry")
    limit = models.FloatField(help_text="in the metric's unit")
    share = models.FloatField(default=0.9, help_text="a capacity: of the limit that must not be reached; 0.9 is 90 %")
    horizon = models.PositiveSmallIntegerField(default=90, help_text="a capacity: days that are looked ahead")
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="capacities", editable=False)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="capacities", editable=False)
    active = models.BooleanField(default=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)
    # What the last look found; the sweep alone writes it.
    state = models.CharField(max_length=10, choices=State, default=State.UNKNOWN, editable=False)
    reason = models.TextField(blank=True, default="", editable=False)
    value = models.FloatField(null=True, editable=False, help_text="now; of a budget what is spent")
    expected = models.FloatField(null=True, editable=False, help_text="at the horizon, or the month's end")
    low = models.FloatField(null=True, editable=False, help_text="of its interval")
    high = models.FloatField(null=True, editable=False)
    reached_at = models.DateTimeField(
        null=True, editable=False, help_text="when the share is reached; empty: not by then"
    )
    earliest_at = models.DateTimeField(null=True, editable=False)
    latest_at = models.DateTimeField(null=True, editable=False)
    method = models.CharField(max_length=60, blank=True, default="", editable=False)
    looked_at = models.DateTimeField(null=True, editable=False)

    objects = CapacityQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        verbose_name_plural = "capacities"
        indexes = [models.Index(fields=("due_at",), condition=Q(active=True), name="capacities_due")]
        constraints = [
            models.UniqueConstraint(fields=("key",), condition=Q(active=True), name="one_active_capacity_a_key"),
            models.CheckConstraint(condition=Q(limit__gt=0), name="capacity_is_something"),
            models.CheckConstraint(condition=Q(share__gt=0, share__lte=1), name="capacity_share_is_a_share"),
        ]

    def __str__(self) -> str:
        return self.name
