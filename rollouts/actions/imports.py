"""Bringing flags along from another system: looked at first, then written, all of them or none."""

from typing import Any

from portal import permissions
from portal.audit import Actor
from portal.errors import Invalid
from rollouts.actions import configuration
from rollouts.actions.configuration import Plan
from rollouts.importers import formats
from rollouts.importers.options import Options
from rollouts.importers.wanted import Wanted


def preview(format_: str, document: Any, options: Options, *, by: Actor) -> Plan:
    """What the import would write, with what is to be known of each flag. Invalid names every fault."""
    return configuration.plan(_wanted(format_, document, options, by), by=by)


def run(format_: str, document: Any, options: Options, *, by: Actor, because: str = "") -> Plan:
    """Write it. A second time changes nothing."""
    wanted = _wanted(format_, document, options, by)
    return configuration.apply(wanted, by=by, because=because or f"imported from {format_}")


def _wanted(format_: str, document: Any, options: Options, by: Actor) -> Wanted:
    permissions.require(by, "configure", environment=permissions.ANY, service=permissions.ANY)
    wanted = formats.translate(format_, document, options)
    if wanted.faults:
        raise Invalid(dict(list(wanted.faults.items())[: configuration.MOST_FAULTS]))
    return wanted
