"""What Alertmanager sends (webhook v4), and what Prometheus sends to an Alertmanager (API v2), as reports."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.judging import Level

MOST_LABELS = 64
LONGEST_LABEL = 1024
LONGEST_ANNOTATION = 8000
LONGEST_NAME = 200
# An Alertmanager ends an alert without `endsAt` so long after its last word (its resolve_timeout).
WITHOUT_END = timedelta(minutes=5)

LEVELS: Mapping[str, Level | None] = {
    **dict.fromkeys(("critical", "page", "fatal", "emergency", "disaster", "sev1", "p1"), Level.CRITICAL),
    **dict.fromkeys(("error", "high", "major", "sev2", "p2"), Level.ERROR),
    **dict.fromkeys(("warning", "warn", "medium", "minor", "sev3", "p3"), Level.WARNING),
    **dict.fromkeys(("info", "information", "informational", "notice", "debug", "low", "none"), None),
}


class Unreadable(Exception):
    """Why one alert cannot be taken."""

    def __init__(self, field_: str, message: str) -> None:
        super().__init__(message)
        self.field, self.message = field_, message


@dataclass(frozen=True, slots=True)
class Report:
    """What was said of one alert. `ends_at` of one that fires: until when it stands without another word."""

    labels: Mapping[str, str]
    is_firing: bool
    starts_at: datetime
    ends_at: datetime | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    generator_url: str = ""

    @property
    def name(self) -> str:
        return self.labels.get("alertname", "alert without a name")[:LONGEST_NAME]

    @property
    def level(self) -> Level | None:
        """By the label `severity`; None alerts nobody. One that we do not know is an error: better told than missed."""
        return LEVELS.get(self.labels.get("severity", "error").strip().lower(), Level.ERROR)

    @property
    def reason(self) -> str:
        """What its author wrote for people, or its labels."""
        for name in ("summary", "description", "message", "title"):
            if text := self.annotations.get(name, "").strip():
                return text
        return f"{self.name}: " + ", ".join(f"{name}={value}" for name, value in sorted(self.labels.items()))


def fingerprint(labels: Mapping[str, str]) -> str:
    """The same for the same labels, by whichever way they come."""
    return hashlib.sha256(json.dumps(sorted(labels.items())).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def of_webhook(raw: Any, *, now: datetime) -> Report:
    """One of the `alerts` of a webhook. Unknown fields are left alone: newer versions add some."""
    labels, annotations, url = _common(raw)
    status = raw.get("status")
    if status not in ("firing", "resolved"):
        raise Unreadable("status", "must be firing or resolved")
    starts = _time(raw, "startsAt") or now
    # While it fires the webhook's endsAt is the year 1.
    ends = None if status == "firing" else _time(raw, "endsAt") or now
    return Report(labels, status == "firing", starts, ends, annotations, url)


def of_api(raw: Any, *, now: datetime) -> Report:
    """One of a list posted to /api/v2/alerts: it fires until `endsAt`, and is over when that has passed."""
    labels, annotations, url = _common(raw)
    given, ends = _time(raw, "startsAt"), _time(raw, "endsAt")
    if given is not None and ends is not None and ends < given:
        raise Unreadable("endsAt", "start time must be before end time")
    starts = given or (min(ends, now) if ends else now)
    ends = ends or now + WITHOUT_END
    return Report(labels, ends > now, starts, ends, annotations, url)


def _common(raw: Any) -> tuple[dict[str, str], dict[str, str], str]:
    if not isinstance(raw, Mapping):
        raise Unreadable("", "must be an object")
    labels = {name: value for name, value in _texts(raw, "labels", LONGEST_LABEL).items() if value}
    if not labels:
        raise Unreadable("labels", "at least one label pair required")
    if len(labels) > MOST_LABELS:
        raise Unreadable("labels", f"at most {MOST_LABELS} labels, not {len(labels)}")
    annotations = _texts(raw, "annotations", LONGEST_ANNOTATION, cut=True)
    url = raw.get("generatorURL")
    return labels, annotations, _kept(url)[:2000] if isinstance(url, str) else ""


def _texts(raw: Mapping[str, Any], name: str, longest: int, *, cut: bool = False) -> dict[str, str]:
    given = raw.get(name)
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise Unreadable(name, "must be an object")
    made = {}
    for key, value in given.items():
        if not isinstance(value, str):
            raise Unreadable(f"{name}.{_kept(str(key))[:50]}", "must be a string")
        if len(value) > longest and not cut:
            raise Unreadable(f"{name}.{_kept(str(key))[:50]}", f"at most {longest} characters, not {len(value)}")
        made[_kept(str(key))[:LONGEST_NAME]] = _kept(value[:longest])
    return made


def _kept(text: str) -> str:
    """Without what PostgreSQL cannot keep."""
    return text.replace("\0", "�").encode("utf-8", "replace").decode()


def _time(raw: Mapping[str, Any], name: str) -> datetime | None:
    """None for a missing one and for the year 1, which is Go's word for none."""
    given = raw.get(name)
    if given in (None, ""):
        return None
    try:
        if not isinstance(given, str):
            raise ValueError
        found = datetime.fromisoformat(given)
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Unreadable(name, "must be RFC 3339, as 2030-01-31T12:00:00Z") from None
    return None if found.year <= 1 else found


def listed(raw: Any) -> Sequence[Any]:
    """The alerts of a webhook's body."""
    found = raw.get("alerts") if isinstance(raw, Mapping) else None
    if not isinstance(found, list):
        raise Unreadable("alerts", "must be a list")
    return found


def truncated(raw: Any) -> int:
    """How many alerts the sender has left out of the body."""
    found = raw.get("truncatedAlerts") if isinstance(raw, Mapping) else None
    return found if isinstance(found, int) and not isinstance(found, bool) and 0 < found < 2**31 else 0
