"""The metric that ratings become, said before the first of them comes."""

from typing import Any

from django.db import migrations

DEFINITION = {
    "type": "histogram",
    "unit": "stars",
    "direction": "higher_is_better",
    "description": "Users' ratings, 1 to 5",
}


def define(apps: Any, schema_editor: Any) -> None:
    apps.get_model("monitoring", "Metric").objects.get_or_create(name="satisfaction", defaults=DEFINITION)


class Migration(migrations.Migration):
    dependencies = [
        ("feedback", "0001_entries"),
        ("monitoring", "0001_metrics_series_and_samples"),
    ]

    operations = [migrations.RunPython(define, migrations.RunPython.noop)]
