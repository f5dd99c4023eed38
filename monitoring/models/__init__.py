"""The tables of monitoring, a module for each noun."""

from monitoring.models.alerts import Alert
from monitoring.models.capacities import Capacity
from monitoring.models.coverage import CoverageWaiver
from monitoring.models.cumulative import Standing
from monitoring.models.errors import (
    ErrorGroup,
    ErrorHour,
    ErrorOccurrence,
    ErrorRelease,
    ErrorSeverity,
    ErrorUnit,
)
from monitoring.models.escalation import EscalationPolicy, Rota, RotaOverride
from monitoring.models.events import Event, Exposure
from monitoring.models.incidents import (
    Incident,
    IncidentAttachment,
    IncidentDefinition,
    ResponseRun,
    Severity,
    TimelineEntry,
)
from monitoring.models.metrics import DirtyBucket, HourRollup, Metric, MinuteRollup, Sample, Series
from monitoring.models.notifications import Channel, ChannelThread, HookReceipt, OutboxMessage
from monitoring.models.observations import Observation
from monitoring.models.postmortems import ActionItem, PostMortem, PostMortemVersion
from monitoring.models.preferences import NotificationPreference
from monitoring.models.recommendations import Recommendation, UnitCost
from monitoring.models.rejections import Rejection
from monitoring.models.reported import ReportedAlert
from monitoring.models.reports import Report, ReportSubscription
from monitoring.models.scaling import ScalingDecision, ScalingPolicy
from monitoring.models.silences import InhibitionRule, MaintenanceWindow, Silence
from monitoring.models.slos import Slo
from monitoring.models.sources import MetricSource
from monitoring.models.statuspage import StatusComponent, StatusIncident, StatusUpdate
from monitoring.models.thresholds import AlertState, DueThreshold, Threshold
from monitoring.models.usage import CountedBatch, VariantCount, VariantUse
from monitoring.models.watchdogs import Watchdog

__all__ = [
    "ActionItem",
    "Alert",
    "AlertState",
    "Capacity",
    "Channel",
    "ChannelThread",
    "CountedBatch",
    "CoverageWaiver",
    "DirtyBucket",
    "DueThreshold",
    "ErrorGroup",
    "ErrorHour",
    "ErrorOccurrence",
    "ErrorRelease",
    "ErrorSeverity",
    "ErrorUnit",
    "EscalationPolicy",
    "Event",
    "Exposure",
    "HookReceipt",
    "HourRollup",
    "Incident",
    "IncidentAttachment",
    "IncidentDefinition",
    "InhibitionRule",
    "MaintenanceWindow",
    "Metric",
    "MetricSource",
    "MinuteRollup",
    "NotificationPreference",
    "Observation",
    "OutboxMessage",
    "PostMortem",
    "PostMortemVersion",
    "Recommendation",
    "Rejection",
    "Report",
    "ReportSubscription",
    "ReportedAlert",
    "ResponseRun",
    "Rota",
    "RotaOverride",
    "Sample",
    "ScalingDecision",
    "ScalingPolicy",
    "Series",
    "Severity",
    "Silence",
    "Slo",
    "Standing",
    "StatusComponent",
    "StatusIncident",
    "StatusUpdate",
    "Threshold",
    "TimelineEntry",
    "UnitCost",
    "VariantCount",
    "VariantUse",
    "Watchdog",
]
