"""Thresholds in a document, by their names; so are those that a combination is of."""

import re
from functools import partial
from typing import Any

from monitoring.actions import specs, thresholds
from monitoring.models import Threshold
from portal import permissions
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run
from portal.errors import Invalid, Refused

THRESHOLDS = """\
thresholds:
  slow checkout:                  # the name
    metric: checkout_seconds
    aggregation: mean
    operator: ">"
    warning: 0.5
    critical: 1.5
    window: 300                   # seconds
    matchers: {}                  # labels, such as {environment: production, service: checkout}
"""


COMBINES = re.compile(r"\b(all|any|of)\s*\(")


def _apply(run: Run, found: dict[str, Things]) -> None:
    for name, spec in sorted(found.get("thresholds", {}).items(), key=lambda one: _combines(one[1])):
        run.attempt(f"thresholds.{name}", partial(_threshold, run, name, spec))


def _combines(spec: Any) -> bool:
    """Of others, which have to be there first."""
    return isinstance(spec, dict) and bool(spec.get("combine") or COMBINES.search(str(spec.get("condition"))))


def _threshold(run: Run, name: str, spec: Any) -> None:
    if not isinstance(spec, dict):
        raise Invalid.of("", "must be a mapping with metric, aggregation, operator and bounds")
    held = list(Threshold.objects.active().filter(owner="", name=name).select_related("environment", "service")[:2])
    if len(held) > 1:
        raise Refused(f"there are several thresholds named {name}: give each a name of its own first")
    whole = {**spec, "name": name}
    if held:
        before = specs.of(held[0])
        after = specs.of(thresholds.change(held[0], whole, by=run.by, partly=True))
    else:
        before, after = {}, specs.of(thresholds.create(whole, by=run.by))
    run.told(f"thresholds.{name}", before, after)


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    rows = permissions.visible(scope.by, Threshold.objects.active().filter(owner="").order_by("name", "pk"))
    if scope.environment is not None:
        rows = rows.filter(environment__key=scope.environment)
    found: Things = {}
    left_out = []
    known = specs.member_names(rows)
    names = {one.pk: one.name for one in rows if one.pk in known}
    for one in rows:
        if one.name in found:
            left_out.append(f"threshold {one.pk}: another one is named {one.name}, too")
        elif not names.keys() >= set(one.members):
            left_out.append(f"threshold {one.name}: it combines others that cannot be named in this document")
        elif scope.wants("thresholds", one.name):
            found[one.name] = {name: value for name, value in specs.of(one).items() if name != "name"}
            if one.members:
                found[one.name]["combine"]["of"] = [names[pk] for pk in one.members]
    return {"thresholds": found}, left_out


KIND = Kind(("thresholds",), _apply, _export, {"thresholds": THRESHOLDS})
