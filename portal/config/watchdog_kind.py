"""Watchdogs in a document, by their keys. Those that an alert made by itself are made by it elsewhere, too."""

from typing import Any

from monitoring.actions import watchdogs
from monitoring.models import Watchdog
from portal.config import keyed, references
from portal.config.kinds import Kind, Scope, Things
from portal.config.run import Run

WATCHDOGS = """\
watchdogs:
  backup:                         # the key
    name: Nightly backup
    every: 86400                  # seconds between two signs of life
    grace: 3600                   # seconds that one may come late
    level: critical               # or error: of the alert
    matchers: {}                  # labels of the alert that is its sign; empty: it calls by itself
    # service: checkout           # must be there, or in the section services
    # environment: production
    runbook: Is the disk full?
"""


def _write(run: Run, path: str, key: str, given: Any) -> None:
    fields = references.places(keyed.fields_of(given))
    held = Watchdog.objects.select_related(*watchdogs.PLACES).filter(key=key).first()
    before = _shown(held) if held else {}
    if held is not None:
        made = watchdogs.change(held, fields, by=run.by, because=run.because)
    else:
        made = watchdogs.create({**fields, "key": key}, by=run.by)
    run.told(path, before, _shown(made))


def _export(scope: Scope) -> tuple[dict[str, Things], list[str]]:
    found: Things = {}
    left_out = []
    for one in keyed.seen(scope, "watchdogs", Watchdog.objects.select_related(*watchdogs.PLACES).order_by("key")):
        # What a document is about to replace is kept, whoever made it.
        if one.created_by == str(watchdogs.BY) and scope.only is None:
            left_out.append(f"watchdog {one.key}: its alert made it, and makes it again")
        else:
            found[one.key] = _shown(one)
    return {"watchdogs": found}, left_out


def _shown(watchdog: Watchdog) -> dict[str, Any]:
    return {name: value for name, value in watchdogs.shown(watchdog).items() if name != "key"}


KIND = Kind(("watchdogs",), keyed.each("watchdogs", _write), _export, {"watchdogs": WATCHDOGS})
