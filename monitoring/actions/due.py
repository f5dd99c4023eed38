"""Which thresholds are to be judged at once, because their metric has new samples."""

from collections.abc import Collection

from django.db import connection

from portal import jobs


def mark(metrics: Collection[str]) -> None:
    """Mark every active threshold on one of these metrics due, and have them judged.

    Called after the samples are committed, as one short statement: rows go in by id and are never updated,
    so writers neither wait for each other nor deadlock.
    """
    if not metrics:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_duethreshold (threshold_id) "
            "SELECT id FROM monitoring_threshold "
            "WHERE active AND (metric = ANY(%s) OR denominator = ANY(%s)) ORDER BY id "
            "ON CONFLICT DO NOTHING",
            [sorted(metrics)] * 2,
        )
        marked = cursor.rowcount
    if marked:
        jobs.nudge("monitoring.judge")


def mark_combinations(members: Collection[int]) -> None:
    """Mark every active combination of one of these thresholds due: where it stands may have changed."""
    if not members:
        return
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO monitoring_duethreshold (threshold_id) SELECT id FROM monitoring_threshold "
            "WHERE active AND NOT members = '{}' AND members && %s::int8[] ORDER BY id ON CONFLICT DO NOTHING",
            [sorted(members)],
        )
        marked = cursor.rowcount
    if marked:
        jobs.nudge("monitoring.judge")
