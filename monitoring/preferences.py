"""When and where a person is told: at once, in their business hours, or in the digest of the day."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from enum import StrEnum

from monitoring.suppressing import Recurrence


class Urgency(StrEnum):
    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"


class When(StrEnum):
    AT_ONCE = "at_once"
    BUSINESS_HOURS = "business_hours"
    DAILY = "daily"
    NEVER = "never"


# Critical pages at once, a warning can wait for the morning, the rest is read once a day.
PRESET: Mapping[Urgency, When] = {
    Urgency.CRITICAL: When.AT_ONCE,
    Urgency.WARNING: When.BUSINESS_HOURS,
    Urgency.INFO: When.DAILY,
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """What a person has chosen. What is critical is told at once, in quiet hours, too."""

    zone: tzinfo
    business: Recurrence
    quiet: Recurrence | None = None
    digest_at: time = time(8)
    choices: Mapping[Urgency, When] | None = None

    def due(self, urgency: Urgency, now: datetime) -> datetime | None:
        """When something said now is to be told; None: never. What is not due at once waits, and is not lost."""
        if urgency is Urgency.CRITICAL:
            return now
        match {**PRESET, **(self.choices or {})}[urgency]:
            case When.NEVER:
                return None
            case When.DAILY:
                due = self._digest(now)
            case When.BUSINESS_HOURS:
                due = self._open(now)
            case _:
                due = now
        if self.quiet is None or (span := self.quiet.at(due)) is None:
            return due
        return span[1]

    def _open(self, now: datetime) -> datetime:
        if self.business.at(now) is not None:
            return now
        following = self.business.following(now)
        # Business hours on no day at all would be never: then at once.
        return following[0] if following is not None else now

    def _digest(self, now: datetime) -> datetime:
        local = now.astimezone(self.zone)
        today = datetime.combine(local.date(), self.digest_at, self.zone)
        due = today if today > now else datetime.combine(local.date() + timedelta(days=1), self.digest_at, self.zone)
        return due.astimezone(UTC)


def urgency_of(severity: str) -> Urgency:
    """SEV1 and SEV2 are critical, SEV3 is a warning, SEV4 for the digest."""
    return {"SEV1": Urgency.CRITICAL, "SEV2": Urgency.CRITICAL, "SEV3": Urgency.WARNING}.get(severity, Urgency.INFO)
