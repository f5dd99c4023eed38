"""What would cost less or disturb less, what became of it, and what instances cost."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service


class UnitCost(models.Model):
    """What one service costs in one environment: by a metric, or by a price for each instance."""

    service = models.ForeignKey(Service, models.PROTECT, related_name="unit_costs")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="unit_costs")
    currency = models.CharField(max_length=10, default="EUR")
    instance_price = models.FloatField(null=True, blank=True, help_text="of one instance for 30 days; or")
    metric = models.CharField(max_length=200, blank=True, help_text="the cost itself, summed up")
    aggregation = models.CharField(max_length=20, default="sum", help_text="sum of a gauge, increase of a counter")

    class Meta:
        ordering = ("service", "environment")
        constraints = [
            models.UniqueConstraint(fields=("service", "environment"), name="one_unit_cost_a_place"),
            models.CheckConstraint(
                condition=Q(instance_price__gt=0) | ~Q(metric=""), name="unit_cost_says_what_it_costs"
            ),
        ]

    def __str__(self) -> str:
        return f"cost of {self.service} in {self.environment}"


class RecommendationQuerySet(models.QuerySet["Recommendation"]):
    """The questions about recommendations."""

    def pending(self) -> Self:
        return self.filter(status__in=("open", "accepted"))


class Recommendation(models.Model):
    """One piece of advice with its evidence, and the saving: expected first, measured once it was applied."""

    class Rule(models.TextChoices):
        OVER_PROVISIONED = "over_provisioned", "more instances than the load needs"
        LOW_HIT_RATE = "low_hit_rate", "a cache that seldom helps"
        ERROR_PRONE = "error_prone", "an endpoint that fails more than the others"
        NOISY_THRESHOLD = "noisy_threshold", "a threshold whose alerts are mostly false"
        SILENT_THRESHOLD = "silent_threshold", "a threshold without data"
        UNWATCHED_METRIC = "unwatched_metric", "many series that nobody judges"

    class Status(models.TextChoices):
        OPEN = "open"
        ACCEPTED = "accepted"
        APPLIED = "applied"
        DISMISSED = "dismissed"
        OBSOLETE = "obsolete"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.OPEN: {Status.ACCEPTED, Status.APPLIED, Status.DISMISSED, Status.OBSOLETE},
        Status.ACCEPTED: {Status.APPLIED, Status.DISMISSED, Status.OBSOLETE},
        Status.APPLIED: set(),
        Status.DISMISSED: set(),
        # It holds no longer, and nobody has said that it was applied.
        Status.OBSOLETE: set(),
    }

    key = models.CharField(max_length=250, help_text="the rule and what it is about")
    rule = models.CharField(max_length=20, choices=Rule)
    title = models.CharField(max_length=300)
    advice = models.TextField()
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="recommendations")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="recommendations")
    evidence = models.JSONField(help_text="the figures that it rests on, as they were last seen")
    unit = models.CharField(max_length=40, help_text="of the savings: EUR, false alerts, series; for 30 days")
    expected = models.FloatField(null=True, help_text="saved in 30 days; empty: not known")
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN)
    made_at = models.DateTimeField(db_default=Now())
    seen_at = models.DateTimeField(db_default=Now(), help_text="when it last held")
    decided_by = models.CharField(max_length=200, blank=True, default="")
    decided_at = models.DateTimeField(null=True)
    said = models.TextField(blank=True, default="", help_text="why, in the words of who decided")
    applied_at = models.DateTimeField(null=True)
    due_at = models.DateTimeField(null=True, help_text="when its saving is measured")
    saved = models.FloatField(null=True, help_text="measured, in 30 days; negative: it costs more")
    measured_at = models.DateTimeField(null=True)
    measured_because = models.TextField(blank=True, default="", help_text="by which figures, or why it is unknown")

    objects = RecommendationQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="savings_due")]
        constraints = [
            models.UniqueConstraint(
                fields=("key",), condition=Q(status__in=("open", "accepted")), name="one_pending_recommendation_a_key"
            ),
        ]

    def __str__(self) -> str:
        return self.title
