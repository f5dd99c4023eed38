"""Incident definitions in a document, by their keys: what they refer to is named, for numbers are another portal's.

A definition is exported whole or not at all: with a threshold or a response less it would catch other alerts, or do
something else about them.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from rest_framework import serializers

from monitoring import responses
from monitoring.actions import catching, definitions
from monitoring.api.definitions import DefinitionChange
from monitoring.models import Channel, EscalationPolicy, IncidentDefinition, Threshold
from monitoring.models.incidents import BUILT_IN
from portal import drf, permissions
from portal.audit import Actor
from portal.config import keyed
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

SECTION = "incident_definitions"
DEFINITIONS = """\
incident_definitions:
  checkout-is-slow:               # the key
    name: Checkout is slow
    rank: 10                      # the first that fits catches the alert
    min_level: error              # or critical
    thresholds: [slow checkout]   # by name; empty: any
    matchers: {}                  # labels that the alert must carry, such as {environment: production}
    group_by: []                  # labels; empty: service, environment and target
    severity: SEV2                # SEV1 to SEV4; empty: by the alert's level
    responses:                    # propose_… waits for a person, …@critical only from that level on
      - kill:new-checkout@critical
      - propose_set_flag:new-checkout=off
    cool_down: 600                # seconds until the same is done to the same target again
    channels: []                  # by name: made by REST or in the admin, for their secrets
    # escalation: standard        # whom it calls; left out: the default policy
    runbook: Look at the payment provider's status page first.
"""


def _names() -> serializers.ListField:
    return serializers.ListField(
        child=serializers.CharField(max_length=200, trim_whitespace=False), required=False, max_length=500
    )


class DefinitionBody(DefinitionChange):
    """As by REST, but for what is referred to: that is looked up by name, so that each fault has its place."""

    thresholds = _names()  # type: ignore[assignment]
    channels = _names()  # type: ignore[assignment]
    escalation = serializers.CharField(max_length=128, required=False, allow_null=True)  # type: ignore[assignment]


# --- Applying -----------------------------------------------------------------------------------
def _write(run: Run, path: str, key: str, given: Any) -> None:
    given = keyed.fields_of(given)
    # The built-in one is always there, even after it was lost.
    held = catching.built_in() if key == BUILT_IN else IncidentDefinition.objects.filter(key=key).first()
    fields = drf.checked(DefinitionBody, given, partial=held is not None)
    named, faults = _named(fields, run.by)
    before = _shown(held) if held else {}
    try:
        made = definitions.change(held, named, by=run.by) if held else definitions.create(key, named, by=run.by)
    except Invalid as invalid:
        faults |= invalid.errors
    if faults:
        # Whatever was written goes with it; so all that is wrong is told at once.
        raise Invalid(faults)
    run.told(path, before, _shown(made))


def _named(fields: Mapping[str, Any], by: Actor) -> tuple[dict[str, Any], dict[str, str]]:
    """The fields with the things that they name, and the names that name nothing."""
    found = dict(fields)
    faults: dict[str, str] = {}
    known: dict[str, Mapping[str, list[Any]]] = {
        "thresholds": _thresholds(fields.get("thresholds", ()), by),
        "channels": {one.name: [one] for one in Channel.objects.filter(name__in=fields.get("channels", ()))},
    }
    for field, things in known.items():
        for place, name in enumerate(fields.get(field, ())):
            if len(things.get(name, ())) > 1:
                faults[f"{field}[{place}]"] = f"several {field} are named '{name}': give each a name of its own first"
            elif name not in things:
                faults[f"{field}[{place}]"] = f"there is no {field.removesuffix('s')} '{name}'"
        if field in fields:
            found[field] = [things[name][0] for name in dict.fromkeys(fields[field]) if name in things]
    if fields.get("escalation") is not None:
        found["escalation"] = EscalationPolicy.objects.filter(key=fields["escalation"]).first()
        if found["escalation"] is None:
            faults["escalation"] = f"there is no escalation policy '{fields['escalation']}'"
    return found, faults


def _thresholds(names: Collection[str], by: Actor) -> dict[str, list[Threshold]]:
    """By name those that may be meant: people's own go before an objective's; a deployment's never lasts."""
    rows = Threshold.objects.active().filter(name__in=set(names)).exclude(owner__startswith="deployment:")
    found: dict[str, list[Threshold]] = defaultdict(list)
    for one in permissions.visible(by, rows.select_related("environment").order_by("pk")):
        found[one.name].append(one)
    return {name: [one for one in same if not one.owner] or same for name, same in found.items()}


# --- Exporting ----------------------------------------------------------------------------------
def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    permissions.require(scope.by, "view", environment=permissions.ANY, service=permissions.ANY)
    rows = IncidentDefinition.objects.select_related("escalation").prefetch_related("thresholds", "channels")
    wanted = [
        one
        for one in rows
        # What a document is about to replace is kept, even if nobody has changed it yet.
        if scope.wants(SECTION, one.key) and _is_of(one, scope.environment) and (scope.only or not _is_as_made(one))
    ]
    meant = _thresholds({each.name for one in wanted for each in one.thresholds.all()}, scope.by)
    found: Things = {}
    left_out = []
    for one in wanted:
        reasons = list(_against(one, meant, scope.environment))
        if reasons:
            left_out.append(f"incident definition {one.key}: {reasons[0]}")
            continue
        found[one.key] = _shown(one)
        left_out += [
            f"channel {name}, which incident definition {one.key} names" for name in found[one.key]["channels"]
        ]
    return {SECTION: found}, left_out


def _is_as_made(definition: IncidentDefinition) -> bool:
    """The built-in one, which every portal has, and of which nobody has said anything."""
    made = IncidentDefinition(**catching.AS_MADE)
    same = all(getattr(definition, name) == getattr(made, name) for name in definitions.PLAIN)
    return definition.key == BUILT_IN and same and not definition.channels.all()


def _is_of(definition: IncidentDefinition, environment: str | None) -> bool:
    return environment is None or definition.matchers.get("environment", environment) == environment


def _against(
    definition: IncidentDefinition, meant: Mapping[str, list[Threshold]], environment: str | None
) -> Iterator[str]:
    """Why it would not be the same elsewhere."""
    named = list(definition.thresholds.all())
    alive = [one for one in named if one.active]
    if named and not alive:
        yield "its thresholds were removed: without them it would catch any alert"
    for one in alive:
        same = meant.get(one.name, [])
        if one.pk not in {each.pk for each in same}:
            yield f"it names a threshold that no document can name (number {one.pk})"
        elif len(same) > 1:
            yield f"it names a threshold whose name others have, too: {one.name}"
        elif environment is not None and (same[0].environment is None or same[0].environment.key != environment):
            yield f"it names a threshold that is not of {environment}: {one.name}"
    for name in definition.responses:
        if fault := responses.fault(name.partition("@")[0]):
            yield f"its response {name}: {fault}"


def _shown(definition: IncidentDefinition) -> dict[str, Any]:
    names = sorted(one.name for one in definition.thresholds.all() if one.active)
    return definitions.shown(definition) | {"thresholds": names}


KIND = Kind((SECTION,), keyed.each(SECTION, _write), _export, {SECTION: DEFINITIONS})
