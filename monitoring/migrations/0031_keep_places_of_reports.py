"""A report keeps which services in which environments it may tell of."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0030_drop_messages")]

    operations = [
        migrations.AddField(
            model_name="report",
            name="places",
            field=models.JSONField(
                help_text="by environment the services that it may tell of; empty: made before this was kept", null=True
            ),
        ),
    ]
