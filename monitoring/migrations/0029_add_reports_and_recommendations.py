"""Reports, which stay as they were told; recommendations, and what instances cost."""

import datetime

import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION monitoring_report_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'reports are append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER monitoring_report_append_only BEFORE UPDATE OR DELETE ON monitoring_report
    FOR EACH ROW EXECUTE FUNCTION monitoring_report_append_only();
CREATE TRIGGER monitoring_report_no_truncate BEFORE TRUNCATE ON monitoring_report
    FOR EACH STATEMENT EXECUTE FUNCTION monitoring_report_append_only();
"""
BACKWARD = """
DROP TRIGGER monitoring_report_no_truncate ON monitoring_report;
DROP TRIGGER monitoring_report_append_only ON monitoring_report;
DROP FUNCTION monitoring_report_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0028_add_capacities_and_scaling"),
        ("portal", "0003_add_demo_seats"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ReportSubscription",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "period",
                    models.CharField(
                        choices=[("daily", "Daily"), ("weekly", "Weekly")], default="weekly", max_length=10
                    ),
                ),
                ("at", models.TimeField(default=datetime.time(8, 0), help_text="by the zone's wall clock")),
                ("weekday", models.PositiveSmallIntegerField(default=0, help_text="of a weekly one: 0 is Monday")),
                ("zone", models.CharField(help_text="such as Europe/Warsaw", max_length=64)),
                ("by_mail", models.BooleanField(default=True, help_text="else as a page alone")),
                ("active", models.BooleanField(default=True, editable=False)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("due_at", models.DateTimeField(editable=False)),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        help_text="empty: all",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.environment",
                    ),
                ),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="report_subscriptions",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "services",
                    models.ManyToManyField(
                        blank=True,
                        help_text="of those that the person may see; none: all of them",
                        related_name="+",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("person", "id"),
            },
        ),
        migrations.CreateModel(
            name="Report",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("period", models.CharField(choices=[("daily", "Daily"), ("weekly", "Weekly")], max_length=10)),
                ("since", models.DateTimeField()),
                ("until", models.DateTimeField()),
                ("zone", models.CharField(max_length=64)),
                ("services", models.JSONField(help_text="keys of those that it tells of")),
                ("content", models.JSONField()),
                ("sha256", models.CharField(help_text="of the content as canonical JSON", max_length=64)),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "person",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="reports", to=settings.AUTH_USER_MODEL
                    ),
                ),
                (
                    "subscription",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="reports",
                        to="monitoring.reportsubscription",
                    ),
                ),
            ],
            options={
                "ordering": ("-until", "-id"),
            },
        ),
        migrations.CreateModel(
            name="UnitCost",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("currency", models.CharField(default="EUR", max_length=10)),
                (
                    "instance_price",
                    models.FloatField(blank=True, help_text="of one instance for 30 days; or", null=True),
                ),
                ("metric", models.CharField(blank=True, help_text="the cost itself, summed up", max_length=200)),
                (
                    "aggregation",
                    models.CharField(default="sum", help_text="sum of a gauge, increase of a counter", max_length=20),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="unit_costs", to="portal.environment"
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="unit_costs", to="portal.service"
                    ),
                ),
            ],
            options={
                "ordering": ("service", "environment"),
            },
        ),
        migrations.CreateModel(
            name="Recommendation",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("key", models.CharField(help_text="the rule and what it is about", max_length=250)),
                (
                    "rule",
                    models.CharField(
                        choices=[
                            ("over_provisioned", "more instances than the load needs"),
                            ("low_hit_rate", "a cache that seldom helps"),
                            ("error_prone", "an endpoint that fails more than the others"),
                            ("noisy_threshold", "a threshold whose alerts are mostly false"),
                            ("silent_threshold", "a threshold without data"),
                            ("unwatched_metric", "many series that nobody judges"),
                        ],
                        max_length=20,
                    ),
                ),
                ("title", models.CharField(max_length=300)),
                ("advice", models.TextField()),
                ("evidence", models.JSONField(help_text="the figures that it rests on, as they were last seen")),
                (
                    "unit",
                    models.CharField(help_text="of the savings: EUR, false alerts, series; for 30 days", max_length=40),
                ),
                ("expected", models.FloatField(help_text="saved in 30 days; empty: not known", null=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("open", "Open"),
                            ("accepted", "Accepted"),
                            ("applied", "Applied"),
                            ("dismissed", "Dismissed"),
                            ("obsolete", "Obsolete"),
                        ],
                        default="open",
                        max_length=10,
                    ),
                ),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "seen_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(), help_text="when it last held"
                    ),
                ),
                ("decided_by", models.CharField(blank=True, default="", max_length=200)),
                ("decided_at", models.DateTimeField(null=True)),
                ("said", models.TextField(blank=True, default="", help_text="why, in the words of who decided")),
                ("applied_at", models.DateTimeField(null=True)),
                ("due_at", models.DateTimeField(help_text="when its saving is measured", null=True)),
                ("saved", models.FloatField(help_text="measured, in 30 days; negative: it costs more", null=True)),
                ("measured_at", models.DateTimeField(null=True)),
                (
                    "measured_because",
                    models.TextField(blank=True, default="", help_text="by which figures, or why it is unknown"),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="recommendations",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="recommendations",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "indexes": [
                    models.Index(condition=models.Q(("due_at__isnull", False)), fields=["due_at"], name="savings_due")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("status__in", ("open", "accepted"))),
                        fields=("key",),
                        name="one_pending_recommendation_a_key",
                    )
                ],
            },
        ),
        migrations.AddIndex(
            model_name="reportsubscription",
            index=models.Index(condition=models.Q(("active", True)), fields=["due_at"], name="reports_due"),
        ),
        migrations.AddConstraint(
            model_name="reportsubscription",
            constraint=models.CheckConstraint(condition=models.Q(("weekday__lte", 6)), name="report_weekday_is_one"),
        ),
        migrations.AddConstraint(
            model_name="report",
            constraint=models.UniqueConstraint(fields=("subscription", "until"), name="one_report_a_period"),
        ),
        migrations.AddConstraint(
            model_name="unitcost",
            constraint=models.UniqueConstraint(fields=("service", "environment"), name="one_unit_cost_a_place"),
        ),
        migrations.AddConstraint(
            model_name="unitcost",
            constraint=models.CheckConstraint(
                condition=models.Q(("instance_price__gt", 0), models.Q(("metric", ""), _negated=True), _connector="OR"),
                name="unit_cost_says_what_it_costs",
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
