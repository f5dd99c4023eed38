"""The public status page: components, incidents and maintenance, and what was told of them."""

import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import monitoring.models.statuspage


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0010_add_standings"),
        ("portal", "0003_add_demo_seats"),
    ]

    operations = [
        migrations.CreateModel(
            name="StatusComponent",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        default=monitoring.models.statuspage.code, editable=False, max_length=12, unique=True
                    ),
                ),
                ("name", models.CharField(max_length=100, unique=True)),
                ("description", models.CharField(blank=True, max_length=300)),
                ("position", models.PositiveSmallIntegerField(default=100)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("operational", "Operational"),
                            ("degraded_performance", "Degraded Performance"),
                            ("partial_outage", "Partial Outage"),
                            ("major_outage", "Major Outage"),
                            ("under_maintenance", "Under Maintenance"),
                            ("computed", "computed: by what is open and published"),
                        ],
                        default="computed",
                        editable=False,
                        help_text="what a person says",
                        max_length=20,
                    ),
                ),
                (
                    "auto_publish",
                    models.BooleanField(default=False, help_text="its service's incidents are published by themselves"),
                ),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        help_text="of these; empty: any",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        help_text="whose open incidents it follows",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("position", "name"),
            },
        ),
        migrations.CreateModel(
            name="StatusIncident",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        default=monitoring.models.statuspage.code, editable=False, max_length=12, unique=True
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[("incident", "Incident"), ("maintenance", "Maintenance")],
                        default="incident",
                        max_length=12,
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("investigating", "Investigating"),
                            ("identified", "Identified"),
                            ("monitoring", "Monitoring"),
                            ("resolved", "Resolved"),
                            ("scheduled", "Scheduled"),
                            ("in_progress", "In Progress"),
                            ("verifying", "Verifying"),
                            ("completed", "Completed"),
                        ],
                        editable=False,
                        max_length=15,
                    ),
                ),
                (
                    "impact",
                    models.CharField(
                        choices=[("none", "None"), ("minor", "Minor"), ("major", "Major"), ("critical", "Critical")],
                        default="minor",
                        max_length=10,
                    ),
                ),
                ("automatic", models.BooleanField(default=False, editable=False)),
                (
                    "started_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "updated_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("monitoring_at", models.DateTimeField(editable=False, null=True)),
                ("resolved_at", models.DateTimeField(editable=False, null=True)),
                ("scheduled_for", models.DateTimeField(blank=True, null=True)),
                ("scheduled_until", models.DateTimeField(blank=True, null=True)),
                (
                    "components",
                    models.ManyToManyField(blank=True, related_name="incidents", to="monitoring.statuscomponent"),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        blank=True,
                        help_text="of ours; never shown",
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="published",
                        to="monitoring.incident",
                    ),
                ),
            ],
            options={
                "ordering": ("-started_at", "-id"),
            },
        ),
        migrations.CreateModel(
            name="StatusUpdate",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "code",
                    models.CharField(
                        default=monitoring.models.statuspage.code, editable=False, max_length=12, unique=True
                    ),
                ),
                ("status", models.CharField(max_length=15)),
                ("body", models.TextField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="updates",
                        to="monitoring.statusincident",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.AddConstraint(
            model_name="statusincident",
            constraint=models.UniqueConstraint(
                condition=models.Q(("automatic", True)), fields=("incident",), name="published_by_itself_once"
            ),
        ),
    ]
