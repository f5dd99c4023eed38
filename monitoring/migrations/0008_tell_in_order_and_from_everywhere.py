"""Slack, PagerDuty and Teams: order, pace, rest and folding of what is told; incidents have a name outside."""

import django.contrib.postgres.functions
import django.db.models.deletion
import django.db.models.functions.datetime
from django.conf import settings
from django.db import migrations, models

import portal.secrets


class Migration(migrations.Migration):
    dependencies = [
        ("monitoring", "0007_add_rejections"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name="ChannelThread",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("thread", models.CharField(max_length=200)),
                ("mark", models.JSONField()),
            ],
        ),
        migrations.CreateModel(
            name="HookReceipt",
            fields=[
                ("digest", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("at", models.DateTimeField(db_default=django.db.models.functions.datetime.Now())),
            ],
        ),
        migrations.AddField(
            model_name="channel",
            name="failures",
            field=models.PositiveIntegerField(default=0, editable=False, help_text="attempts in a row that failed"),
        ),
        migrations.AddField(
            model_name="channel",
            name="fold_after",
            field=models.PositiveSmallIntegerField(
                blank=True,
                help_text="messages a minute beyond which they become one; 0 never; empty: by its kind",
                null=True,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="free_at",
            field=models.DateTimeField(editable=False, help_text="when its pace allows the next message", null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="last_sent_at",
            field=models.DateTimeField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="owner",
            field=models.ForeignKey(
                blank=True,
                help_text="whom it reaches: one person",
                null=True,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="channels",
                to=settings.AUTH_USER_MODEL,
            ),
        ),
        migrations.AddField(
            model_name="channel",
            name="resting_until",
            field=models.DateTimeField(editable=False, help_text="nothing is tried before", null=True),
        ),
        migrations.AddField(
            model_name="channel",
            name="signing_secret",
            field=portal.secrets.EncryptedTextField(
                blank=True,
                default="",
                help_text="of Slack: proves that a pressed button comes from it; never shown again",
            ),
        ),
        migrations.AddField(
            model_name="incident",
            name="uid",
            field=models.UUIDField(
                db_default=django.contrib.postgres.functions.RandomUUID(),
                editable=False,
                help_text="its name outside",
                unique=True,
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="first_failed_at",
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="folded_into",
            field=models.ForeignKey(
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="folded",
                to="monitoring.outboxmessage",
            ),
        ),
        migrations.AddField(
            model_name="outboxmessage",
            name="thread",
            field=models.CharField(blank=True, default="", help_text="what is sent in its order", max_length=200),
        ),
        migrations.AlterField(
            model_name="outboxmessage",
            name="state",
            field=models.CharField(
                choices=[("pending", "Pending"), ("sent", "Sent"), ("dead", "Dead"), ("folded", "Folded")],
                default="pending",
                max_length=10,
            ),
        ),
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(fields=["channel", "sent_at"], name="outbox_sent_of_a_channel"),
        ),
        migrations.AddIndex(
            model_name="outboxmessage",
            index=models.Index(
                condition=models.Q(("state", "pending")), fields=["channel", "thread", "id"], name="outbox_in_order"
            ),
        ),
        migrations.AddField(
            model_name="channelthread",
            name="channel",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.CASCADE, related_name="threads", to="monitoring.channel"
            ),
        ),
        migrations.AddConstraint(
            model_name="channelthread",
            constraint=models.UniqueConstraint(fields=("channel", "thread"), name="one_mark_a_thread"),
        ),
    ]
