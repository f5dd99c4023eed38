"""Saying what a service costs, so that savings can be told in money."""

from collections.abc import Mapping
from typing import Any

from django.db import transaction

from monitoring.actions import specs
from monitoring.actions.capacities import GROWING
from monitoring.models import UnitCost
from portal import audit, permissions
from portal.audit import Actor
from portal.errors import Invalid
from portal.models import Environment, Service

FIELDS = ("currency", "instance_price", "metric", "aggregation")
CURRENCY = r"[A-Z]{3}"


def put(service: Service, environment: Environment, fields: Mapping[str, Any], *, by: Actor) -> UnitCost:
    """What is there of this place is replaced."""
    permissions.require(by, "configure", environment=environment, service=service)
    columns = clean(fields)
    with transaction.atomic():
        found = UnitCost.objects.select_for_update().filter(service=service, environment=environment).first()
        before = shown(found) if found else None
        made, _ = UnitCost.objects.update_or_create(service=service, environment=environment, defaults=columns)
        if shown(made) != before:
            audit.record("unit_cost.set", made, by=by, before=before, after=shown(made))
    return made


def remove(cost: UnitCost, *, by: Actor, because: str = "") -> None:
    permissions.require(by, "configure", environment=cost.environment, service=cost.service)
    with transaction.atomic():
        audit.record("unit_cost.removed", cost, by=by, before=shown(cost), because=because)
        cost.delete()


def shown(cost: UnitCost) -> dict[str, Any]:
    return {name: getattr(cost, name) for name in FIELDS}


def clean(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Raises Invalid with every field that is wrong, and why."""
    read = specs.Reading(fields)
    read.faults |= {str(name): "unknown field" for name in fields if name not in FIELDS}
    price = read.number("instance_price")
    columns: dict[str, Any] = {
        "currency": read.text("currency", longest=3, pattern=CURRENCY, hint="must be three capitals, as EUR") or "EUR",
        "instance_price": price,
        "metric": read.metric("metric"),
        "aggregation": read.choice("aggregation", GROWING, "sum"),
    }
    if price is not None and price <= 0:
        read.faults.setdefault("instance_price", "must be more than 0")
    if price is None and not columns["metric"]:
        read.faults.setdefault("instance_price", "say what an instance costs in 30 days, or which metric says it")
    if read.faults:
        raise Invalid(read.faults)
    return columns
