"""The public status page: its components, and what was published about incidents and maintenance."""

import secrets
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from monitoring.models.incidents import Incident
from portal.models import Environment, Service

ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"


def code() -> str:
    """An identity that tells strangers nothing."""
    return "".join(secrets.choice(ALPHABET) for _ in range(12))


class StatusComponent(models.Model):
    """One thing that users know by name."""

    class Status(models.TextChoices):
        OPERATIONAL = "operational"
        DEGRADED_PERFORMANCE = "degraded_performance"
        PARTIAL_OUTAGE = "partial_outage"
        MAJOR_OUTAGE = "major_outage"
        UNDER_MAINTENANCE = "under_maintenance"
        COMPUTED = "computed", "computed: by what is open and published"

    # People say how it is, at any time and in any order.
    MOVES: ClassVar[dict[str, set[str]]] = dict.fromkeys(Status.values, set(Status.values))

    code = models.CharField(max_length=12, unique=True, default=code, editable=False)
    name = models.CharField(max_length=100, unique=True)
    description = models.CharField(max_length=300, blank=True)
    position = models.PositiveSmallIntegerField(default=100)
    status = models.CharField(
        max_length=20, choices=Status, default=Status.COMPUTED, editable=False, help_text="what a person says"
    )
    service = models.ForeignKey(
        Service, models.SET_NULL, null=True, blank=True, related_name="+", help_text="whose open incidents it follows"
    )
    environment = models.ForeignKey(
        Environment,
        models.SET_NULL,
        null=True,
        blank=True,
        related_name="+",
        help_text="of these; empty: any",
    )
    auto_publish = models.BooleanField(default=False, help_text="its service's incidents are published by themselves")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("position", "name")

    def __str__(self) -> str:
        return self.name


class StatusIncident(models.Model):
    """What users are told about trouble, or about maintenance to come. Nothing of the inside is in it."""

    class Kind(models.TextChoices):
        INCIDENT = "incident"
        MAINTENANCE = "maintenance"

    class Status(models.TextChoices):
        INVESTIGATING = "investigating"
        IDENTIFIED = "identified"
        MONITORING = "monitoring"
        RESOLVED = "resolved"
        SCHEDULED = "scheduled"
        IN_PROGRESS = "in_progress"
        VERIFYING = "verifying"
        COMPLETED = "completed"

    class Impact(models.TextChoices):
        NONE = "none"
        MINOR = "minor"
        MAJOR = "major"
        CRITICAL = "critical"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.INVESTIGATING: {Status.IDENTIFIED, Status.MONITORING, Status.RESOLVED},
        Status.IDENTIFIED: {Status.INVESTIGATING, Status.MONITORING, Status.RESOLVED},
        Status.MONITORING: {Status.INVESTIGATING, Status.IDENTIFIED, Status.RESOLVED},
        Status.RESOLVED: set(),
        Status.SCHEDULED: {Status.IN_PROGRESS, Status.COMPLETED},
        Status.IN_PROGRESS: {Status.VERIFYING, Status.COMPLETED},
        Status.VERIFYING: {Status.IN_PROGRESS, Status.COMPLETED},
        Status.COMPLETED: set(),
    }

    code = models.CharField(max_length=12, unique=True, default=code, editable=False)
    kind = models.CharField(max_length=12, choices=Kind, default=Kind.INCIDENT)
    name = models.CharField(max_length=200)
    status = models.CharField(max_length=15, choices=Status, editable=False)
    impact = models.CharField(max_length=10, choices=Impact, default=Impact.MINOR)
    components = models.ManyToManyField(StatusComponent, blank=True, related_name="incidents")
    incident = models.ForeignKey(
        Incident, models.SET_NULL, null=True, blank=True, related_name="published", help_text="of ours; never shown"
    )
    automatic = models.BooleanField(default=False, editable=False)
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(db_default=Now(), editable=False)
    monitoring_at = models.DateTimeField(null=True, editable=False)
    resolved_at = models.DateTimeField(null=True, editable=False)
    scheduled_for = models.DateTimeField(null=True, blank=True)
    scheduled_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ("-started_at", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=("incident",), condition=models.Q(automatic=True), name="published_by_itself_once"
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StatusUpdate(models.Model):
    """One thing that users were told, as it was told."""

    code = models.CharField(max_length=12, unique=True, default=code, editable=False)
    incident = models.ForeignKey(StatusIncident, models.CASCADE, related_name="updates")
    status = models.CharField(max_length=15)
    body = models.TextField()
    at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-id",)

    def __str__(self) -> str:
        return f"{self.status}: {self.body[:50]}"
