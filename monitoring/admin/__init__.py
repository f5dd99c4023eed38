"""The admin pages of monitoring, a module for each noun."""

from monitoring.admin import (
    alerts,
    errors,
    escalation,
    events,
    incidents,
    metrics,
    notifications,
    postmortems,
    rejections,
    reported,
    silences,
    slos,
    sources,
    statuspage,
    thresholds,
)

__all__ = [
    "alerts",
    "errors",
    "escalation",
    "events",
    "incidents",
    "metrics",
    "notifications",
    "postmortems",
    "rejections",
    "reported",
    "silences",
    "slos",
    "sources",
    "statuspage",
    "thresholds",
]
