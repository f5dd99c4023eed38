"""What holds of every decision: P1, P8, P9, P11, P12 and P16 of the seventeen properties.

P2 to P7 are in test_properties_of_shares, those that need the store in tests/rollouts/flags/test_properties; P13, that
imported flags decide as their source did, is with the importers.
"""

import base64
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rollouts.engine import bucketing, operators, schedules
from rollouts.engine import evaluate as evaluating
from rollouts.engine.compile import assemble, compile_flag
from rollouts.engine.conditions import Pool
from rollouts.engine.evaluate import evaluate, evaluate_all
from rollouts.engine.types import FULL, FlagSource, Reason
from tests.rollouts.engine.build import SALT, decide, rule, snapshot, source
from tests.rollouts.engine.strategies import STAFF, contexts, flags, patient, sets_of_flags, values
from tests.rollouts.engine.strategies import schedules as any_schedule

ROOT = Path(__file__).resolve().parents[3]
# Decides what it is sent, in a process of its own.
ELSEWHERE = """
import base64, pickle, sys
from rollouts.engine.evaluate import evaluate_all
from tests.rollouts.engine.build import snapshot
for line in sys.stdin:
    sources, segment, context, now = pickle.loads(base64.b64decode(line))
    shot = snapshot(*sources, segments=[segment])
    told = [repr(one.outcome()) for one in evaluate_all(shot, context, now=now)]
    print(base64.b64encode(pickle.dumps(told)).decode(), flush=True)
"""
moments = st.floats(1_749_500_000, 1_750_500_000)
# Any, and those around the nights in which clocks are changed.
NIGHTS = ["2026-03-29T02:00", "2026-10-25T02:00", "2026-03-08T02:00", "2026-11-01T01:00", "2026-04-05T01:30"]
local_times = st.one_of(
    st.datetimes(datetime.fromisoformat("2020-01-01"), datetime.fromisoformat("2030-01-01")),
    st.builds(
        lambda night, minutes: datetime.fromisoformat(night) + timedelta(minutes=minutes),
        st.sampled_from(NIGHTS),
        st.integers(-90, 150),
    ),
)


class Elsewhere:
    """Another process, with another seed of Python's own hashes."""

    def __init__(self, seed: str) -> None:
        environment = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", ELSEWHERE], env=environment, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )

    def decide(self, *question: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(base64.b64encode(pickle.dumps(question)) + b"\n")
        self.process.stdin.flush()
        return pickle.loads(base64.b64decode(self.process.stdout.readline()))


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[list[Elsewhere]]:
    others = [Elsewhere(seed) for seed in ("0", "4711")]
    yield others
    for other in others:
        other.process.communicate(timeout=20)


# --- P1: the same question has the same answer --------------------------------------------------
@settings(patient, max_examples=40)
@given(sources=sets_of_flags, context=contexts, now=moments)
def test_p1_the_same_question_has_the_same_answer_in_every_process(
    elsewhere: list[Elsewhere], sources: tuple[FlagSource, ...], context: Any, now: float
) -> None:
    shot = snapshot(*sources, segments=[STAFF])
    here = [repr(one.outcome()) for one in evaluate_all(shot, context, now=now)]
    assert [repr(one.outcome()) for one in evaluate_all(shot, context, now=now)] == here
    for other in elsewhere:
        assert other.decide(sources, STAFF, context, now) == here


# --- P8: the kill switch ------------------------------------------------------------------------
@patient
@given(flags(), contexts, moments)
def test_p8_the_kill_switch_dominates_everything(flag: FlagSource, context: Any, now: float) -> None:
    result = evaluate(snapshot(replace(flag, enabled=False), segments=[STAFF]), "flag", context, now=now)
    assert (result.variant, result.reason) == ("a", Reason.DISABLED)


# --- P9: time -----------------------------------------------------------------------------------
def told_share(schedule: dict[str, Any], now: float) -> float:
    trace: list[dict[str, Any]] = []
    decide(source(fallthrough={"variant": "on", "schedule": schedule}), "u", now=now, trace=trace)
    return float(trace[0]["schedule"]["rollout"]) * 1000


@patient
@given(any_schedule, moments, moments)
def test_p9_a_schedule_stays_between_its_points_and_never_goes_beyond_its_end(
    schedule: dict[str, Any], one: float, other: float
) -> None:
    points = [(datetime.fromisoformat(point["at"]).timestamp(), point["rollout"]) for point in schedule["points"]]
    for now in (one, other, points[0][0], points[-1][0], points[-1][0] + 1e9):
        share = round(told_share(schedule, now))
        assert 0 <= share <= FULL
        passed = [rollout for at, rollout in points if at <= now]
        ahead = [rollout for at, rollout in points if at > now]
        if not ahead:
            assert share == points[-1][1]
        elif schedule["kind"] == "steps":
            assert share == (passed[-1] if passed else 0)
        elif not passed:
            assert share == points[0][1]
        else:
            low, high = sorted((passed[-1], ahead[0]))
            assert low <= share <= high
    if [rollout for _, rollout in points] == sorted(rollout for _, rollout in points):
        low, high = sorted((one, other))
        assert told_share(schedule, low) <= told_share(schedule, high)


@patient
@given(any_schedule, moments, st.lists(st.integers(-720, 840), min_size=5, max_size=5))
def test_p9_the_offset_in_which_an_instant_is_written_changes_nothing(
    schedule: dict[str, Any], now: float, offsets: list[int]
) -> None:
    def elsewhere(at: str, minutes: int) -> str:
        sign, minutes = ("-", -minutes) if minutes < 0 else ("+", minutes)
        shift = timedelta(minutes=minutes if sign == "+" else -minutes)
        local = datetime.fromisoformat(at).astimezone(UTC).replace(tzinfo=None) + shift
        return f"{local.isoformat()}{sign}{minutes // 60:02}:{minutes % 60:02}"

    points = zip(schedule["points"], offsets, strict=False)
    moved = {**schedule, "points": [{**one, "at": elsewhere(one["at"], minutes)} for one, minutes in points]}
    assert told_share(moved, now) == told_share(schedule, now)


@patient
@given(
    local_times,
    st.sampled_from(["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "UTC"]),
)
def test_p9_a_zones_own_time_is_one_instant_or_refused(local: datetime, name: str) -> None:
    zone = ZoneInfo(name)
    instants = {
        moment
        for moment in (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
        if moment.astimezone(zone).replace(tzinfo=None) == local
    }
    try:
        read = datetime.fromisoformat(schedules.instant(local.isoformat(), zone))
    except schedules.BadTime:
        assert len(instants) != 1
    else:
        assert {read.astimezone(UTC)} == instants


@patient
@given(local_times, st.floats(-1e5, 2e5))
def test_p9_a_window_is_open_from_its_beginning_to_before_its_end(begins: datetime, offset: float) -> None:
    opens, closes = begins.replace(tzinfo=UTC), begins.replace(tzinfo=UTC) + timedelta(days=1)
    flag = source(fallthrough={"variant": "on"}, window={"from": opens.isoformat(), "until": closes.isoformat()})
    now = opens.timestamp() + offset
    assert (decide(flag, "u", now=now).variant == "on") is (opens.timestamp() <= now < closes.timestamp())


# --- P11: no context raises, or takes more than it may ------------------------------------------
@patient
@given(sets_of_flags, contexts, moments)
def test_p11_no_context_raises(sources: tuple[FlagSource, ...], context: Any, now: float) -> None:
    for one in evaluate_all(snapshot(*sources, segments=[STAFF]), context, now=now):
        assert one.error is not None or one.variant in ("a", "b", "c")


@patient
@given(st.sampled_from(operators.NAMES), st.lists(values, max_size=3), values, st.booleans(), st.booleans())
def test_p11_no_operator_raises_for_any_value(
    op: str, wanted: list[Any], actual: Any, ignore_case: bool, missing: bool
) -> None:
    assume(op != operators.SEGMENT)
    try:
        condition = operators.condition("it", op, wanted, ignore_case=ignore_case, missing=missing)
    except operators.BadValue:
        return
    assert condition.test({"it": actual}) in (True, False, None)


@settings(patient, max_examples=30)
@given(st.sampled_from(["^(a+)+$", "(a|aa)+$", "(.*a){20}", "^(([a-z])+.)+[A-Z]([a-z])+$"]), st.integers(1, 60_000))
def test_p11_no_pattern_takes_more_than_time_in_proportion(pattern: str, length: int) -> None:
    # Backtracking would take longer than the universe is old; the suite's timeout is what would fail.
    condition = {"attr": "it", "op": "regex", "values": [pattern]}
    decide(source(rules=[rule(condition)]), "u", it="a" * length + "!")


# --- P12: explaining is evaluating --------------------------------------------------------------
@patient
@given(sets_of_flags, contexts, moments)
def test_p12_the_trace_leads_to_the_same_result(sources: tuple[FlagSource, ...], context: Any, now: float) -> None:
    shot = snapshot(*sources, segments=[STAFF])
    for key in shot.flags:
        trace: list[dict[str, Any]] = []
        explained = evaluate(shot, key, context, now=now, trace=trace)
        assert explained.outcome() == evaluate(shot, key, context, now=now).outcome()
        assert trace[-1]["why"]
        if explained.rule is not None:
            assert (trace[-1]["step"], trace[-1]["rule"]) == ("rule", explained.rule)
            assert all(one["held"] for one in trace[-1]["conditions"])


@settings(patient, max_examples=150)
@given(flags(), contexts, moments)
def test_p12_the_bucket_shown_is_the_one_that_decides(flag: FlagSource, context: Any, now: float) -> None:
    trace: list[dict[str, Any]] = []
    result = evaluate(snapshot(flag, segments=[STAFF]), "flag", context, now=now, trace=trace)
    for step in trace:
        if "bucket" not in step:
            continue
        rule_id = step.get("rule", "fallthrough")
        unit = bucketing.unit_of(operators.read(context, step["by"]))
        assert unit is not None
        assert step["bucket"] == bucketing.bucket(bucketing.rollout_seed(SALT, rule_id), unit)
        within = step["bucket"] < round(step["rollout"] * 1000)
        assert ("outside" not in step["why"]) is within
        if step is trace[-1]:
            assert within is (result.detail in ("RULE", "FALLTHROUGH"))


# --- P16: all of them are each of them ----------------------------------------------------------
@patient
@given(sets_of_flags, contexts, moments)
def test_p16_bulk_is_each_alone(sources: tuple[FlagSource, ...], context: Any, now: float) -> None:
    shot = snapshot(*sources, segments=[STAFF])
    alone = [evaluate(shot, key, context, now=now).outcome() for key in shot.flags]
    together = [one.outcome() for one in evaluate_all(shot, context, now=now)]
    assert repr(together) == repr(alone)


def test_p16_rows_of_conditions_that_flags_share_are_asked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """And where there are more rows than are remembered, all the same."""
    rows = [{"attr": "plan", "op": "in", "values": ["pro", f"plan-{n}"]} for n in range(3)]
    shared = [source(f"flag-{n:02}", rules=[rule(rows[n % 3], variant="on")]) for n in range(30)]
    pool = Pool()
    shot = assemble("here", 1, {one.key: compile_flag(one, {}, pool) for one in shared})
    asked: list[str] = []
    test = operators.IsOneOfTexts.test

    def counted(self: operators.IsOneOfTexts, context: Any) -> bool | None:
        asked.append(self.attr)
        return test(self, context)

    monkeypatch.setattr(operators.IsOneOfTexts, "test", counted)
    for remembered, times in ((1000, 3), (2, 2 + 10)):
        monkeypatch.setattr(evaluating, "MOST_HELD", remembered)
        asked.clear()
        assert [one.variant for one in evaluate_all(shot, {"plan": "plan-2"}, now=0.0)] == ["off", "off", "on"] * 10
        assert len(asked) == times
