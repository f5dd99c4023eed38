"""Making flags and segments be what a document wants, through the verbs that everyone uses: all of it, or nothing."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from portal.audit import Actor
from portal.errors import Invalid, Refused
from portal.models import Environment, Service
from rollouts.actions import flag_writes, flags, segments
from rollouts.actions import rebucketing as switching
from rollouts.engine import documents, rebucketing
from rollouts.engine.conditions import segments_in
from rollouts.engine.reading import Faults
from rollouts.importers.wanted import Fields, Wanted, WantedFlag, WantedSegment
from rollouts.models import Flag, Segment

MOST = 5000  # flags, and segments, of one document
MOST_FAULTS = 200
MOST_DECISIONS = 50_000
CREATE, CHANGE, KEEP = "create", "change", "keep"


@dataclass(frozen=True, slots=True)
class Step:
    """One thing, and what becomes of it: `changes` says {field: [before, after]}."""

    kind: str  # segment, flag, config
    key: str
    does: str  # create, change, keep
    changes: dict[str, list[Any]] = field(default_factory=dict)
    environment: str | None = None
    # Of a config with another system's bucketing: how many of the plan's units would move on a switch to our own.
    moved: int | None = None


@dataclass(frozen=True, slots=True)
class Plan:
    """What a document changes, or has changed."""

    steps: tuple[Step, ...]
    warnings: tuple[tuple[str, str], ...]  # (flag or "", words)
    units: int = rebucketing.UNITS

    @property
    def counts(self) -> dict[str, int]:
        counted = Counter(step.does for step in self.steps)
        return {does: counted[does] for does in (CREATE, CHANGE, KEEP)}

    @property
    def changed(self) -> list[Step]:
        return [step for step in self.steps if step.does != KEEP]


def plan(wanted: Wanted, *, by: Actor) -> Plan:
    """What `apply` would do. Everything is checked as it would be written; nothing is."""
    return _run(wanted, by=by, because="", keep=False)


def apply(wanted: Wanted, *, by: Actor, because: str = "") -> Plan:
    """Write what is not like that already, in one transaction. Invalid names every fault: nothing is written then."""
    return _run(wanted, by=by, because=because, keep=True)


def _run(wanted: Wanted, *, by: Actor, because: str, keep: bool) -> Plan:
    _refuse_at_sight(wanted)
    run = _Run(by, because, _units(wanted))
    with transaction.atomic():
        flag_writes.stand_in_line()
        places = {one.key: one for one in Environment.objects.all()}
        for one in _innermost_first(wanted.segments, run.faults):
            run.attempt(f"segments.{one.key}", _segment, one)
        # Every flag before any config: a prerequisite may name a flag that comes later.
        for flag in wanted.flags:
            run.attempt(f"flags.{flag.key}", _widen, flag)
        for flag in wanted.flags:
            for environment, config in flag.configs.items():
                path = f"flags.{flag.key}.environments.{environment}"
                if environment not in places:
                    run.faults.add(path, f"there is no environment {environment}")
                    continue
                run.attempt(path, _config, flag.key, places[environment], config)
        for flag in wanted.flags:
            run.attempt(f"flags.{flag.key}", _narrow, flag)
        run.finish()
        if not keep:
            transaction.set_rollback(True)
    told = [("", words) for words in wanted.warnings]
    told += [(flag.key, words) for flag in wanted.flags for words in flag.warnings]
    return Plan(tuple(run.steps), tuple(told), run.units)


def _units(wanted: Wanted) -> int:
    """How many units are tried for each config that keeps another system's bucketing: a preview is waited for."""
    legacy = sum("'bucketing'" in repr(config) for flag in wanted.flags for config in flag.configs.values())
    return max(100, min(rebucketing.UNITS, MOST_DECISIONS // max(1, legacy)))


def _refuse_at_sight(wanted: Wanted) -> None:
    faults = Faults(wanted.faults)
    for name, found in (("flags", wanted.flags), ("segments", wanted.segments)):
        if len(found) > MOST:
            faults.add(name, f"at most {MOST} in one document")
        for key, times in Counter(one.key for one in found).items():
            if times > 1:
                faults.add(f"{name}.{key}", "is there twice")
    if faults:
        raise Invalid(dict(list(faults.items())[:MOST_FAULTS]))


class _Run:
    """One pass over a document: goes on after a fault, so that all of them are told at once."""

    def __init__(self, by: Actor, because: str, units: int) -> None:
        self.by, self.because, self.units = by, because, units
        self.steps: list[Step] = []
        self.faults = Faults()
        self.refusals: list[str] = []
        self.before: dict[str, dict[str, Any]] = {}  # definitions as they were

    def attempt(self, path: str, write: Callable[..., None], *what: Any) -> None:
        if len(self.faults) + len(self.refusals) >= MOST_FAULTS:
            return
        try:
            with transaction.atomic():
                write(self, *what)
        except Invalid as invalid:
            for at, message in invalid.errors.items():
                self.faults.add(f"{path}.{at}" if at else path, message)
        except Refused as refused:
            self.refusals.append(str(refused))

    def step(
        self,
        kind: str,
        key: str,
        before: Fields,
        after: Fields,
        environment: str | None = None,
        moved: int | None = None,
    ) -> None:
        changes = {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}
        does = KEEP if not changes else CHANGE if before else CREATE
        self.steps.append(Step(kind, key, does, changes, environment, moved))

    def finish(self) -> None:
        if self.faults:
            raise Invalid(self.faults)
        if self.refusals:
            raise Refused("; ".join(dict.fromkeys(self.refusals)))


# --- Segments -----------------------------------------------------------------------------------
def _segment(run: _Run, one: WantedSegment) -> None:
    segment = Segment.objects.filter(key=one.key).first()
    before = segment.document() if segment else {}
    if segment is None:
        segment = segments.create(one.key, by=run.by, because=run.because, **one.fields)
    else:
        segments.change(segment, one.fields, by=run.by, because=run.because)
    run.step("segment", one.key, before, segment.document())


def _innermost_first(wanted: Iterable[WantedSegment], faults: Faults) -> list[WantedSegment]:
    """Segments after those that they refer to; those of a cycle come as they are, and are refused where written."""
    left = {one.key: one for one in wanted}
    needs = {key: _segments_of(one) & left.keys() - {key} for key, one in left.items()}
    ordered: list[WantedSegment] = []
    while left:
        ready = [key for key in left if not needs[key] & left.keys()]
        if not ready:
            for key in left:
                faults.add(f"segments.{key}.conditions", "refers, by way of others, to itself")
            return ordered
        ordered += [left.pop(key) for key in ready]
    return ordered


def _segments_of(one: WantedSegment) -> set[str]:
    try:
        return segments_in(one.fields.get("conditions", ()))
    except (AttributeError, KeyError, TypeError):
        return set()  # refused where it is written


# --- Flags --------------------------------------------------------------------------------------
def _widen(run: _Run, one: WantedFlag) -> None:
    """The flag with its variants, beside those that it had: its configs may still serve them."""
    flag = Flag.objects.filter(key=one.key).first()
    fields = _with_service(one.definition)
    if flag is None:
        flags.create(one.key, by=run.by, because=run.because, **fields)
        run.before[one.key] = {}
        return
    before = flag.definition()
    if fields.get("value_type", flag.value_type) != flag.value_type:
        raise Invalid.of("value_type", f"is {flag.value_type} here and can never change")
    wanted = fields.get("variants")
    if isinstance(wanted, list) and all(isinstance(each, dict) for each in wanted):
        kept = [each for each in flag.variants if each["key"] not in {new.get("key") for new in wanted}]
        if kept:
            flags.change(flag, {"variants": [*wanted, *kept]}, by=run.by, because=run.because)
    run.before[one.key] = before


def _narrow(run: _Run, one: WantedFlag) -> None:
    """The definition exactly as it is wanted, now that no config needs more."""
    flag = Flag.objects.filter(key=one.key).first()
    if flag is None or one.key not in run.before:
        return  # refused before
    if run.before[one.key]:
        fields = _with_service(one.definition)
        fields.pop("value_type", None)
        flags.change(flag, fields, by=run.by, because=run.because)
    run.step("flag", one.key, run.before[one.key], flag.definition())


def _config(run: _Run, key: str, environment: Environment, config: Fields) -> None:
    flag = Flag.objects.filter(key=key).select_related("service").first()
    if flag is None:
        return  # refused before
    held = flag_writes.config_of(flag, environment)
    before = {} if held.is_new else documents.show_config(held.document())
    held = flags.configure(flag, environment, config, by=run.by, because=run.because)
    switch = switching.preview(held, run.units)
    moved = None if switch is None else switch.moved
    run.step("config", key, before, documents.show_config(held.document()), environment.key, moved)


def _with_service(definition: Fields) -> Fields:
    fields = dict(definition)
    if fields.get("service") is not None:
        service = Service.objects.filter(key=fields["service"]).first() if isinstance(fields["service"], str) else None
        if service is None:
            raise Invalid.of("service", f"there is no service {fields['service']}")
        fields["service"] = service
    return fields
