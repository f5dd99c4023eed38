"""Events of units, exposures to variants, and how often each variant was in use."""

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0005_series_may_end"),
        ("portal", "0003_add_demo_seats"),
    ]

    operations = [
        migrations.CreateModel(
            name="CountedBatch",
            fields=[
                ("writer", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("number", models.PositiveBigIntegerField()),
                ("at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="Event",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("key", models.CharField(max_length=200)),
                ("unit", models.CharField(max_length=512)),
                ("time", models.DateTimeField()),
                ("flag", models.CharField(blank=True, max_length=128)),
                ("variant", models.CharField(blank=True, max_length=128)),
                ("value", models.FloatField(null=True)),
                ("properties", models.JSONField(default=dict)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.CASCADE, related_name="+", to="portal.service"
                    ),
                ),
            ],
            options={
                "ordering": ("-time", "-id"),
                "indexes": [
                    models.Index(fields=["unit", "-time"], name="events_of_a_unit"),
                    models.Index(fields=["name", "-time"], name="events_of_a_name"),
                    django.contrib.postgres.indexes.BrinIndex(fields=["created_at"], name="events_to_forget"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "service", "name", "key"), name="one_event_a_key", nulls_distinct=False
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Exposure",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("flag", models.CharField(max_length=128)),
                ("variant", models.CharField(max_length=128)),
                ("unit", models.CharField(max_length=512)),
                ("window_start", models.DateTimeField()),
                ("time", models.DateTimeField(help_text="the first in the window")),
                (
                    "revision",
                    models.PositiveIntegerField(help_text="of what the flag does there, where it is known", null=True),
                ),
                ("reason", models.CharField(blank=True, max_length=200)),
                ("source", models.CharField(choices=[("evaluation", "Evaluation"), ("event", "Event")], max_length=20)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="portal.environment"
                    ),
                ),
            ],
            options={
                "ordering": ("-time", "-id"),
                "indexes": [
                    models.Index(fields=["environment", "flag", "-time"], name="exposures_of_a_flag"),
                    django.contrib.postgres.indexes.BrinIndex(fields=["time"], name="exposures_to_forget"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "flag", "unit", "variant", "window_start"),
                        name="one_exposure_in_a_window",
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("source__in", ["evaluation", "event"])), name="exposure_source_is_known"
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="VariantCount",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("flag", models.CharField(max_length=128)),
                ("variant", models.CharField(blank=True, max_length=128)),
                ("minute", models.DateTimeField()),
                ("evaluations", models.PositiveBigIntegerField(default=0, help_text="bulk and single")),
                (
                    "exposures",
                    models.PositiveBigIntegerField(
                        default=0, help_text="units that were shown it, each once in a window"
                    ),
                ),
                ("hourly", models.BooleanField(db_default=False, default=False, help_text="of the whole hour")),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="portal.environment"
                    ),
                ),
            ],
            options={
                "ordering": ("-minute", "flag", "variant"),
                "indexes": [
                    models.Index(
                        condition=models.Q(("hourly", False)), fields=["minute"], name="counts_to_put_together"
                    ),
                    django.contrib.postgres.indexes.BrinIndex(fields=["minute"], name="counts_to_forget"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "flag", "minute", "variant"), name="one_count_of_a_variant_in_a_minute"
                    ),
                    models.CheckConstraint(
                        condition=models.Q(("evaluations__gte", 0), ("exposures__gte", 0)),
                        name="counts_are_not_negative",
                    ),
                ],
            },
        ),
        migrations.CreateModel(
            name="VariantUse",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("flag", models.CharField(max_length=128)),
                ("variant", models.CharField(blank=True, max_length=128)),
                ("first_evaluated_at", models.DateTimeField(null=True)),
                ("last_evaluated_at", models.DateTimeField(null=True)),
                ("last_exposed_at", models.DateTimeField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="+", to="portal.environment"
                    ),
                ),
            ],
            options={
                "ordering": ("flag", "environment", "variant"),
                "constraints": [
                    models.UniqueConstraint(fields=("flag", "environment", "variant"), name="one_use_of_a_variant")
                ],
            },
        ),
        # Each second many of its rows are written again: with room in their pages no index has to be.
        migrations.RunSQL(
            "ALTER TABLE monitoring_variantcount SET (fillfactor = 70)",
            "ALTER TABLE monitoring_variantcount RESET (fillfactor)",
        ),
    ]
