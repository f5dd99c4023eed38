"""What services cost in a document: by service, and in it by environment."""

from functools import partial
from typing import Any

from monitoring.actions import unit_costs
from monitoring.models import UnitCost
from portal import permissions
from portal.config import keyed, references
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run

COSTS = """\
unit_costs:
  checkout:                       # the service
    staging:                      # the environment
      currency: EUR
      instance_price: 72.5        # of one instance for 30 days; or metric: the cost itself, summed up
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for service, places in found.get("unit_costs", {}).items():
        if not isinstance(places, dict):
            run.faults[f"unit_costs.{service}"] = "must be a mapping by environment"
            continue
        for environment, given in places.items():
            path = f"unit_costs.{service}.{environment}"
            run.attempt(path, partial(_write, run, path, {"service": service, "environment": environment}, given))


def _write(run: Run, path: str, names: dict[str, str], given: Any) -> None:
    place = references.places(names)
    held = UnitCost.objects.filter(**place).first()
    before = unit_costs.shown(held) if held else {}
    made = unit_costs.put(place["service"], place["environment"], {**before, **keyed.fields_of(given)}, by=run.by)
    run.told(path, before, unit_costs.shown(made))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = permissions.visible(scope.by, UnitCost.objects.select_related("service", "environment"))
    if scope.environment is not None:
        rows = rows.filter(environment__key=scope.environment)
    found: Things = {}
    for one in rows.order_by("service__key", "environment__key"):
        if scope.wants("unit_costs", f"{one.service.key}.{one.environment.key}"):
            found.setdefault(one.service.key, {})[one.environment.key] = unit_costs.shown(one)
    return {"unit_costs": found}, []


KIND = Kind(("unit_costs",), _apply, _export, {"unit_costs": COSTS})
