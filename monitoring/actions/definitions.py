"""Making, changing and taking away incident definitions."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from django.db import transaction

from monitoring import responses
from monitoring.actions import incoming, specs
from monitoring.models import IncidentDefinition
from monitoring.models.incidents import BUILT_IN
from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import KEY_PATTERN

RELATED = ("thresholds", "channels")
PLAIN = (
    *(
        "name",
        "active",
        "rank",
        "min_level",
        "matchers",
        "group_by",
        "severity",
        "responses",
        "cool_down",
        "escalation",
        "runbook",
    ),
)
# What the built-in definition may not be talked out of: it catches what no other does.
FIXED = ("active", "rank", "min_level", "matchers", "thresholds")
MOST_NAMES = 20


def create(key: str, fields: Mapping[str, Any], *, by: Actor) -> IncidentDefinition:
    permissions.require(by, "configure")
    if not re.fullmatch(KEY_PATTERN, key):
        raise Invalid.of("key", "must be letters, digits, dashes and dots")
    if key == BUILT_IN:
        # With fields of its own it might not catch what no other does.
        raise Refused(f"the portal makes the definition {key} itself: it can be changed, not made")
    with transaction.atomic():
        if IncidentDefinition.objects.filter(key=key).exists():
            raise Refused(f"there is an incident definition {key} already")
        definition = IncidentDefinition(key=key)
        _write(definition, fields)
        audit.record("incident_definition.created", definition, by=by, after=shown(definition))
    return definition


def change(definition: IncidentDefinition, fields: Mapping[str, Any], *, by: Actor) -> IncidentDefinition:
    """Replace the fields given. Incidents that are open keep the severity that they have."""
    permissions.require(by, "configure")
    with transaction.atomic():
        definition = _lock(definition)
        before = shown(definition)
        if definition.key == BUILT_IN:
            for name in set(FIXED) & set(fields):
                if _plain(fields[name]) != before[name]:
                    raise Refused(f"{definition} catches what no other definition does: its {name} cannot be changed")
        _write(definition, fields)
        after = shown(definition)
        if after != before:
            audit.record("incident_definition.changed", definition, by=by, before=before, after=after)
    return definition


def delete(definition: IncidentDefinition, *, by: Actor, because: str = "") -> None:
    """Only while it has no incidents; else it is switched off, for its history."""
    permissions.require(by, "configure")
    with transaction.atomic():
        definition = _lock(definition)
        if definition.key == BUILT_IN:
            raise Refused(f"{definition} catches what no other definition does: it cannot be deleted")
        if definition.incidents.exists():
            raise Refused(f"{definition} has incidents: switch it off (active: false) instead")
        audit.record("incident_definition.deleted", definition, by=by, before=shown(definition), because=because)
        definition.delete()


def shown(definition: IncidentDefinition) -> dict[str, Any]:
    """Its fields as plain values, threshold ids and channel names included."""
    return {name: getattr(definition, name) for name in PLAIN} | {
        "escalation": definition.escalation.key if definition.escalation else None,
        "thresholds": sorted(one.pk for one in definition.thresholds.all()),
        "channels": sorted(one.name for one in definition.channels.all()),
    }


def _write(definition: IncidentDefinition, fields: Mapping[str, Any]) -> None:
    faults = _faults(fields)
    if faults:
        raise Invalid(faults)
    for name in PLAIN:
        if name in fields:
            setattr(definition, name, fields[name])
    definition.save()
    for name in RELATED:
        if name in fields:
            getattr(definition, name).set(fields[name])
    # A prefetched list would show what it was before.
    definition.refresh_from_db()


def _faults(fields: Mapping[str, Any]) -> dict[str, str]:
    faults = {}
    for label, value in fields.get("matchers", {}).items():
        if fault := specs.label_fault(label, value):
            faults[f"matchers.{label}"] = fault
    for place, label in enumerate(fields.get("group_by", [])):
        if not incoming.LABEL_NAME.match(label):
            faults[f"group_by[{place}]"] = "is no label's name"
    for place, name in enumerate(fields.get("responses", [])):
        wanted, at, least = str(name).partition("@")
        if fault := responses.fault(wanted):
            faults[f"responses[{place}]"] = fault
        elif at and least not in IncidentDefinition.MinLevel.values:
            faults[f"responses[{place}]"] = f"after the @: {' or '.join(IncidentDefinition.MinLevel.values)}"
    for name in ("matchers", "group_by", "responses"):
        if len(fields.get(name, ())) > MOST_NAMES:
            faults[name] = f"at most {MOST_NAMES}"
    return faults


def _plain(value: Any) -> Any:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return sorted(getattr(one, "pk", one) for one in value)
    return value


def _lock(definition: IncidentDefinition) -> IncidentDefinition:
    found = IncidentDefinition.objects.select_for_update().filter(pk=definition.pk).first()
    if found is None:
        raise Refused(f"incident definition {definition.key} has been deleted")
    return found
