"""Thresholds and their states, alerts, incidents with timeline and responses, channels and the outbox."""

import django.contrib.postgres.fields
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import portal.secrets


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0001_metrics_series_and_samples"),
        ("portal", "0002_audit_is_append_only"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="Channel",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200, unique=True)),
                ("kind", models.CharField(max_length=40)),
                ("config", models.JSONField(blank=True, default=dict)),
                (
                    "secret",
                    portal.secrets.EncryptedTextField(
                        blank=True, default="", help_text="signs what is sent; never shown again"
                    ),
                ),
                ("active", models.BooleanField(default=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
            ],
            options={
                "ordering": ("name",),
            },
        ),
        migrations.CreateModel(
            name="Threshold",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=200)),
                ("metric", models.CharField(max_length=200)),
                (
                    "denominator",
                    models.CharField(blank=True, help_text="a counter: the value is the quotient", max_length=200),
                ),
                ("matchers", models.JSONField(blank=True, default=dict, help_text="labels that a series must carry")),
                ("aggregation", models.CharField(max_length=20)),
                (
                    "operator",
                    models.CharField(
                        choices=[(">", "Above"), (">=", "At Least"), ("<", "Below"), ("<=", "At Most")], max_length=2
                    ),
                ),
                ("warning", models.FloatField(blank=True, null=True)),
                ("error", models.FloatField(blank=True, null=True)),
                ("critical", models.FloatField(blank=True, null=True)),
                ("clear", models.FloatField(blank=True, help_text="an alert resolves only past this level", null=True)),
                ("window", models.PositiveIntegerField(default=300, help_text="seconds")),
                ("interval", models.PositiveIntegerField(default=10, help_text="seconds between two looks")),
                (
                    "hold",
                    models.PositiveIntegerField(
                        default=0, help_text="seconds that the condition must hold", verbose_name="for"
                    ),
                ),
                ("keep_firing_for", models.PositiveIntegerField(default=0, help_text="seconds")),
                ("min_count", models.PositiveIntegerField(default=1)),
                (
                    "baseline_kind",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("", "the bounds themselves"),
                            ("arm", "another arm of the flag or release"),
                            ("previous_release", "the release before"),
                            ("offset", "the same metric some time ago"),
                        ],
                        default="",
                        max_length=20,
                    ),
                ),
                (
                    "baseline_change",
                    models.CharField(
                        choices=[("ratio", "ratio"), ("difference", "difference")], default="ratio", max_length=20
                    ),
                ),
                (
                    "baseline_labels",
                    models.JSONField(blank=True, default=dict, help_text="the labels by which the baseline differs"),
                ),
                ("baseline_seconds", models.PositiveIntegerField(blank=True, help_text="how long ago", null=True)),
                (
                    "no_data",
                    models.CharField(
                        choices=[
                            ("keep", "keep: what fires goes on firing"),
                            ("ok", "ok: no data is fine"),
                            ("alert", "alert: no data is as bad as the worst bound"),
                        ],
                        default="keep",
                        max_length=10,
                    ),
                ),
                ("response", models.CharField(blank=True, max_length=100)),
                (
                    "target",
                    models.CharField(
                        blank=True, help_text='"deployment:42"; empty: the service of the labels', max_length=200
                    ),
                ),
                (
                    "owner",
                    models.CharField(
                        blank=True, editable=False, help_text="who made it and takes it away", max_length=200
                    ),
                ),
                ("active", models.BooleanField(default=True, editable=False)),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="thresholds",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="thresholds",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("name", "id"),
            },
        ),
        migrations.CreateModel(
            name="DueThreshold",
            fields=[
                (
                    "threshold",
                    models.OneToOneField(
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="mark",
                        serialize=False,
                        to="monitoring.threshold",
                    ),
                ),
            ],
        ),
        migrations.CreateModel(
            name="AlertState",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "group",
                    models.CharField(blank=True, default="", help_text="empty: all series together", max_length=200),
                ),
                (
                    "phase",
                    models.CharField(
                        choices=[("inactive", "Inactive"), ("pending", "Pending"), ("firing", "Firing")],
                        default="inactive",
                        max_length=10,
                    ),
                ),
                (
                    "level",
                    models.CharField(
                        blank=True,
                        choices=[("warning", "warning"), ("error", "error"), ("critical", "critical")],
                        default="",
                        max_length=10,
                    ),
                ),
                ("warning_since", models.DateTimeField(null=True)),
                ("error_since", models.DateTimeField(null=True)),
                ("critical_since", models.DateTimeField(null=True)),
                ("clear_since", models.DateTimeField(null=True)),
                ("seen_at", models.DateTimeField(help_text="the last look that told anything", null=True)),
                (
                    "outcome",
                    models.CharField(
                        blank=True, default="", help_text="the verdict when it last changed", max_length=20
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("value", models.FloatField(null=True)),
                ("changed_at", models.DateTimeField(null=True)),
                ("threshold_version", models.PositiveIntegerField(default=0)),
                (
                    "version",
                    models.PositiveIntegerField(default=0, help_text="grows with every write: two judges, one winner"),
                ),
                (
                    "threshold",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="states", to="monitoring.threshold"
                    ),
                ),
            ],
            options={
                "ordering": ("threshold", "group"),
            },
        ),
        migrations.CreateModel(
            name="Incident",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group_key", models.CharField(editable=False, max_length=500)),
                ("title", models.CharField(max_length=300)),
                ("description", models.TextField(blank=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("triggered", "Triggered"),
                            ("acknowledged", "Acknowledged"),
                            ("mitigated", "Mitigated"),
                            ("resolved", "Resolved"),
                            ("closed", "Closed"),
                        ],
                        default="triggered",
                        editable=False,
                        max_length=15,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        choices=[
                            ("SEV1", "SEV1: everybody is hit"),
                            ("SEV2", "SEV2: many are hit"),
                            ("SEV3", "SEV3: some are hit"),
                            ("SEV4", "SEV4: hardly anybody notices"),
                        ],
                        max_length=4,
                    ),
                ),
                ("target", models.CharField(blank=True, editable=False, max_length=200)),
                ("escalations", models.PositiveSmallIntegerField(default=0, editable=False)),
                (
                    "opened_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("acknowledged_at", models.DateTimeField(editable=False, null=True)),
                ("acknowledged_by", models.CharField(blank=True, editable=False, max_length=200)),
                ("mitigated_at", models.DateTimeField(editable=False, null=True)),
                ("resolved_at", models.DateTimeField(editable=False, null=True)),
                ("closed_at", models.DateTimeField(editable=False, null=True)),
                (
                    "entries",
                    models.PositiveIntegerField(default=0, editable=False, help_text="the timeline's last number"),
                ),
                (
                    "commander",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="+",
                        to=settings.AUTH_USER_MODEL,
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incidents",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="incidents",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="Alert",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("group", models.CharField(blank=True, default="", max_length=200)),
                (
                    "status",
                    models.CharField(
                        choices=[("pending", "Pending"), ("firing", "Firing"), ("resolved", "Resolved")], max_length=10
                    ),
                ),
                (
                    "level",
                    models.CharField(
                        choices=[("warning", "Warning"), ("error", "Error"), ("critical", "Critical")],
                        help_text="the worst that it reached",
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(help_text="the verdict that made it what it is")),
                ("value", models.FloatField(null=True)),
                ("labels", models.JSONField(default=dict)),
                ("started_at", models.DateTimeField(help_text="when the condition was first seen true")),
                ("fired_at", models.DateTimeField(null=True)),
                ("resolved_at", models.DateTimeField(null=True)),
                ("resolved_because", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "environment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="portal.service",
                    ),
                ),
                (
                    "threshold",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="alerts", to="monitoring.threshold"
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="alerts",
                        to="monitoring.incident",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="IncidentDefinition",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        unique=True,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
                                "1 to 128 letters, digits, dots, dashes or underscores, "
                                "beginning with a letter or a digit",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                ("active", models.BooleanField(default=True)),
                (
                    "rank",
                    models.PositiveSmallIntegerField(default=100, help_text="the first that fits catches the alert"),
                ),
                (
                    "min_level",
                    models.CharField(
                        choices=[("error", "Error"), ("critical", "Critical")], default="error", max_length=10
                    ),
                ),
                ("matchers", models.JSONField(blank=True, default=dict, help_text="labels that the alert must carry")),
                (
                    "group_by",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=128),
                        blank=True,
                        default=list,
                        help_text="empty: service, environment and target",
                        size=None,
                    ),
                ),
                (
                    "severity",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("SEV1", "SEV1: everybody is hit"),
                            ("SEV2", "SEV2: many are hit"),
                            ("SEV3", "SEV3: some are hit"),
                            ("SEV4", "SEV4: hardly anybody notices"),
                        ],
                        help_text="empty: by the alert's level",
                        max_length=4,
                    ),
                ),
                (
                    "responses",
                    django.contrib.postgres.fields.ArrayField(
                        base_field=models.CharField(max_length=100), blank=True, default=list, size=None
                    ),
                ),
                ("runbook", models.TextField(blank=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("channels", models.ManyToManyField(blank=True, related_name="definitions", to="monitoring.channel")),
                (
                    "thresholds",
                    models.ManyToManyField(
                        blank=True, help_text="empty: any", related_name="definitions", to="monitoring.threshold"
                    ),
                ),
            ],
            options={
                "ordering": ("rank", "id"),
            },
        ),
        migrations.AddField(
            model_name="incident",
            name="definition",
            field=models.ForeignKey(
                blank=True,
                help_text="empty: by hand",
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="incidents",
                to="monitoring.incidentdefinition",
            ),
        ),
        migrations.CreateModel(
            name="OutboxMessage",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("kind", models.CharField(max_length=60)),
                ("dedupe_key", models.CharField(max_length=200, unique=True)),
                ("payload", models.JSONField()),
                (
                    "state",
                    models.CharField(
                        choices=[("pending", "Pending"), ("sent", "Sent"), ("dead", "Dead")],
                        default="pending",
                        max_length=10,
                    ),
                ),
                (
                    "due_at",
                    models.DateTimeField(
                        db_default=django.db.models.functions.datetime.Now(),
                        help_text="while leased: when the lease ends",
                    ),
                ),
                ("attempts", models.PositiveIntegerField(default=0)),
                ("lease_token", models.UUIDField(null=True)),
                ("last_error", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("give_up_at", models.DateTimeField()),
                ("sent_at", models.DateTimeField(null=True)),
                (
                    "channel",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="messages", to="monitoring.channel"
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="ResponseRun",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("name", models.CharField(max_length=100)),
                ("target", models.CharField(max_length=200)),
                ("because", models.TextField(help_text="the reason that goes on record with what it does")),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("pending", "Pending"),
                            ("done", "Done"),
                            ("refused", "Refused"),
                            ("failed", "Failed"),
                        ],
                        default="pending",
                        max_length=10,
                    ),
                ),
                ("attempts", models.PositiveSmallIntegerField(default=0)),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("outcome", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("ended_at", models.DateTimeField(null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="portal.environment",
                    ),
                ),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="runs", to="monitoring.incident"
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        null=True, on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.service"
                    ),
                ),
            ],
            options={
                "ordering": ("incident", "id"),
            },
        ),
        migrations.CreateModel(
            name="TimelineEntry",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("seq", models.PositiveIntegerField()),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                ("kind", models.CharField(max_length=40)),
                ("actor", models.CharField(max_length=200)),
                ("text", models.TextField()),
                ("data", models.JSONField(default=dict)),
                (
                    "incident",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="timeline", to="monitoring.incident"
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "timeline entries",
                "ordering": ("incident", "seq"),
            },
        ),
        migrations.AddIndex(
            model_name="threshold",
            index=models.Index(condition=models.Q(("active", True)), fields=["due_at"], name="thresholds_due"),
        ),
        migrations.AddIndex(
            model_name="threshold",
            index=models.Index(condition=models.Q(("active", True)), fields=["metric"], name="thresholds_of_a_metric"),
        ),
        migrations.AddIndex(
            model_name="threshold",
            index=models.Index(
                condition=models.Q(("active", True), models.Q(("denominator", ""), _negated=True)),
                fields=["denominator"],
                name="thresholds_of_a_denominator",
            ),
        ),
        migrations.AddIndex(
            model_name="threshold",
            index=models.Index(
                condition=models.Q(("owner", ""), _negated=True), fields=["owner"], name="thresholds_of_an_owner"
            ),
        ),
        migrations.AddConstraint(
            model_name="threshold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("warning__isnull", False), ("error__isnull", False), ("critical__isnull", False), _connector="OR"
                ),
                name="threshold_has_a_bound",
            ),
        ),
        migrations.AddConstraint(
            model_name="threshold",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("response", ""), ("error__isnull", False), ("critical__isnull", False), _connector="OR"
                ),
                name="warning_alone_responds_to_nothing",
            ),
        ),
        migrations.AddConstraint(
            model_name="alertstate",
            constraint=models.UniqueConstraint(fields=("threshold", "group"), name="one_state_a_threshold_and_group"),
        ),
        migrations.AddIndex(
            model_name="alert",
            index=models.Index(fields=["status", "-id"], name="alerts_by_status"),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("pending", "firing"))),
                fields=("threshold", "group"),
                name="one_open_alert_a_threshold_and_group",
            ),
        ),
        migrations.AddConstraint(
            model_name="alert",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("resolved_at__isnull", False), ("status", "resolved")),
                    models.Q(models.Q(("status", "resolved"), _negated=True), ("resolved_at__isnull", True)),
                    _connector="OR",
                ),
                name="resolved_alert_says_when",
            ),
        ),
        migrations.AddIndex(
            model_name="incident",
            index=models.Index(fields=["status", "-id"], name="incidents_by_status"),
        ),
        migrations.AddConstraint(
            model_name="incident",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status__in", ("triggered", "acknowledged", "mitigated"))),
                fields=("definition", "group_key"),
                name="one_open_incident_a_group",
            ),
        ),
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(condition=models.Q(("state", "pending")), fields=["due_at", "id"], name="outbox_due"),
        ),
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(fields=["channel", "state"], name="outbox_of_a_channel"),
        ),
        migrations.AddIndex(
            model_name="responserun",
            index=models.Index(condition=models.Q(("status", "pending")), fields=["due_at"], name="response_runs_due"),
        ),
        migrations.AddConstraint(
            model_name="responserun",
            constraint=models.UniqueConstraint(
                fields=("incident", "name", "target"), name="one_run_an_incident_and_target"
            ),
        ),
        migrations.AddConstraint(
            model_name="timelineentry",
            constraint=models.UniqueConstraint(fields=("incident", "seq"), name="one_entry_a_number"),
        ),
    ]
