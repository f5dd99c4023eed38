"""Service level objectives in a document, by their keys."""

from typing import Any

from monitoring.actions import slos
from monitoring.models import Slo
from portal.config import keyed
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run

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


def _write(run: Run, path: str, key: str, given: Any) -> None:
    held = Slo.objects.active().filter(key=key).select_related("environment", "service").first()
    keyed.write(run, path, slos, held, key, keyed.fields_of(given))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = keyed.seen(scope, "slos", Slo.objects.active().order_by("key"))
    return {"slos": {one.key: slos.shown(one) for one in rows}}, []


KIND = Kind(("slos",), keyed.each("slos", _write), _export, {"slos": SLOS})
