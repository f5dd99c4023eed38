"""A timeline refuses to be rewritten, whatever asks."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION monitoring_timelineentry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a timeline is append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER monitoring_timelineentry_append_only BEFORE UPDATE OR DELETE ON monitoring_timelineentry
    FOR EACH ROW EXECUTE FUNCTION monitoring_timelineentry_append_only();
CREATE TRIGGER monitoring_timelineentry_no_truncate BEFORE TRUNCATE ON monitoring_timelineentry
    FOR EACH STATEMENT EXECUTE FUNCTION monitoring_timelineentry_append_only();
"""
BACKWARD = """
DROP TRIGGER monitoring_timelineentry_no_truncate ON monitoring_timelineentry;
DROP TRIGGER monitoring_timelineentry_append_only ON monitoring_timelineentry;
DROP FUNCTION monitoring_timelineentry_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("monitoring", "0002_thresholds_alerts_incidents_and_outbox")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
