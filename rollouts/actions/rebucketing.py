"""The switch of an imported rollout to the portal's own bucketing, and whom it would move."""

from dataclasses import dataclass
from typing import Any

from django.db import transaction

from portal import permissions
from portal.audit import Actor
from portal.errors import Refused, Stale
from portal.models import Environment
from rollouts.actions import flag_writes, flags
from rollouts.engine import documents, rebucketing
from rollouts.models import Flag, FlagConfig


@dataclass(frozen=True, slots=True)
class Switch:
    """What the switch does: how many of so many units would get something else."""

    algorithms: tuple[str, ...]
    moved: int
    units: int = rebucketing.UNITS

    @property
    def words(self) -> str:
        if not self.algorithms:
            return "the portal's own bucketing"
        return f"legacy bucketing: {self.moved} of {self.units} would move on a switch to the portal's own"


def preview(config: FlagConfig, units: int = rebucketing.UNITS) -> Switch | None:
    """None where the portal's own bucketing is used already."""
    document = config.document()
    algorithms = rebucketing.algorithms(document)
    if not algorithms:
        return None
    moved = rebucketing.moved(config.flag.key, config.flag.salt, document, units)
    return Switch(tuple(sorted(algorithms)), moved, units)


def rebucket(
    flag: Flag, environment: Environment, *, by: Actor, because: str = "", expected_revision: int | None = None
) -> FlagConfig:
    """Bucket by the portal's own way from now on: the same shares, other users."""
    with transaction.atomic():
        flag_writes.stand_in_line()
        flag_writes.current(flag)
        permissions.require(by, "operate", environment=environment, service=flag.service)
        held = flag_writes.config_of(flag, environment)
        if expected_revision is not None and expected_revision != held.revision:
            raise Stale(f"the config in {environment} of flag {flag} is at revision {held.revision}: look at it again")
        switch = preview(held)
        if switch is None:
            raise Refused(f"flag {flag} is bucketed in the portal's own way in {environment} already")
        because = because or f"from {', '.join(switch.algorithms)} to the portal's own bucketing"
        return flags.configure(flag, environment, proposal(held), by=by, because=because)


def proposal(config: FlagConfig) -> dict[str, Any]:
    """The edit that makes the switch, as people write it."""
    shown = documents.show_config(rebucketing.own(config.document()))
    return {"rules": shown["rules"], "fallthrough": shown["fallthrough"]}
