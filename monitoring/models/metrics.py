"""What is measured: metrics, their series by labels, and the samples."""

from datetime import timedelta
from typing import Final

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from monitoring.coverage import SIGNALS
from portal.models import Environment, Service

# Reserved labels have a meaning for the portal; all others are free, as in Prometheus.
RESERVED_LABELS = ("service", "environment", "release", "flag", "variant", "region")

# A sender's clock may run so far ahead of the database's.
AHEAD = timedelta(seconds=60)


class Metric(models.Model):
    """A name that is measured, and how its numbers are to be read."""

    class Type(models.TextChoices):
        GAUGE = "gauge"
        COUNTER = "counter"
        HISTOGRAM = "histogram"

    class Direction(models.TextChoices):
        LOWER_IS_BETTER = "lower_is_better"
        HIGHER_IS_BETTER = "higher_is_better"
        NEITHER = "neither"

    NO_SIGNAL: Final = "none"
    SIGNALS: Final = [*SIGNALS, (NO_SIGNAL, NO_SIGNAL)]

    name = models.CharField(max_length=200, unique=True)
    type = models.CharField(max_length=20, choices=Type, default=Type.GAUGE)
    unit = models.CharField(max_length=50, blank=True)
    direction = models.CharField(max_length=20, choices=Direction, default=Direction.NEITHER)
    description = models.TextField(blank=True)
    signal = models.CharField(
        max_length=20,
        choices=SIGNALS,
        blank=True,
        default="",
        help_text="what of a service it tells: a critical metric has one; empty: as shipped for this name",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("name",)
        constraints = [
            models.CheckConstraint(
                condition=Q(type__in=["gauge", "counter", "histogram"]), name="metric_type_is_known"
            ),
            models.CheckConstraint(
                condition=Q(direction__in=["lower_is_better", "higher_is_better", "neither"]),
                name="metric_direction_is_known",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class Series(models.Model):
    """One metric with one set of labels."""

    metric = models.ForeignKey(Metric, models.CASCADE, related_name="series", db_index=False)
    labels = models.JSONField(default=dict)
    # The labels' canonical SHA-256, cut to 128 bits: jsonb itself cannot be unique cheaply.
    fingerprint = models.UUIDField(editable=False)
    environment = models.ForeignKey(Environment, models.CASCADE, null=True, blank=True, related_name="series")
    service = models.ForeignKey(Service, models.CASCADE, null=True, blank=True, related_name="series")
    # When it was last heard of, kept up lazily (see actions.series): for lists. Judging reads samples.
    last_time = models.DateTimeField(null=True, editable=False)
    last_value = models.FloatField(null=True, editable=False)
    # Said by the source (a Prometheus' staleness marker): there will be no more, unless it is heard of again.
    stale_at = models.DateTimeField(null=True, editable=False, help_text="when its source said that it has ended")
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering = ("metric", "id")
        verbose_name_plural = "series"
        indexes = [models.Index(fields=("metric", "id"), name="series_of_a_metric")]
        constraints = [models.UniqueConstraint(fields=("metric", "fingerprint"), name="one_series_of_these_labels")]

    def __str__(self) -> str:
        inner = ", ".join(f'{name}="{value}"' for name, value in sorted(self.labels.items()))
        return f"{self.metric.name}{{{inner}}}" if inner else self.metric.name


class Sample(models.Model):
    """One value of one series at one time. Partitioned by UTC day; written by COPY, never through this class.

    `value` is the mean where the sample carries a `histogram` (None when that holds no observation), else the
    value itself. The key has no foreign key in the database: a check on each row would cost more than the row.
    """

    pk = models.CompositePrimaryKey("series_id", "time")
    series = models.ForeignKey(Series, models.DO_NOTHING, db_constraint=False, related_name="samples")
    time = models.DateTimeField()
    value = models.FloatField(null=True)
    histogram = models.JSONField(null=True)

    class Meta:
        ordering = ("time", "series_id")

    def __str__(self) -> str:
        return f"{self.series_id} {self.time:%Y-%m-%d %H:%M:%S} {self.value}"


class Rollup(models.Model):
    """What one series came to in one bucket: recomputed whole from what is finer, never added to.

    Partitioned by `time`, the bucket's start. Merging rows is exact: `monitoring.summaries` says how.
    """

    pk = models.CompositePrimaryKey("series_id", "time")
    series = models.ForeignKey(Series, models.DO_NOTHING, db_constraint=False, related_name="+")
    time = models.DateTimeField()
    samples = models.PositiveIntegerField()
    count = models.FloatField(help_text="observations: a plain sample is one")
    total = models.FloatField(help_text="their sum")
    squares = models.FloatField(help_text="the sum of their squared distances from the mean")
    low = models.FloatField(null=True)
    high = models.FloatField(null=True)
    first = models.FloatField(null=True)
    last = models.FloatField(null=True)
    first_time = models.DateTimeField()
    last_time = models.DateTimeField()
    increase = models.FloatField(null=True, help_text="growth of a counter since the sample before the bucket")
    # The buckets of `monitoring.histogram`; none of a counter, whose values have no percentiles worth asking for.
    histogram = models.JSONField(null=True)

    class Meta:
        abstract = True
        ordering = ("time", "series_id")

    def __str__(self) -> str:
        return f"{self.series_id} {self.time:%Y-%m-%d %H:%M} {self.count:g}"


class MinuteRollup(Rollup):
    """One minute, from samples."""


class HourRollup(Rollup):
    """One hour, from its minutes."""


class DirtyBucket(models.Model):
    """Series whose rollup of this bucket is to be recomputed: written in the transaction that wrote their samples.

    Rows are only added and deleted. So writers never wait, and a row that is visible stands for samples that are
    visible: whoever recomputes after reading it, and deletes just what he read, misses none.
    """

    class Resolution(models.IntegerChoices):
        MINUTE = 60
        HOUR = 3600

    resolution = models.PositiveSmallIntegerField(choices=Resolution)
    time = models.DateTimeField()
    series = ArrayField(models.BigIntegerField())

    class Meta:
        indexes = [models.Index(fields=("resolution", "time"), name="dirty_buckets_by_time")]

    def __str__(self) -> str:
        return f"{self.resolution} s at {self.time:%Y-%m-%d %H:%M}: {len(self.series)} series"
