"""Rollups of a minute and an hour, partitioned, and the marks of what is to be recomputed."""

import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

COLUMNS = """
    series_id bigint NOT NULL,
    time timestamptz NOT NULL,
    samples integer NOT NULL CHECK (samples > 0),
    count double precision NOT NULL,
    total double precision NOT NULL,
    squares double precision NOT NULL,
    low double precision,
    high double precision,
    first double precision,
    last double precision,
    first_time timestamptz NOT NULL,
    last_time timestamptz NOT NULL,
    increase double precision,
    histogram jsonb,
    PRIMARY KEY (series_id, time)
"""
# Marks are added and deleted all day: their pages are taken up again soon.
CREATE = f"""
CREATE TABLE monitoring_minuterollup ({COLUMNS}) PARTITION BY RANGE (time);
CREATE TABLE monitoring_minuterollup_default PARTITION OF monitoring_minuterollup DEFAULT;
CREATE TABLE monitoring_hourrollup ({COLUMNS}) PARTITION BY RANGE (time);
CREATE TABLE monitoring_hourrollup_default PARTITION OF monitoring_hourrollup DEFAULT;
"""
DROP = "DROP TABLE monitoring_hourrollup; DROP TABLE monitoring_minuterollup"
TIDY = """
ALTER TABLE monitoring_dirtybucket SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 1000,
    toast.autovacuum_vacuum_scale_factor = 0, toast.autovacuum_vacuum_threshold = 1000)
"""


def _rollup(name: str) -> migrations.CreateModel:
    return migrations.CreateModel(
        name=name,
        fields=[
            (
                "pk",
                models.CompositePrimaryKey(
                    "series_id", "time", blank=True, editable=False, primary_key=True, serialize=False
                ),
            ),
            ("time", models.DateTimeField()),
            ("samples", models.PositiveIntegerField()),
            ("count", models.FloatField(help_text="observations: a plain sample is one")),
            ("total", models.FloatField(help_text="their sum")),
            ("squares", models.FloatField(help_text="the sum of their squared distances from the mean")),
            ("low", models.FloatField(null=True)),
            ("high", models.FloatField(null=True)),
            ("first", models.FloatField(null=True)),
            ("last", models.FloatField(null=True)),
            ("first_time", models.DateTimeField()),
            ("last_time", models.DateTimeField()),
            (
                "increase",
                models.FloatField(help_text="growth of a counter since the sample before the bucket", null=True),
            ),
            ("histogram", models.JSONField(null=True)),
            (
                "series",
                models.ForeignKey(
                    db_constraint=False,
                    on_delete=django.db.models.deletion.DO_NOTHING,
                    related_name="+",
                    to="monitoring.series",
                ),
            ),
        ],
        options={"abstract": False, "ordering": ("time", "series_id")},
    )


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0008_tell_in_order_and_from_everywhere")]

    operations = [
        migrations.CreateModel(
            name="DirtyBucket",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("resolution", models.PositiveSmallIntegerField(choices=[(60, "Minute"), (3600, "Hour")])),
                ("time", models.DateTimeField()),
                ("series", django.contrib.postgres.fields.ArrayField(base_field=models.BigIntegerField(), size=None)),
            ],
            options={
                "indexes": [models.Index(fields=["resolution", "time"], name="dirty_buckets_by_time")],
            },
        ),
        migrations.RunSQL(TIDY, migrations.RunSQL.noop),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(CREATE, DROP)],
            state_operations=[_rollup("MinuteRollup"), _rollup("HourRollup")],
        ),
    ]
