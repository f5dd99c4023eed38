"""Deciding a flag for a context. The same code explains: it fills a trace as it goes, when it is given one."""

from collections.abc import Iterable, Iterator
from typing import Any

from rollouts.engine import bucketing, operators, schedules
from rollouts.engine.conditions import WithinSegment, belongs
from rollouts.engine.operators import Condition, Loosely, OrMissing, read
from rollouts.engine.types import (
    OUTSIDE,
    SKIPPED,
    TARGETING_KEY,
    Context,
    ErrorCode,
    Flag,
    Result,
    Rule,
    Schedule,
    Serve,
    Snapshot,
    Trace,
)

Memo = dict[str, Result]
# Whether rows of conditions hold for the one context of a request.
Held = dict[tuple[Condition, ...], bool]
MOST_HELD = 1000


def evaluate(
    snapshot: Snapshot,
    key: str,
    context: Context,
    *,
    now: float,
    trace: Trace | None = None,
    memo: Memo | None = None,
) -> Result:
    """One flag for one context. Never raises for what a context holds. `memo` keeps prerequisites within a request."""
    flag = snapshot.flags.get(key)
    if flag is None:
        _tell(trace, "not_found", key, f"flag {key} does not exist in {snapshot.environment or 'this environment'}")
        return Result(key, error=ErrorCode.FLAG_NOT_FOUND, message=f"flag {key} was not found")
    if flag.prerequisites:
        return _with_prerequisites(snapshot, flag, context, now, trace, {} if memo is None else memo)
    return _decide(snapshot, flag, context, now, trace, None, None)


def evaluate_all(
    snapshot: Snapshot, context: Context, *, now: float, keys: Iterable[str] | None = None
) -> Iterator[Result]:
    """Every flag, or those named, each exactly as it would be alone."""
    memo: Memo = {}
    held: Held = {}
    flags = snapshot.flags
    for key, flag in flags.items() if keys is None else ((one, flags.get(one)) for one in keys):
        if flag is not None and not flag.prerequisites:
            yield _decide(snapshot, flag, context, now, None, None, held)
        else:
            yield evaluate(snapshot, key, context, now=now, memo=memo)


def _with_prerequisites(
    snapshot: Snapshot, flag: Flag, context: Context, now: float, trace: Trace | None, memo: Memo
) -> Result:
    """Decide what it depends on first, at any depth, without recursion; then the flag itself."""
    stack = [flag]
    while True:
        last = stack[-1]
        waiting = []
        if last.enabled and last.key not in snapshot.cycles:
            for one in last.prerequisites:
                before = snapshot.flags.get(one.flag)
                if before is not None and one.flag not in memo:
                    waiting.append(before)
        if waiting:
            stack.extend(waiting)
            continue
        if len(stack) == 1:
            return _decide(snapshot, flag, context, now, trace, memo, None)
        stack.pop()
        if last.key not in memo:
            steps: Trace | None = None if trace is None else []
            memo[last.key] = _decide(snapshot, last, context, now, steps, memo, None)
            if trace is not None:
                result = memo[last.key]
                trace.append(
                    {"step": "needs", "flag": last.key, "variant": result.variant, "trace": steps, "why": result.detail}
                )


def _decide(
    snapshot: Snapshot,
    flag: Flag,
    context: Context,
    now: float,
    trace: Trace | None,
    memo: Memo | None,
    held: Held | None,
) -> Result:
    if trace is None and flag.always is not None:
        return flag.always
    if not flag.plain:
        decided = _before_rules(snapshot, flag, context, now, trace, memo)
        if decided is not None:
            return decided
    hashed = False
    for rule in flag.rules:
        told = None if trace is None else _told_rule(trace, rule, context)
        holds = None if held is None else held.get(rule.conditions)
        if holds is None:
            holds = _all_hold(rule.conditions, context)
            if held is not None and len(held) < MOST_HELD:
                held[rule.conditions] = holds
        if holds and (not rule.segments or _in_segments(rule, context)):
            serve = rule.serve
            if serve.schedule is not None:
                serve = _scheduled(serve.schedule, now, told)
            served = _serve(serve, context, told)
            if served is OUTSIDE:
                hashed = True
            elif served is not SKIPPED:
                return served
        elif told is not None:
            told["why"] = "does not match"
    if trace is None:
        if flag.otherwise is not None:
            return (flag.fallthrough_after_hash or flag.otherwise) if hashed else flag.otherwise
        return _fall_through(flag, context, hashed, now, None)
    trace.append({"step": "fallthrough", "flag": flag.key})
    return _fall_through(flag, context, hashed, now, trace[-1])


def _before_rules(
    snapshot: Snapshot, flag: Flag, context: Context, now: float, trace: Trace | None, memo: Memo | None
) -> Result | None:
    """What decides before any rule is asked; None when nothing does."""
    if not flag.enabled:
        _tell(trace, "kill_switch", flag.key, f"switched off: {flag.off.variant} for everyone")
        return flag.off
    if flag.opens is not None and now < flag.opens:
        _tell(trace, "window", flag.key, "its time window has not begun")
        return flag.outside_window
    if flag.closes is not None and now >= flag.closes:
        _tell(trace, "window", flag.key, "its time window is over")
        return flag.outside_window
    if flag.prerequisites:
        stopped = _prerequisites(snapshot, flag, trace, memo or {})
        if stopped is not None:
            return stopped
    if flag.overrides:
        unit = bucketing.unit_of(context.get(TARGETING_KEY))
        if unit is not None and unit in flag.overrides:
            found = flag.overrides[unit]
            _tell(trace, "override", flag.key, f"{unit} is given {found.variant} individually")
            return found
    return None


def _fall_through(flag: Flag, context: Context, hashed: bool, now: float, told: dict[str, Any] | None) -> Result:
    serve = flag.fallthrough
    if serve.schedule is not None:
        serve = _scheduled(serve.schedule, now, told)
    served = _serve(serve, context, told)
    if served is SKIPPED:
        return serve.unitless if serve.rollout > 0 else flag.fallthrough_nobody
    if served is OUTSIDE:
        return flag.fallthrough_outside
    if hashed and served is serve.result and flag.fallthrough_after_hash is not None:
        return flag.fallthrough_after_hash
    return served


def _scheduled(schedule: Schedule, now: float, told: dict[str, Any] | None) -> Serve:
    serve = schedules.current(schedule, now)
    if told is not None:
        kind = schedules.LINEAR if schedule.linear else schedules.STEPS
        told["schedule"] = {"kind": kind, "rollout": serve.rollout / 1000}
    return serve


def _serve(serve: Serve, context: Context, told: dict[str, Any] | None) -> Result:
    """What the share or the split gives this unit; OUTSIDE of the share; SKIPPED when no hash can decide."""
    if serve.bound is None:
        if serve.rollout == 0:
            if told is not None:
                told |= {"rollout": 0, "why": "0 %: nobody"}
            return SKIPPED
        if serve.legacy is not None:
            return serve.legacy.decide(serve, context, told)
        if serve.result is not None:
            if told is not None:
                told["why"] = f"{serve.result.variant} for everyone who comes here"
            return serve.result
    by = serve.by
    actual = context.get(by)
    unit = actual if type(actual) is str else bucketing.unit_of(read(context, by))
    if not unit and serve.otherwise_by:
        by, unit = _first_present(serve, context)
    if not unit:
        if told is not None:
            told["why"] = f"the context has no {by}, by which it is decided"
        # Without the usual key nothing can be said. An attribute of one's own choice may be absent.
        return serve.unitless if serve.by == TARGETING_KEY or TARGETING_KEY in serve.otherwise_by else SKIPPED
    if serve.bound is not None:
        within = bucketing.is_within(serve.bound, serve.seed, unit)
        if told is not None:
            number, where = bucketing.bucket(serve.seed, unit), "within" if within else "outside of"
            told |= {"by": by, "bucket": number, "rollout": serve.rollout / 1000}
            told["why"] = f"bucket {number} of 100000 is {where} {serve.rollout / 1000:g} %"
        if not within:
            return OUTSIDE
    if serve.result is not None:
        return serve.result
    choice = bucketing.choose(serve.choices, unit)
    if told is not None:
        told |= {"by": by, "split": {one.variant: one.weight / 1000 for one in serve.choices}}
        told["why"] = f"{told['why'] + '; ' if 'why' in told else ''}the split gives {choice.variant}"
    return choice.result


def _first_present(serve: Serve, context: Context) -> tuple[str, str | None]:
    """The first attribute of several that gives a unit; all their names when none does."""
    for by in serve.otherwise_by:
        unit = bucketing.unit_of(read(context, by))
        if unit is not None:
            return by, unit
    return " or ".join((serve.by, *serve.otherwise_by)), None


def _prerequisites(snapshot: Snapshot, flag: Flag, trace: Trace | None, memo: Memo) -> Result | None:
    if flag.cyclic is not None and flag.key in snapshot.cycles:
        _tell(trace, "prerequisites", flag.key, f"a cycle: {snapshot.cycles[flag.key]}")
        return flag.cyclic
    for one in flag.prerequisites:
        found = memo.get(one.flag)
        if found is not None and found.error is ErrorCode.TARGETING_KEY_MISSING:
            _tell(trace, "prerequisites", flag.key, f"needs {one.flag}: {found.message}")
            return Result(
                flag.key,
                error=found.error,
                detail="ERROR",
                message=found.message,
                environment=found.environment,
                revision=flag.revision,
            )
        if found is None or found.error is not None or found.variant not in one.variants:
            got = "missing" if found is None else found.variant or found.message
            _tell(trace, "prerequisites", flag.key, f"needs {one.flag} to be {_or(one.variants)}: it is {got}")
            return one.unmet
        _tell(trace, "prerequisites", flag.key, f"{one.flag} is {found.variant}, as needed")
    return None


def _all_hold(conditions: Iterable[Condition], context: Context) -> bool:
    # Without a generator: this is asked more often than anything else.
    for condition in conditions:  # noqa: SIM110
        if condition.test(context) is not True:
            return False
    return True


def _in_segments(rule: Rule, context: Context) -> bool:
    return any(belongs(segment, context) for segment in rule.segments)


# --- Telling ------------------------------------------------------------------------------------
def _tell(trace: Trace | None, step: str, flag: str, why: str) -> None:
    if trace is not None:
        trace.append({"step": step, "flag": flag, "why": why})


def _told_rule(trace: Trace, rule: Rule, context: Context) -> dict[str, Any]:
    told: dict[str, Any] = {
        "step": "rule",
        "rule": rule.id,
        "conditions": [_told(one, context) for one in rule.conditions],
        "segments": [
            {"segment": one.key, "held": belongs(one, context)} | ({"why": one.broken} if one.broken else {})
            for one in rule.segments
        ],
    }
    if rule.deployment is not None:
        told["deployment"] = rule.deployment
    trace.append(told)
    return told


def _told(condition: Condition, context: Context) -> dict[str, Any]:
    answer = condition.test(context)
    told: dict[str, Any] = {"attr": condition.attr, "op": condition.op, "values": list(condition.values)}
    if condition.negate:
        told["negate"] = True
    asked = condition
    if isinstance(condition, OrMissing):
        told["missing"] = True
        asked = condition.asked
    if isinstance(asked, Loosely):
        told["reading"] = operators.TEXTS if asked.texts else operators.LOOSE
        told["negate"] = asked.negate
    actual = read(context, condition.attr) if condition.attr else None
    told["held"] = answer is True
    if answer is None and isinstance(condition, WithinSegment):
        told["why"] = condition.broken
    elif answer is None:
        told["why"] = (
            f"the context has no {condition.attr}"
            if actual is None
            else f"{condition.attr} is {_kind(actual)}, {condition.op} needs {asked.wants}"
        )
    elif actual is None and asked is not condition:
        told["why"] = f"the context has no {condition.attr}: holds all the same"
    else:
        told["why"] = "holds" if answer else "does not hold"
    return told


def _kind(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    names = {str: "a text", int: "a number", float: "a number", list: "a list", dict: "an object"}
    return names.get(type(value), type(value).__name__)


def _or(variants: Iterable[str]) -> str:
    return " or ".join(sorted(variants))
