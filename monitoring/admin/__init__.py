"""The admin pages of monitoring, a module for each noun."""

from monitoring.admin import (
    alerts,
    coverage,
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
    watchdogs,
)

__all__ = [
    "alerts",
    "coverage",
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
    "watchdogs",
]
