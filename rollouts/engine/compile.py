"""Definitions to compiled flags: everything that can be decided before a context is known."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from functools import partial
from sys import intern
from typing import Any

from rollouts.engine import bucketing, legacy, operators, schedules
from rollouts.engine.conditions import Pool, found, segments_in
from rollouts.engine.cycles import cycles
from rollouts.engine.types import (
    FULL,
    TARGETING_KEY,
    Choice,
    ErrorCode,
    Flag,
    FlagSource,
    Prerequisite,
    Reason,
    Result,
    Rule,
    Schedule,
    Segment,
    Serve,
    Snapshot,
)

FALLTHROUGH = "fallthrough"
# PostgreSQL keeps 1e300 as a whole number; the protocol's encoder knows whole numbers of 64 bits only.
_LARGEST_WHOLE = 2**63


def compile_or_break(source: FlagSource, segments: Mapping[str, Segment], pool: Pool | None = None) -> Flag:
    """A flag that cannot be compiled (no door lets one in) errs alone; off it still serves its off variant."""
    try:
        return compile_flag(source, segments, pool)
    except (AttributeError, KeyError, TypeError, ValueError) as fault:
        return _broken(source, f"its definition cannot be used: {fault!r}")


def _broken(source: FlagSource, why: str) -> Flag:
    bare = FlagSource(
        source.key,
        source.salt,
        source.value_type,
        [one for one in source.variants if isinstance(one, dict) and {"key", "value"} <= one.keys()],
        source.off_variant,
        enabled=source.enabled,
        revision=source.revision,
        environment=source.environment,
        service=source.service,
    )
    flag = compile_flag(bare, {})
    error = Result(source.key, error=ErrorCode.GENERAL, message=f"flag {source.key}: {why}")
    fallthrough = replace(flag.fallthrough, result=error)
    return replace(flag, fallthrough=fallthrough, otherwise=error, always=error if flag.enabled else flag.off)


def compile_flag(source: FlagSource, segments: Mapping[str, Segment], pool: Pool | None = None) -> Flag:
    """One flag of one environment, with every result that it can have."""
    make = _Results(source)
    pool = pool or Pool()
    hashed_rules = False
    rules = []
    # A deployment's rule comes before those made by hand, and hashes without its id: its stages share their cohorts.
    for rule in (*source.reserved, *source.rules):
        compiled = _rule(rule, source, make, segments, pool)
        hashed_rules = hashed_rules or 0 < compiled.serve.rollout < FULL or compiled.serve.legacy is not None
        rules.append(compiled)
    fallthrough = source.fallthrough or {"variant": source.off_variant}
    serve = _serve(fallthrough, source, make, rule=FALLTHROUGH, named=None)
    after = None
    if hashed_rules and serve.result is not None and (serve.result.reason is Reason.STATIC or serve.schedule):
        after = make(str(serve.result.variant), Reason.SPLIT, "FALLTHROUGH")
    window = source.window or {}
    off = make(source.off_variant, Reason.DISABLED, "KILL_SWITCH" if source.revision else "NOT_CONFIGURED")
    plain = source.enabled and not (source.prerequisites or source.overrides or any(window.values()))
    otherwise = serve.result if serve.rollout == FULL and serve.schedule is None else None
    return Flag(
        key=source.key,
        enabled=source.enabled,
        off=off,
        prerequisites=tuple(
            Prerequisite(
                one["flag"],
                frozenset(one["variants"]),
                make(source.off_variant, Reason.DISABLED, f"PREREQUISITE {one['flag']}"),
            )
            for one in source.prerequisites
        ),
        opens=operators.moment(window.get("from")),
        closes=operators.moment(window.get("until")),
        outside_window=make(source.off_variant, Reason.DISABLED, "WINDOW"),
        overrides={
            unit: make(variant, Reason.TARGETING_MATCH, "OVERRIDE")
            for variant, units in source.overrides.items()
            for unit in units
        },
        rules=tuple(rules),
        fallthrough=serve,
        otherwise=otherwise,
        fallthrough_after_hash=after,
        fallthrough_outside=make(source.off_variant, Reason.SPLIT, "FALLTHROUGH_OUTSIDE"),
        fallthrough_nobody=make(source.off_variant, Reason.STATIC, "FALLTHROUGH_OUTSIDE"),
        cyclic=make.error(ErrorCode.GENERAL, "its prerequisites lead back to it") if source.prerequisites else None,
        segments=frozenset(
            key
            for rule in (*source.reserved, *source.rules)
            for key in (*rule.get("segments", ()), *segments_in(rule.get("all", ())))
        ),
        service=source.service,
        revision=source.revision,
        plain=plain,
        always=(otherwise if plain and not rules else None) if source.enabled else off,
        turns=_turns(window, [serve, *(rule.serve for rule in rules)]),
    )


def _turns(window: Mapping[str, Any], serves: Iterable[Serve]) -> tuple[float, ...]:
    ends = [operators.moment(window.get(name)) for name in ("from", "until")]
    ramps = [moment for one in serves if one.schedule is not None for moment in schedules.turns(one.schedule)]
    return (*(one for one in ends if one is not None), *ramps)


class _Results:
    """Makes the results of one flag, equal ones once."""

    def __init__(self, source: FlagSource) -> None:
        self.source = source
        self.values = {one["key"]: plain_value(one["value"], source.value_type) for one in source.variants}
        self.made: dict[tuple[Any, ...], Result] = {}

    def __call__(self, variant: str, reason: Reason, detail: str, rule: str | None = None) -> Result:
        key = (variant, reason, detail, rule)
        made = self.made.get(key)
        if made is None:
            if variant not in self.values:
                return self.error(ErrorCode.GENERAL, f"it has no variant {variant}")
            made = self.made[key] = Result(
                self.source.key,
                variant=intern(variant),
                value=self.values[variant],
                reason=reason,
                detail=detail,
                rule=rule,
                environment=self.source.environment,
                revision=self.source.revision,
            )
        return made

    def error(self, code: ErrorCode, message: str) -> Result:
        key = (code, message)
        made = self.made.get(key)
        if made is None:
            made = self.made[key] = Result(
                self.source.key,
                error=code,
                detail="ERROR",
                message=f"flag {self.source.key}: {message}",
                environment=self.source.environment,
                revision=self.source.revision,
            )
        return made


def _rule(
    source: Mapping[str, Any], flag: FlagSource, make: _Results, segments: Mapping[str, Segment], pool: Pool
) -> Rule:
    deployment = source.get("deployment")
    return Rule(
        id=intern(source["id"]),
        conditions=pool.row(pool.condition(one, segments) for one in source.get("all", ())),
        segments=tuple(found(key, segments) for key in source.get("segments", ())),
        serve=_serve(
            source["serve"], flag, make, rule=None if deployment is not None else source["id"], named=source["id"]
        ),
        deployment=deployment,
    )


def _serve(
    source: Mapping[str, Any], flag: FlagSource, make: _Results, *, rule: str | None, named: str | None
) -> Serve:
    schedule = source.get("schedule")
    if schedule is None:
        return _share(source, source.get("rollout", FULL), flag, make, rule=rule, named=named)
    # Before a ramp its first point holds, before the first of several steps nobody; unless a rollout says otherwise.
    linear, points = schedule["kind"] == schedules.LINEAR, schedule["points"]
    before = source.get("rollout", points[0]["rollout"] if linear else 0)
    share = partial(_share, source, flag=flag, make=make, rule=rule, named=named)
    between = share(FULL // 2)
    return replace(
        between,
        schedule=Schedule(
            linear=linear,
            times=tuple(datetime.fromisoformat(one["at"]).timestamp() for one in points),
            serves=tuple(share(one["rollout"]) for one in points),
            before=share(before),
            between=between,
        ),
    )


def _share(
    source: Mapping[str, Any],
    rollout: int,
    flag: FlagSource,
    make: _Results,
    *,
    rule: str | None,
    named: str | None,
) -> Serve:
    by = source.get("by", TARGETING_KEY)
    first, *others = [by] if isinstance(by, str) else by
    weights = {key: weight for key, weight in source.get("split", {}).items() if weight > 0}
    partial = rollout < FULL
    matched, detail = (Reason.TARGETING_MATCH, "RULE") if named else (Reason.STATIC, "FALLTHROUGH")
    result: Result | None = None
    choices: tuple[Choice, ...] = ()
    other: legacy.Bucketing | None = None
    if "bucketing" in source:
        other = legacy.compiled(source["bucketing"], source, lambda key: make(key, Reason.SPLIT, detail, named))
    elif "variant" in source or len(weights) == 1:
        variant = source.get("variant") or next(iter(weights))
        result = make(variant, Reason.SPLIT if partial else matched, detail, named)
    else:
        choices = tuple(
            Choice(key, weights[key], bucketing.variant_seed(flag.salt, key), make(key, Reason.SPLIT, detail, named))
            for key in sorted(weights)
        )
    return Serve(
        by=intern(first),
        rollout=rollout,
        bound=bucketing.bound(rollout) if 0 < rollout < FULL and other is None else None,
        seed=bucketing.rollout_seed(flag.salt, rule) if partial else b"",
        result=result,
        choices=choices,
        unitless=make.error(
            ErrorCode.TARGETING_KEY_MISSING,
            f"the context has no {' or '.join((first, *others))}, by which it is decided",
        ),
        otherwise_by=tuple(intern(one) for one in others),
        legacy=other,
    )


def plain_value(value: Any, value_type: str) -> Any:
    """A variant's value as the protocol tells it: floats as floats, no whole number beyond 64 bits."""
    if value_type == "float":
        return float(value)
    if value_type == "json":
        return _plain_json(value)
    return value


def _plain_json(value: Any) -> Any:
    if type(value) is int and not -_LARGEST_WHOLE <= value < 2 * _LARGEST_WHOLE:
        return float(value)
    if isinstance(value, dict):
        return {key: _plain_json(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain_json(one) for one in value]
    return value


def assemble(environment: str, version: int, flags: Mapping[str, Flag]) -> Snapshot:
    """A snapshot in the order of the keys. Flags whose prerequisites lead back to them will err, only they."""
    needs = {key: [one.flag for one in flag.prerequisites] for key, flag in flags.items() if flag.prerequisites}
    turns = {moment for flag in flags.values() for moment in flag.turns}
    return Snapshot(
        environment, version, {key: flags[key] for key in sorted(flags)}, cycles(needs), tuple(sorted(turns))
    )


def default_off_variant(variants: list[dict[str, Any]]) -> str:
    """What a flag serves where nobody has said anything: `off`, or the first false value, or the first variant."""
    keys = [one["key"] for one in variants]
    false = [one["key"] for one in variants if one["value"] is False]
    return "off" if "off" in keys else (false or keys)[0]
