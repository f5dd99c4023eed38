"""Contexts sampled from evaluations."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [
        ("portal", "0003_add_demo_seats"),
        ("rollouts", "0003_plan_versions_never_change"),
    ]

    operations = [
        migrations.CreateModel(
            name="ContextSample",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "unit",
                    models.CharField(
                        blank=True, help_text="the context's targetingKey; empty when it has none", max_length=512
                    ),
                ),
                ("identity", models.CharField(editable=False, max_length=64)),
                ("context", models.JSONField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="context_samples",
                        to="portal.environment",
                    ),
                ),
            ],
            options={
                "ordering": ("-at", "-id"),
                "indexes": [
                    models.Index(fields=["environment", "-at"], name="newest_contexts"),
                    models.Index(fields=["environment", "unit"], name="contexts_of_a_unit"),
                ],
                "constraints": [
                    models.UniqueConstraint(
                        fields=("environment", "identity"), name="one_context_of_a_unit_in_an_environment"
                    )
                ],
            },
        ),
    ]
