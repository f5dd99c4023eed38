"""Taking shipped definitions over: each becomes a threshold of a service in an environment, once."""

from collections.abc import Collection
from dataclasses import dataclass

from django.db import transaction

from monitoring import conditions
from monitoring.actions import metrics, thresholds
from monitoring.models import Metric, Threshold
from monitoring.queries import library
from monitoring.queries.library import Definition
from portal import permissions
from portal.audit import Actor
from portal.errors import Invalid
from portal.models import Environment, Service


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of one definition. One that is there already stays as people have made it."""

    definition: Definition
    threshold: Threshold
    made: bool


def take(service: Service, environment: Environment, keys: Collection[str], *, by: Actor) -> list[Taken]:
    """Make the thresholds that are not there yet, all of them or none. A second time changes nothing."""
    known = library.definitions()
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise Invalid.of("keys", f"there is no definition {unknown[0]}"[:200])
    if not keys:
        raise Invalid.of("keys", "choose at least one")
    permissions.require(by, "configure", environment=environment, service=service)
    with transaction.atomic():
        # One at a time at each place: two presses of the button make one threshold of each.
        Service.objects.select_for_update(no_key=True).get(pk=service.pk)
        wanted = [known[key] for key in known if key in set(keys)]
        _measure(wanted, by=by)
        return [_take(one, service, environment, by=by) for one in wanted]


def spec(definition: Definition, service: Service, environment: Environment) -> dict[str, object]:
    """In the contract's words, for this place."""
    said = conditions.read(definition.condition, units={definition.metric: definition.unit})
    name = f"{definition.name} of {service} in {environment}"[:200]
    matchers = {**said["matchers"], **library.labels(service, environment)}
    return {**said, "name": name, "matchers": matchers, "runbook": definition.advice}


def _take(definition: Definition, service: Service, environment: Environment, *, by: Actor) -> Taken:
    rows = Threshold.objects.active().filter(service=service, environment=environment)
    held = rows.filter(library=definition.key).first()
    if held is not None:
        return Taken(definition, held, False)
    made = thresholds.create(spec(definition, service, environment), by=by, library=definition.key)
    return Taken(definition, made, True)


def _measure(wanted: Collection[Definition], *, by: Actor) -> None:
    """The metrics that are not known yet; one that is keeps its type and unit."""
    there = set(
        Metric.objects.filter(name__in=[name for one in wanted for name in one.metrics]).values_list("name", flat=True)
    )
    for one in wanted:
        for name in one.metrics:
            if name in there:
                continue
            there.add(name)
            is_own = name == one.metric
            metrics.define(
                name,
                by=by,
                type=one.type if is_own else "counter",
                unit=one.unit if is_own else "",
                direction=one.direction if is_own else "neither",
                description=one.name if is_own else f"all of which {one.metric} are a part",
            )
