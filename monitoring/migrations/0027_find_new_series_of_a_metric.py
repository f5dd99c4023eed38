"""The newest series of a metric at once: the index of the foreign key alone gives way to one that has the id, too."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0026_add_errors")]

    operations = [
        migrations.AddIndex(
            model_name="series",
            index=models.Index(fields=["metric", "id"], name="series_of_a_metric"),
        ),
        migrations.AlterField(
            model_name="series",
            name="metric",
            field=models.ForeignKey(
                db_index=False,
                on_delete=django.db.models.deletion.CASCADE,
                related_name="series",
                to="monitoring.metric",
            ),
        ),
    ]
