"""What holds alerts back right now: silences, maintenance windows and inhibitions, in a fixed number of queries."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from django.db.models import Q, QuerySet

from monitoring.models import Alert, InhibitionRule, MaintenanceWindow, Silence
from monitoring.suppressing import DAYS, Inhibition, Matcher, Mute, Recurrence, all_match, muting


@dataclass(frozen=True, slots=True)
class Suppressions:
    """As they are at one moment."""

    mutes: Sequence[Mute]
    inhibitions: Sequence[Inhibition]

    def holding(self, labels: Mapping[str, str], *, alert: int) -> str:
        """What holds back an alert of these labels, in words; "" when nothing does. `alert` is its own id."""
        return muting(self.mutes, labels) or self._inhibiting(labels, alert)

    def _inhibiting(self, labels: Mapping[str, str], alert: int) -> str:
        for rule in self.inhibitions:
            if not all_match(rule.target, labels):
                continue
            for source in _candidates(rule, labels).exclude(pk=alert):
                if rule.holds(source.known_by(), labels):
                    return f"{rule.name}: {source.threshold.name} is firing (alert {source.pk})"
        return ""


def current(*, now: datetime) -> Suppressions:
    silences = [
        Mute(f"{one}, until {one.ends_at:%d %b %H:%M} UTC", matchers(one.matchers)) for one in Silence.objects.at(now)
    ]
    windows = MaintenanceWindow.objects.filter(starts_at__lte=now).filter(Q(ends_at=None) | Q(ends_at__gt=now))
    planned = [
        Mute(f"maintenance {one}, until {span[1]:%d %b %H:%M} UTC", matchers(one.matchers))
        for one in windows
        if (span := occurrence(one, now)) is not None
    ]
    rules = [
        Inhibition(one.name, matchers(one.source), matchers(one.target), tuple(one.equal))
        for one in InhibitionRule.objects.filter(active=True)
    ]
    return Suppressions([*silences, *planned], rules)


def matchers(given: Sequence[Mapping[str, object]]) -> tuple[Matcher, ...]:
    return tuple(
        Matcher(str(one["name"]), str(one["value"]), bool(one.get("is_regex")), bool(one.get("is_equal", True)))
        for one in given
    )


def recurrence(window: MaintenanceWindow) -> Recurrence | None:
    if not window.days or window.opens is None or window.closes is None:
        return None
    days = frozenset(DAYS.index(day) for day in window.days)
    return Recurrence(days, window.opens, window.closes, ZoneInfo(window.zone))


def occurrence(window: MaintenanceWindow, now: datetime) -> tuple[datetime, datetime] | None:
    """The stretch of the window that `now` lies in."""
    recurring = recurrence(window)
    if recurring is not None:
        return recurring.at(now)
    if window.ends_at is None or not window.starts_at <= now < window.ends_at:
        return None
    return window.starts_at, window.ends_at


def _candidates(rule: Inhibition, labels: Mapping[str, str]) -> QuerySet[Alert]:
    """The firing alerts that may be a source: what the index can tell; the rule itself has the last word."""
    rows = Alert.objects.firing().select_related("threshold")
    wanted = {one.name: one.value for one in rule.source if one.is_equal and not one.is_regex}
    if name := wanted.pop("alertname", ""):
        rows = rows.filter(threshold__name=name)
    if level := wanted.pop("level", ""):
        rows = rows.filter(level=level)
    if metric := wanted.pop("metric", ""):
        rows = rows.filter(threshold__metric=metric)
    shared = {name: value for name, value in rule.wanted(labels).items() if value and name in labels}
    shared = {name: value for name, value in shared.items() if name not in ("alertname", "level", "metric")}
    return rows.filter(labels__contains={**{n: v for n, v in wanted.items() if v}, **shared})
