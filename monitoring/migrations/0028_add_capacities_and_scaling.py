"""Limits of metrics, and how services are scaled: what was decided stays as it was decided."""

import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

FORWARD = """
CREATE FUNCTION monitoring_scalingdecision_frozen() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND
        (OLD.id, OLD.policy_id, OLD.service_id, OLD.environment_id, OLD.way, OLD.before, OLD.wanted, OLD.urgency, OLD.code,
         OLD.reason, OLD.evidence, OLD.made_at)
        IS NOT DISTINCT FROM
        (NEW.id, NEW.policy_id, NEW.service_id, NEW.environment_id, NEW.way, NEW.before, NEW.wanted, NEW.urgency, NEW.code,
         NEW.reason, NEW.evidence, NEW.made_at) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'decisions of scaling are append-only: % refused', TG_OP
        USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER monitoring_scalingdecision_frozen BEFORE UPDATE OR DELETE ON monitoring_scalingdecision
    FOR EACH ROW EXECUTE FUNCTION monitoring_scalingdecision_frozen();
CREATE TRIGGER monitoring_scalingdecision_no_truncate BEFORE TRUNCATE ON monitoring_scalingdecision
    FOR EACH STATEMENT EXECUTE FUNCTION monitoring_scalingdecision_frozen();
"""
BACKWARD = """
DROP TRIGGER monitoring_scalingdecision_no_truncate ON monitoring_scalingdecision;
DROP TRIGGER monitoring_scalingdecision_frozen ON monitoring_scalingdecision;
DROP FUNCTION monitoring_scalingdecision_frozen();
"""


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0027_find_new_series_of_a_metric"),
        ("portal", "0003_add_demo_seats"),
    ]

    operations = [
        migrations.CreateModel(
            name="ScalingPolicy",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
                                "1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or a digit",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "metric",
                    models.CharField(help_text="load of each instance: CPU, requests in flight…", max_length=200),
                ),
                (
                    "aggregation",
                    models.CharField(default="mean", help_text="mean, max, last, rate, p95…", max_length=20),
                ),
                (
                    "matchers",
                    models.JSONField(blank=True, default=dict, help_text="more labels than service and environment"),
                ),
                ("window", models.PositiveIntegerField(default=300, help_text="seconds that are looked back")),
                ("target", models.FloatField(help_text="of the metric, for each instance")),
                (
                    "tolerance",
                    models.FloatField(default=0.1, help_text="as a share of the target: within it nothing is done"),
                ),
                ("minimum", models.PositiveIntegerField(default=2, help_text="instances")),
                ("maximum", models.PositiveIntegerField(default=10, help_text="instances")),
                ("up_step", models.PositiveIntegerField(default=4, help_text="instances more at once")),
                ("down_step", models.PositiveIntegerField(default=1, help_text="instances fewer at once")),
                (
                    "up_cool_down",
                    models.PositiveIntegerField(
                        default=180, help_text="seconds after a change until one more is added"
                    ),
                ),
                (
                    "down_cool_down",
                    models.PositiveIntegerField(
                        default=900, help_text="seconds after a change until one is taken away"
                    ),
                ),
                (
                    "lead",
                    models.PositiveIntegerField(default=900, help_text="seconds that are looked ahead; 0: not at all"),
                ),
                (
                    "instances_metric",
                    models.CharField(blank=True, help_text="says how many there are; or", max_length=200),
                ),
                (
                    "instances",
                    models.PositiveIntegerField(
                        blank=True, help_text="how many there are, kept with each change", null=True
                    ),
                ),
                (
                    "mode",
                    models.CharField(
                        choices=[
                            ("advise", "advise: a person decides"),
                            ("send", "send: the desired state goes out by itself"),
                        ],
                        default="advise",
                        max_length=10,
                    ),
                ),
                (
                    "interval",
                    models.PositiveSmallIntegerField(default=60, help_text="seconds between two looks; at the most 90"),
                ),
                ("active", models.BooleanField(default=True, editable=False)),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                ("way", models.CharField(blank=True, default="", editable=False, max_length=10)),
                ("wanted", models.PositiveIntegerField(editable=False, null=True)),
                ("reason", models.TextField(blank=True, default="", editable=False)),
                ("value", models.FloatField(editable=False, null=True)),
                ("looked_at", models.DateTimeField(editable=False, null=True)),
                ("foreseen", models.JSONField(default=dict, editable=False)),
                (
                    "channel",
                    models.ForeignKey(
                        blank=True,
                        help_text="the webhook that is told",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="monitoring.channel",
                    ),
                ),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="scaling_policies",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="scaling_policies",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "scaling policies",
                "ordering": ("name", "id"),
            },
        ),
        migrations.CreateModel(
            name="ScalingDecision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "way",
                    models.CharField(
                        choices=[("scale_up", "Up"), ("scale_down", "Down"), ("none", "None")], max_length=10
                    ),
                ),
                ("before", models.PositiveIntegerField(help_text="instances; empty: not known", null=True)),
                ("wanted", models.PositiveIntegerField(help_text="instances from then on", null=True)),
                (
                    "urgency",
                    models.CharField(choices=[("high", "High"), ("normal", "Normal"), ("low", "Low")], max_length=10),
                ),
                ("code", models.CharField(max_length=20)),
                ("reason", models.TextField()),
                ("evidence", models.JSONField(help_text="what was known when it was decided")),
                ("made_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("noted", "Noted"),
                            ("advised", "Advised"),
                            ("accepted", "Accepted"),
                            ("declined", "Declined"),
                            ("superseded", "Superseded"),
                            ("sending", "Sending"),
                            ("sent", "Sent"),
                            ("failed", "Failed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("decided_by", models.CharField(blank=True, default="", max_length=200)),
                ("decided_at", models.DateTimeField(null=True)),
                ("said", models.TextField(blank=True, default="", help_text="why, in the words of who decided")),
                ("outcome", models.TextField(blank=True, default="")),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.environment"
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="+", to="portal.service"
                    ),
                ),
                (
                    "policy",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="decisions",
                        to="monitoring.scalingpolicy",
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
            },
        ),
        migrations.CreateModel(
            name="Capacity",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        validators=[
                            django.core.validators.RegexValidator(
                                "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
                                "1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or a digit",
                            )
                        ],
                    ),
                ),
                ("name", models.CharField(max_length=200)),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("capacity", "capacity: what there is of it"),
                            ("budget", "budget: what a calendar month may cost"),
                        ],
                        default="capacity",
                        max_length=20,
                    ),
                ),
                ("metric", models.CharField(max_length=200)),
                (
                    "aggregation",
                    models.CharField(
                        blank=True,
                        help_text="a capacity: mean, max, last, p95…; a budget: sum, or increase of a counter",
                        max_length=20,
                    ),
                ),
                ("matchers", models.JSONField(blank=True, default=dict, help_text="labels that a series must carry")),
                ("limit", models.FloatField(help_text="in the metric's unit")),
                (
                    "share",
                    models.FloatField(
                        default=0.9, help_text="a capacity: of the limit that must not be reached; 0.9 is 90 %"
                    ),
                ),
                (
                    "horizon",
                    models.PositiveSmallIntegerField(default=90, help_text="a capacity: days that are looked ahead"),
                ),
                ("active", models.BooleanField(default=True, editable=False)),
                ("version", models.PositiveIntegerField(default=1, editable=False)),
                ("created_by", models.CharField(editable=False, max_length=200)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("due_at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("within", "Within"),
                            ("at_risk", "at risk"),
                            ("over", "Over"),
                            ("unknown", "Unknown"),
                        ],
                        default="unknown",
                        editable=False,
                        max_length=10,
                    ),
                ),
                ("reason", models.TextField(blank=True, default="", editable=False)),
                ("value", models.FloatField(editable=False, help_text="now; of a budget what is spent", null=True)),
                (
                    "expected",
                    models.FloatField(editable=False, help_text="at the horizon, or the month's end", null=True),
                ),
                ("low", models.FloatField(editable=False, help_text="of its interval", null=True)),
                ("high", models.FloatField(editable=False, null=True)),
                (
                    "reached_at",
                    models.DateTimeField(
                        editable=False, help_text="when the share is reached; empty: not by then", null=True
                    ),
                ),
                ("earliest_at", models.DateTimeField(editable=False, null=True)),
                ("latest_at", models.DateTimeField(editable=False, null=True)),
                ("method", models.CharField(blank=True, default="", editable=False, max_length=60)),
                ("looked_at", models.DateTimeField(editable=False, null=True)),
                (
                    "environment",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="capacities",
                        to="portal.environment",
                    ),
                ),
                (
                    "service",
                    models.ForeignKey(
                        editable=False,
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="capacities",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "verbose_name_plural": "capacities",
                "ordering": ("name", "id"),
                "indexes": [
                    models.Index(condition=models.Q(("active", True)), fields=["due_at"], name="capacities_due")
                ],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("active", True)), fields=("key",), name="one_active_capacity_a_key"
                    ),
                    models.CheckConstraint(condition=models.Q(("limit__gt", 0)), name="capacity_is_something"),
                    models.CheckConstraint(
                        condition=models.Q(("share__gt", 0), ("share__lte", 1)), name="capacity_share_is_a_share"
                    ),
                ],
            },
        ),
        migrations.AddIndex(
            model_name="scalingpolicy",
            index=models.Index(condition=models.Q(("active", True)), fields=["due_at"], name="scaling_policies_due"),
        ),
        migrations.AddConstraint(
            model_name="scalingpolicy",
            constraint=models.UniqueConstraint(
                condition=models.Q(("active", True)), fields=("key",), name="one_active_policy_a_key"
            ),
        ),
        migrations.AddConstraint(
            model_name="scalingpolicy",
            constraint=models.UniqueConstraint(
                condition=models.Q(("active", True)),
                fields=("service", "environment"),
                name="one_scaling_policy_a_place",
            ),
        ),
        migrations.AddConstraint(
            model_name="scalingpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("maximum__gte", models.F("minimum")), ("minimum__gte", 1)),
                name="scaling_minimum_is_below_maximum",
            ),
        ),
        migrations.AddConstraint(
            model_name="scalingpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(("target__gt", 0)), name="scaling_target_is_something"
            ),
        ),
        migrations.AddIndex(
            model_name="scalingdecision",
            index=models.Index(fields=["policy", "-id"], name="decisions_of_a_policy"),
        ),
        migrations.AddConstraint(
            model_name="scalingdecision",
            constraint=models.UniqueConstraint(
                condition=models.Q(("status", "advised")), fields=("policy",), name="one_open_decision_a_policy"
            ),
        ),
        migrations.RunSQL(FORWARD, BACKWARD),
    ]
