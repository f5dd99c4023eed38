"""Errors of applications: each occurrence as it was reported, and the groups of those that are one error."""

from typing import ClassVar

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from portal.models import Environment, Service, User

LONGEST_TYPE = 200
LONGEST_MESSAGE = 8_000
LONGEST_RELEASE = 200
LONGEST_UNIT = 512
LONGEST_URL = 2_000


class ErrorSeverity(models.TextChoices):
    """From the least to the worst."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


class ErrorGroup(models.Model):
    """One error of one service in one environment, however often it occurs. Only actions change it."""

    class Status(models.TextChoices):
        OPEN = "open"
        RESOLVED = "resolved"
        IGNORED = "ignored"

    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.OPEN: {Status.RESOLVED, Status.IGNORED},
        Status.RESOLVED: {Status.OPEN, Status.IGNORED},
        Status.IGNORED: {Status.OPEN, Status.RESOLVED},
    }

    service = models.ForeignKey(Service, models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    fingerprint = models.CharField(max_length=64, help_text="what its occurrences have in common")
    type = models.CharField(max_length=LONGEST_TYPE)
    message = models.CharField(max_length=500, blank=True, help_text="of the last occurrence, its beginning")
    culprit = models.CharField(max_length=300, blank=True, help_text="the innermost call of the own code")
    severity = models.CharField(max_length=10, choices=ErrorSeverity, help_text="the worst so far")
    status = models.CharField(max_length=10, choices=Status, default=Status.OPEN, editable=False)
    # Whoever moved it last, and why; the audit trail knows all of them.
    status_by = models.CharField(max_length=200, blank=True, default="", editable=False)
    status_because = models.TextField(blank=True, default="", editable=False)
    resolved_at = models.DateTimeField(null=True, editable=False)
    regressed_at = models.DateTimeField(null=True, editable=False, help_text="when it came again after it was resolved")
    assignee = models.ForeignKey(User, models.SET_NULL, null=True, related_name="+", editable=False)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    count = models.PositiveBigIntegerField(default=0, help_text="occurrences, those included that are kept no longer")
    users = models.PositiveBigIntegerField(default=0, help_text="different units that met it")
    first_release = models.CharField(max_length=LONGEST_RELEASE, blank=True)
    last_release = models.CharField(max_length=LONGEST_RELEASE, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-last_seen", "-id")
        constraints = [
            models.UniqueConstraint(fields=("service", "environment", "fingerprint"), name="one_group_a_fingerprint")
        ]
        indexes = [models.Index(fields=("status", "-last_seen"), name="error_groups_by_status")]

    def __str__(self) -> str:
        return f"{self.type}: {self.message}"[:200] if self.message else self.type


class ErrorOccurrence(models.Model):
    """One report, known by its key within its service and environment; what is sensitive in it is masked."""

    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="occurrences")
    service = models.ForeignKey(Service, models.CASCADE, related_name="+")
    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    key = models.CharField(max_length=200)
    time = models.DateTimeField()
    severity = models.CharField(max_length=10, choices=ErrorSeverity)
    message = models.TextField(blank=True)
    stack = models.TextField(blank=True)
    release = models.CharField(max_length=LONGEST_RELEASE, blank=True)
    unit = models.CharField(max_length=LONGEST_UNIT, blank=True)
    url = models.CharField(max_length=LONGEST_URL, blank=True)
    labels = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-time", "-id")
        constraints = [models.UniqueConstraint(fields=("service", "environment", "key"), name="one_occurrence_a_key")]
        indexes = [
            models.Index(fields=("group", "-time", "-id"), name="occurrences_of_a_group"),
            models.Index(fields=("service", "environment", "-time"), name="occurrences_of_a_place"),
            BrinIndex(fields=("created_at",), name="occurrences_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.key} at {self.time:%Y-%m-%d %H:%M:%S}"


class ErrorHour(models.Model):
    """How often a group occurred within an hour: kept longer than the occurrences."""

    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="hours")
    hour = models.DateTimeField()
    count = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("hour",)
        constraints = [models.UniqueConstraint(fields=("group", "hour"), name="one_count_an_hour")]
        indexes = [BrinIndex(fields=("hour",), name="error_hours_to_forget")]

    def __str__(self) -> str:
        return f"{self.count} at {self.hour:%Y-%m-%d %H:00}"


class ErrorRelease(models.Model):
    """A release in which a group was seen."""

    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="releases")
    release = models.CharField(max_length=LONGEST_RELEASE)
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    count = models.PositiveBigIntegerField()

    class Meta:
        ordering = ("-last_seen", "-id")
        constraints = [models.UniqueConstraint(fields=("group", "release"), name="one_row_a_release")]

    def __str__(self) -> str:
        return self.release


class ErrorUnit(models.Model):
    """That a unit met a group: a digest which leads nobody back to the unit, so that each is counted once."""

    group = models.ForeignKey(ErrorGroup, models.CASCADE, related_name="units")
    digest = models.CharField(max_length=32)

    class Meta:
        constraints = [models.UniqueConstraint(fields=("group", "digest"), name="one_row_a_unit")]

    def __str__(self) -> str:
        return self.digest
