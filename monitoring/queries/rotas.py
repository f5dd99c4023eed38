"""Who is on call: the rotas' rows as the pure module reads them, and the people behind the names."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from monitoring import rota
from monitoring.models import Rota, RotaOverride
from monitoring.rota import Layer, Override, Shift
from monitoring.suppressing import DAYS, Recurrence
from portal.models import User

TURNS = {"day": 1, "week": 7}
LOOKS_AHEAD = timedelta(days=14)


@dataclass(frozen=True, slots=True)
class OnCall:
    """One rota as it stands: whose shift it is, who follows, and the shifts of the next days."""

    rota: Rota
    now: Shift
    following: Shift | None
    shifts: Sequence[Shift]


def schedule(found: Rota, overrides: Iterable[RotaOverride]) -> rota.Rota:
    """`overrides` in the order in which they were made."""
    zone = ZoneInfo(found.zone)
    stands_in = [Override(one.person.username, one.starts_at, one.ends_at) for one in overrides]
    return rota.Rota([_layer(one, zone) for one in found.layers], stands_in)


def person_on_call(found: Rota, at: datetime) -> User | None:
    """Who is to be called; whoever has left the portal is nobody."""
    overrides = found.overrides.filter(starts_at__lte=at, ends_at__gt=at).select_related("person").order_by("id")
    name = schedule(found, overrides).on_call(at)
    return User.objects.filter(username=name, is_active=True).first() if name else None


def shifts(found: Rota, since: datetime, until: datetime) -> list[Shift]:
    overrides = found.overrides.filter(starts_at__lt=until, ends_at__gt=since).select_related("person").order_by("id")
    return schedule(found, overrides).shifts(since, until)


def all_on_call(now: datetime) -> list[OnCall]:
    """Every rota, in a fixed number of queries."""
    rows = list(Rota.objects.all())
    until = now + LOOKS_AHEAD
    by_rota: dict[int, list[RotaOverride]] = {}
    for one in (
        RotaOverride.objects.filter(ends_at__gt=now, starts_at__lt=until).select_related("person").order_by("id")
    ):
        by_rota.setdefault(one.rota_id, []).append(one)
    found = []
    for row in rows:
        coming = schedule(row, by_rota.get(row.pk, ())).shifts(now, until)
        found.append(OnCall(row, coming[0], coming[1] if len(coming) > 1 else None, coming))
    return found


def _layer(given: Mapping[str, Any], zone: ZoneInfo) -> Layer:
    return Layer(
        people=tuple(given["people"]),
        starts_on=date.fromisoformat(given["starts_on"]),
        handover=time.fromisoformat(given["handover"]),
        zone=zone,
        days=TURNS[given["every"]],
        hours=tuple(_hours(one, zone) for one in given.get("hours", ())),
    )


def _hours(given: Mapping[str, Any], zone: ZoneInfo) -> Recurrence:
    days = frozenset(DAYS.index(day) for day in given["days"])
    return Recurrence(days, time.fromisoformat(given["opens"]), time.fromisoformat(given["closes"]), zone)
