"""Change requests: an edit that somebody proposes, what others said about it, and when it is to happen."""

from datetime import datetime
from typing import Any, ClassVar, Self

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment
from rollouts.engine import revisions
from rollouts.models.flags import Flag


class Status(models.TextChoices):
    OPEN = "open", "open"
    APPROVED = "approved", "approved"
    SCHEDULED = "scheduled", "scheduled"
    APPLIED = "applied", "applied"
    REJECTED = "rejected", "rejected"
    WITHDRAWN = "withdrawn", "withdrawn"
    STALE = "stale", "stale"
    FAILED = "failed", "failed"


# What may still be applied, some day.
PENDING = frozenset({Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.STALE, Status.FAILED})


class ChangeRequestQuerySet(models.QuerySet["ChangeRequest"]):
    """The questions about change requests."""

    def pending(self) -> Self:
        return self.filter(status__in=PENDING)

    def due(self, now: datetime) -> Self:
        """What the sweep has to apply, the longest overdue first."""
        return self.filter(status=Status.SCHEDULED, due_at__lte=now).order_by("due_at", "id")


class ChangeRequest(models.Model):
    """A proposed edit of one thing, made on one revision of it. Only actions change it."""

    Status = Status
    MOVES: ClassVar[dict[str, set[str]]] = {
        # Straight to scheduled or applied where no approval is needed.
        Status.OPEN: {Status.APPROVED, Status.SCHEDULED, Status.APPLIED, Status.REJECTED, Status.WITHDRAWN},
        Status.APPROVED: {Status.OPEN, Status.SCHEDULED, Status.APPLIED, Status.REJECTED, Status.WITHDRAWN},
        Status.SCHEDULED: {
            Status.OPEN, Status.APPROVED, Status.APPLIED, Status.REJECTED, Status.WITHDRAWN, Status.STALE,
            Status.FAILED,
        },
        # Its time came, and what it was made on had changed.
        Status.STALE: {Status.OPEN, Status.REJECTED, Status.WITHDRAWN},
        # Its time came, and a rule forbade it.
        Status.FAILED: {
            Status.OPEN, Status.APPROVED, Status.SCHEDULED, Status.APPLIED, Status.REJECTED, Status.WITHDRAWN,
        },
        Status.REJECTED: {Status.OPEN},
        Status.APPLIED: set(),
        Status.WITHDRAWN: set(),
    }  # fmt: skip

    class Kind(models.TextChoices):
        CONFIG = "config", "what a flag does in an environment"
        VARIANTS = "variants", "the values of a flag's variants"
        SEGMENT = "segment", "who belongs to a segment"

    kind = models.CharField(max_length=10, choices=Kind, editable=False)
    flag = models.ForeignKey(Flag, models.PROTECT, null=True, blank=True, related_name="change_requests")
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, blank=True, related_name="change_requests")
    # By its key: a segment may be deleted, what was asked about it stays.
    segment = models.CharField(max_length=128, blank=True, editable=False)
    title = models.CharField(max_length=200)
    because = models.TextField(blank=True)
    document = models.JSONField(help_text="what it is to be, whole")
    base = models.JSONField(editable=False, help_text="what it was in the revision that this was made on")
    base_revision = models.PositiveIntegerField(editable=False)
    # Of all that people approve; an approval counts only on the hash on which it was given.
    hash = models.CharField(max_length=64, editable=False)
    status = models.CharField(max_length=12, choices=Status, default=Status.OPEN, editable=False)
    held_because = models.TextField(blank=True, editable=False)
    apply_at = models.DateTimeField(null=True, blank=True, help_text="when it is to be applied; empty: by hand")
    due_at = models.DateTimeField(null=True, blank=True, editable=False)
    author = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, blank=True, related_name="+", editable=False
    )
    author_name = models.CharField(max_length=200, editable=False)
    # Everyone who has had a hand in it. None of them approves it.
    editors = models.ManyToManyField(settings.AUTH_USER_MODEL, related_name="+", editable=False)
    # The names of those who made the API keys that had a hand in it.
    by_keys_of = models.JSONField(default=list, editable=False)
    applied_revision = models.PositiveIntegerField(null=True, blank=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True)
    ended_at = models.DateTimeField(null=True, blank=True, editable=False)

    objects = ChangeRequestQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [
            models.Index(fields=("due_at",), condition=Q(status="scheduled"), name="change_requests_due"),
            models.Index(fields=("status", "-id"), name="change_requests_by_status"),
        ]
        constraints = [
            models.CheckConstraint(
                name="change_request_is_about_one_thing",
                condition=(
                    Q(kind="config", flag__isnull=False, environment__isnull=False, segment="")
                    | Q(kind="variants", flag__isnull=False, environment__isnull=True, segment="")
                    | Q(kind="segment", flag__isnull=True, environment__isnull=True) & ~Q(segment="")
                ),
            ),
            models.CheckConstraint(
                name="scheduled_change_request_has_its_time",
                condition=~Q(status="scheduled") | Q(apply_at__isnull=False, due_at__isnull=False),
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk} {self.title}"

    @property
    def subject(self) -> str:
        """What it is about, in words."""
        if self.kind == self.Kind.SEGMENT:
            return f"segment {self.segment}"
        if self.kind == self.Kind.VARIANTS:
            return f"the variants of flag {self.flag}"
        return f"flag {self.flag} in {self.environment}"

    @property
    def pending(self) -> bool:
        return self.status in PENDING

    def changes(self) -> dict[str, list[Any]]:
        """`{field: [before, after]}`"""
        return revisions.difference(self.base, self.document)


class ApprovalQuerySet(models.QuerySet["Approval"]):
    """The questions about approvals."""

    def standing(self, request: ChangeRequest) -> Self:
        """What counts now: said of it as it is, by people who are still here."""
        return self.filter(change_request=request, hash=request.hash, person__is_active=True)


class Approval(models.Model):
    """One person's word on a change request, as it was then."""

    class Value(models.TextChoices):
        APPROVE = "approve", "approved"
        REJECT = "reject", "rejected"

    change_request = models.ForeignKey(ChangeRequest, models.PROTECT, related_name="approvals")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, models.PROTECT, related_name="+")
    value = models.CharField(max_length=10, choices=Value)
    comment = models.TextField(blank=True)
    hash = models.CharField(max_length=64)
    at = models.DateTimeField(db_default=Now())

    objects = ApprovalQuerySet.as_manager()

    class Meta:
        ordering = ("id",)
        constraints = [
            models.UniqueConstraint(
                fields=("change_request", "person", "hash"), name="one_word_a_person_on_a_change_request"
            )
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_value_display()}"
