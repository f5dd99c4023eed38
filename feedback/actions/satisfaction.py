"""Ratings as the metric `satisfaction`, which thresholds and guardrails watch."""

from datetime import datetime, timedelta

import structlog
from django.conf import settings

from feedback.models import Entry
from monitoring.actions import observations
from portal import jobs
from portal.audit import Automaton

log = structlog.get_logger(__name__)

BY = Automaton("feedback")
METRIC = "satisfaction"
AGAIN_AFTER = timedelta(minutes=5)


def count(entry: Entry) -> bool:
    """Add the entry's rating to the metric, in the caller's transaction. It counts once, however often this runs.

    A metric that takes no more (somebody made it a counter, its series are too many) costs no feedback: the entry
    says why its rating is missing, and the sweep tries again while raw samples of that time are taken.
    """
    labels = {"service": entry.service.key, "release": entry.release, "flag": entry.flag, "variant": entry.variant}
    if entry.environment is not None:
        labels["environment"] = entry.environment.key
    outcome = observations.record(
        [
            {
                "metric": METRIC,
                "key": str(entry.pk),
                "value": float(entry.rating or 0),
                "time": entry.created_at,
                "labels": {name: value for name, value in labels.items() if value},
            }
        ],
        by=BY,
    )
    fault = outcome.errors[0] if outcome.errors else None
    entry.uncounted_because = f"{fault.field}: {fault.message}" if fault else ""
    entry.count_at = _next_look(entry) if fault else None
    entry.save(update_fields=["uncounted_because", "count_at"])
    if fault:
        log.warning("feedback.rating_not_counted", entry=entry.pk, because=entry.uncounted_because)
    return fault is None


def _next_look(entry: Entry) -> datetime | None:
    again = jobs.database_now() + AGAIN_AFTER
    taken_until = entry.created_at + timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS)
    return again if again < taken_until else None
