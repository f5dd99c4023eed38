"""The admin pages of monitoring, a module for each noun."""

from monitoring.admin import (
    alerts,
    capacities,
    escalation,
    events,
    incidents,
    metrics,
    notifications,
    postmortems,
    rejections,
    reported,
    scaling,
    silences,
    slos,
    sources,
    statuspage,
    thresholds,
)

__all__ = [
    "alerts",
    "capacities",
    "escalation",
    "events",
    "incidents",
    "metrics",
    "notifications",
    "postmortems",
    "rejections",
    "reported",
    "scaling",
    "silences",
    "slos",
    "sources",
    "statuspage",
    "thresholds",
]
