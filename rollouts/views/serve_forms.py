"""What a rule serves, as a part of a form: a variant or shares, to how many, by what, and over which time."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self
from zoneinfo import ZoneInfo

from rollouts.engine.types import TARGETING_KEY
from rollouts.views import typed
from rollouts.views.typed import Faults, Typed

SPLIT = "split"
VARIANT = "variant:"
MOST_POINTS = 100
UTC_NAME = "UTC"
RAMPS = (("", "at once"), ("steps", "in steps, each from its time on"), ("linear", "growing evenly from time to time"))


@dataclass(slots=True)
class Weight:
    """A variant's share of a split, as typed."""

    variant: str
    value: str
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Point:
    """A time of a ramp, and the share from then on."""

    token: str
    at: str = ""
    share: str = ""
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class ServeForm:
    """`name` begins the names of its fields; `path` is where a fault of it is said to be."""

    name: str
    what: str
    weights: list[Weight]
    rollout: str = ""
    by: str = ""
    ramp: str = ""
    zone: str = UTC_NAME
    points: list[Point] = field(default_factory=list)
    path: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def ramps(self) -> Any:
        return RAMPS

    @property
    def is_plain(self) -> bool:
        """A variant for everyone: nothing to see behind it."""
        return self.rollout in ("", "100") and not self.by and not self.ramp and not any(self.errors.values())

    @classmethod
    def typed(cls, name: str, given: Typed, variants: Sequence[str]) -> Self:
        points = [
            Point(token, given.text(f"{name}-at-{token}"), given.text(f"{name}-share-{token}"))
            for token in given.tokens(f"{name}-point", MOST_POINTS)
        ]
        return cls(
            name,
            given.text(f"{name}-what"),
            [Weight(key, given.text(f"{name}-weight-{key}")) for key in variants],
            rollout=given.text(f"{name}-rollout"),
            by=given.text(f"{name}-by"),
            ramp=given.text(f"{name}-ramp"),
            zone=given.text(f"{name}-zone") or UTC_NAME,
            points=points,
        )

    @classmethod
    def held(cls, name: str, shown: Mapping[str, Any], variants: Sequence[str]) -> Self:
        """Of a `serve` with its percentages as people write them."""
        split = shown.get("split", {})
        schedule = shown.get("schedule") or {}
        zone = schedule.get("zone") or UTC_NAME
        by = shown.get("by", "")
        return cls(
            name,
            SPLIT if split else VARIANT + str(shown.get("variant", "")),
            [Weight(key, typed.shown(split[key]) if key in split else "") for key in variants],
            rollout=typed.shown(shown["rollout"]) if "rollout" in shown else "",
            by=", ".join(by) if isinstance(by, list) else "" if by == TARGETING_KEY else str(by),
            ramp=str(schedule.get("kind", "")),
            zone=zone,
            points=[
                Point(str(n), local(one["at"], zone), typed.shown(one["rollout"]))
                for n, one in enumerate(schedule.get("points", ()), 1)
            ],
        )

    def document(self, path: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """As the API takes it. `held` is what stood here: what it said needlessly is said again."""
        self.path = path
        serve: dict[str, Any] = {}
        if self.what == SPLIT:
            had = held.get("split", {})
            serve["split"] = {
                one.variant: typed.number(one.value) if one.value else 0
                for one in self.weights
                if one.value or one.variant in had
            }
        else:
            serve["variant"] = self.what.removeprefix(VARIANT)
        if self.ramp:
            serve["schedule"] = self._schedule(held.get("schedule") or {})
        if self.rollout not in ("", "100") or ("rollout" in held and self.rollout):
            serve["rollout"] = typed.number(self.rollout)
        names = [one.strip() for one in self.by.split(",") if one.strip()]
        if names or "by" in held:
            serve["by"] = names if len(names) > 1 else names[0] if names else TARGETING_KEY
            if serve["by"] == TARGETING_KEY and held.get("by") != TARGETING_KEY:
                del serve["by"]
        source = held.get("bucketing")
        # An imported rollout goes on as the other system divided it, as long as it is still of the same kind.
        if source is not None and ("weights" in source or "ranges" in source) == (self.what == SPLIT):
            serve["bucketing"] = source
        return serve

    def place(self, faults: Faults) -> None:
        path = self.path
        for weight in self.weights:
            weight.errors = faults.take(f"{path}.split.{weight.variant}")
        for n, point in enumerate(self.points):
            point.errors = faults.take(f"{path}.schedule.points[{n}]")
        self.errors = {
            "what": faults.take(f"{path}.variant", f"{path}.split", f"{path}.bucketing"),
            "rollout": faults.take(f"{path}.rollout"),
            "by": faults.take(f"{path}.by"),
            "zone": faults.take(f"{path}.schedule.zone"),
            "ramp": faults.take(f"{path}.schedule"),
            "points": [message for point in self.points for message in point.errors],
            "all": faults.take(path),
        }

    def add_point(self) -> Point:
        point = Point(typed.fresh(one.token for one in self.points))
        self.points.append(point)
        return point

    def _schedule(self, held: Mapping[str, Any]) -> dict[str, Any]:
        known = [one["at"] for one in held.get("points", ())]
        points = [{"at": instant(one.at, self.zone, known), "rollout": typed.number(one.share)} for one in self.points]
        schedule: dict[str, Any] = {"kind": self.ramp, "points": points}
        if self.zone != UTC_NAME or held.get("zone") == UTC_NAME:
            schedule["zone"] = self.zone
        return schedule


def local(text: str, zone: str) -> str:
    """A stored time as a field of a form shows it, in this zone."""
    try:
        when = datetime.fromisoformat(text)
        place = UTC if zone == UTC_NAME else ZoneInfo(zone)
        shown = (when if when.tzinfo else when.replace(tzinfo=UTC)).astimezone(place)
    except (ValueError, OverflowError, LookupError, OSError):
        return text
    return shown.replace(tzinfo=None).isoformat(timespec="auto" if shown.second or shown.microsecond else "minutes")


def instant(text: str, zone: str, known: Sequence[str] = ()) -> str:
    """What was typed, as the API takes it; a time that was not touched stays written as it was."""
    for one in known:
        if local(one, zone) == text:
            return one
    try:
        when = datetime.fromisoformat(text)
    except ValueError:
        return text
    if when.tzinfo is not None or zone != UTC_NAME:
        return text
    return when.isoformat() + "Z"
