"""What a deployment does next, judged from facts: hold, advance, pause or finish; and who is to blame for a breach."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from portal.verdicts import Outcome, Verdict

# How often a held stage is looked at again. Its dwell and its timeout are looked at on the second.
LOOK_EVERY = timedelta(seconds=2)
# A canary this many times as bad as a baseline that is bad itself is to blame all the same.
MUCH_WORSE = 1.5


@dataclass(frozen=True, slots=True)
class Stage:
    """The stage that is being served. Times come from one clock, the database's."""

    name: str
    last: bool
    entered_at: datetime
    # Patience is counted from entering, and anew from a resume.
    patience_since: datetime
    dwell: timedelta
    max_dwell: timedelta | None = None
    min_sample: int | None = None


@dataclass(frozen=True, slots=True)
class Gate:
    """One gate of the stage, as it was just checked."""

    name: str
    verdict: Verdict
    # How many units of evidence stand behind a measuring gate; None for gates that count nothing.
    count: int | None = None
    # Only people can open it.
    waits_for_people: bool = False


@dataclass(frozen=True, slots=True)
class Hold:
    """Stay. `blockers` is everything that is missing, in words."""

    why: str
    look_again_at: datetime
    blockers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Advance:
    """Every condition of the stage is met: serve the next one."""


@dataclass(frozen=True, slots=True)
class Finish:
    """Every condition of the last stage is met."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a person. `reason` is one word, `why` the sentence."""

    reason: str
    why: str
    blockers: tuple[str, ...]


Step = Hold | Advance | Finish | Pause


def next_step(stage: Stage, gates: Sequence[Gate], *, now: datetime) -> Step:
    """The one step that the facts allow. Whatever is missing, late or unknown holds; nothing but proof advances."""
    missing = blockers(stage, gates, now=now)
    if not missing:
        return Finish() if stage.last else Advance()
    gives_up_at = None if stage.max_dwell is None else stage.patience_since + stage.max_dwell
    if _only_people_are_missing(stage, gates, now=now):
        return Pause("approval", missing[0], missing)
    if gives_up_at is not None and now >= gives_up_at:
        assert stage.max_dwell is not None
        return Pause("timeout", f"not through after {_words(stage.max_dwell)}: {missing[0]}", missing)
    return Hold(missing[0], _look_again_at(stage, gates, gives_up_at, now=now), missing)


def blockers(stage: Stage, gates: Sequence[Gate], *, now: datetime) -> tuple[str, ...]:
    """Everything that keeps the stage, in words: what a refused advance shows. A failing gate comes first."""
    found = [f"{gate.name}: {gate.verdict.reason}" for gate in sorted(gates, key=_urgency) if not gate.verdict.passed]
    too_few = _missing_sample(stage, gates)
    if too_few:
        found.append(too_few)
    remaining = stage.entered_at + stage.dwell - now
    if remaining > timedelta(0):
        found.append(f"dwell: {_words(remaining)} of {_words(stage.dwell)} left")
    return tuple(found)


@dataclass(frozen=True, slots=True)
class Reading:
    """One measurement of an arm or of the service; no value means no data, or too few."""

    value: float | None
    count: int | None = None


@dataclass(frozen=True, slots=True)
class Blame:
    """Whether the release is to blame for a breach, and which comparison said so."""

    release: bool
    why: str


def blame(
    *,
    canary: float | None,
    operator: str,
    bound: float,
    baseline_now: Reading | None,
    baseline_at_start: Reading | None,
) -> Blame:
    """Is it the release, or the environment? `baseline_now` is None where the two arms cannot be compared.

    Unknown never exonerates: without a baseline that is shown to be bad, the release is taken back.
    """
    if baseline_now is not None:
        return _against(baseline_now, canary, operator, bound, "the baseline is", "compared with the baseline arm now")
    if baseline_at_start is not None:
        return _against(
            baseline_at_start, canary, operator, bound, "at the start it was", "compared with the baseline at the start"
        )
    return Blame(True, "no baseline to compare with")


def breaches(value: float, operator: str, bound: float) -> bool:
    """Is the value on the wrong side of the bound?"""
    match operator:
        case ">":
            return value > bound
        case ">=":
            return value >= bound
        case "<":
            return value < bound
        case "<=":
            return value <= bound
    raise ValueError(f"no such operator: {operator}")


def _against(
    baseline: Reading, canary: float | None, operator: str, bound: float, subject: str, comparison: str
) -> Blame:
    if baseline.value is None:
        return Blame(True, f"{comparison}: too little data to exonerate the release")
    seen = f"{_number(baseline.value)} {operator} {_number(bound)}"
    if not breaches(baseline.value, operator, bound):
        return Blame(
            True, f"{comparison}: {subject} fine ({_number(baseline.value)}, bound {operator} {_number(bound)})"
        )
    if canary is not None and _much_worse(canary, baseline.value, operator):
        return Blame(
            True, f"{comparison}: {subject} bad too ({seen}), but the release is much worse ({_number(canary)})"
        )
    return Blame(False, f"{subject} as bad ({seen}), {comparison}")


def _much_worse(canary: float, baseline: float, operator: str) -> bool:
    worse_by = canary - baseline if operator.startswith(">") else baseline - canary
    return worse_by > (MUCH_WORSE - 1) * abs(baseline)


def _only_people_are_missing(stage: Stage, gates: Sequence[Gate], *, now: datetime) -> bool:
    shut = [gate for gate in gates if not gate.verdict.passed]
    return (
        bool(shut)
        and all(gate.waits_for_people for gate in shut)
        and _missing_sample(stage, gates) == ""
        and now >= stage.entered_at + stage.dwell
    )


def _missing_sample(stage: Stage, gates: Sequence[Gate]) -> str:
    if not stage.min_sample:
        return ""
    counts = [gate.count for gate in gates if gate.count is not None]
    if not counts:
        return f"sample: nothing counted yet, {stage.min_sample} needed"
    smallest = min(counts)
    return "" if smallest >= stage.min_sample else f"sample: {smallest} of {stage.min_sample} needed"


def _look_again_at(stage: Stage, gates: Sequence[Gate], gives_up_at: datetime | None, *, now: datetime) -> datetime:
    moments = [stage.entered_at + stage.dwell]
    if gives_up_at is not None:
        moments.append(gives_up_at)
    if not all(gate.verdict.passed for gate in gates) or _missing_sample(stage, gates):
        moments.append(now + LOOK_EVERY)
    # A gate that is open now may be shut at the end of the dwell, so the page is kept fresh meanwhile.
    elif gates:
        moments.append(now + 5 * LOOK_EVERY)
    return min((moment for moment in moments if moment > now), default=now + LOOK_EVERY)


def _urgency(gate: Gate) -> int:
    order = (Outcome.FAILED, Outcome.ERROR, Outcome.INCONCLUSIVE, Outcome.PENDING, Outcome.PASSED)
    return order.index(gate.verdict.outcome)


def _words(length: timedelta) -> str:
    seconds = max(1, round(length.total_seconds()))
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min" + (f" {seconds % 60} s" if seconds % 60 else "")
    return f"{seconds // 3600} h" + (f" {seconds % 3600 // 60} min" if seconds % 3600 // 60 else "")


def _number(value: float) -> str:
    return f"{value:.6g}"
