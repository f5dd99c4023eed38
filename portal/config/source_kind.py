"""What the portal asks by itself, in a document, by name."""

from functools import partial
from typing import Any

from monitoring.actions import sources
from monitoring.models import MetricSource
from portal import permissions
from portal.config import references
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

SOURCES = """\
sources:
  checkout:                       # the name, and the label `job` of what it brings
    kind: scrape                  # scrape, prometheus, http, tcp, host
    config:
      url: https://checkout.example.com/metrics
      auth: bearer                # the token itself is given by REST or in the admin
    service: checkout
    environment: staging
    labels: {team: payments}      # added to every sample
    interval: 15                  # seconds
    timeout: 5
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for name, given in found.get("sources", {}).items():
        run.attempt(f"sources.{name}", partial(_source, run, name, given))


def _source(run: Run, name: str, given: Any) -> None:
    if not isinstance(given, dict):
        raise Invalid.of("", "must be a mapping with kind and config")
    if "secret" in given:
        raise Invalid.of("secret", "secrets do not stand in documents: give it by REST or in the admin")
    fields = references.places({**given, "name": name})
    held = MetricSource.objects.filter(name=name).select_related(*sources.PLACES).first()
    before = _shown(held) if held else {}
    made = sources.change(held, fields, by=run.by, because=run.because) if held else sources.create(fields, by=run.by)
    run.told(f"sources.{name}", before, _shown(made))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    if not permissions.can(scope.by, "configure", environment=permissions.ANY, service=permissions.ANY):
        return {"sources": {}}, []
    rows = permissions.visible(scope.by, MetricSource.objects.select_related(*sources.PLACES))
    if scope.environment is not None:
        rows = rows.filter(environment__key=scope.environment)
    wanted = [one for one in rows if scope.wants("sources", one.name)]
    left_out = [f"source {one.name}: its secret" for one in wanted if one.secret]
    return {"sources": {one.name: _shown(one) for one in wanted}}, left_out


def _shown(source: MetricSource) -> dict[str, Any]:
    return {name: value for name, value in sources.shown(source).items() if name != "name"}


KIND = Kind(("sources",), _apply, _export, {"sources": SOURCES})
