"""Alerts: a threshold that was crossed, from the first look to the evidence that it is over."""

from typing import ClassVar, Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.judging import Level
from monitoring.models.incidents import Incident
from monitoring.models.thresholds import Threshold
from portal.models import Environment, Service


class AlertQuerySet(models.QuerySet["Alert"]):
    """The questions about alerts."""

    def open(self) -> Self:
        return self.filter(status__in=OPEN)

    def firing(self) -> Self:
        return self.filter(status=Alert.Status.FIRING)

    def held(self) -> Self:
        """Those that fire and wait to be told."""
        return self.firing().filter(held_at__isnull=False)


class Alert(models.Model):
    """One crossing of one threshold. A pending one that never fires is taken away again."""

    class Status(models.TextChoices):
        PENDING = "pending"
        FIRING = "firing"
        RESOLVED = "resolved"

    class Level(models.TextChoices):
        WARNING = Level.WARNING.value
        ERROR = Level.ERROR.value
        CRITICAL = Level.CRITICAL.value

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.PENDING: {Status.FIRING},
        Status.FIRING: {Status.RESOLVED},
        Status.RESOLVED: set(),
    }

    threshold = models.ForeignKey(Threshold, models.PROTECT, related_name="alerts")
    group = models.CharField(max_length=200, blank=True, default="")
    status = models.CharField(max_length=10, choices=Status)
    level = models.CharField(max_length=10, choices=Level, help_text="the worst that it reached")
    reason = models.TextField(help_text="the verdict that made it what it is")
    value = models.FloatField(null=True)
    labels = models.JSONField(default=dict)
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="alerts")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="alerts")
    incident = models.ForeignKey(Incident, models.PROTECT, null=True, related_name="alerts")
    started_at = models.DateTimeField(help_text="when the condition was first seen true")
    fired_at = models.DateTimeField(null=True)
    resolved_at = models.DateTimeField(null=True)
    resolved_because = models.TextField(blank=True, default="")
    told_at = models.DateTimeField(null=True, help_text="when the channels were first told of it")
    held_at = models.DateTimeField(null=True, help_text="since when something keeps it from being told")
    held_because = models.TextField(blank=True, default="")
    flapping = models.BooleanField(default=False)
    false_at = models.DateTimeField(null=True, help_text="when somebody said that it was false")
    false_by = models.CharField(max_length=200, blank=True, default="")
    false_because = models.TextField(blank=True, default="")
    created_at = models.DateTimeField(db_default=Now())

    objects = AlertQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("status", "-id"), name="alerts_by_status"),
            models.Index(fields=("id",), condition=Q(status="firing", held_at__isnull=False), name="alerts_held"),
        ]
        constraints = [
            models.UniqueConstraint(
                fields=("threshold", "group"),
                condition=Q(status__in=("pending", "firing")),
                name="one_open_alert_a_threshold_and_group",
            ),
            models.CheckConstraint(
                condition=Q(status="resolved", resolved_at__isnull=False)
                | (~Q(status="resolved") & Q(resolved_at__isnull=True)),
                name="resolved_alert_says_when",
            ),
        ]

    def __str__(self) -> str:
        return f"alert {self.pk}"

    def known_by(self) -> dict[str, str]:
        """The labels by which silences, maintenance windows and inhibitions know it."""
        return {
            **self.labels,
            "alertname": self.threshold.name,
            "metric": self.threshold.metric,
            "level": self.level,
        }


OPEN = (Alert.Status.PENDING, Alert.Status.FIRING)
