"""How often each variant of each flag was evaluated and shown, and when last. Flags and variants are labels."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q

from portal.models import Environment


class VariantCount(models.Model):
    """A variant in one environment and one minute; of older days in one hour, at its first minute."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    flag = models.CharField(max_length=128)
    # Empty where the evaluation ended in an error.
    variant = models.CharField(max_length=128, blank=True)
    minute = models.DateTimeField()
    evaluations = models.PositiveBigIntegerField(default=0, help_text="bulk and single")
    exposures = models.PositiveBigIntegerField(default=0, help_text="units that were shown it, each once in a window")
    hourly = models.BooleanField(default=False, db_default=False, help_text="of the whole hour")

    class Meta:
        ordering = ("-minute", "flag", "variant")
        constraints = [
            models.UniqueConstraint(
                fields=("environment", "flag", "minute", "variant"), name="one_count_of_a_variant_in_a_minute"
            ),
            models.CheckConstraint(condition=Q(evaluations__gte=0, exposures__gte=0), name="counts_are_not_negative"),
        ]
        indexes = [
            models.Index(fields=("minute",), condition=Q(hourly=False), name="counts_to_put_together"),
            BrinIndex(fields=("minute",), name="counts_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.flag} {self.variant} at {self.minute:%Y-%m-%d %H:%M}"


class VariantUse(models.Model):
    """Since when and until when a variant was in use in an environment: kept longer than the counts, to the minute."""

    environment = models.ForeignKey(Environment, models.CASCADE, related_name="+")
    flag = models.CharField(max_length=128)
    variant = models.CharField(max_length=128, blank=True)
    first_evaluated_at = models.DateTimeField(null=True)
    last_evaluated_at = models.DateTimeField(null=True)
    last_exposed_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ("flag", "environment", "variant")
        constraints = [models.UniqueConstraint(fields=("flag", "environment", "variant"), name="one_use_of_a_variant")]

    def __str__(self) -> str:
        return f"{self.flag} {self.variant} in {self.environment}"


class CountedBatch(models.Model):
    """The last batch that a process wrote: one that is sent again after an unknown end is not counted twice."""

    writer = models.CharField(max_length=64, primary_key=True)
    number = models.PositiveBigIntegerField()
    at = models.DateTimeField()

    def __str__(self) -> str:
        return f"{self.writer} {self.number}"
