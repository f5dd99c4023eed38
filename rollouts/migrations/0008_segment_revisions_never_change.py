"""A segment's revision never changes; segments that are there begin their log with what they are."""

from django.db import migrations

IMMUTABLE = """
CREATE TRIGGER rollouts_segmentrevision_no_change BEFORE UPDATE OR DELETE ON rollouts_segmentrevision
    FOR EACH ROW EXECUTE FUNCTION rollouts_refuse('a segment revision is never changed');
CREATE TRIGGER rollouts_segmentrevision_no_truncate BEFORE TRUNCATE ON rollouts_segmentrevision
    FOR EACH STATEMENT EXECUTE FUNCTION rollouts_refuse('a segment revision is never changed');
"""
MUTABLE = """
DROP TRIGGER rollouts_segmentrevision_no_truncate ON rollouts_segmentrevision;
DROP TRIGGER rollouts_segmentrevision_no_change ON rollouts_segmentrevision;
"""
BEGIN = """
INSERT INTO rollouts_segmentrevision (segment, number, document, diff, actor, because, at)
SELECT s.key, s.revision, d.document,
       (SELECT jsonb_object_agg(f.key, jsonb_build_array(NULL, f.value)) FROM jsonb_each(d.document) AS f),
       'upgrade', 'as it was when its log began', s.updated_at
FROM rollouts_segment AS s,
     LATERAL (SELECT jsonb_build_object('key', s.key, 'name', s.name, 'description', s.description,
         'conditions', s.conditions, 'included', s.included, 'excluded', s.excluded) AS document) AS d
"""


class Migration(migrations.Migration):
    dependencies = [("rollouts", "0007_change_requests")]
    operations = [migrations.RunSQL(BEGIN, migrations.RunSQL.noop), migrations.RunSQL(IMMUTABLE, MUTABLE)]
