"""Limits of metrics in a document, by their keys: capacities, and budgets of a month."""

from typing import Any

from monitoring.actions import capacities
from monitoring.models import Capacity
from portal.config import keyed
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run

CAPACITIES = """\
capacities:
  orders-disk:                    # the key
    name: disk of the orders
    kind: capacity                # or budget: what a calendar month may cost
    metric: disk_used_bytes
    aggregation: max              # a budget: sum, or increase of a counter
    limit: 500000000000           # in the metric's unit
    share: 0.9                    # of the limit that must not be reached
    horizon: 90                   # days that are looked ahead
    matchers: {}                  # labels, such as {environment: production, service: orders}
"""


def _write(run: Run, path: str, key: str, given: Any) -> None:
    held = Capacity.objects.active().filter(key=key).first()
    keyed.write(run, path, capacities, held, key, keyed.fields_of(given))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = keyed.seen(scope, "capacities", Capacity.objects.active().order_by("key"))
    return {"capacities": {one.key: capacities.shown(one) for one in rows}}, []


KIND = Kind(("capacities",), keyed.each("capacities", _write), _export, {"capacities": CAPACITIES})
