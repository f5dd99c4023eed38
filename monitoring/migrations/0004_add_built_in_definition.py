"""The definition that catches every error and critical alert that no other does."""

from typing import Any

from django.db import migrations

LAST = 32_767


def add(apps: Any, schema_editor: Any) -> None:
    definitions = apps.get_model("monitoring", "IncidentDefinition")
    definitions.objects.get_or_create(key="threshold", defaults={"name": "Threshold crossed", "rank": LAST})


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0003_timeline_is_append_only")]
    operations = [migrations.RunPython(add, migrations.RunPython.noop)]
