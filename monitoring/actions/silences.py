"""Silences, maintenance windows and inhibitions: made, ended, taken away."""

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, time
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from monitoring.actions import incoming
from monitoring.models import InhibitionRule, MaintenanceWindow, Silence
from monitoring.suppressing import DAYS
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service

MOST_MATCHERS = 32
LONGEST_PATTERN = 500
# A pattern that repeats a repetition can take for ever: the judge may not.
NESTED = re.compile(r"[+*}]\s*\)\s*[+*{]")


def silence(
    matchers: Sequence[Mapping[str, Any]],
    *,
    ends_at: datetime,
    comment: str,
    by: Actor,
    starts_at: datetime | None = None,
) -> Silence:
    """Alerts that match are not told of until it ends; what still fires then is told once."""
    now = jobs.database_now()
    starts_at = starts_at or now
    faults: dict[str, str] = {}
    clean = _matchers("matchers", matchers, faults)
    if ends_at <= max(starts_at, now):
        faults["ends_at"] = "must lie in the future and after the start"
    if not comment.strip():
        faults["comment"] = "say why"
    if faults:
        raise Invalid(faults)
    place = _place(clean, "matchers")
    permissions.require(by, "operate", **place)
    with transaction.atomic():
        made = Silence.objects.create(
            matchers=clean, starts_at=starts_at, ends_at=ends_at, comment=comment.strip(),
            author=audit.describe(by)[:200], **place,
        )  # fmt: skip
        audit.record("silence.created", made, by=by, after=_shown(made), because=comment)
        live.announce("silences", id=made.pk)
    return made


def expire(silence: Silence, *, by: Actor, because: str = "") -> Silence:
    """End it now. One that has ended stays as it is."""
    permissions.require(by, "operate", environment=silence.environment, service=silence.service)
    with transaction.atomic():
        found = Silence.objects.select_for_update(of=("self",)).get(pk=silence.pk)
        now = jobs.database_now()
        if found.ends_at > now:
            before = _shown(found)
            # One that has not begun never does.
            found.starts_at, found.ends_at = min(found.starts_at, now), now
            found.save(update_fields=["starts_at", "ends_at"])
            audit.record("silence.expired", found, by=by, before=before, after=_shown(found), because=because)
            live.announce("silences", id=found.pk)
            jobs.nudge("monitoring.tell_held")
    return found


def plan(fields: Mapping[str, Any], *, by: Actor) -> MaintenanceWindow:
    """A maintenance window: once (`starts_at`, `ends_at`), or on `days` from `opens` to `closes` in a `zone`."""
    faults: dict[str, str] = {}
    clean = _matchers("matchers", fields.get("matchers", ()), faults)
    days = list(dict.fromkeys(fields.get("days") or ()))
    opens, closes = fields.get("opens"), fields.get("closes")
    starts_at: datetime = fields.get("starts_at") or jobs.database_now()
    ends_at: datetime | None = fields.get("ends_at")
    zone = fields.get("zone") or "UTC"
    if not str(fields.get("name", "")).strip():
        faults["name"] = "is required"
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        faults["zone"] = "is no zone of the IANA database, such as Europe/Warsaw"
    if unknown := [day for day in days if day not in DAYS]:
        faults["days"] = f"{unknown[0]} is none of {', '.join(DAYS)}"
    if days:
        faults |= {
            name: "is needed with days"
            for name, at in (("opens", opens), ("closes", closes))
            if not isinstance(at, time)
        }
    elif ends_at is None:
        faults["ends_at"] = "is needed without days"
    if ends_at is not None and ends_at <= starts_at:
        faults["ends_at"] = "must lie after the start"
    if faults:
        raise Invalid(faults)
    place = _place(clean, "matchers")
    permissions.require(by, "operate", **place)
    with transaction.atomic():
        made = MaintenanceWindow.objects.create(
            name=fields["name"].strip(), matchers=clean, starts_at=starts_at, ends_at=ends_at, days=days,
            opens=opens if days else None, closes=closes if days else None, zone=zone,
            comment=fields.get("comment", ""), author=audit.describe(by)[:200], **place,
        )  # fmt: skip
        audit.record("maintenance.planned", made, by=by, after=_shown(made), because=made.comment)
        live.announce("silences", id=made.pk)
    return made


def cancel(window: MaintenanceWindow, *, by: Actor, because: str = "") -> None:
    """Take it away. What it held back is told, if it still fires."""
    permissions.require(by, "operate", environment=window.environment, service=window.service)
    with transaction.atomic():
        found = MaintenanceWindow.objects.select_for_update(of=("self",)).filter(pk=window.pk).first()
        if found is None:
            raise Refused(f"maintenance window {window.pk} has been cancelled")
        audit.record("maintenance.cancelled", found, by=by, before=_shown(found), because=because)
        live.announce("silences", id=found.pk)
        found.delete()
        jobs.nudge("monitoring.tell_held")


def inhibit(fields: Mapping[str, Any], *, by: Actor) -> InhibitionRule:
    """While a source fires, targets with the same `equal` labels are not told of."""
    permissions.require(by, "configure")
    faults: dict[str, str] = {}
    name = str(fields.get("name", "")).strip()
    if not name:
        faults["name"] = "is required"
    source = _matchers("source", fields.get("source", ()), faults)
    target = _matchers("target", fields.get("target", ()), faults)
    equal = list(dict.fromkeys(fields.get("equal") or ()))
    for place, label in enumerate(equal):
        if not incoming.LABEL_NAME.match(label):
            faults[f"equal[{place}]"] = "is no label's name"
    if faults:
        raise Invalid(faults)
    with transaction.atomic():
        if InhibitionRule.objects.filter(name=name).exists():
            raise Refused(f"there is an inhibition rule {name} already")
        made = InhibitionRule.objects.create(
            name=name, source=source, target=target, equal=equal, active=fields.get("active", True)
        )
        audit.record("inhibition.created", made, by=by, after=_shown(made))
    return made


def uninhibit(rule: InhibitionRule, *, by: Actor, because: str = "") -> None:
    permissions.require(by, "configure")
    with transaction.atomic():
        found = InhibitionRule.objects.select_for_update().filter(pk=rule.pk).first()
        if found is None:
            raise Refused(f"inhibition rule {rule.pk} has been deleted")
        audit.record("inhibition.deleted", found, by=by, before=_shown(found), because=because)
        found.delete()
        jobs.nudge("monitoring.tell_held")


def _matchers(field: str, given: Any, faults: dict[str, str]) -> list[dict[str, Any]]:
    """As they are kept; none at all would match everything, and is refused."""
    if not isinstance(given, list | tuple) or not given:
        faults[field] = 'must be a list of {"name", "value"}, at least one'
        return []
    if len(given) > MOST_MATCHERS:
        faults[field] = f"at most {MOST_MATCHERS}"
        return []
    clean = []
    for place, one in enumerate(given):
        where = f"{field}[{place}]"
        if (
            not isinstance(one, Mapping)
            or not isinstance(one.get("name"), str)
            or not isinstance(one.get("value"), str)
        ):
            faults[where] = 'must be {"name", "value"}, both text'
            continue
        name, value = one["name"], one["value"]
        is_regex, is_equal = one.get("is_regex", False), one.get("is_equal", True)
        if unknown := sorted(set(one) - {"name", "value", "is_regex", "is_equal"}):
            faults[f"{where}.{unknown[0]}"] = "unknown field"
        elif not isinstance(is_regex, bool) or not isinstance(is_equal, bool):
            faults[where] = "is_regex and is_equal are true or false"
        elif not incoming.LABEL_NAME.match(name):
            faults[f"{where}.name"] = "is no label's name"
        elif len(value) > LONGEST_PATTERN or incoming.UNKEEPABLE.search(value):
            faults[f"{where}.value"] = f"at most {LONGEST_PATTERN} characters, none of them NUL"
        elif is_regex and (fault := _pattern_fault(value)):
            faults[f"{where}.value"] = fault
        clean.append({"name": name, "value": value, "is_regex": is_regex, "is_equal": is_equal})
    if clean and not any(one["is_equal"] and one["value"] for one in clean):
        faults.setdefault(field, "at least one must ask for a value: excluding alone is too much")
    return clean


def _pattern_fault(pattern: str) -> str:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return f"is no regular expression: {error}"
    return "repeats a repetition, which could take for ever" if NESTED.search(pattern) else ""


def _place(matchers: Sequence[Mapping[str, Any]], field: str) -> dict[str, Any]:
    """The service and the environment that the matchers name: they decide who may do it. None: all of them."""
    found: dict[str, Any] = {"service": None, "environment": None}
    faults = {}
    for place, one in enumerate(matchers):
        if one["name"] not in found or one["is_regex"] or not one["is_equal"]:
            continue
        model = Service if one["name"] == "service" else Environment
        thing = model.objects.filter(key=one["value"]).first()
        if thing is None:
            faults[f"{field}[{place}].value"] = f"no {one['name']} named '{one['value']}'"[:200]
        found[one["name"]] = thing
    if faults:
        raise Invalid(faults)
    return found


def _shown(thing: Any) -> dict[str, Any]:
    names = [field.name for field in thing._meta.concrete_fields if field.name not in ("id", "created_at")]
    return {
        name: value if isinstance(value, list | bool | type(None)) else str(value)
        for name in names
        for value in [getattr(thing, name)]
    }
