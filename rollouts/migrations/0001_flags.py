"""Flags, their state in each environment, segments, and revisions that nothing can change."""

import django.core.serializers.json
import django.core.validators
import django.db.models.deletion
import django.db.models.functions.datetime
from django.db import migrations, models

import rollouts.models.flags

KEY = django.core.validators.RegexValidator(
    "^[A-Za-z0-9][A-Za-z0-9._-]{0,127}\\Z",
    "1 to 128 letters, digits, dots, dashes or underscores, beginning with a letter or a digit",
)
IMMUTABLE = """
CREATE FUNCTION rollouts_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '%', TG_ARGV[0] USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER rollouts_flagrevision_no_change BEFORE UPDATE OR DELETE ON rollouts_flagrevision
    FOR EACH ROW EXECUTE FUNCTION rollouts_refuse('a flag revision is never changed');
CREATE TRIGGER rollouts_flagrevision_no_truncate BEFORE TRUNCATE ON rollouts_flagrevision
    FOR EACH STATEMENT EXECUTE FUNCTION rollouts_refuse('a flag revision is never changed');
CREATE TRIGGER rollouts_flag_same_salt BEFORE UPDATE ON rollouts_flag
    FOR EACH ROW WHEN (OLD.salt <> NEW.salt OR OLD.key <> NEW.key)
    EXECUTE FUNCTION rollouts_refuse('the key and the salt of a flag never change');
"""
MUTABLE = """
DROP TRIGGER rollouts_flag_same_salt ON rollouts_flag;
DROP TRIGGER rollouts_flagrevision_no_truncate ON rollouts_flagrevision;
DROP TRIGGER rollouts_flagrevision_no_change ON rollouts_flagrevision;
DROP FUNCTION rollouts_refuse();
"""


class Migration(migrations.Migration):
    initial = True

    dependencies = [
        ("portal", "__first__"),
    ]

    operations = [
        migrations.CreateModel(
            name="Segment",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        unique=True,
                        validators=[KEY],
                    ),
                ),
                ("name", models.CharField(blank=True, max_length=200)),
                ("description", models.TextField(blank=True)),
                ("conditions", models.JSONField(blank=True, default=list)),
                (
                    "included",
                    models.JSONField(
                        blank=True, default=list, help_text="units that belong whatever the conditions say"
                    ),
                ),
                ("excluded", models.JSONField(blank=True, default=list, help_text="units that never belong")),
                ("revision", models.PositiveIntegerField(default=0, editable=False)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("changed_in", models.BigIntegerField(db_index=True, default=0, editable=False)),
            ],
            options={
                "ordering": ("key",),
            },
        ),
        migrations.CreateModel(
            name="Flag",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "key",
                    models.CharField(
                        max_length=128,
                        unique=True,
                        validators=[KEY],
                    ),
                ),
                (
                    "type",
                    models.CharField(
                        choices=[
                            ("boolean", "boolean"),
                            ("percentage", "percentage"),
                            ("user_group", "user group"),
                            ("ab_test", "A/B test"),
                            ("time_based", "time-based"),
                        ],
                        default="boolean",
                        max_length=20,
                    ),
                ),
                (
                    "value_type",
                    models.CharField(
                        choices=[
                            ("bool", "Bool"),
                            ("string", "String"),
                            ("int", "Int"),
                            ("float", "Float"),
                            ("json", "Json"),
                        ],
                        default="bool",
                        max_length=10,
                    ),
                ),
                ("variants", models.JSONField(help_text='in order: [{"key": …, "value": …}]')),
                (
                    "purpose",
                    models.CharField(
                        choices=[
                            ("release", "Release"),
                            ("experiment", "Experiment"),
                            ("ops", "Ops"),
                            ("permission", "Permission"),
                        ],
                        default="release",
                        max_length=20,
                    ),
                ),
                ("owner", models.CharField(blank=True, max_length=200)),
                (
                    "risk",
                    models.CharField(
                        choices=[("low", "Low"), ("medium", "Medium"), ("high", "High"), ("critical", "Critical")],
                        default="low",
                        max_length=10,
                    ),
                ),
                ("description", models.TextField(blank=True)),
                ("salt", models.CharField(default=rollouts.models.flags.new_salt, editable=False, max_length=64)),
                (
                    "algo",
                    models.CharField(default="r1", editable=False, help_text="how units are bucketed", max_length=30),
                ),
                ("revision", models.PositiveIntegerField(default=0, editable=False)),
                ("archived_at", models.DateTimeField(blank=True, editable=False, null=True)),
                (
                    "created_at",
                    models.DateTimeField(db_default=django.db.models.functions.datetime.Now(), editable=False),
                ),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("changed_in", models.BigIntegerField(db_index=True, default=0, editable=False)),
                (
                    "service",
                    models.ForeignKey(
                        blank=True,
                        help_text="the owning service",
                        null=True,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="flags",
                        to="portal.service",
                    ),
                ),
            ],
            options={
                "ordering": ("key",),
            },
        ),
        migrations.CreateModel(
            name="FlagConfig",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                (
                    "enabled",
                    models.BooleanField(
                        default=False, help_text="the kill switch: off serves the off variant to everyone"
                    ),
                ),
                ("off_variant", models.CharField(max_length=128)),
                ("rules", models.JSONField(default=list)),
                ("fallthrough", models.JSONField(default=dict)),
                ("overrides", models.JSONField(default=dict)),
                ("prerequisites", models.JSONField(default=list)),
                ("window", models.JSONField(blank=True, null=True)),
                ("reserved", models.JSONField(default=list, editable=False)),
                ("revision", models.PositiveIntegerField(default=0, editable=False)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("changed_in", models.BigIntegerField(db_index=True, default=0, editable=False)),
                (
                    "environment",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="flag_configs",
                        to="portal.environment",
                    ),
                ),
                (
                    "flag",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE, related_name="configs", to="rollouts.flag"
                    ),
                ),
            ],
            options={
                "ordering": ("flag__key", "environment__rank"),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("flag", "environment"), name="one_config_of_a_flag_in_an_environment"
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="FlagRevision",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("number", models.PositiveIntegerField()),
                ("document", models.JSONField(encoder=django.core.serializers.json.DjangoJSONEncoder)),
                (
                    "diff",
                    models.JSONField(
                        encoder=django.core.serializers.json.DjangoJSONEncoder, help_text="{field: [before, after]}"
                    ),
                ),
                ("actor", models.CharField(max_length=200)),
                ("because", models.TextField(blank=True)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
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
                    "flag",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, related_name="revisions", to="rollouts.flag"
                    ),
                ),
            ],
            options={
                "ordering": ("-id",),
                "constraints": [
                    models.UniqueConstraint(
                        fields=("flag", "environment", "number"), name="one_revision_of_a_number", nulls_distinct=False
                    ),
                    models.CheckConstraint(condition=models.Q(("number__gt", 0)), name="flag_revisions_count_from_one"),
                ],
            },
        ),
        migrations.RunSQL(IMMUTABLE, MUTABLE),
    ]
