"""Service level objectives in a document, by their keys."""

from functools import partial
from typing import Any

from monitoring.actions import slos
from monitoring.models import Slo
from portal import permissions
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

SLOS = """\
slos:
  checkout-availability:          # the key
    name: checkout availability
    kind: availability            # or latency, uptime
    metric: http_requests_total
    bad: http_errors_total        # or good; latency has a bound instead
    objective: 99.9               # percent
    window: 2592000               # seconds
    matchers: {}                  # labels, such as {environment: production, service: checkout}
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for key, fields in found.get("slos", {}).items():
        run.attempt(f"slos.{key}", partial(_slo, run, key, fields))


def _slo(run: Run, key: str, fields: Any) -> None:
    if not isinstance(fields, dict):
        raise Invalid.of("", "must be a mapping with name, kind, metric and objective")
    held = Slo.objects.active().filter(key=key).select_related("environment", "service").first()
    if held is not None:
        before = slos.shown(held)
        after = slos.shown(slos.change(held, fields, by=run.by))
    else:
        before, after = {}, slos.shown(slos.create(key, fields, by=run.by))
    run.told(f"slos.{key}", before, after)


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = permissions.visible(scope.by, Slo.objects.active().order_by("key"))
    if scope.environment is not None:
        rows = rows.filter(environment__key=scope.environment)
    return {"slos": {one.key: slos.shown(one) for one in rows if scope.wants("slos", one.key)}}, []


KIND = Kind(("slos",), _apply, _export, {"slos": SLOS})
