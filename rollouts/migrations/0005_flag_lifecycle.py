"""A flag's tags, its expiry date, and whether it is meant to stay."""

from django.contrib.postgres.fields import ArrayField
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0004_sampled_contexts")]
    operations = [
        migrations.AddField(
            "flag",
            "expires_at",
            models.DateTimeField(
                blank=True, help_text="by when the flag is to be gone; it goes on serving after that", null=True
            ),
        ),
        migrations.AddField(
            "flag",
            "permanent",
            models.BooleanField(default=False, help_text="meant to stay: never due for removal"),
        ),
        migrations.AddField(
            "flag",
            "tags",
            ArrayField(
                models.CharField(max_length=50),
                blank=True,
                default=list,
                help_text="free words, separated by commas",
                size=None,
            ),
        ),
    ]
