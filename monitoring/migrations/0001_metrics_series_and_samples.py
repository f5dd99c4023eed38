"""Metrics, series, observations, and the samples' table partitioned by day."""

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models
from django.db.models import Q

# The checks keep NaN and the infinities out (NaN sorts above Infinity): one of them would blind every average.
CREATE_SAMPLES = """
CREATE TABLE monitoring_sample (
    series_id bigint NOT NULL,
    time timestamptz NOT NULL,
    value double precision,
    histogram jsonb,
    CONSTRAINT sample_is_finite CHECK (value > '-Infinity'::float8 AND value < 'Infinity'::float8),
    CONSTRAINT sample_says_something CHECK (value IS NOT NULL OR histogram IS NOT NULL),
    PRIMARY KEY (series_id, time)
) PARTITION BY RANGE (time);
CREATE TABLE monitoring_sample_default PARTITION OF monitoring_sample DEFAULT;
"""

# One index answers "which series of this metric carry these labels": the metric's id joins the labels.
# Without fastupdate: thousands of look-ups would each walk the list of entries that wait to be merged.
CREATE_MATCHING = """
CREATE INDEX series_by_labels ON monitoring_series
USING gin ((labels || (('{"__metric__":' || metric_id::text) || '}')::jsonb) jsonb_path_ops) WITH (fastupdate = off);
-- last_time is rewritten all the time: with room in the page no index has to follow.
ALTER TABLE monitoring_series SET (fillfactor = 70);
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [("portal", "__first__")]

    operations = [
        migrations.CreateModel(
            name="Metric",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200, unique=True)),
                (
                    "type",
                    models.CharField(
                        choices=[("gauge", "Gauge"), ("counter", "Counter"), ("histogram", "Histogram")],
                        default="gauge",
                        max_length=20,
                    ),
                ),
                ("unit", models.CharField(blank=True, max_length=50)),
                (
                    "direction",
                    models.CharField(
                        choices=[
                            ("lower_is_better", "Lower Is Better"),
                            ("higher_is_better", "Higher Is Better"),
                            ("neither", "Neither"),
                        ],
                        default="neither",
                        max_length=20,
                    ),
                ),
                ("description", models.TextField(blank=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "ordering": ("name",),
                "constraints": [
                    models.CheckConstraint(
                        condition=Q(("type__in", ["gauge", "counter", "histogram"])), name="metric_type_is_known"
                    ),
                    models.CheckConstraint(
                        condition=Q(("direction__in", ["lower_is_better", "higher_is_better", "neither"])),
                        name="metric_direction_is_known",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="Series",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("labels", models.JSONField(default=dict)),
                ("fingerprint", models.UUIDField(editable=False)),
                ("last_time", models.DateTimeField(editable=False, null=True)),
                ("last_value", models.FloatField(editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="series",
                        to="portal.environment",
                    ),
                ),
                (
                    "metric",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="series", to="monitoring.metric"
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="series",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "series",
                "ordering": ("metric", "id"),
                "constraints": [
                    models.UniqueConstraint(fields=("metric", "fingerprint"), name="one_series_of_these_labels")
                ],
            },
        ),
        migrations.CreateModel(
            name="Observation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(max_length=200)),
                ("time", models.DateTimeField()),
                ("value", models.FloatField()),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "series",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="observations",
                        to="monitoring.series",
                    ),
                ),
            ],
            options={
                "ordering": ("time", "id"),
                "indexes": [
                    models.Index(fields=["series", "time"], name="observations_of_a_bucket"),
                    django.contrib.postgres.indexes.BrinIndex(fields=["time"], name="observations_to_forget"),
                ],
                "constraints": [models.UniqueConstraint(fields=("series", "key"), name="one_observation_a_key")],
            },
        ),
        migrations.RunSQL(CREATE_MATCHING, "DROP INDEX series_by_labels"),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE_SAMPLES, "DROP TABLE monitoring_sample")],
            state_operations=[
                migrations.CreateModel(
                    name="Sample",
                    fields=[
                        (
                            "pk",
                            models.CompositePrimaryKey(
                                "series_id", "time", blank=True, editable=False, primary_key=True, serialize=False
                            ),
                        ),
                        ("time", models.DateTimeField()),
                        ("value", models.FloatField(null=True)),
                        ("histogram", models.JSONField(null=True)),
                        (
                            "series",
                            models.ForeignKey(
                                db_constraint=False,
                                on_delete=django.db.models.deletion.DO_NOTHING,
                                related_name="samples",
                                to="monitoring.series",
                            ),
                        ),
                    ],
                    options={"ordering": ("time", "series_id")},
                )
            ],
        ),
    ]
