"""The admin pages of monitoring, a module for each noun."""

from monitoring.admin import (
    alerts,
    events,
    incidents,
    metrics,
    notifications,
    rejections,
    silences,
    statuspage,
    thresholds,
)

__all__ = [
    "alerts",
    "events",
    "incidents",
    "metrics",
    "notifications",
    "rejections",
    "silences",
    "statuspage",
    "thresholds",
]
