"""One reported error as it came: checked, masked, and put into its group's terms."""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings

from monitoring import grouping
from monitoring.actions import incoming
from monitoring.actions.incoming import LONGEST, UNKEEPABLE, Times, Wrong
from monitoring.grouping import Frame, Grouped
from monitoring.models import ErrorSeverity
from monitoring.models.errors import LONGEST_MESSAGE, LONGEST_RELEASE, LONGEST_TYPE, LONGEST_UNIT, LONGEST_URL
from portal import masking
from portal.audit import Actor
from portal.models import ApiKey

FIELDS = frozenset(
    {
        "type", "message", "stack", "frames", "severity", "service", "environment", "release", "unit", "time", "key",
        "labels", "url", "fingerprint",
    }
)  # fmt: skip
FRAME_FIELDS = frozenset({"function", "file", "line", "module", "in_app"})
LONGEST_STACK = 64 * 1024  # characters
MOST_FRAMES = 500
MOST_PARTS = 20  # of a fingerprint
SEVERITIES = {**{one.value: one.value for one in ErrorSeverity}, "fatal": ErrorSeverity.CRITICAL.value}
SAID_SEVERITIES = [(name, name) for name in SEVERITIES]  # as choices
# What a report says in a field of its own.
PLACES = ("service", "environment", "release", "severity")
CUT = "… (cut)"
# What names the unit: when that is masked, units are kept under pseudonyms everywhere.
UNIT = "targetingKey"
Identity = tuple[int, int, str]  # service, environment, fingerprint or key


@dataclass(slots=True)
class Report:
    """One good report."""

    index: int
    type: str
    message: str
    stack: str
    severity: str
    service: str
    environment: str
    release: str
    unit: str
    time: datetime
    key: str
    labels: dict[str, Any]
    url: str
    grouped: Grouped
    service_id: int = 0
    environment_id: int = 0

    def place(self) -> dict[str, str]:
        return {"environment": self.environment, "service": self.service}

    @property
    def group(self) -> Identity:
        return self.service_id, self.environment_id, self.grouped.fingerprint

    @property
    def identity(self) -> Identity:
        return self.service_id, self.environment_id, self.key


class Reader:
    """Reads one report after the other, by one clock and for one caller."""

    def __init__(self, by: Actor, now: datetime) -> None:
        self.times = Times.around(now, retention=timedelta(hours=settings.PORTAL_RAW_RETENTION_HOURS))
        self.masked = masking.names_of(settings.PORTAL_CONTEXT_MASK)
        self.environment = ""
        if isinstance(by, ApiKey) and not by.all_environments:
            bound = list(by.environments.values_list("key", flat=True)[:2])
            self.environment = bound[0] if len(bound) == 1 else ""

    def read(self, index: int, raw: object) -> Report:
        """Raises Wrong, which names the field."""
        if not isinstance(raw, Mapping):
            raise Wrong("", "must be an object")
        incoming.no_others(raw, FIELDS)
        type_ = _text(raw, "type", LONGEST_TYPE, required=True)
        message = self._free(raw, "message", LONGEST_MESSAGE)
        frames = _frames(raw.get("frames"))
        stack = self._free(raw, "stack", LONGEST_STACK)
        environment = _text(raw, "environment", 128) or self.environment
        if not environment:
            raise Wrong("environment", "is required: the key does not belong to exactly one")
        return Report(
            index=index,
            type=type_,
            message=message,
            stack=stack or _written(frames),
            severity=_severity(raw.get("severity")),
            service=_text(raw, "service", 128, required=True),
            environment=environment,
            release=_text(raw, "release", LONGEST_RELEASE),
            unit=self._unit(raw),
            time=self.times.read(raw.get("time")),
            key=incoming.key(raw["key"]) if raw.get("key") is not None else uuid.uuid4().hex,
            labels=self._labels(raw.get("labels")),
            url=self._free(raw, "url", LONGEST_URL)[:LONGEST_URL],
            grouped=grouping.group(
                type_, message, stack=stack, frames=[frame for frame, _ in frames], fingerprint=_parts(raw)
            ),
        )

    def _unit(self, raw: Mapping[Any, Any]) -> str:
        unit = _text(raw, "unit", LONGEST_UNIT)
        named = masking.pseudonym(unit, by=UNIT, masked=self.masked)
        return named if named != unit else masking.pseudonym_of_address(unit, masked=self.masked)

    def _free(self, raw: Mapping[Any, Any], field: str, longest: int) -> str:
        """Text of any length and content: cut and mended, for a lost error helps nobody; sensitive values masked."""
        value = raw.get(field)
        if value is None:
            return ""
        if not isinstance(value, str):
            raise Wrong(field, "must be a text")
        text = UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", value)
        if len(text) > longest:
            text = text[: longest - len(CUT)] + CUT
        # A mask may be longer than what it hides.
        return masking.mask_text(text, self.masked)[:longest]

    def _labels(self, raw: object) -> dict[str, Any]:
        labels = incoming.labels(raw)
        for name in PLACES:
            if name in labels:
                raise Wrong(f"labels.{name}", f"is said by the report's own field {name}")
        kept = {name: masking.mask_text(value, self.masked) for name, value in labels.items()}
        return masking.mask(kept, self.masked)


def _text(raw: Mapping[Any, Any], field: str, longest: int, *, required: bool = False) -> str:
    value = raw.get(field)
    if value is None or (value == "" and not required):
        if required:
            raise Wrong(field, "is required")
        return ""
    if not isinstance(value, str):
        raise Wrong(field, "must be a text")
    if not 1 <= len(value) <= longest or not value.strip():
        raise Wrong(field, f"must be 1 to {longest} characters")
    if UNKEEPABLE.search(value):
        raise Wrong(field, "may not contain NUL or half a surrogate pair")
    return value


def _severity(raw: object) -> str:
    if raw is None:
        return ErrorSeverity.ERROR.value
    if not isinstance(raw, str) or raw not in SEVERITIES:
        raise Wrong("severity", f"must be one of {', '.join(SEVERITIES)}")
    return SEVERITIES[raw]


def _parts(raw: Mapping[Any, Any]) -> list[str]:
    """A fingerprint of the sender's: a text, or a list of them."""
    given = raw.get("fingerprint")
    if given is None or given == "" or given == []:
        return []
    parts = [given] if isinstance(given, str) else given
    if not isinstance(parts, list) or len(parts) > MOST_PARTS:
        raise Wrong("fingerprint", f"must be a text, or a list of at most {MOST_PARTS}")
    for place, part in enumerate(parts):
        if not isinstance(part, str) or not 1 <= len(part) <= LONGEST:
            raise Wrong(f"fingerprint[{place}]", f"must be a text of 1 to {LONGEST} characters")
    return parts


Line = int | None


def _frames(raw: object) -> list[tuple[Frame, Line]]:
    """[{"function"?,"file"?,"line"?,"module"?,"in_app"?}], the innermost first."""
    if raw is None:
        return []
    if not isinstance(raw, list):
        raise Wrong("frames", "must be a list, the innermost call first")
    if len(raw) > MOST_FRAMES:
        raise Wrong("frames", f"at most {MOST_FRAMES}, not {len(raw)}")
    return [_frame(f"frames[{place}]", one) for place, one in enumerate(raw)]


def _frame(where: str, raw: object) -> tuple[Frame, Line]:
    if not isinstance(raw, Mapping):
        raise Wrong(where, "must be an object")
    incoming.no_others(raw, FRAME_FIELDS)
    texts: dict[str, str] = {}
    for name in ("function", "file", "module"):
        value = raw.get(name) or ""
        if not isinstance(value, str):
            raise Wrong(f"{where}.{name}", "must be a text")
        texts[name] = UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", value[: grouping.LONGEST_LINE])
    line, own = raw.get("line"), raw.get("in_app")
    if line is not None and type(line) is not int:
        raise Wrong(f"{where}.line", "must be a whole number")
    if own is not None and type(own) is not bool:
        raise Wrong(f"{where}.in_app", "must be true or false")
    return Frame(texts["function"], texts["file"], texts["module"], own), line


def _written(frames: list[tuple[Frame, Line]]) -> str:
    """Frames as a stack in text."""
    lines = [
        f"    at {frame.function or '<unknown>'} ({frame.file or frame.module}{'' if line is None else f':{line}'})"
        for frame, line in frames
    ]
    return "\n".join(lines)[:LONGEST_STACK]
