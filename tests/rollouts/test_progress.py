"""What a deployment does next, as tables of cases: no database, no clock."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portal.verdicts import Outcome, Verdict
from rollouts.progress import (
    LOOK_EVERY,
    Advance,
    Finish,
    Gate,
    Hold,
    Pause,
    Reading,
    Stage,
    blame,
    blockers,
    next_step,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
STAGE = Stage("5 %", last=False, entered_at=NOON, patience_since=NOON, dwell=10 * MINUTE, max_dwell=60 * MINUTE)
OPEN = Gate("metric", Verdict(Outcome.PASSED, "errors 0.1 < 2"), count=500)
EMPTY = Gate("metric", Verdict(Outcome.INCONCLUSIVE, "errors: no data in the last 300 s"), count=0)
BAD = Gate("metric", Verdict(Outcome.FAILED, "errors 7 >= 2"), count=500)
BROKEN = Gate("metric", Verdict(Outcome.ERROR, "the store did not answer"), count=0)
UNSIGNED = Gate("approval", Verdict(Outcome.PENDING, "nobody has voted yet"), waits_for_people=True)


def test_a_stage_advances_when_its_dwell_and_gates_are_through() -> None:
    assert next_step(STAGE, [OPEN], now=NOON + 10 * MINUTE) == Advance()


def test_the_last_stage_finishes_instead() -> None:
    assert next_step(replace(STAGE, last=True), [OPEN], now=NOON + 10 * MINUTE) == Finish()


def test_a_stage_without_gates_waits_out_its_dwell() -> None:
    step = next_step(STAGE, [], now=NOON + 9 * MINUTE)
    assert step == Hold("dwell: 60 s of 10 min left", NOON + 10 * MINUTE, ("dwell: 60 s of 10 min left",))


@pytest.mark.parametrize("shut", [EMPTY, BAD, BROKEN], ids=lambda gate: gate.verdict.outcome)
def test_a_shut_gate_holds_a_stage_whose_dwell_is_over(shut: Gate) -> None:
    step = next_step(STAGE, [OPEN, shut], now=NOON + 11 * MINUTE)
    assert isinstance(step, Hold)
    assert step.why == f"metric: {shut.verdict.reason}"
    assert step.look_again_at == NOON + 11 * MINUTE + LOOK_EVERY


def test_a_failing_gate_is_named_before_one_that_only_waits() -> None:
    assert blockers(STAGE, [EMPTY, UNSIGNED, BAD], now=NOON)[0] == "metric: errors 7 >= 2"


def test_a_stage_that_is_held_too_long_pauses_and_never_advances() -> None:
    step = next_step(STAGE, [EMPTY], now=NOON + 60 * MINUTE)
    assert isinstance(step, Pause)
    assert (step.reason, step.why) == ("timeout", "not through after 60 min: metric: errors: no data in the last 300 s")


def test_patience_is_counted_anew_from_a_resume_but_the_dwell_is_not() -> None:
    resumed = replace(STAGE, patience_since=NOON + 90 * MINUTE)
    assert isinstance(next_step(resumed, [EMPTY], now=NOON + 91 * MINUTE), Hold)
    assert next_step(resumed, [OPEN], now=NOON + 91 * MINUTE) == Advance()


def test_a_stage_that_only_people_can_open_pauses_for_them() -> None:
    step = next_step(STAGE, [OPEN, UNSIGNED], now=NOON + 10 * MINUTE)
    assert isinstance(step, Pause)
    assert (step.reason, step.why) == ("approval", "approval: nobody has voted yet")
    assert isinstance(next_step(STAGE, [OPEN, UNSIGNED], now=NOON + 9 * MINUTE), Hold)
    assert isinstance(next_step(STAGE, [EMPTY, UNSIGNED], now=NOON + 10 * MINUTE), Hold)


@pytest.mark.parametrize(
    ("counts", "through"), [([999], False), ([1000], True), ([1000, 999], False), ([], False)], ids=str
)
def test_the_smallest_count_must_reach_the_minimum_sample(counts: list[int], through: bool) -> None:
    gates = [replace(OPEN, count=count) for count in counts]
    step = next_step(replace(STAGE, min_sample=1000), gates, now=NOON + 10 * MINUTE)
    assert (step == Advance()) is through


@pytest.mark.parametrize("backwards", [MINUTE, timedelta(days=1)], ids=str)
def test_a_clock_that_jumps_back_skips_nothing(backwards: timedelta) -> None:
    assert isinstance(next_step(STAGE, [OPEN], now=NOON - backwards), Hold)


GATES = st.lists(st.sampled_from([OPEN, EMPTY, BAD, BROKEN, UNSIGNED]), max_size=4)
STAGES = st.builds(
    Stage,
    name=st.just("stage"),
    last=st.booleans(),
    entered_at=st.just(NOON),
    patience_since=st.integers(0, 50).map(lambda minutes: NOON + minutes * MINUTE),
    dwell=st.integers(0, 50).map(lambda minutes: minutes * MINUTE),
    max_dwell=st.none() | st.integers(50, 90).map(lambda minutes: minutes * MINUTE),
    min_sample=st.none() | st.integers(1, 1000),
)
TIMES = st.integers(-5, 200).map(lambda minutes: NOON + minutes * MINUTE)


@given(stage=STAGES, gates=GATES, now=TIMES, lost=st.data())
def test_taking_evidence_away_never_turns_a_hold_into_an_advance(
    stage: Stage, gates: list[Gate], now: datetime, lost: st.DataObject
) -> None:
    if isinstance(next_step(stage, gates, now=now), Advance | Finish) or not gates:
        return
    victim = lost.draw(st.integers(0, len(gates) - 1))
    thinner = [EMPTY if index == victim else gate for index, gate in enumerate(gates)]
    assert not isinstance(next_step(stage, thinner, now=now), Advance | Finish)


@given(stage=STAGES, gates=GATES, now=TIMES)
def test_only_full_proof_advances(stage: Stage, gates: list[Gate], now: datetime) -> None:
    step = next_step(stage, gates, now=now)
    counts = [gate.count for gate in gates if gate.count is not None]
    proven = (
        all(gate.verdict.passed for gate in gates)
        and now >= stage.entered_at + stage.dwell
        and (not stage.min_sample or (bool(counts) and min(counts) >= stage.min_sample))
    )
    assert isinstance(step, Advance | Finish) is proven
    if proven:
        assert isinstance(step, Finish) is stage.last


@given(stage=STAGES, gates=GATES, now=TIMES)
def test_a_held_stage_always_has_a_moment_to_look_again_and_a_reason(
    stage: Stage, gates: list[Gate], now: datetime
) -> None:
    step = next_step(stage, gates, now=now)
    if isinstance(step, Hold):
        assert step.look_again_at > now
        assert step.why
        assert step.why in step.blockers


BAD_NOW, FINE_NOW, UNKNOWN = Reading(6.0, 900), Reading(0.5, 900), Reading(None, 3)


@pytest.mark.parametrize(
    ("canary", "now", "start", "release"),
    [
        pytest.param(7.0, BAD_NOW, FINE_NOW, False, id="both arms are bad: the environment"),
        pytest.param(7.0, FINE_NOW, BAD_NOW, True, id="the arm of now outweighs the start"),
        pytest.param(7.0, UNKNOWN, BAD_NOW, True, id="an unknown arm exonerates nobody"),
        pytest.param(60.0, BAD_NOW, None, True, id="both are bad, the canary ten times as bad"),
        pytest.param(None, BAD_NOW, None, False, id="the canary's value is not known, the baseline is bad"),
        pytest.param(7.0, None, BAD_NOW, False, id="no arms, and it was as bad at the start"),
        pytest.param(7.0, None, FINE_NOW, True, id="no arms, and it was fine at the start"),
        pytest.param(7.0, None, UNKNOWN, True, id="no arms, and nothing was known at the start"),
        pytest.param(7.0, None, None, True, id="nothing to compare with"),
    ],
)
def test_who_is_to_blame_for_a_breach(
    canary: float | None, now: Reading | None, start: Reading | None, release: bool
) -> None:
    verdict = blame(canary=canary, operator=">", bound=2.0, baseline_now=now, baseline_at_start=start)
    assert verdict.release is release
    assert verdict.why


def test_the_verdict_says_which_comparison_was_possible() -> None:
    def why(now: Reading | None, start: Reading | None) -> str:
        return blame(canary=7.0, operator=">", bound=2.0, baseline_now=now, baseline_at_start=start).why

    assert "baseline arm now" in why(BAD_NOW, None)
    assert "baseline at the start" in why(None, FINE_NOW)
    assert why(None, None) == "no baseline to compare with"


def test_low_is_bad_where_higher_is_better() -> None:
    def release(canary: float, baseline: float) -> bool:
        return blame(
            canary=canary, operator="<", bound=3.0, baseline_now=Reading(baseline, 50), baseline_at_start=None
        ).release

    assert not release(2.5, 2.6)
    assert release(2.5, 4.2)
    assert release(1.0, 2.9)
