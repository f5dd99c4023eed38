"""What Sentry's SDKs send: envelopes and stored events, read into reports of ours.

Formats as Sentry's own documents give them: develop.sentry.dev, "Envelopes", "Event Payloads", "Stack Trace Interface",
"Client Reports". An SDK that is newer than this adds fields, which are left alone; one that sends a field in another
shape loses the field, not the event.
"""

import json
import re
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from monitoring.models.errors import LONGEST_MESSAGE, LONGEST_RELEASE, LONGEST_TYPE, LONGEST_UNIT

MOST_ITEMS: Final = 1_000
MOST_LABELS: Final = 29  # of the 30 that a report may have: one more may say what the SDK calls its environment
LONGEST: Final = 200
MOST_FRAMES: Final = 250
# What is taken, and what is known and dropped; whatever else comes is "other".
EVENT, CLIENT_REPORT = "event", "client_report"
DROPPED: Final = frozenset(
    {
        "transaction", "session", "sessions", "attachment", "user_report", "feedback", "profile", "profile_chunk",
        "replay_event", "replay_recording", "replay_video", "check_in", "statsd", "metric_buckets", "trace_metric",
        "span", "log", "otel_log", "raw_security",
    }
)  # fmt: skip
LEVELS: Final = {
    "fatal": "critical", "critical": "critical", "error": "error", "warning": "warning", "warn": "warning",
    "info": "info", "log": "info", "debug": "debug", "trace": "debug",
}  # fmt: skip
# By tags of these names a report would say twice what it says in a field of its own.
TAKEN: Final = frozenset({"service", "environment", "release", "severity"})
EVENT_ID = re.compile(r"[0-9a-f]{32}\Z")
UNKEEPABLE = re.compile("[\0\ud800-\udfff]")
# Where a parameter of a message stands.
PLACE = re.compile(r"%%|%(?:\((?P<name>[^()]{1,100})\))?[sdirfg]")
UNFIT = re.compile(r"[^a-zA-Z0-9_]+")
# Without its zone it is UTC, says Sentry.
UNZONED = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?\Z")


class Unreadable(Exception):
    """This is no envelope, or no event."""


@dataclass(slots=True)
class Envelope:
    """What one request brought."""

    header: Mapping[str, Any] = field(default_factory=dict)
    events: list[Mapping[str, Any]] = field(default_factory=list)
    dropped: Counter[str] = field(default_factory=Counter)  # by type
    lost: Counter[str] = field(default_factory=Counter)  # errors that the SDK itself gave up, by its reason


def read(raw: bytes) -> Envelope:
    """An envelope: a line of header, then items of a line of header and a payload each. Raises Unreadable."""
    line, place = _line(raw, 0)
    found = Envelope(_object(line, "the header of the envelope"))
    number = 0
    while place < len(raw):
        line, place = _line(raw, place)
        if not line.strip():
            continue
        number += 1
        if number > MOST_ITEMS:
            raise Unreadable(f"more than {MOST_ITEMS} items in one envelope")
        header = _object(line, f"the header of item {number}")
        payload, place = _payload(raw, place, header, number)
        _sort(found, header, payload, number)
    return found


def read_store(raw: bytes) -> Envelope:
    """One event alone, as SDKs before envelopes send it."""
    return Envelope(events=[_object(raw, "the event")])


def dsn_key(beginning: bytes) -> str:
    """The key in the `dsn` that an envelope's first line names, if that is whole; empty when it names none."""
    line, _ = _line(beginning, 0)
    try:
        header = orjson.loads(line)
    except ValueError:
        return ""
    if not isinstance(header, dict):
        return ""
    found = re.match(r"[a-z]+://([^:@/]+)(?::[^@/]*)?@", _text(header.get("dsn"), 500))
    return found[1] if found else ""


def id_of(event: Mapping[str, Any], header: Mapping[str, Any]) -> str:
    """32 hexadecimal digits; new ones where the SDK has given none."""
    for given in (event.get("event_id"), header.get("event_id")):
        made = _text(given, 40).replace("-", "").lower()
        if EVENT_ID.match(made):
            return made
    return uuid.uuid4().hex


def moment(given: object) -> datetime | None:
    """A time of an envelope's or an event's; None of what is none."""
    try:
        if isinstance(given, str):
            at = datetime.fromisoformat(given.upper())
            return at if at.tzinfo else at.replace(tzinfo=UTC)
        return datetime.fromtimestamp(given, UTC) if isinstance(given, int | float) else None
    except (ValueError, OverflowError, OSError):
        return None


def _line(raw: bytes, place: int) -> tuple[bytes, int]:
    end = raw.find(b"\n", place)
    return (raw[place:], len(raw)) if end < 0 else (raw[place:end], end + 1)


def _object(raw: bytes, what: str) -> Mapping[str, Any]:
    try:
        made = orjson.loads(raw)
    except ValueError:
        # As SDKs write it: NaN, Infinity and half surrogate pairs.
        try:
            made = json.loads(raw)
        except (ValueError, RecursionError) as error:
            raise Unreadable(f"{what} is not JSON: {str(error)[:100]}") from None
    if not isinstance(made, dict):
        raise Unreadable(f"{what} is no JSON object")
    return made


def _payload(raw: bytes, place: int, header: Mapping[str, Any], number: int) -> tuple[bytes, int]:
    """So many bytes as the item says, and the end of its line; or all of the line."""
    length = header.get("length")
    if length is None:
        return _line(raw, place)
    if type(length) is not int or length < 0:
        raise Unreadable(f"item {number}: length must be a whole number")
    if place + length > len(raw):
        raise Unreadable(f"item {number}: length is {length}, but {len(raw) - place} bytes follow")
    end = place + length
    if raw[end : end + 1] not in (b"", b"\n"):
        raise Unreadable(f"item {number}: its payload does not end after {length} bytes")
    return raw[place:end], end + 1


def _sort(found: Envelope, header: Mapping[str, Any], payload: bytes, number: int) -> None:
    kind = header.get("type")
    if kind == EVENT:
        found.events.append(_object(payload, f"the event of item {number}"))
    elif kind == CLIENT_REPORT:
        found.lost.update(_lost(_object(payload, f"the client_report of item {number}")))
    elif isinstance(kind, str) and kind:
        found.dropped[kind if kind in DROPPED else "other"] += 1
    else:
        raise Unreadable(f"item {number}: type must be a text")


def _lost(report: Mapping[str, Any]) -> Counter[str]:
    found: Counter[str] = Counter()
    for one in _list(report.get("discarded_events"))[:100]:
        many = one.get("quantity") if isinstance(one, Mapping) else None
        if type(many) is int and 0 < many < 2**31 and one.get("category") in ("error", "default"):
            found[UNFIT.sub("_", _text(one.get("reason"), 50)) or "unknown"] += many
    return found


# --- An event as a report -----------------------------------------------------------------------
def report(event: Mapping[str, Any], *, key: str, service: str) -> dict[str, Any]:
    """In the words of `monitoring.actions.error_reports`; its unit is who the event says the user is."""
    raised = _exceptions(event)
    type_, message, template = _said(event, raised)
    frames = _frames(raised[-1]) if raised else _frames(_current_thread(event))
    made: dict[str, Any] = {
        "key": key,
        "service": service,
        "type": type_,
        "message": message,
        "severity": LEVELS.get(_text(event.get("level"), 20).lower(), "error"),
        "frames": [_frame(frame) for frame in frames],
        "stack": _stack(event, raised, frames),
        "labels": _labels(event, raised),
        "url": _text(_object_at(event, "request").get("url"), 2_000),
        "fingerprint": _fingerprint(event) or ([*template] if not raised and template else []),
    }
    given = {
        "environment": _text(event.get("environment"), 128),
        "release": _text(event.get("release"), LONGEST_RELEASE),
        "unit": unit_of(event)[1],
        "time": _time(event.get("timestamp")),
    }
    return made | {name: value for name, value in given.items() if value}


def _said(event: Mapping[str, Any], raised: Sequence[Mapping[str, Any]]) -> tuple[str, str, tuple[str, ...]]:
    """Type, message, and for a message with parameters what all of its kind have in common."""
    if raised:
        last = raised[-1]
        return _text(last.get("type"), LONGEST_TYPE) or "Error", _text(last.get("value"), None), ()
    entry = event.get("logentry") or event.get("message")
    if isinstance(entry, str):
        entry = {"message": entry}
    entry = entry if isinstance(entry, Mapping) else {}
    template, logger = _text(entry.get("message"), None), _text(event.get("logger"), LONGEST_TYPE)
    formatted = _text(entry.get("formatted"), None) or _filled(template, entry.get("params"))
    common = ("message", logger or "message", template[:LONGEST]) if template and formatted != template else ()
    return logger or "message", formatted, tuple(part for part in common if part)


def _filled(template: str, params: object) -> str:
    """The template with its parameters, as far as it may become long: by no width or precision of the sender's."""
    template = template[:LONGEST_MESSAGE]
    in_turn = iter(params if isinstance(params, list) else ())
    named = params if isinstance(params, Mapping) else {}
    left = LONGEST_MESSAGE

    def fill(found: re.Match[str]) -> str:
        nonlocal left
        if found[0] == "%%":
            return "%"
        value = named.get(found["name"], found[0]) if found["name"] else next(in_turn, found[0])
        text = (value if isinstance(value, str) else _shown(value))[: max(left, 0)]
        left -= len(text)
        return text

    return PLACE.sub(fill, template)[:LONGEST_MESSAGE] if params else template


def _shown(value: object) -> str:
    return str(value)[:LONGEST_MESSAGE] if isinstance(value, int | float | bool | None) else json.dumps(value)[:LONGEST]


def _exceptions(event: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The chain, its cause first and what was raised last at the end."""
    given = event.get("exception")
    values = given.get("values", [given]) if isinstance(given, Mapping) else given
    return [one for one in _list(values) if isinstance(one, Mapping)]


def _current_thread(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """Where a message was said, when the SDK attaches it."""
    threads = event.get("threads")
    values = threads.get("values") if isinstance(threads, Mapping) else threads
    found = [one for one in _list(values) if isinstance(one, Mapping) and one.get("stacktrace")]
    chosen = next((one for one in found if one.get("crashed") or one.get("current")), found[0] if found else event)
    return chosen


def _frames(thing: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The innermost first."""
    given = [one for one in _list(_object_at(thing, "stacktrace").get("frames")) if isinstance(one, Mapping)]
    return given[::-1][:MOST_FRAMES]


def _frame(frame: Mapping[str, Any]) -> dict[str, Any]:
    own = frame.get("in_app")
    return {
        "function": _text(frame.get("function"), 1_000),
        "file": _file(frame),
        "module": _text(frame.get("module"), 1_000),
        "line": _line_number(frame),
        "in_app": own if type(own) is bool else None,
    }


def _file(frame: Mapping[str, Any]) -> str:
    return _text(frame.get("filename"), 1_000) or _text(frame.get("abs_path"), 1_000)


def _line_number(frame: Mapping[str, Any]) -> int | None:
    line = frame.get("lineno")
    return line if type(line) is int else None


def _stack(event: Mapping[str, Any], raised: Sequence[Mapping[str, Any]], frames: Sequence[Mapping[str, Any]]) -> str:
    """As the language itself would have printed it."""
    if not raised:
        return "\n".join(_printed(frames, event)) if frames else ""
    is_python = _is_python(event)
    parts = []
    for one in raised if is_python else raised[::-1]:
        head = f"{_text(one.get('type'), LONGEST_TYPE) or 'Error'}: {_text(one.get('value'), 2_000)}".rstrip(": ")
        lines = _printed(_frames(one), event)
        parts.append("\n".join([*lines, head] if is_python else [head, *lines]))
    between = "\n\nThe above led to another exception:\n\n" if is_python else "\nCaused by: "
    return between.join(parts)


def _printed(frames: Sequence[Mapping[str, Any]], event: Mapping[str, Any]) -> Iterator[str]:
    if not frames:
        return
    if _is_python(event):
        yield "Traceback (most recent call last):"
        for frame in reversed(frames):
            name = _text(frame.get("function"), 1_000) or "<module>"
            yield f'  File "{_file(frame)}", line {_line_number(frame) or 0}, in {name}'
            if code := _text(frame.get("context_line"), 500).strip():
                yield f"    {code}"
        return
    for frame in frames:
        name, column = _text(frame.get("function"), 1_000) or "<anonymous>", frame.get("colno")
        place = "".join(f":{number}" for number in (_line_number(frame), column) if type(number) is int)
        yield f"    at {name} ({_file(frame) or _text(frame.get('module'), 1_000)}{place})"


def _is_python(event: Mapping[str, Any]) -> bool:
    return event.get("platform") == "python"


def _fingerprint(event: Mapping[str, Any]) -> list[str]:
    given = [_text(str(part), LONGEST) for part in _list(event.get("fingerprint"))[:20] if isinstance(part, str | int)]
    return [part for part in given if part]


def unit_of(event: Mapping[str, Any]) -> tuple[str, str]:
    """Which attribute says who the user is, and who that is; both empty where none does."""
    user = _object_at(event, "user")
    for name in ("id", "username", "email"):
        value = user.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return f"user.{name}", _text(str(value), LONGEST_UNIT)
    return "", ""


def _time(given: object) -> object:
    """What is no time is left out: then it happened now."""
    if isinstance(given, str) and UNZONED.match(given):
        return f"{given}Z"
    return given if isinstance(given, str) or (isinstance(given, int | float) and not isinstance(given, bool)) else None


def _labels(event: Mapping[str, Any], raised: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the SDK knows of the place, then the tags."""
    found: dict[str, str] = {}
    handled = _object_at(raised[-1], "mechanism").get("handled") if raised else None
    known = {
        "platform": event.get("platform"),
        "transaction": event.get("transaction"),
        "server_name": event.get("server_name"),
        "handled": {True: "yes", False: "no"}.get(handled) if type(handled) is bool else None,
    }
    for name, value in (*known.items(), *_tags(event.get("tags"))):
        label = UNFIT.sub("_", str(name)[:LONGEST])
        label = f"tag_{label}" if label in TAKEN or not label[:1].isalpha() else label
        shown = _text(str(value), LONGEST) if isinstance(value, str | int | float) else ""
        if shown.strip() and len(found) < MOST_LABELS:
            found.setdefault(label[:LONGEST], shown)
    return found


def _tags(given: object) -> Iterator[tuple[object, object]]:
    """An object, or a list of pairs."""
    if isinstance(given, Mapping):
        yield from given.items()
        return
    for pair in _list(given):
        if isinstance(pair, list) and len(pair) == 2:
            yield pair[0], pair[1]


def _object_at(thing: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = thing.get(name)
    return found if isinstance(found, Mapping) else {}


def _list(thing: object) -> list[Any]:
    return thing if isinstance(thing, list) else []


def _text(thing: object, longest: int | None) -> str:
    """Text that can be kept; anything else is none."""
    if not isinstance(thing, str):
        return ""
    return UNKEEPABLE.sub("\N{REPLACEMENT CHARACTER}", thing)[:longest]
