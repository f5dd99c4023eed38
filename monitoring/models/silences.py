"""What keeps alerts from being told: silences, maintenance windows, inhibitions."""

from typing import Self

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from portal.models import Environment, Service


class SilenceQuerySet(models.QuerySet["Silence"]):
    """The questions about silences."""

    def at(self, now: object) -> Self:
        return self.filter(starts_at__lte=now, ends_at__gt=now)


class Silence(models.Model):
    """Alerts that carry these labels are not told of in this time. They are judged all the same."""

    matchers = models.JSONField(help_text='[{"name": "service", "value": "checkout"}], all of which must match')
    starts_at = models.DateTimeField()
    ends_at = models.DateTimeField()
    comment = models.TextField(help_text="why")
    author = models.CharField(max_length=200, editable=False)
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="silences", editable=False)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="silences", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    objects = SilenceQuerySet.as_manager()

    class Meta:
        ordering = ("-id",)
        indexes = [models.Index(fields=("ends_at",), name="silences_by_end")]
        constraints = [
            models.CheckConstraint(condition=Q(ends_at__gte=F("starts_at")), name="silence_ends_after_start")
        ]

    def __str__(self) -> str:
        return f"silence {self.pk} ({self.comment[:60]})"


class MaintenanceWindow(models.Model):
    """A planned silence: from one moment to another, or on days of the week by the wall clock of a zone."""

    name = models.CharField(max_length=200)
    matchers = models.JSONField(help_text='[{"name": "service", "value": "checkout"}], all of which must match')
    starts_at = models.DateTimeField(help_text="a recurring one: not before this")
    ends_at = models.DateTimeField(null=True, blank=True, help_text="a recurring one may go on for ever")
    days = ArrayField(models.CharField(max_length=3), default=list, blank=True, help_text="mon … sun; empty: once")
    opens = models.TimeField(null=True, blank=True, help_text="on these days from")
    closes = models.TimeField(null=True, blank=True, help_text="up to; the next day if not later")
    zone = models.CharField(max_length=64, default="UTC", help_text="such as Europe/Warsaw")
    comment = models.TextField(blank=True)
    author = models.CharField(max_length=200, editable=False)
    service = models.ForeignKey(Service, models.PROTECT, null=True, related_name="maintenance", editable=False)
    environment = models.ForeignKey(Environment, models.PROTECT, null=True, related_name="maintenance", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-id",)
        constraints = [
            models.CheckConstraint(
                condition=Q(days=[], ends_at__isnull=False)
                | (~Q(days=[]) & Q(opens__isnull=False, closes__isnull=False)),
                name="maintenance_is_once_or_on_days",
            )
        ]

    def __str__(self) -> str:
        return self.name


class InhibitionRule(models.Model):
    """While a source fires, the targets that share its `equal` labels are not told of."""

    name = models.CharField(max_length=200, unique=True)
    active = models.BooleanField(default=True)
    source = models.JSONField(help_text='[{"name": "alertname", "value": "database down"}]')
    target = models.JSONField(help_text='[{"name": "level", "value": "error"}]')
    equal = ArrayField(models.CharField(max_length=128), default=list, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name
