"""A document compared with the portal and applied to it as a whole, and the portal as a document."""

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml
from django.db import transaction

from portal.audit import Actor
from portal.config import (
    capacity_kind,
    component_kind,
    cost_kind,
    definition_kind,
    escalation_kind,
    flag_kind,
    kinds,
    place_kind,
    plain,
    plan_kind,
    scaling_kind,
    slo_kind,
    source_kind,
    threshold_kind,
    watchdog_kind,
)
from portal.config.kinds import Scope
from portal.config.reading import Source
from portal.config.run import CHANGE, KEEP, Change, Run
from portal.errors import Invalid, Refused
from portal.models import Environment

# In the order in which they are applied: what others refer to first.
for _module in (
    place_kind, flag_kind, plan_kind, source_kind, threshold_kind, escalation_kind, slo_kind, definition_kind,
    watchdog_kind, capacity_kind, scaling_kind, cost_kind, component_kind,
):  # fmt: skip
    kinds.register(_module.KIND)
VERSION = 1
MARK = "flightdeck"


@dataclass(frozen=True, slots=True)
class Document:
    """Ready to be applied: in this portal's version, with a report of how it came to be so."""

    source: Source
    version: int  # that it was written in; 0 is the plain YAML without one
    report: list[tuple[str, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Outcome:
    changes: list[Change]
    warnings: list[tuple[str, str]]
    counts: Mapping[str, int]

    @property
    def changed(self) -> list[Change]:
        return [one for one in self.changes if one.does != KEEP]


def read(source: Source, environments: list[str] | None = None) -> Document:
    """Find out the version and bring an older one to this. Raises Invalid, naming every key that is wrong."""
    content = source.content
    if plain.is_plain(content):
        made = plain.translate(source, environments or _only_environment())
        return Document(made.source, 0, made.report)
    report = []
    version = content.get(MARK)
    if version is None:
        version = VERSION
        report.append(("", f"says no version: read as {MARK}: {VERSION}"))
    if type(version) is not int or version < 1:
        raise Invalid.of(MARK, f"{source.place(MARK)}: must be a version, a whole number from 1")
    if version > VERSION:
        raise Invalid.of(MARK, f"{source.place(MARK)}: is version {version}; this portal reads up to {VERSION}")
    faults = {}
    for name, things in content.items():
        if name != MARK and name not in kinds.sections():
            faults[name] = f"unknown section: choose from {', '.join(kinds.sections())}"
        elif name != MARK and things is not None and not isinstance(things, dict):
            faults[name] = "must be a mapping by key"
    if faults:
        raise Invalid({path: f"{source.place(path)}: {words}" for path, words in faults.items()})
    return Document(source, version, report)


def plan(document: Document, *, by: Actor) -> Outcome:
    """What `apply` would do. Everything is checked as it would be written; nothing is."""
    return _run(document, by=by, because="", keep=False)


def apply(document: Document, *, by: Actor, because: str = "", within: float | None = None) -> Outcome:
    """Write what is not like that already, in one transaction: all of it or nothing. Nothing is ever deleted.

    `within` so many seconds or not at all: nobody may be told that it failed of what happens later all the same.
    """
    return _run(document, by=by, because=because, keep=True, within=within)


def _run(document: Document, *, by: Actor, because: str, keep: bool, within: float | None = None) -> Outcome:
    began = time.monotonic()
    run = Run(by, because)
    content = document.source.content
    with transaction.atomic():
        for kind in kinds.registered():
            found = {name: content[name] for name in kind.sections if content.get(name)}
            if found:
                kind.apply(run, found)
        for path, act in run.last:
            run.attempt(path, act)
        if run.faults:
            raise Invalid({path: f"{document.source.place(path)}: {words}" for path, words in run.faults.items()})
        if run.refusals:
            raise Refused("; ".join(dict.fromkeys(run.refusals)))
        if within is not None and time.monotonic() - began > within:
            raise Refused(f"it takes longer than {within:g} s, so nothing is written: use manage.py apply")
        if not keep:
            transaction.set_rollback(True)
    return Outcome(run.changes, run.warnings, run.counts())


# --- The portal as a document -------------------------------------------------------------------
def export(scope: Scope) -> tuple[dict[str, Any], list[str]]:
    """The document, and in words what is not in it."""
    content: dict[str, Any] = {MARK: VERSION}
    left_out: list[str] = []
    for kind in kinds.registered():
        found, words = kind.export(scope)
        content |= {name: things for name, things in found.items() if things}
        left_out += words
    return content, left_out


def replaced(outcome: Outcome, *, by: Actor) -> tuple[dict[str, Any], list[str]]:
    """The things that an apply would replace, as they are now; applied, they bring them back."""
    only: dict[str, set[str]] = {}
    for change in outcome.changed:
        section, _, rest = change.path.partition(".")
        if change.does == CHANGE or ".environments." in rest:
            only.setdefault(section, set()).add(rest.partition(".environments.")[0])
    return export(Scope(by, only=only))


def as_yaml(content: Mapping[str, Any], comments: list[str]) -> str:
    head = "".join(f"# {' '.join(words.split())}\n" for words in comments)
    return head + yaml.dump(
        dict(content), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False
    )


class _Dumper(yaml.SafeDumper):
    """Equal lists are written out: what is read again knows no aliases."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _only_environment() -> list[str]:
    found = list(Environment.objects.values_list("key", flat=True)[:2])
    return found if len(found) == 1 else []
