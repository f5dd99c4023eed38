"""Releases: the versions of services that deployments bring to people."""

from zoneinfo import available_timezones

from django.core.exceptions import ValidationError
from django.db import models
from django.db.models.functions import Now

from portal.models import Service


def zone_validator(value: str) -> None:
    """Only names of the IANA time zone database."""
    if value not in available_timezones():
        raise ValidationError(f"{value!r} is no IANA time zone, as Europe/Berlin is")


class Release(models.Model):
    """A version of a service."""

    class Type(models.TextChoices):
        CANARY = "canary", "canary"
        BLUE_GREEN = "blue-green", "blue-green"
        FLAG_ONLY = "flag-only", "flag only"

    class Risk(models.TextChoices):
        LOW = "low"
        MEDIUM = "medium"
        HIGH = "high"
        CRITICAL = "critical"

    service = models.ForeignKey(Service, models.PROTECT, related_name="releases")
    version = models.CharField(max_length=128)
    commit = models.CharField(max_length=128, blank=True)
    type = models.CharField(max_length=20, choices=Type, default=Type.CANARY)
    risk = models.CharField(max_length=20, choices=Risk, default=Risk.MEDIUM)
    notes = models.TextField(blank=True)
    captain = models.CharField(max_length=150, blank=True, help_text="the user name of who is in charge")
    zone = models.CharField(max_length=64, default="UTC", validators=[zone_validator])
    t0 = models.DateTimeField(null=True, blank=True, help_text="not before this moment")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-id",)
        constraints = [models.UniqueConstraint(fields=("service", "version"), name="one_release_a_version")]

    def __str__(self) -> str:
        return f"{self.service}@{self.version}"
