from django.db import migrations


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0012_add_silences_and_flapping")]

    operations = [
        migrations.RunSQL(
            "UPDATE monitoring_alert SET told_at = fired_at WHERE status = 'firing' AND incident_id IS NOT NULL",
            migrations.RunSQL.noop,
        ),
    ]
