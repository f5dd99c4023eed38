"""How the flags of an environment are called as environment variables: the settings, and the names themselves."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment
from rollouts.engine import dotenv, reading
from rollouts.engine.dotenv import Naming
from rollouts.models import Flag, VariableNames

FIELDS = ("prefix", "suffix", "value_suffix", "names")
MOST_NAMES = 10_000


def of(environment: Environment) -> VariableNames:
    """The environment's, or an unsaved row of the usual ones."""
    found = VariableNames.objects.filter(environment=environment).first()
    return found or VariableNames(environment=environment)


def change(environment: Environment, changes: Mapping[str, Any], *, by: Actor, because: str = "") -> VariableNames:
    """A field left out keeps its value."""
    permissions.require(by, "configure", environment=environment, service=permissions.ANY)
    faults = reading.Faults()
    reading.an_object(changes, "", faults, fields=FIELDS)
    naming(Naming(), changes, faults)
    if faults:
        raise Invalid(faults)
    with transaction.atomic():
        Environment.objects.select_for_update().get(pk=environment.pk)
        names = of(environment)
        before = {} if names._state.adding else {name: getattr(names, name) for name in FIELDS}
        for name, value in changes.items():
            setattr(names, name, value)
        after = {name: getattr(names, name) for name in FIELDS}
        if before != after:
            names.save()
            audit.record("variable_names.changed", names, by=by, before=before, after=after, because=because)
    return names


def naming(held: Naming, given: Mapping[str, Any], faults: reading.Faults) -> Naming:
    """What is given over what is held, each fault named."""
    for name in ("prefix", "suffix", "value_suffix"):
        part = given.get(name, "")
        if not isinstance(part, str) or not dotenv.PART.match(part):
            faults.add(name, dotenv.PART_WORDS)
    if faults:
        return held
    names = {**held.names, **_names(given["names"], faults)} if "names" in given else held.names
    return Naming(
        prefix=given.get("prefix", held.prefix),
        suffix=given.get("suffix", held.suffix),
        value_suffix=given.get("value_suffix", held.value_suffix),
        names=names,
    )


def named(flags: Mapping[str, str], naming: Naming) -> dict[str, str | None]:
    """The variable of each flag ({flag: value type}); Refused when one has no good name or two have the same."""
    found: dict[str, str | None] = {}
    whose: dict[str, str] = {}
    for flag, value_type in flags.items():
        name = found[flag] = naming.name(flag, value_type)
        if name is None:
            continue
        fault = dotenv.name_fault(name)
        if fault:
            raise Refused(f"flag {flag} would be {name}, which {fault}; give it another name")
        if name in whose:
            raise Refused(f"flags {whose[name]} and {flag} would both be {name}; give one of them another name")
        whose[name] = flag
    return found


def _names(value: Any, faults: reading.Faults) -> dict[str, str | None]:
    if not isinstance(value, Mapping) or len(value) > MOST_NAMES:
        faults.add("names", f"must be an object of at most {MOST_NAMES} flags and their names")
        return {}
    sound = [key for key in value if reading.KEY.match(key)]
    known = set(Flag.objects.filter(key__in=sound).values_list("key", flat=True))
    for flag, name in value.items():
        if flag not in known:
            faults.add(f"names.{flag}", "there is no such flag")
        elif name is not None and (not isinstance(name, str) or dotenv.name_fault(name)):
            faults.add(f"names.{flag}", dotenv.name_fault(name) if isinstance(name, str) else "must be a text or null")
    return dict(value)
