"""Service level objectives: what share of events is to be good, and what is left of what may be bad."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service, key_validator
from portal.verdicts import Outcome


class SloQuerySet(models.QuerySet["Slo"]):
    """The questions about objectives."""

    def active(self) -> Self:
        return self.filter(active=True)


class Slo(models.Model):
    """An objective with its error budget. Removed ones stay, inactive, for the alerts that they had."""

    class Kind(models.TextChoices):
        AVAILABILITY = "availability", "availability: good or bad events of all, by counters"
        LATENCY = "latency", "latency: observations of a histogram that are not above a bound"
        UPTIME = "uptime", "uptime: a probe that says 1 or 0"

    key = models.CharField(max_length=128, validators=[key_validator])
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True, help_text="what the users get, and what to do when they do not")
    kind = models.CharField(max_length=20, choices=Kind)
    metric = models.CharField(max_length=200, help_text="all events; the histogram; the probe")
    good = models.CharField(max_length=200, blank=True, help_text="availability: the counter of good events, or")
    bad = models.CharField(max_length=200, blank=True, help_text="the counter of bad ones")
    event_matchers = models.JSONField(default=dict, blank=True, help_text="more labels of the good or bad ones")
    bound = models.FloatField(null=True, blank=True, help_text="latency: up to here an observation is good")
    matchers = models.JSONField(default=dict, blank=True, help_text="labels that a series must carry")
    objective = models.FloatField(help_text="percent of events that are to be good: 99.9")
    window = models.PositiveIntegerField(default=30 * 86_400, help_text="seconds; whole days")
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="slos", editable=False)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="slos", editable=False)
    active = models.BooleanField(default=True, editable=False)
    version = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    due_at = models.DateTimeField(db_default=Now(), editable=False)
    # What the last look found; the judge of budgets alone writes it.
    remaining = models.FloatField(null=True, editable=False, help_text="of the whole budget; below 0: overspent")
    coverage = models.FloatField(default=0, editable=False, help_text="share of the window that is known")
    outcome = models.CharField(max_length=20, blank=True, default="", editable=False)
    reason = models.TextField(blank=True, default="", editable=False)
    looked_at = models.DateTimeField(null=True, editable=False)

    objects = SloQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        verbose_name = "SLO"
        indexes = [models.Index(fields=("due_at",), condition=Q(active=True), name="slos_due")]
        constraints = [
            models.UniqueConstraint(fields=("key",), condition=Q(active=True), name="one_active_slo_a_key"),
            models.CheckConstraint(condition=Q(objective__gt=0, objective__lt=100), name="objective_leaves_a_budget"),
        ]

    def __str__(self) -> str:
        return self.name

    @property
    def is_spent(self) -> bool:
        return self.outcome == Outcome.FAILED
