"""Rotas and escalation policies in a document."""

from collections.abc import Callable
from functools import partial
from typing import Any

from django.db.models import Model

from monitoring.actions import escalation_policies, rotas
from monitoring.models import EscalationPolicy, Rota
from portal import permissions
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid

# People are named by their usernames, so nothing here would hold in every portal: it is to be uncommented.
ROTAS = """\
rotas:
#  primary:
#    name: First on call
#    zone: Europe/Warsaw
#    layers:                                       # the first that has somebody decides
#      - {people: [dana, sam], every: week, handover: "09:00", starts_on: "2026-11-02"}
"""
POLICIES = """\
escalation_policies:
#  standard:
#    name: Standard
#    repeat: 2                                     # how often it begins anew
#    steps:
#      - {delay: 900, rotas: [primary]}            # seconds without an answer until the next step
#      - {delay: 900, people: [olga], channels: []}
"""


def _apply(run: Run, found: dict[str, Things]) -> None:
    for key, fields in found.get("rotas", {}).items():
        run.attempt(f"rotas.{key}", partial(_one, run, "rotas", Rota, rotas, key, fields))
    for key, fields in found.get("escalation_policies", {}).items():
        act = partial(_one, run, "escalation_policies", EscalationPolicy, escalation_policies, key, fields)
        run.attempt(f"escalation_policies.{key}", act)


def _one(run: Run, section: str, model: type[Model], actions: Any, key: str, fields: Any) -> None:
    """Both are alike: made or changed by their key, from plain fields."""
    if not isinstance(fields, dict):
        raise Invalid.of("", "must be a mapping")
    if unknown := sorted(set(fields) - set(actions.PLAIN)):
        raise Invalid.of(str(unknown[0]), f"unknown field: choose from {', '.join(actions.PLAIN)}")
    held = model._default_manager.filter(key=key).first()
    shown: Callable[[Any], dict[str, Any]] = actions.shown
    before = shown(held) if held else {}
    written = actions.change(held, fields, by=run.by) if held else actions.create(key, fields, by=run.by)
    run.told(f"{section}.{key}", before, shown(written))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    permissions.require(scope.by, "view", environment=permissions.ANY, service=permissions.ANY)
    return {
        "rotas": {one.key: rotas.shown(one) for one in Rota.objects.all() if scope.wants("rotas", one.key)},
        "escalation_policies": {
            one.key: escalation_policies.shown(one)
            for one in EscalationPolicy.objects.all()
            if scope.wants("escalation_policies", one.key)
        },
    }, []


KIND = Kind(("rotas", "escalation_policies"), _apply, _export, {"rotas": ROTAS, "escalation_policies": POLICIES})
