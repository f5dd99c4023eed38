"""The audit trail refuses to be rewritten, whatever asks: only its sealing may be filled in, once."""

from django.db import migrations

FORWARD = """
CREATE FUNCTION portal_auditentry_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' THEN
        IF OLD.position IS NULL AND NEW.position IS NOT NULL AND NEW.digest <> ''
           AND (to_jsonb(NEW) - 'position' - 'digest') = (to_jsonb(OLD) - 'position' - 'digest') THEN
            RETURN NEW;
        END IF;
    END IF;
    RAISE EXCEPTION 'the audit trail is append-only: % refused', TG_OP USING ERRCODE = 'integrity_constraint_violation';
END $$;
CREATE TRIGGER portal_auditentry_append_only BEFORE UPDATE OR DELETE ON portal_auditentry
    FOR EACH ROW EXECUTE FUNCTION portal_auditentry_append_only();
CREATE TRIGGER portal_auditentry_no_truncate BEFORE TRUNCATE ON portal_auditentry
    FOR EACH STATEMENT EXECUTE FUNCTION portal_auditentry_append_only();
"""
BACKWARD = """
DROP TRIGGER portal_auditentry_no_truncate ON portal_auditentry;
DROP TRIGGER portal_auditentry_append_only ON portal_auditentry;
DROP FUNCTION portal_auditentry_append_only();
"""


class Migration(migrations.Migration):
    dependencies = [("portal", "0001_people_places_keys_and_audit")]
    operations = [migrations.RunSQL(FORWARD, BACKWARD)]
