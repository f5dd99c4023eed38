"""Alerts that somebody else judges and reports to us: what was said of each last."""

from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.models.thresholds import Threshold
from portal.models import Environment, Service


class ReportedAlertQuerySet(models.QuerySet["ReportedAlert"]):
    """The questions about reported alerts."""

    def going_on(self) -> Self:
        return self.exclude(phase=ReportedAlert.Phase.RESOLVED)


class ReportedAlert(models.Model):
    """One set of labels as it was reported last. Its alert, while it fires, is that of the threshold and the group."""

    class Phase(models.TextChoices):
        FIRING = "firing"
        UNREPORTED = "unreported", "no longer reported"
        RESOLVED = "resolved"

    class Level(models.TextChoices):
        INFO = "info"
        WARNING = "warning"
        ERROR = "error"
        CRITICAL = "critical"

    threshold = models.ForeignKey(Threshold, models.PROTECT, related_name="reported")
    fingerprint = models.CharField(max_length=64, unique=True, help_text="of its labels: the alerts' group")
    phase = models.CharField(max_length=10, choices=Phase)
    level = models.CharField(max_length=10, choices=Level, help_text="by its label severity; info alerts nobody")
    labels = models.JSONField()
    annotations = models.JSONField(default=dict)
    generator_url = models.CharField(max_length=2000, blank=True)
    way = models.CharField(max_length=20, help_text="by which it came last: webhook or api")
    sender = models.CharField(max_length=200, help_text="the key that reported it last")
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="+")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="+")
    starts_at = models.DateTimeField(help_text="as reported")
    ends_at = models.DateTimeField(null=True, help_text="when it ended, or until when it stands without another word")
    reported_at = models.DateTimeField(help_text="when it was reported last")
    due_at = models.DateTimeField(null=True, help_text="when it counts as no longer reported")
    created_at = models.DateTimeField(db_default=Now())

    objects = ReportedAlertQuerySet.as_manager()

    class Meta:
        ordering = ("-reported_at", "-id")
        indexes = [
            models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="reported_alerts_due"),
            models.Index(fields=("phase", "-reported_at"), name="reported_alerts_by_phase"),
        ]

    def __str__(self) -> str:
        return f"{self.labels.get('alertname', 'alert')} {self.fingerprint[:16]}"
