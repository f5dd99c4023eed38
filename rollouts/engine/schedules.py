"""A rollout over time: in steps, or evenly from point to point. Instants are UTC; the times of a zone are read."""

from bisect import bisect_right
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

from rollouts.engine import bucketing
from rollouts.engine.types import Schedule, Serve

STEPS, LINEAR = "steps", "linear"
KINDS = (STEPS, LINEAR)
LONGEST_TIME = 64
LOOKS = 100  # of waiting clients between two points of a ramp
NEVER_SOONER = 60.0  # seconds


class BadTime(ValueError):
    """A time that names no single instant, in words."""


def current(schedule: Schedule, now: float) -> Serve:
    """What is served now: before the first point what held until then, from the last point on what it says."""
    passed = bisect_right(schedule.times, now)
    if passed == 0:
        return schedule.before
    last = schedule.serves[passed - 1]
    if not schedule.linear or passed == len(schedule.times):
        return last
    following = schedule.serves[passed]
    began, ends = schedule.times[passed - 1], schedule.times[passed]
    gained = int((following.rollout - last.rollout) * ((now - began) / (ends - began)))
    if gained == 0:
        return last
    rollout, between = last.rollout + gained, schedule.between
    return replace(between, rollout=rollout, bound=None if between.legacy is not None else bucketing.bound(rollout))


def turns(schedule: Schedule) -> Iterator[float]:
    """When clients that wait for news are to look again: at its points, and as a ramp goes on."""
    yield from schedule.times
    if schedule.linear:
        for began, ends in pairwise(schedule.times):
            looks = min(LOOKS, int((ends - began) / NEVER_SOONER))
            yield from (began + (ends - began) * n / looks for n in range(1, looks))


def instant(text: Any, zone: ZoneInfo | None) -> str:
    """A time with its offset: RFC 3339 as it is; a zone's own time, which must be there once on that day."""
    try:
        if not isinstance(text, str) or len(text) > LONGEST_TIME:
            raise ValueError
        when = datetime.fromisoformat(text)
        if when.tzinfo is not None:
            when.astimezone(UTC)
            return text
        if zone is None:
            raise BadTime("must be a time with its offset such as 2026-03-01T09:00:00Z, or the schedule names a zone")
        return _local(when, zone).isoformat()
    except BadTime:
        raise
    except (ValueError, OverflowError):
        raise BadTime("must be a time such as 2026-03-01T09:00:00Z") from None


def _local(when: datetime, zone: ZoneInfo) -> datetime:
    early, late = (when.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if early.astimezone(UTC).astimezone(zone).replace(tzinfo=None) != when.replace(fold=0):
        raise BadTime(f"does not exist in {zone.key}: the clocks are put forward over it")
    if early.utcoffset() != late.utcoffset():
        raise BadTime(f"is there twice in {zone.key}, as the clocks are put back: give it with its offset")
    return early


def zone_of(name: Any) -> ZoneInfo | None:
    """The zone of an IANA name; None for what is no such name."""
    if not isinstance(name, str) or not 0 < len(name) <= LONGEST_TIME:
        return None
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        return None


def is_over(schedule: Mapping[str, Any], now: float) -> bool:
    """Nothing of it lies ahead: its last point has passed."""
    return datetime.fromisoformat(schedule["points"][-1]["at"]).timestamp() <= now
