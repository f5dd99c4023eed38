"""Segments and flags in a document, with what flags do in each environment."""

import time
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

from portal import permissions
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import CHANGE, CREATE, KEEP, Change, Run
from portal.models import Environment
from rollouts.actions import configuration, flag_writes
from rollouts.engine import documents, operators
from rollouts.engine.types import FULL
from rollouts.importers.wanted import Wanted, WantedFlag, WantedSegment
from rollouts.models import Flag, Segment

SEGMENT_FIELDS = ("name", "description", "conditions", "included", "excluded")
DEFINITION = (
    "type", "value_type", "variants", "purpose", "owner", "service", "risk", "description", "tags", "expires_at",
    "permanent", "salt",
)  # fmt: skip
SEGMENTS = """\
segments:
  staff:
    name: Staff
    conditions:                   # all must hold
      - {attr: email, op: ends_with, values: ["@example.com"]}
    included: [user-7]            # belong whatever the conditions say
    excluded: []                  # never belong
"""
FLAGS = """\
flags:
  new-checkout:
    type: boolean                 # boolean, percentage, user_group, ab_test, time_based
    value_type: bool              # bool, string, int, float, json
    variants: [{key: "on", value: true}, {key: "off", value: false}]
    owner: dana
    purpose: release              # release, experiment, ops, permission
    risk: low                     # low, medium, high, critical
    # salt: …                     # whom a share takes: exports carry it, so that no user moves
    environments:
      staging:                    # must be there, or in the section environments
        enabled: true             # false: the off variant for everyone
        off_variant: "off"
        rules:
          - all: [{attr: country, op: in, values: [DE, PL]}]
            serve: {variant: "on", rollout: 25}      # a quarter of them
        fallthrough: {variant: "off"}                # everyone else
"""


# --- Applying -----------------------------------------------------------------------------------
def _apply(run: Run, found: dict[str, Things]) -> None:
    wanted = Wanted()
    for key, given in found.get("segments", {}).items():
        fields = _object(run, f"segments.{key}", given, SEGMENT_FIELDS)
        wanted.segments.append(WantedSegment(key, fields))
    held = {one.key: one for one in Flag.objects.filter(key__in=list(found.get("flags", {})))}
    for key, given in found.get("flags", {}).items():
        wanted.flags.append(_flag(run, key, given, held.get(key)))
    if not run.faults:
        run.attempt("", partial(_configure, run, wanted))


def _configure(run: Run, wanted: Wanted) -> None:
    done = configuration.apply(wanted, by=run.by, because=run.because)
    for step in done.steps:
        path = f"{'segments' if step.kind == 'segment' else 'flags'}.{step.key}"
        if step.environment is not None:
            path += f".environments.{step.environment}"
        does = {configuration.CREATE: CREATE, configuration.CHANGE: CHANGE}.get(step.does, KEEP)
        run.changes.append(Change(path, does, dict(step.changes)))
    run.warnings += [(f"flags.{flag}" if flag else "", words) for flag, words in done.warnings]


def _flag(run: Run, key: str, given: Any, held: Flag | None) -> WantedFlag:
    path = f"flags.{key}"
    fields = _object(run, path, given, (*DEFINITION, "environments"))
    configs = _object(run, f"{path}.environments", fields.pop("environments", None), None)
    if held is not None:
        salt = fields.pop("salt", held.salt)
        if salt != held.salt:
            run.faults[f"{path}.salt"] = "is another here, and never changes: a new one would move every user"
        if held.archived_at is not None:
            run.refusals.append(f"flag {key} is archived")
    flag = WantedFlag(key, fields)
    for environment, config in configs.items():
        at = f"{path}.environments.{environment}"
        document = _object(run, at, config, documents.EDITABLE)
        flag.configs[environment] = document
        for words in _settle(document, _held(held, environment)):
            run.warnings.append((at, words))
    return flag


def _settle(document: dict[str, Any], held: Mapping[str, Any]) -> Iterator[str]:
    """A schedule that is over is written as what it has come to: as a plan for the past it would be refused."""
    known = [serve.get("schedule") for serve in _serves(held)]
    for serve in _serves(document):
        schedule = serve.get("schedule")
        last = _last_point(schedule)
        if last is None or schedule in known:
            continue
        moment = operators.moment(last.get("at"))
        if moment is not None and moment <= time.time():
            del serve["schedule"]
            serve["rollout"] = last.get("rollout")
            yield f"its schedule is over: {last.get('rollout')} % from now on"


def _serves(document: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    rules = document.get("rules")
    found = [rule.get("serve") for rule in rules if isinstance(rule, dict)] if isinstance(rules, list) else []
    for serve in (*found, document.get("fallthrough")):
        if isinstance(serve, dict):
            yield serve


def _last_point(schedule: Any) -> dict[str, Any] | None:
    points = schedule.get("points") if isinstance(schedule, dict) else None
    last = points[-1] if isinstance(points, list) and points else None
    return last if isinstance(last, dict) and isinstance(last.get("at"), str) else None


def _held(flag: Flag | None, environment: str) -> Mapping[str, Any]:
    place = Environment.objects.filter(key=environment).first() if flag else None
    if flag is None or place is None:
        return {}
    config = flag_writes.config_of(flag, place)
    return documents.show_config(config.document())


def _object(run: Run, path: str, given: Any, known: tuple[str, ...] | None) -> dict[str, Any]:
    if given is None:
        return {}
    if not isinstance(given, dict):
        run.faults[path] = "must be a mapping"
        return {}
    for name in given:
        if known is not None and name not in known:
            run.faults[f"{path}.{name}"] = "unknown field"
    return dict(given)


# --- Exporting ----------------------------------------------------------------------------------
def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    left_out: list[str] = []
    rows = permissions.visible(scope.by, Flag.objects.live().select_related("service"), environment=None)
    seen = permissions.visible(scope.by, Environment.objects.all(), environment="id", service=None)
    if scope.environment is not None:
        seen = seen.filter(key=scope.environment)
    places = {one.pk: one.key for one in seen}
    flags: Things = {}
    for flag in rows.prefetch_related("configs"):
        if not scope.wants("flags", flag.key):
            continue
        definition = flag.definition()
        flags[flag.key] = {name: definition[name] for name in DEFINITION if name in definition} | {"salt": flag.salt}
        configs = {}
        for config in sorted(flag.configs.all(), key=lambda one: places.get(one.environment_id, "")):
            if config.environment_id in places:
                where = places[config.environment_id]
                configs[where] = documents.show_config(config.document())
                configs[where]["rules"] = list(_portable(configs[where]["rules"], f"flag {flag} in {where}", left_out))
                if config.reserved:
                    left_out.append(
                        f"flag {flag} in {where}: the rule of deployment {config.reserved[0]['deployment']}"
                    )
        flags[flag.key]["environments"] = configs
    segments = {
        one.key: {name: one.document()[name] for name in SEGMENT_FIELDS}
        for one in Segment.objects.all()
        if scope.wants("segments", one.key)
    }
    return {"segments": segments, "flags": flags}, left_out


def _portable(rules: list[dict[str, Any]], where: str, left_out: list[str]) -> Iterator[dict[str, Any]]:
    """A deployment's rule is hashed in its own way; where it gives no shares that makes no difference."""
    for rule in rules:
        if "deployment" not in rule:
            yield rule
            continue
        serve = rule["serve"]
        if "variant" not in serve or serve.get("rollout", FULL / 1000) not in (0, FULL / 1000):
            left_out.append(f"{where}: rule {rule['id']} deals its share as deployment {rule['deployment']} did")
        yield {name: value for name, value in rule.items() if name not in ("deployment", "live")}


KIND = Kind(("segments", "flags"), _apply, _export, {"segments": SEGMENTS, "flags": FLAGS})
