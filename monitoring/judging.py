"""Whether a measurement breaks its threshold, and what that makes of the alert."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from monitoring.usual import Usual, deviations
from portal.verdicts import Outcome, Verdict


class Level(StrEnum):
    WARNING = "warning"
    ERROR = "error"
    CRITICAL = "critical"


LEVELS = tuple(Level)  # mild to severe
OPERATORS = (">", ">=", "<", "<=")
UNMET = {">": "≤", ">=": "<", "<": "≥", "<=": ">"}
MET = {">": ">", ">=": "≥", "<": "<", "<=": "≤"}
# A judge that was away shorter than this has still "seen" a condition hold.
PATIENCE = timedelta(seconds=10)


class NoData(StrEnum):
    KEEP = "keep"
    OK = "ok"
    ALERT = "alert"


class Change(StrEnum):
    RATIO = "ratio"
    DIFFERENCE = "difference"
    DEVIATIONS = "deviations"  # from the usual, in standard deviations


@dataclass(frozen=True, slots=True)
class Condition:
    """What a threshold asks; durations in seconds."""

    name: str
    operator: str
    bounds: Mapping[Level, float]
    clear: float | None = None
    window: int = 300
    interval: int = 10
    hold: int = 0
    keep_firing_for: int = 0
    min_count: int = 1
    no_data: NoData = NoData.KEEP
    on_error: NoData | None = None  # None: an alert where no data is one, else what fires goes on firing
    flap_transitions: int = 0  # so often fired or resolved within `flap_window` is flapping; 0: never
    flap_window: int = 1800
    unit: str = ""
    is_share: bool = False  # a quotient of two counters: printed in percent
    baseline: str = ""  # whom the value is compared with, in words; "" compares it with the bounds themselves
    change: Change = Change.RATIO
    history: int = 0  # of a usual: so many hours must be known


@dataclass(frozen=True, slots=True)
class Member:
    """One threshold of a combination, as its own judge left it."""

    name: str
    fires: bool | None  # None: not known, and neither true nor fine
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured in the window: None where there was nothing."""

    value: float | None
    count: int = 0
    baseline: "Measurement | None" = None
    error: str = ""  # why it could not be measured
    members: tuple[Member, ...] | None = None  # of a combination
    spread: float = 0.0  # of a usual: how far it strays by itself
    context: str = ""  # what it was made of, in words


class Sight(StrEnum):
    """What a reading shows."""

    BREACH = "breach"
    BETWEEN = "between"  # inside the bounds, but not yet past the clear level
    CLEAR = "clear"
    NO_DATA = "no_data"
    BROKEN = "broken"  # NaN or infinite: never true and never fine
    UNCLEAR = "unclear"  # too few, or nothing to compare with


@dataclass(frozen=True, slots=True)
class Reading:
    sight: Sight
    verdict: Verdict
    level: Level | None = None  # the worst level whose bound is broken
    value: float | None = None  # what was held against the bounds


def judge(condition: Condition, measurement: Measurement) -> Reading:
    """One look at one measurement, with the reason in words."""
    if measurement.members is not None:
        return _combined(condition, measurement.members)
    over = f"over the last {duration(condition.window)}"
    value, count = measurement.value, measurement.count
    if measurement.error:
        reason = f"{condition.name}: could not be measured: {measurement.error}"
        return Reading(Sight.BROKEN, Verdict(Outcome.ERROR, reason))
    if value is None:
        return _undecided(Sight.NO_DATA, f"{condition.name}: no data in the last {duration(condition.window)}")
    if not math.isfinite(value):
        return _undecided(Sight.BROKEN, f"{condition.name}: {value} is no number to judge, {over} (n={count})")
    if count < condition.min_count:
        reason = f"{condition.name}: {count} {over} are too few to judge, {condition.min_count} are needed"
        return _undecided(Sight.UNCLEAR, reason)
    if not condition.baseline:
        return _held_against(condition, value, f"{over} (n={count})", measurement.context)
    other = measurement.baseline
    if other is None or other.value is None:
        return _undecided(Sight.UNCLEAR, f"{condition.name}: {condition.baseline} has no data to compare with, {over}")
    if not math.isfinite(other.value):
        return _undecided(Sight.UNCLEAR, f"{condition.name}: {other.value} of {condition.baseline} is no number")
    if other.count < condition.history:
        known = f"{condition.name}: {condition.baseline} is known of {other.count} hours only"
        return _undecided(Sight.UNCLEAR, f"{known}, {condition.history} are needed")
    if not condition.history and other.count < condition.min_count:
        reason = (
            f"{condition.name}: {other.count} of {condition.baseline} {over} are too few to compare with, "
            f"{condition.min_count} are needed"
        )
        return _undecided(Sight.UNCLEAR, reason)
    here, there = figures(value, other.value, scale=_scale(condition))
    unit = _unit(condition)
    strays = f" ± {figures(other.spread, other.spread, scale=_scale(condition))[0]}" if condition.history else ""
    context = f" ({here}{unit} against {there}{strays}{unit} of {condition.baseline})"
    return _held_against(
        condition, _changed(condition, value, other), f"{over} (n={count}, baseline n={other.count})", context
    )


def at_rest(condition: Condition, value: float | None, count: int) -> Outcome | None:
    """The outcome of a measurement that leaves an inactive alert as it is; None: that takes `judge` and `step`.

    For conditions without a baseline or members. Of ten thousand thresholds nearly all are at rest at any time, and
    the words of a verdict cost more than the verdict.
    """
    if value is None:
        return None if condition.no_data is NoData.ALERT else Outcome.INCONCLUSIVE
    if not math.isfinite(value):
        return None
    if count < condition.min_count:
        return Outcome.INCONCLUSIVE
    for level in condition.bounds:
        if _true(condition, value, level):
            return None
    return Outcome.PASSED


def _combined(condition: Condition, members: tuple[Member, ...]) -> Reading:
    """How many fire against how many it takes. What is not known counts for neither side: it may decide nothing."""
    level, need = next((level, int(condition.bounds[level])) for level in LEVELS if level in condition.bounds)
    firing = [one.name for one in members if one.fires]
    unknown = [one for one in members if one.fires is None]
    words = f"{condition.name}: {len(firing)} of {len(members)} fire" + (f" ({', '.join(firing)})" if firing else "")
    if not members:
        return _undecided(Sight.NO_DATA, f"{condition.name}: there is nothing to combine")
    if len(firing) < need <= len(firing) + len(unknown):
        why = "; ".join(one.reason or f"{one.name} is not known" for one in unknown)
        return _undecided(Sight.UNCLEAR, f"{words}, {need} are needed, and of {len(unknown)} it is not known: {why}")
    details = {"value": float(len(firing)), "bounds": dict(condition.bounds)}
    if len(firing) >= need:
        verdict = Verdict(Outcome.FAILED, f"{words}, {need} are enough", details)
        return Reading(Sight.BREACH, verdict, level, float(len(firing)))
    verdict = Verdict(Outcome.PASSED, f"{words}, {need} are needed", details)
    return Reading(Sight.CLEAR, verdict, None, float(len(firing)))


def _changed(condition: Condition, value: float, other: Measurement) -> float:
    baseline = other.value or 0.0
    if condition.change is Change.DEVIATIONS:
        return deviations(value, Usual(baseline, other.spread, other.count))
    if condition.change is Change.DIFFERENCE:
        return value - baseline
    if baseline == 0:
        # Errors where the baseline has none are infinitely more of them, not a reason to look away.
        return 1.0 if value == 0 else math.copysign(math.inf, value)
    return value / baseline


def _held_against(condition: Condition, value: float, over: str, context: str) -> Reading:
    broken = [level for level in LEVELS if level in condition.bounds and _true(condition, value, level)]
    details = {"value": value if math.isfinite(value) else str(value), "bounds": dict(condition.bounds)}
    compared = bool(condition.baseline)
    if broken:
        level = broken[-1]
        bound, sign, sight, outcome = condition.bounds[level], MET, Sight.BREACH, Outcome.FAILED
    else:
        level = None
        bound = next(condition.bounds[each] for each in LEVELS if each in condition.bounds)
        sign, outcome = UNMET, Outcome.PASSED
        sight = Sight.CLEAR if _past_clear(condition, value) else Sight.BETWEEN
    scale = 1.0 if compared and condition.change is not Change.DIFFERENCE else _scale(condition)
    here, there = figures(value, bound, scale=scale)
    unit = _compared_unit(condition) if compared else _unit(condition)
    by = "+" if compared and condition.change is Change.DIFFERENCE and value > 0 else ""
    reason = f"{condition.name} {by}{here}{unit}{context} {sign[condition.operator]} {there}{unit} {over}"
    if sight is Sight.BETWEEN:
        edge = figures(value, condition.clear or 0.0, scale=scale)[1]
        reason += f", not yet at the clear level {edge}{unit}"
    # Infinitely more is in the words; nothing that is stored or sent can hold it as a number.
    return Reading(sight, Verdict(outcome, reason, details), level, value if math.isfinite(value) else None)


def _true(condition: Condition, value: float, level: Level) -> bool:
    bound = condition.bounds[level]
    match condition.operator:
        case ">":
            return value > bound
        case ">=":
            return value >= bound
        case "<":
            return value < bound
        case _:
            return value <= bound


def _past_clear(condition: Condition, value: float) -> bool:
    if condition.clear is None:
        return True
    return value <= condition.clear if condition.operator.startswith(">") else value >= condition.clear


def _undecided(sight: Sight, reason: str) -> Reading:
    return Reading(sight, Verdict(Outcome.INCONCLUSIVE, reason))


# --- The alert ----------------------------------------------------------------------------------


class Phase(StrEnum):
    INACTIVE = "inactive"
    PENDING = "pending"
    FIRING = "firing"


class Event(StrEnum):
    NONE = "none"
    PENDING = "pending"
    DROPPED = "dropped"  # was pending and never fired
    FIRED = "fired"
    RAISED = "raised"  # fires at a worse level now
    RESOLVED = "resolved"
    FLAPPING = "flapping"  # would have resolved, but has come and gone too often: held open


@dataclass(frozen=True, slots=True)
class State:
    """Where an alert stands. Each level has its own clock: a blip to critical does not inherit an hour of warning."""

    phase: Phase = Phase.INACTIVE
    level: Level | None = None  # while firing: the worst that it reached
    since: Mapping[Level, datetime] = field(default_factory=dict)
    clear_since: datetime | None = None
    seen_at: datetime | None = None  # the last look that told anything
    flips: tuple[datetime, ...] = ()  # when it fired and resolved of late
    flapping: bool = False


@dataclass(frozen=True, slots=True)
class Step:
    state: State
    event: Event


def step(condition: Condition, state: State, reading: Reading, *, now: datetime) -> Step:
    """Moves the alert on by one look. Only evidence resolves: a look that told nothing changes nothing."""
    breach, told = _finding(condition, reading)
    if not told or (state.seen_at is not None and now < state.seen_at):
        return Step(state, Event.NONE)
    patience = max(2 * timedelta(seconds=condition.interval), PATIENCE)
    seen = state.seen_at is not None and now - state.seen_at <= patience
    since = _clocks(condition, state.since if seen else {}, breach, now)
    ripe = _ripe(condition, since, now)
    if state.phase is Phase.FIRING:
        return _go_on_firing(condition, replace(state, since=since, seen_at=now), reading, breach, ripe, seen, now)
    if breach is None:
        calm = State(flips=_recent(condition, state, now))
        return Step(calm, Event.DROPPED if state.phase is Phase.PENDING else Event.NONE)
    if ripe is not None:
        flips = (*_recent(condition, state, now), now) if condition.flap_transitions else ()
        return Step(State(Phase.FIRING, ripe, since, None, now, flips), Event.FIRED)
    event = Event.NONE if state.phase is Phase.PENDING else Event.PENDING
    return Step(State(Phase.PENDING, breach, since, None, now, state.flips), event)


def next_turn(condition: Condition, state: State) -> datetime | None:
    """When the alert fires, rises or resolves if things stay as they are; None if they may stay so for ever."""
    moments = [
        since + timedelta(seconds=condition.hold)
        for level, since in state.since.items()
        if state.level is None or state.phase is Phase.PENDING or LEVELS.index(level) > LEVELS.index(state.level)
    ]
    if state.clear_since is not None:
        moments.append(state.clear_since + _calm(condition, state))
    return min(moments, default=None)


def _go_on_firing(
    condition: Condition,
    state: State,
    reading: Reading,
    breach: Level | None,
    ripe: Level | None,
    seen: bool,
    now: datetime,
) -> Step:
    if breach is not None or reading.sight is Sight.BETWEEN:
        state = replace(state, clear_since=None)
        if ripe is not None and (state.level is None or LEVELS.index(ripe) > LEVELS.index(state.level)):
            return Step(replace(state, level=ripe), Event.RAISED)
        return Step(state, Event.NONE)
    clear_since = (state.clear_since if seen else None) or now
    if now - clear_since < _calm(condition, state):
        return Step(replace(state, clear_since=clear_since), Event.NONE)
    if state.flapping or not condition.flap_transitions:
        return Step(State(), Event.RESOLVED)
    flips = (*_recent(condition, state, now), now)
    if len(flips) >= condition.flap_transitions:
        # One word that it flaps instead of one each time; it is over when it was quiet for as long as we look back.
        return Step(replace(state, clear_since=clear_since, flips=flips, flapping=True), Event.FLAPPING)
    return Step(State(flips=flips), Event.RESOLVED)


def _calm(condition: Condition, state: State) -> timedelta:
    """How long it must be past the clear level before it is over."""
    window = condition.flap_window if state.flapping else 0
    return timedelta(seconds=max(condition.keep_firing_for, window))


def _recent(condition: Condition, state: State, now: datetime) -> tuple[datetime, ...]:
    since = now - timedelta(seconds=condition.flap_window)
    return tuple(flip for flip in state.flips if flip > since)


def _finding(condition: Condition, reading: Reading) -> tuple[Level | None, bool]:
    """The level that is broken, and whether the reading tells anything at all."""
    match reading.sight:
        case Sight.BREACH:
            return reading.level, True
        case Sight.BETWEEN | Sight.CLEAR:
            return None, True
        case Sight.NO_DATA:
            policy = condition.no_data
        case Sight.BROKEN:
            without = NoData.ALERT if condition.no_data is NoData.ALERT else NoData.KEEP
            policy = condition.on_error or without
        case _:
            return None, False
    if policy is NoData.ALERT:
        return [level for level in LEVELS if level in condition.bounds][-1], True
    return None, policy is NoData.OK


def _clocks(
    condition: Condition, before: Mapping[Level, datetime], breach: Level | None, now: datetime
) -> dict[Level, datetime]:
    if breach is None:
        return {}
    reached = LEVELS[: LEVELS.index(breach) + 1]
    return {level: before.get(level, now) for level in reached if level in condition.bounds}


def _ripe(condition: Condition, since: Mapping[Level, datetime], now: datetime) -> Level | None:
    hold = timedelta(seconds=condition.hold)
    ripe = [level for level in LEVELS if level in since and now - since[level] >= hold]
    return ripe[-1] if ripe else None


# --- Words --------------------------------------------------------------------------------------


def duration(seconds: int) -> str:
    """300 → "5 min", as a person would say it."""
    for size, word in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size} {word}"
    return f"{seconds} s"


def figures(value: float, bound: float, *, scale: float = 1.0) -> tuple[str, str]:
    """Both numbers with three digits, or as many as it takes to tell them apart."""
    for digits in range(3, 18):
        pair = _figure(value * scale, digits), _figure(bound * scale, digits)
        if value == bound or pair[0] != pair[1]:
            return pair
    return repr(value * scale), repr(bound * scale)


def _figure(number: float, digits: int) -> str:
    if math.isinf(number):
        return "∞" if number > 0 else "-∞"
    if number == 0:
        return "0"
    size = abs(number)
    if size >= 1e15 or size < 1e-9:
        return f"{number:.{digits}g}"
    text = format(Decimal(f"{number:.{max(digits, len(str(int(size))))}g}"), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scale(condition: Condition) -> float:
    return 100.0 if condition.is_share else 1.0


def _unit(condition: Condition) -> str:
    if condition.is_share or condition.unit in ("%", "percent"):
        return " %"
    return f" {condition.unit}" if condition.unit else ""


def _compared_unit(condition: Condition) -> str:
    if condition.change is Change.RATIO:
        return " ×"
    if condition.change is Change.DEVIATIONS:
        return " deviations"
    return " points" if _unit(condition) == " %" else _unit(condition)
