"""Signs of life that somebody else owes us: their absence is an alert."""

from datetime import datetime, timedelta
from typing import Final, Self

from django.core.validators import MaxValueValidator, MinValueValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.models.thresholds import Threshold
from portal.models import Environment, Service

SHORTEST, LONGEST, LONGEST_GRACE = 5, 2_764_800, 604_800  # seconds: 32 days, and a week


class WatchdogQuerySet(models.QuerySet["Watchdog"]):
    """The questions about watchdogs."""

    def silent(self) -> Self:
        return self.filter(active=True, status__in=(Watchdog.Status.SILENT, Watchdog.Status.FAILING))


class Watchdog(models.Model):
    """Somebody who must be heard in an interval: a Prometheus by an alert that always fires, a job by a call."""

    class Status(models.TextChoices):
        WAITING = "waiting", "not heard yet"
        ALIVE = "alive"
        SILENT = "silent"
        FAILING = "failing", "says that it failed"

    class Level(models.TextChoices):
        ERROR = "error"
        CRITICAL = "critical"

    MOVES: Final = {
        Status.WAITING: {Status.ALIVE, Status.SILENT, Status.FAILING},
        Status.ALIVE: {Status.SILENT, Status.FAILING, Status.WAITING},
        Status.SILENT: {Status.ALIVE, Status.FAILING, Status.WAITING},
        Status.FAILING: {Status.ALIVE, Status.SILENT, Status.WAITING},
    }

    key = models.SlugField(max_length=100, unique=True)
    name = models.CharField(max_length=200)
    matchers = models.JSONField(
        default=dict, blank=True, help_text="labels of the alert that is its sign of life; empty: it calls by itself"
    )
    service = models.ForeignKey(Service, models.PROTECT, null=True, blank=True, related_name="watchdogs")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="watchdogs")
    every = models.PositiveIntegerField(
        default=60,
        validators=[MinValueValidator(SHORTEST), MaxValueValidator(LONGEST)],
        help_text="seconds between two signs of life",
    )
    grace = models.PositiveIntegerField(
        default=240, validators=[MaxValueValidator(LONGEST_GRACE)], help_text="seconds that a sign may come late"
    )
    level = models.CharField(max_length=10, choices=Level, default=Level.CRITICAL, help_text="of the alert")
    runbook = models.TextField(blank=True, default="", help_text="what to do when it is silent")
    active = models.BooleanField(default=True)
    threshold = models.OneToOneField(Threshold, models.PROTECT, related_name="watchdog", editable=False)
    status = models.CharField(max_length=10, choices=Status, default=Status.WAITING, editable=False)
    heard_at = models.DateTimeField(null=True, editable=False)
    heard_from = models.CharField(max_length=200, blank=True, default="", editable=False)
    said = models.TextField(blank=True, default="", editable=False, help_text="with its last sign")
    due_at = models.DateTimeField(null=True, editable=False, help_text="when its silence is told")
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = WatchdogQuerySet.as_manager()

    class Meta:
        ordering = ("name", "id")
        indexes = [models.Index(fields=("due_at",), condition=Q(due_at__isnull=False), name="watchdogs_due")]

    def __str__(self) -> str:
        return self.name

    @property
    def state(self) -> str:
        """As a pill shows it."""
        return str(self.status) if self.active else "paused"

    @property
    def patience(self) -> timedelta:
        """From one sign of life until the next is missed."""
        return timedelta(seconds=self.every + self.grace)

    def heard(self, *, at: datetime, by: str, said: str = "") -> None:
        """Note a sign of life; not saved."""
        self.heard_at, self.heard_from, self.said = at, by[:200], said
        self.due_at = at + self.patience if self.active else None
