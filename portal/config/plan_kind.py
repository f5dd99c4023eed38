"""Plans of deployments in a document."""

from functools import partial
from typing import Any

from portal import permissions
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid
from rollouts.actions import plans
from rollouts.models import Plan

PLANS = """\
plans:
  canary:
    stages:
      - {name: a few, weight: 5, dwell: 600}       # seconds
      - name: half
        weight: 50
        dwell: 1800
        gates: [{kind: soak, seconds: 600}]
      - {name: everybody, weight: 100, dwell: 0}
    guardrails: []                                 # what takes it back: see POST /api/v1/plans/
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for name, content in found.get("plans", {}).items():
        run.attempt(f"plans.{name}", partial(_plan, run, name, content))


def _plan(run: Run, name: str, content: Any) -> None:
    if not isinstance(content, dict):
        raise Invalid.of("", "must be a mapping with stages")
    held = Plan.objects.filter(name=name, current=True).first()
    written, _ = plans.write(name, content, by=run.by)
    run.told(f"plans.{name}", held.content if held else {}, written.content)


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    permissions.require(scope.by, "view", environment=permissions.ANY, service=permissions.ANY)
    rows = Plan.objects.filter(current=True)
    return {"plans": {one.name: one.content for one in rows if scope.wants("plans", one.name)}}, []


KIND = Kind(("plans",), _apply, _export, {"plans": PLANS})
