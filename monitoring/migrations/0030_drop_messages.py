"""A message that nobody wants any more is dropped before it is sent."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0029_add_reports_and_recommendations")]

    operations = [
        migrations.AlterField(
            model_name="outboxmessage",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("sent", "Sent"),
                    ("dead", "Dead"),
                    ("folded", "Folded"),
                    ("dropped", "Dropped"),
                ],
                default="pending",
                max_length=10,
            ),
        ),
    ]
