"""The two arms of a deployment: which series a condition is about, and what those of the baseline show."""

from collections.abc import Mapping
from copy import copy
from datetime import datetime
from math import ceil

from monitoring.models import Threshold
from monitoring.queries.measurements import Look, measure
from rollouts.models import Deployment
from rollouts.progress import Reading


def placed(matchers: Mapping[str, str], deployment: Deployment) -> dict[str, str]:
    """A plan names no place: its conditions are about the deployment's environment, and about its service
    unless they name a flag or a release themselves."""
    found = {"environment": deployment.environment.key, **matchers}
    if not {"service", "flag", "release"} & set(matchers):
        found["service"] = deployment.service.key
    return found


def look(condition: Threshold, *, now: datetime) -> Look:
    """What the condition, saved or not, sees now."""
    asked = copy(condition)
    asked.pk = condition.pk or 0
    return measure([asked], now=now)[asked.pk]


def names_canary(condition: Threshold, deployment: Deployment) -> bool:
    """Is it about those alone who get the new variant, or the new release?"""
    return _variant_of_baseline(condition, deployment) is not None or _is_about_release(condition, deployment)


def baseline(condition: Threshold, deployment: Deployment, *, now: datetime) -> Reading:
    """The same measurement of the other arm; of a condition that names no arm, as it stands."""
    asked = copy(condition)
    asked.baseline_kind, asked.baseline_labels = Threshold.Baseline.NONE, {}
    asked.matchers = _matchers_of_baseline(condition, deployment)
    if asked.matchers == condition.matchers and _is_about_release(condition, deployment):
        asked.baseline_kind = Threshold.Baseline.PREVIOUS_RELEASE
        other = look(asked, now=now).measurement.baseline
        return _reading(condition, other.value, other.count) if other else Reading(None)
    seen = look(asked, now=now).measurement
    return _reading(condition, seen.value, seen.count)


def canary(condition: Threshold, *, now: datetime) -> Reading:
    """What the condition itself sees, held against no baseline."""
    asked = copy(condition)
    asked.baseline_kind, asked.baseline_labels = Threshold.Baseline.NONE, {}
    seen = look(asked, now=now).measurement
    return _reading(condition, seen.value, seen.count)


def baseline_at(condition: Threshold, deployment: Deployment, moment: datetime, *, now: datetime) -> Reading:
    """The same, of a moment that is past: no data when its samples are no longer kept."""
    asked = copy(condition)
    asked.matchers = _matchers_of_baseline(condition, deployment)
    asked.baseline_kind, asked.baseline_labels = Threshold.Baseline.OFFSET, {}
    asked.baseline_seconds = max(1, ceil((now - moment).total_seconds()))
    then = look(asked, now=now).measurement.baseline
    return _reading(condition, then.value, then.count) if then else Reading(None)


def _matchers_of_baseline(condition: Threshold, deployment: Deployment) -> dict[str, str]:
    variant = _variant_of_baseline(condition, deployment)
    return {**condition.matchers, "variant": variant} if variant else dict(condition.matchers)


def _reading(condition: Threshold, value: float | None, count: int) -> Reading:
    """Too few are as good as none."""
    return Reading(value if count >= max(condition.min_count, 1) else None, count)


def _variant_of_baseline(condition: Threshold, deployment: Deployment) -> str | None:
    """The baseline's variant, where the condition is about the one that the deployment serves."""
    flag, variant = condition.matchers.get("flag"), condition.matchers.get("variant")
    served = deployment.flags.filter(flag__key=flag, variant=variant).first() if flag and variant else None
    return served.baseline if served else None


def _is_about_release(condition: Threshold, deployment: Deployment) -> bool:
    return condition.matchers.get("release") == deployment.release.version
