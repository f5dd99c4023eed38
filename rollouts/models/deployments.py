"""Deployments: one run of a release in one environment, and the flags it serves."""

from datetime import datetime
from typing import ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service
from rollouts.models.flags import Flag
from rollouts.models.plans import Plan
from rollouts.models.releases import Release

FULL_WEIGHT = 100_000


class Status(models.TextChoices):
    DRAFT = "draft", "draft"
    AWAITING_APPROVAL = "awaiting_approval", "awaiting approval"
    SCHEDULED = "scheduled", "scheduled"
    PROGRESSING = "progressing", "progressing"
    PAUSED = "paused", "paused"
    SUCCEEDED = "succeeded", "succeeded"
    ROLLING_BACK = "rolling_back", "rolling back"
    ROLLED_BACK = "rolled_back", "rolled back"
    REJECTED = "rejected", "rejected"
    CANCELLED = "cancelled", "cancelled"
    SUPERSEDED = "superseded", "superseded"


NOT_BEGUN = frozenset({Status.DRAFT, Status.AWAITING_APPROVAL, Status.SCHEDULED})
UNDER_WAY = frozenset({Status.PROGRESSING, Status.PAUSED})


class DeploymentQuerySet(models.QuerySet["Deployment"]):
    """The questions about deployments."""

    def live(self) -> Self:
        return self.filter(live=True)

    def due(self, now: datetime) -> Self:
        """What the sweep has to look at, the longest overdue first."""
        return self.filter(due_at__lte=now).order_by("due_at", "id")

    def not_begun(self) -> Self:
        return self.filter(status__in=NOT_BEGUN)


class Deployment(models.Model):
    """One run of a release in one environment. Only actions change it."""

    Status = Status
    MOVES: ClassVar[dict[str, set[str]]] = {
        Status.DRAFT: {Status.AWAITING_APPROVAL, Status.SCHEDULED, Status.PROGRESSING, Status.CANCELLED},
        Status.AWAITING_APPROVAL: {Status.SCHEDULED, Status.PROGRESSING, Status.REJECTED, Status.CANCELLED},
        Status.SCHEDULED: {Status.PROGRESSING, Status.AWAITING_APPROVAL, Status.CANCELLED},
        Status.PROGRESSING: {Status.PAUSED, Status.SUCCEEDED, Status.ROLLING_BACK},
        Status.PAUSED: {Status.PROGRESSING, Status.ROLLING_BACK},
        Status.SUCCEEDED: {Status.SUPERSEDED, Status.ROLLING_BACK},
        Status.ROLLING_BACK: {Status.ROLLED_BACK},
        Status.ROLLED_BACK: {Status.DRAFT},
        Status.REJECTED: set(),
        Status.CANCELLED: set(),
        Status.SUPERSEDED: set(),
    }

    release = models.ForeignKey(Release, models.PROTECT, related_name="deployments")
    service = models.ForeignKey(Service, models.PROTECT, related_name="deployments", editable=False)
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="deployments")
    plan = models.ForeignKey(Plan, models.PROTECT, related_name="deployments")
    plan_hash = models.CharField(max_length=64, editable=False)
    status = models.CharField(max_length=20, choices=Status, default=Status.DRAFT, editable=False)
    live = models.BooleanField(default=False, editable=False)
    paused_reason = models.CharField(max_length=40, blank=True, editable=False)
    held_because = models.TextField(blank=True, editable=False)
    blockers = models.JSONField(default=list, blank=True, editable=False)
    stage_index = models.PositiveSmallIntegerField(null=True, blank=True, editable=False)
    weight = models.PositiveIntegerField(default=0, editable=False, help_text="thousandths of a percent")
    epoch = models.PositiveIntegerField(default=1, editable=False)
    created_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    created_by_name = models.CharField(max_length=200, editable=False)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    started_by_name = models.CharField(max_length=200, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True, editable=False)
    entered_stage_at = models.DateTimeField(null=True, blank=True, editable=False)
    patience_since = models.DateTimeField(null=True, blank=True, editable=False)
    due_at = models.DateTimeField(null=True, blank=True, editable=False, help_text="when the sweep looks next")
    watch_until = models.DateTimeField(null=True, blank=True, editable=False)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)
    baseline_captured = models.JSONField(default=list, blank=True, editable=False)

    objects = DeploymentQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.UniqueConstraint(
                fields=("service", "environment"), condition=Q(live=True), name="one_live_deployment_a_service"
            ),
            models.CheckConstraint(condition=Q(weight__lte=FULL_WEIGHT), name="deployment_weight_at_most_100_percent"),
            models.CheckConstraint(
                condition=Q(weight=0) | ~Q(status__in=["rolling_back", "rolled_back", *sorted(NOT_BEGUN)]),
                name="no_weight_before_or_after",
            ),
        ]
        indexes = [
            models.Index(fields=("due_at", "id"), condition=Q(due_at__isnull=False), name="deployment_due"),
        ]

    def __str__(self) -> str:
        return f"deployment {self.pk} ({self.release} in {self.environment})"

    @property
    def tag(self) -> str:
        """What a person who decides about it must have seen: equal tags, equal situations."""
        return f"{self.pk}-{self.epoch}-{self.status}-{self.stage_index}-{self.plan_hash[:16]}"


class DeploymentFlag(models.Model):
    """A flag that a deployment serves: the variant to those in its weight, the baseline to the others."""

    deployment = models.ForeignKey(Deployment, models.CASCADE, related_name="flags")
    flag = models.ForeignKey(Flag, models.PROTECT, related_name="deployments")
    environment = models.ForeignKey(Environment, models.PROTECT, related_name="+")
    variant = models.CharField(max_length=128)
    baseline = models.CharField(max_length=128)
    live = models.BooleanField(default=False, editable=False)

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(fields=("deployment", "flag"), name="one_variant_of_a_flag_a_deployment"),
            models.UniqueConstraint(
                fields=("flag", "environment"), condition=Q(live=True), name="one_live_deployment_a_flag"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.flag}={self.variant}"
