"""What units did and what they were shown: events as they were sent, and exposures to a flag's variants."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from portal.models import Environment, Service

LONGEST_UNIT = 512
# By these names a client tells that it has shown a variant to a unit.
EXPOSURES = ("exposure", "feature_flag.evaluation")


class Event(models.Model):
    """One thing that a unit did, by its own idempotency key. Flag and variant are labels, as a sample's are."""

    environment = models.ForeignKey(Environment, models.CASCADE, null=True, related_name="+")
    service = models.ForeignKey(Service, models.CASCADE, null=True, related_name="+")
    name = models.CharField(max_length=200)
    key = models.CharField(max_length=200)
    unit = models.CharField(max_length=LONGEST_UNIT)
    time = models.DateTimeField()
    flag = models.CharField(max_length=128, blank=True)
    variant = models.CharField(max_length=128, blank=True)
    value = models.FloatField(null=True)
    properties = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("-time", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=("environment", "service", "name", "key"), nulls_distinct=False, name="one_event_a_key"
            )
        ]
        indexes = [
            models.Index(fields=("unit", "-time"), name="events_of_a_unit"),
            models.Index(fields=("name", "-time"), name="events_of_a_name"),
            BrinIndex(fields=("created_at",), name="events_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.unit}"


class Exposure(models.Model):
    """A unit was shown a variant of a flag: once in a window, however often it was."""

    class Source(models.TextChoices):
        EVALUATION = "evaluation"
        EVENT = "event"

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    flag = models.CharField(max_length=128)
    variant = models.CharField(max_length=128)
    unit = models.CharField(max_length=LONGEST_UNIT)
    window_start = models.DateTimeField()
    time = models.DateTimeField(help_text="the first in the window")
    revision = models.PositiveIntegerField(null=True, help_text="of what the flag does there, where it is known")
    reason = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=20, choices=Source)

    class Meta:
        ordering = ("-time", "-id")
        constraints = [
            models.UniqueConstraint(
                fields=("environment", "flag", "unit", "variant", "window_start"), name="one_exposure_in_a_window"
            ),
            models.CheckConstraint(
                condition=models.Q(source__in=["evaluation", "event"]), name="exposure_source_is_known"
            ),
        ]
        indexes = [
            models.Index(fields=("environment", "flag", "-time"), name="exposures_of_a_flag"),
            BrinIndex(fields=("time",), name="exposures_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.unit}: {self.flag} {self.variant}"
