"""A version of a plan never changes: votes were cast on it."""

from django.db import migrations

IMMUTABLE = """
CREATE FUNCTION rollouts_plan_never_changes() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'a version of a plan never changes' USING ERRCODE = 'restrict_violation';
END $$;
CREATE TRIGGER rollouts_plan_no_change BEFORE UPDATE ON rollouts_plan FOR EACH ROW
    WHEN ((OLD.name, OLD.version, OLD.hash, OLD.content, OLD.author_name)
        IS DISTINCT FROM (NEW.name, NEW.version, NEW.hash, NEW.content, NEW.author_name))
    EXECUTE FUNCTION rollouts_plan_never_changes();
CREATE TRIGGER rollouts_plan_no_delete BEFORE DELETE ON rollouts_plan FOR EACH ROW
    EXECUTE FUNCTION rollouts_plan_never_changes();
"""
MUTABLE = """
DROP TRIGGER rollouts_plan_no_delete ON rollouts_plan;
DROP TRIGGER rollouts_plan_no_change ON rollouts_plan;
DROP FUNCTION rollouts_plan_never_changes();
"""


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0002_deployments")]
    operations = [migrations.RunSQL(IMMUTABLE, MUTABLE)]
