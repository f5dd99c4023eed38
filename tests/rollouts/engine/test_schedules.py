"""Rollouts that follow the clock: steps and ramps, from their first point to their last."""

from typing import Any

import pytest

from rollouts.engine import documents
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import ErrorCode, FlagSource, Reason
from tests.rollouts.engine.build import decide, rule, snapshot, source

START = "1970-01-01T00:01:40Z"  # 100 seconds
END = "1970-01-01T01:03:20+01:00"  # 200 seconds
UNITS = [f"u{n}" for n in range(1000)]
HELD: dict[str, Any] = {"enabled": True, "rules": [], "fallthrough": {"variant": "off"}, "window": None}


def points(*pairs: tuple[str, int]) -> list[dict[str, Any]]:
    return [{"at": at, "rollout": rollout} for at, rollout in pairs]


STEPS = {"kind": "steps", "points": points((START, 10_000), (END, 50_000))}
RAMP = {"kind": "linear", "points": points((START, 20_000), (END, 80_000))}


def within(flag: FlagSource, now: float) -> set[str]:
    shot = snapshot(flag)
    return {unit for unit in UNITS if evaluate(shot, "flag", {"targetingKey": unit}, now=now).variant == "on"}


def share(flag: FlagSource, now: float) -> Any:
    """The percentage that the trace tells."""
    trace: list[dict[str, Any]] = []
    decide(flag, "u", now=now, trace=trace)
    return trace[0]["schedule"]["rollout"]


@pytest.mark.parametrize(("now", "percent"), [(0, 0), (99.9, 0), (100, 10), (199.9, 10), (200, 50), (1e12, 50)])
@pytest.mark.parametrize("where", ["rules", "fallthrough"])
def test_steps_hold_from_point_to_point_and_begin_with_nobody(where: str, now: float, percent: int) -> None:
    serve: dict[str, Any] = {"variant": "on", "schedule": STEPS}
    flag = source(rules=[rule(**serve)]) if where == "rules" else source(fallthrough=serve)
    assert share(flag, now) == percent
    plain: dict[str, Any] = {"variant": "on", "rollout": percent * 1000}
    same = source(rules=[rule(**plain)]) if where == "rules" else source(fallthrough=plain)
    assert within(flag, now) == within(same, 0)


@pytest.mark.parametrize(
    ("now", "percent"),
    [(-1e12, 20), (100, 20), (100.0001, 20), (125, 35), (150, 50), (199.999, 79.999), (200, 80), (1e12, 80)],
)
def test_a_ramp_grows_evenly_and_never_beyond_its_ends(now: float, percent: float) -> None:
    assert share(source(rules=[rule(variant="on", schedule=RAMP)]), now) == percent


def test_what_holds_before_the_first_point_may_be_said() -> None:
    for schedule in (STEPS, RAMP):
        assert share(source(rules=[rule(variant="on", rollout=1_000, schedule=schedule)]), 99) == 1


def test_whoever_is_in_stays_in_while_it_grows() -> None:
    for schedule in (STEPS, RAMP):
        flag = source(rules=[rule(variant="on", schedule=schedule)])
        seen = [within(flag, now) for now in (0, 100, 130, 170, 200, 300)]
        assert all(earlier <= later for earlier, later in zip(seen, seen[1:], strict=False))
        assert seen[0] < seen[-1]


def test_a_ramp_may_go_down_and_up_again() -> None:
    third = "1970-01-01T00:05:00Z"
    schedule = {"kind": "linear", "points": points((START, 60_000), (END, 0), (third, 100_000))}
    flag = source(rules=[rule(variant="on", schedule=schedule)])
    assert [share(flag, now) for now in (100, 150, 200, 250, 300)] == [60, 30, 0, 50, 100]
    assert within(flag, 200) == set()
    assert within(flag, 300) == set(UNITS)


def test_a_scheduled_split_deals_as_ever_among_those_who_are_in() -> None:
    split: dict[str, Any] = {"split": {"a": 50_000, "b": 50_000}}
    variants = {"none": "", "a": "1", "b": "2"}
    timed = snapshot(source(variants=variants, rules=[rule(**split, schedule=RAMP)]))
    plain = snapshot(source(variants=variants, rules=[rule(**split, rollout=50_000)]))
    for unit in UNITS:
        context = {"targetingKey": unit}
        assert (
            evaluate(timed, "flag", context, now=150).outcome() == evaluate(plain, "flag", context, now=150).outcome()
        )


def test_reasons_follow_the_moment() -> None:
    ramp = {"kind": "linear", "points": points((START, 0), (END, 100_000))}
    by_rule, by_fallthrough = source(rules=[rule(variant="on", schedule=ramp)]), source(
        fallthrough={"variant": "on", "schedule": ramp}
    )  # fmt: skip
    assert [decide(by_rule, "u", now=now).reason for now in (0, 150, 200)] == [
        Reason.STATIC, Reason.SPLIT, Reason.TARGETING_MATCH,
    ]  # fmt: skip
    assert [decide(by_fallthrough, "u", now=now).reason for now in (0, 150, 200)] == [
        Reason.STATIC, Reason.SPLIT, Reason.STATIC,
    ]  # fmt: skip
    # Nobody and everybody need no hash, and so no unit.
    assert decide(by_rule, now=0).variant == "off"
    assert decide(by_rule, now=200).variant == "on"
    assert decide(by_rule, now=150).error is ErrorCode.TARGETING_KEY_MISSING


def test_whoever_waits_for_news_is_told_at_each_point_and_as_a_ramp_goes_on() -> None:
    window = {"from": START, "until": END}
    assert snapshot(source(window=window, rules=[rule(variant="on", schedule=STEPS)])).turns == (100, 200)
    hours = {"kind": "linear", "points": points((START, 0), ("1970-01-01T03:01:40Z", 100_000))}
    turns = snapshot(source(fallthrough={"variant": "on", "schedule": hours})).turns
    assert turns == tuple(100 + 108 * n for n in range(101))
    # No more often than once a minute.
    assert len(snapshot(source(fallthrough={"variant": "on", "schedule": RAMP})).turns) == 2


# --- Units by several attributes ----------------------------------------------------------------
def test_the_first_attribute_that_is_present_is_the_unit() -> None:
    several = source(fallthrough={"variant": "on", "rollout": 50_000, "by": ["user.id", "device", "targetingKey"]})
    for attribute in ("user.id", "device", "targetingKey"):
        single = source(fallthrough={"variant": "on", "rollout": 50_000, "by": attribute})
        for unit in UNITS[:100]:
            named: dict[str, Any] = {attribute: unit}
            assert decide(several, **named).variant == decide(single, **named).variant
    chosen = source(fallthrough={"variant": "on", "rollout": 50_000, "by": "device"})
    for unit in UNITS[:100]:
        context: dict[str, Any] = {"user.id": "", "device": unit, "targetingKey": "x"}
        assert decide(several, **context).variant == decide(chosen, **context).variant


def test_without_any_of_them_the_answer_names_all() -> None:
    trace: list[dict[str, Any]] = []
    needed = source(rules=[rule(variant="on", rollout=50_000, by=["device", "targetingKey"])])
    result = decide(needed, trace=trace)
    assert result.error is ErrorCode.TARGETING_KEY_MISSING
    assert "no device or targetingKey" in result.message
    assert "no device or targetingKey" in trace[0]["why"]
    skipped = source(rules=[rule(variant="on", rollout=50_000, by=["device", "company"])])
    assert decide(skipped, "u").reason is Reason.STATIC


# --- Writing ------------------------------------------------------------------------------------
def read(schedule: Any, *, now: float = 0.0, held: dict[str, Any] | None = None, **config: Any) -> documents.Read:
    given = {"fallthrough": {"variant": "on", "schedule": schedule}} | config
    return documents.read_config(given, held or HELD, variants=["on", "off"], now=now)


def stored(schedule: Any) -> Any:
    found = read(schedule)
    assert not found.faults
    return found.document["fallthrough"]["schedule"]


def test_a_schedule_is_shown_as_it_was_written() -> None:
    written = {"kind": "steps", "points": [{"at": START, "rollout": 12.5}, {"at": END, "rollout": 100}]}
    found = read(written)
    assert stored(written)["points"][0] == {"at": START, "rollout": 12_500}
    assert documents.show_config(found.document)["fallthrough"]["schedule"] == written


@pytest.mark.parametrize(
    ("zone", "local", "instant"),
    [
        ("Europe/Berlin", "2026-03-29T01:59:59", "2026-03-29T01:59:59+01:00"),
        ("Europe/Berlin", "2026-03-29T03:00:00", "2026-03-29T03:00:00+02:00"),
        ("America/New_York", "2026-11-01T09:00", "2026-11-01T09:00:00-05:00"),
        ("Europe/Berlin", "2026-10-25T02:30:00+01:00", "2026-10-25T02:30:00+01:00"),
        ("Europe/Berlin", "2026-03-29T02:30:00Z", "2026-03-29T02:30:00Z"),
    ],
)
def test_times_of_a_zone_become_instants(zone: str, local: str, instant: str) -> None:
    found = stored({"kind": "steps", "zone": zone, "points": [{"at": local, "rollout": 5}]})
    assert found == {"kind": "steps", "zone": zone, "points": [{"at": instant, "rollout": 5_000}]}
    # What a GET shows can be written again.
    assert stored({**found, "points": [{"at": instant, "rollout": 5}]}) == found


ONE = {"at": "2030-01-01T00:00:00Z", "rollout": 5}
TWO = {"at": "2030-01-02T00:00:00Z", "rollout": 100}


@pytest.mark.parametrize(
    ("schedule", "field", "words"),
    [
        ("soon", "", "must be an object"),
        ({"kind": "steps"}, ".points", "must be a list"),
        ({"kind": "steps", "points": []}, ".points", "at least one"),
        ({"kind": "steps", "points": [ONE] * 101}, ".points", "at most 100"),
        ({"kind": "linear", "points": [ONE]}, ".points", "at least two"),
        ({"kind": "sigmoid", "points": [ONE]}, ".kind", "choose from steps, linear"),
        ({"kind": ["steps"], "points": [ONE]}, ".kind", "choose from"),
        ({"points": [ONE]}, ".kind", "choose from"),
        ({"kind": "steps", "points": [ONE], "until": None}, ".until", "unknown field"),
        ({"kind": "steps", "points": [ONE | {"x": 1}]}, ".points[0].x", "unknown field"),
        ({"kind": "steps", "points": ["now"]}, ".points[0]", "must be an object"),
        ({"kind": "steps", "points": [ONE | {"rollout": 100.001}]}, ".points[0].rollout", "from 0 to 100"),
        ({"kind": "linear", "points": [ONE, TWO | {"rollout": 101}]}, ".points[1].rollout", "from 0 to 100"),
        ({"kind": "steps", "points": [{"at": ONE["at"]}]}, ".points[0].rollout", "from 0 to 100"),
        ({"kind": "steps", "points": [ONE, ONE]}, ".points[1].at", "after the point before"),
        ({"kind": "linear", "points": [TWO, ONE]}, ".points[1].at", "after the point before"),
        ({"kind": "steps", "points": [{"rollout": 5}]}, ".points[0].at", "must be a time"),
        ({"kind": "steps", "points": [ONE | {"at": 1_900_000_000}]}, ".points[0].at", "must be a time"),
        ({"kind": "steps", "points": [ONE | {"at": "\ud800"}]}, ".points[0].at", "must be a time"),
        ({"kind": "steps", "points": [ONE | {"at": "9999-12-31T23:59:59-12:00"}]}, ".points[0].at", "must be a time"),
        ({"kind": "steps", "points": [ONE | {"at": "2030-01-01T00:00:00"}]}, ".points[0].at", "offset"),
        ({"kind": "steps", "points": [ONE], "zone": "Mars/Olympus"}, ".zone", "IANA"),
        ({"kind": "steps", "points": [ONE], "zone": "../etc/passwd"}, ".zone", "IANA"),
        ({"kind": "steps", "points": [ONE], "zone": "Europe"}, ".zone", "IANA"),
        ({"kind": "steps", "points": [ONE], "zone": "\0"}, ".zone", "IANA"),
        ({"kind": "steps", "points": [ONE], "zone": 1}, ".zone", "IANA"),
        (
            {"kind": "steps", "points": [ONE | {"at": "2026-03-29T02:30:00"}], "zone": "Europe/Berlin"},
            ".points[0].at",
            "does not exist in Europe/Berlin",
        ),
        (
            {"kind": "steps", "points": [ONE | {"at": "2026-10-25T02:30:00"}], "zone": "Europe/Berlin"},
            ".points[0].at",
            "twice in Europe/Berlin",
        ),
    ],
)
def test_what_is_wrong_in_a_schedule_is_named(schedule: Any, field: str, words: str) -> None:
    assert words in read(schedule).faults[f"fallthrough.schedule{field}"]
    inside = read(None, rules=[{"serve": {"variant": "on", "schedule": schedule}}])
    assert words in inside.faults[f"rules[0].serve.schedule{field}"]


def test_a_schedule_in_the_past_is_refused_unless_it_had_its_time() -> None:
    schedule = {"kind": "steps", "points": [{"at": START, "rollout": 5}, {"at": END, "rollout": 100}]}
    assert not read(schedule, now=199).faults
    assert "a schedule in the past" in read(schedule, now=200).faults["fallthrough.schedule"]
    rules = [{"serve": {"variant": "on", "schedule": schedule}}]
    assert "rules[0].serve.schedule" in read(None, now=200, rules=rules).faults
    # Written in time, it stays when other things are edited, wherever it stands then.
    held = read(schedule, now=0).document
    assert not read(schedule, now=1e9, held=held, enabled=False).faults
    assert not read(None, now=1e9, held=held, rules=rules).faults
    assert read({**schedule, "kind": "linear"}, now=1e9, held=held).faults


@pytest.mark.parametrize(
    ("by", "field"),
    [([], "by"), (["a"] * 11, "by"), (["a", "a"], "by"), ([1], "by[0]"), ([""], "by[0]"), ({"a": 1}, "by"), (7, "by")],
)
def test_what_is_wrong_in_by_is_named(by: Any, field: str) -> None:
    found = documents.read_config({"fallthrough": {"variant": "on", "by": by}}, HELD, variants=["on", "off"], now=0.0)
    assert f"fallthrough.{field}" in found.faults


def test_several_attributes_are_kept_in_their_order_and_one_as_itself() -> None:
    for by, kept in ((["a", "b"], ["a", "b"]), (["a"], "a"), ("a", "a")):
        given = {"fallthrough": {"variant": "on", "by": by}}
        found = documents.read_config(given, HELD, variants=["on", "off"], now=0.0)
        assert not found.faults
        assert found.document["fallthrough"]["by"] == kept
