"""When and where each person wants to be told."""

from datetime import time

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now

from monitoring.models.notifications import Channel
from portal.models import User


class NotificationPreference(models.Model):
    """What a person has chosen. Without one everything comes at once; what is critical always does."""

    class When(models.TextChoices):
        AT_ONCE = "at_once", "at once"
        BUSINESS_HOURS = "business_hours", "in business hours"
        DAILY = "daily", "once a day"
        NEVER = "never", "never"

    user = models.OneToOneField(User, models.CASCADE, related_name="notification_preference")
    zone = models.CharField(max_length=64, default="UTC", help_text="such as Europe/Warsaw")
    days = ArrayField(models.CharField(max_length=3), default=list, help_text="of business: mon … sun")
    opens = models.TimeField(default=time(9), help_text="business hours from")
    closes = models.TimeField(default=time(17), help_text="up to; the next day if not later")
    quiet_from = models.TimeField(null=True, blank=True, help_text="only what is critical comes through")
    quiet_until = models.TimeField(null=True, blank=True)
    digest_at = models.TimeField(default=time(8), help_text="when what comes once a day comes")
    warning = models.CharField(max_length=20, choices=When, default=When.BUSINESS_HOURS)
    info = models.CharField(max_length=20, choices=When, default=When.DAILY)
    channels = models.ManyToManyField(
        Channel, blank=True, related_name="+", help_text="of the person's own; empty: all"
    )
    changed_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("user",)

    def __str__(self) -> str:
        return f"what {self.user} wants to be told"
