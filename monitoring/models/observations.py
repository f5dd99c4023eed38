"""Single ratings, errors, timings and events, each with its own idempotency key."""

from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models.functions import Now

from monitoring.models.metrics import Series


class Observation(models.Model):
    """One thing observed. The sample of its bucket is recomputed from all that lie in the bucket."""

    series = models.ForeignKey(Series, models.CASCADE, related_name="observations")
    key = models.CharField(max_length=200)
    time = models.DateTimeField()
    value = models.FloatField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("time", "id")
        constraints = [models.UniqueConstraint(fields=("series", "key"), name="one_observation_a_key")]
        indexes = [
            models.Index(fields=("series", "time"), name="observations_of_a_bucket"),
            BrinIndex(fields=("time",), name="observations_to_forget"),
        ]

    def __str__(self) -> str:
        return f"{self.key}: {self.value}"
