"""Reports for people who look after services: who wants which, and what was told."""

from datetime import time
from typing import Self

from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from portal.models import Environment, Service, User


class Period(models.TextChoices):
    DAILY = "daily"
    WEEKLY = "weekly"


class ReportSubscriptionQuerySet(models.QuerySet["ReportSubscription"]):
    """The questions about subscriptions."""

    def active(self) -> Self:
        return self.filter(active=True)


class ReportSubscription(models.Model):
    """What one person wants to be told of, each day or week at their own hour. Ended ones stay for their reports."""

    person = models.ForeignKey(User, models.PROTECT, related_name="report_subscriptions")
    period = models.CharField(max_length=10, choices=Period, default=Period.WEEKLY)
    services = models.ManyToManyField(
        Service, blank=True, related_name="+", help_text="of those that the person may see; none: all of them"
    )
    environment = models.ForeignKey(
        Environment, models.PROTECT, null=True, blank=True, related_name="+", help_text="empty: all"
    )
    at = models.TimeField(default=time(8), help_text="by the zone's wall clock")
    weekday = models.PositiveSmallIntegerField(default=0, help_text="of a weekly one: 0 is Monday")
    zone = models.CharField(max_length=64, help_text="such as Europe/Warsaw")
    by_mail = models.BooleanField(default=True, help_text="else as a page alone")
    active = models.BooleanField(default=True, editable=False)
    created_by = models.CharField(max_length=200, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    due_at = models.DateTimeField(editable=False)

    objects = ReportSubscriptionQuerySet.as_manager()

    class Meta:
        ordering = ("person", "id")
        indexes = [models.Index(fields=("due_at",), condition=Q(active=True), name="reports_due")]
        constraints = [
            models.CheckConstraint(condition=Q(weekday__lte=6), name="report_weekday_is_one"),
        ]

    def __str__(self) -> str:
        return f"{self.period} report of {self.person}"


class Report(models.Model):
    """What a person was told of one period. Its content is as it was: a trigger refuses every change."""

    subscription = models.ForeignKey(ReportSubscription, models.PROTECT, related_name="reports")
    person = models.ForeignKey(User, models.PROTECT, related_name="reports")
    period = models.CharField(max_length=10, choices=Period)
    since = models.DateTimeField()
    until = models.DateTimeField()
    zone = models.CharField(max_length=64)
    services = models.JSONField(help_text="keys of those that it tells of")
    places = models.JSONField(
        null=True, help_text="by environment the services that it may tell of; empty: made before this was kept"
    )
    content = models.JSONField()
    sha256 = models.CharField(max_length=64, help_text="of the content as canonical JSON")
    made_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering = ("-until", "-id")
        constraints = [
            models.UniqueConstraint(fields=("subscription", "until"), name="one_report_a_period"),
        ]

    def __str__(self) -> str:
        return f"{self.period} report of {self.person} up to {self.until:%Y-%m-%d}"
