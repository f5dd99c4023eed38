"""Making, changing and taking away rotas; standing in for somebody."""

import re
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from monitoring.models import EscalationPolicy, Rota, RotaOverride
from monitoring.queries.rotas import TURNS
from monitoring.suppressing import DAYS
from portal import audit, jobs, live, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import User

PLAIN = ("name", "zone", "layers")
MOST = 20  # layers, and stretches of hours in one
MOST_PEOPLE = 100
TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d\Z")
FIRST, LAST = date(2000, 1, 1), date(2100, 1, 1)


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> Rota:
    permissions.require(by, "configure")
    with transaction.atomic():
        if Rota.objects.filter(key=key).exists():
            raise Refused(f"there is a rota {key} already")
        rota = Rota(key=key)
        _write(rota, {"name": key, "layers": [], **fields})
        audit.record("rota.created", rota, by=by, after=shown(rota))
        live.announce("rotas", id=rota.pk)
    return rota


def change(rota: Rota, fields: Mapping[str, Any], *, by: Actor) -> Rota:
    """Replace the fields given. It counts from now on: whoever the new layers name is called next."""
    permissions.require(by, "configure")
    with transaction.atomic():
        rota = _lock(rota)
        before = shown(rota)
        _write(rota, fields)
        if shown(rota) != before:
            audit.record("rota.changed", rota, by=by, before=before, after=shown(rota))
            live.announce("rotas", id=rota.pk)
    return rota


def delete(rota: Rota, *, by: Actor, because: str = "") -> None:
    """Not while a policy calls it."""
    permissions.require(by, "configure")
    with transaction.atomic():
        rota = _lock(rota)
        for policy in EscalationPolicy.objects.all():
            if any(rota.key in step.get("rotas", ()) for step in policy.steps):
                raise Refused(f"{policy} calls {rota}: take it out of the policy first")
        audit.record("rota.deleted", rota, by=by, before=shown(rota), because=because)
        live.announce("rotas", id=rota.pk)
        rota.delete()


def stand_in(
    rota: Rota, person: User, *, ends_at: datetime, by: Actor, starts_at: datetime | None = None, comment: str = ""
) -> RotaOverride:
    """`person` is on call instead of whoever would be. Of several that overlap the last one made counts."""
    permissions.require(by, "operate", environment=permissions.ANY, service=permissions.ANY)
    now = jobs.database_now()
    starts_at = starts_at or now
    faults = {}
    if ends_at <= max(starts_at, now):
        faults["ends_at"] = "must lie in the future and after the start"
    if not person.is_active:
        faults["person"] = "has left"
    if faults:
        raise Invalid(faults)
    with transaction.atomic():
        rota = _lock(rota)
        made = RotaOverride.objects.create(
            rota=rota, person=person, starts_at=starts_at, ends_at=ends_at, comment=comment,
            author=audit.describe(by)[:200],
        )  # fmt: skip
        span = {"person": person.username, "starts_at": starts_at.isoformat(), "ends_at": ends_at.isoformat()}
        audit.record("rota.overridden", rota, by=by, after=span, because=comment)
        live.announce("rotas", id=rota.pk)
    return made


def take_back(override: RotaOverride, *, by: Actor, because: str = "") -> None:
    """Nobody stands in any more, from now on: the rota decides again."""
    permissions.require(by, "operate", environment=permissions.ANY, service=permissions.ANY)
    with transaction.atomic():
        found = RotaOverride.objects.select_for_update(of=("self",)).filter(pk=override.pk).first()
        if found is None:
            raise Refused("nobody stands in there any more")
        now = jobs.database_now()
        span = {"starts_at": found.starts_at.isoformat(), "ends_at": found.ends_at.isoformat()}
        if found.ends_at <= now:
            raise Refused("it is over: what was, stays on record")
        audit.record("rota.override_ended", found.rota, by=by, before=span, because=because)
        live.announce("rotas", id=found.rota_id)
        if found.starts_at >= now:
            found.delete()
        else:
            found.ends_at = now
            found.save(update_fields=["ends_at"])


def shown(rota: Rota) -> dict[str, Any]:
    return {name: getattr(rota, name) for name in PLAIN}


def _write(rota: Rota, fields: Mapping[str, Any]) -> None:
    faults: dict[str, str] = {}
    for name in PLAIN:
        if name in fields:
            setattr(rota, name, fields[name])
    try:
        ZoneInfo(rota.zone)
    except (KeyError, ValueError, OSError, TypeError):
        faults["zone"] = "is no zone of the IANA database, such as Europe/Warsaw"
    if not str(rota.name).strip():
        faults["name"] = "is required"
    if "layers" in fields:
        rota.layers = _layers(fields["layers"], faults)
    if faults:
        raise Invalid(faults)
    rota.save()


def _layers(given: Any, faults: dict[str, str]) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not 1 <= len(given) <= MOST:
        faults["layers"] = f"must be a list of 1 to {MOST} layers"
        return []
    clean = [_layer(f"layers[{place}]", one, faults) for place, one in enumerate(given)]
    named = {name for one in clean for name in one.get("people", ())}
    known = set(User.objects.filter(username__in=named, is_active=True).values_list("username", flat=True))
    for place, one in enumerate(clean):
        if unknown := next((name for name in one.get("people", ()) if name not in known), None):
            faults.setdefault(f"layers[{place}].people", f"nobody here is named {unknown}"[:200])
    return clean


def _layer(path: str, given: Any, faults: dict[str, str]) -> dict[str, Any]:
    if not isinstance(given, Mapping):
        faults[path] = "must be {people, every, handover, starts_on}"
        return {}
    if unknown := sorted(set(given) - {"people", "every", "handover", "starts_on", "hours"}):
        faults[f"{path}.{unknown[0]}"] = "unknown field"
    people = given.get("people")
    if (
        not isinstance(people, list)
        or not 1 <= len(people) <= MOST_PEOPLE
        or not all(isinstance(one, str) and one and "\0" not in one for one in people)
    ):
        faults[f"{path}.people"] = f"must be a list of 1 to {MOST_PEOPLE} usernames, in the order of their turns"
        people = []
    every = given.get("every", "week")
    if every not in TURNS:
        faults[f"{path}.every"] = f"must be one of {', '.join(TURNS)}"
    handover = _time(f"{path}.handover", given.get("handover", "09:00"), faults)
    starts_on = str(given.get("starts_on", ""))
    try:
        if not FIRST <= date.fromisoformat(starts_on) <= LAST:
            faults[f"{path}.starts_on"] = f"must lie between {FIRST} and {LAST}"
    except ValueError:
        faults[f"{path}.starts_on"] = "must be a date, as 2026-11-02: on it the first one's turn begins"
    clean = {"people": people, "every": every, "handover": handover, "starts_on": starts_on}
    hours = given.get("hours", [])
    if not isinstance(hours, list) or len(hours) > MOST:
        faults[f"{path}.hours"] = f"must be a list of at most {MOST}"
    elif hours:
        clean["hours"] = [_hours(f"{path}.hours[{place}]", one, faults) for place, one in enumerate(hours)]
    return clean


def _hours(path: str, given: Any, faults: dict[str, str]) -> dict[str, Any]:
    if not isinstance(given, Mapping) or set(given) != {"days", "opens", "closes"}:
        faults[path] = "must be {days, opens, closes}"
        return {}
    days = given["days"]
    if not isinstance(days, list) or not days or any(day not in DAYS for day in days):
        faults[f"{path}.days"] = f"must be a list of {', '.join(DAYS)}"
        days = []
    opens, closes = (_time(f"{path}.{name}", given[name], faults) for name in ("opens", "closes"))
    return {"days": list(dict.fromkeys(days)), "opens": opens, "closes": closes}


def _time(path: str, given: Any, faults: dict[str, str]) -> str:
    if not isinstance(given, str) or not TIME.match(given):
        faults[path] = "must be a time of the day, as 09:00"
    return str(given)


def _lock(rota: Rota) -> Rota:
    found = Rota.objects.select_for_update().filter(pk=rota.pk).first()
    if found is None:
        raise Refused(f"rota {rota.key} has been deleted")
    return found
