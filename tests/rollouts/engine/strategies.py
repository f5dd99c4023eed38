"""Flags and contexts of every kind, for properties that hold for all of them."""

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from rollouts.engine.types import FlagSource, SegmentSource
from tests.rollouts.engine.build import source

# The first text of a run makes hypothesis build its tables of Unicode, which takes seconds.
patient = settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)

texts = st.text(max_size=8)
scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), texts)
values = st.recursive(scalars, lambda v: st.lists(v, max_size=3) | st.dictionaries(texts, v, max_size=3), max_leaves=6)
ATTRIBUTES = ["country", "age", "plan", "company.plan", "targetingKey", "when", "app"]
contexts = st.dictionaries(st.sampled_from([*ATTRIBUTES, "company"]), values)

conditions = st.builds(
    lambda attr, op_values, negate, ignore_case, missing: {
        "attr": attr,
        "op": op_values[0],
        "values": op_values[1],
        "negate": negate,
        "ignore_case": ignore_case,
        "missing": missing,
    },
    st.sampled_from(ATTRIBUTES),
    st.one_of(
        st.tuples(st.sampled_from(["equals", "in"]), st.lists(st.sampled_from(["DE", "pro", 1, True]), min_size=1)),
        st.tuples(
            st.sampled_from(["contains", "starts_with", "ends_with", "regex"]), st.lists(st.just("a"), min_size=1)
        ),
        st.tuples(st.sampled_from(["gt", "gte", "lt", "lte"]), st.lists(st.integers(), min_size=1, max_size=1)),
        st.tuples(st.sampled_from(["before", "after"]), st.just(["2026-01-01T00:00:00Z"])),
        st.tuples(st.sampled_from(["semver_gt", "semver_lte"]), st.just(["1.2.3"])),
        st.tuples(st.just("modulo"), st.just([3, 1])),
        st.tuples(st.just("cidr"), st.just(["10.0.0.0/8"])),
        st.tuples(st.just("exists"), st.just([])),
        st.tuples(st.just("segment"), st.lists(st.sampled_from(["staff", "ghost"]), min_size=1)),
    ),
    st.booleans(),
    st.booleans(),
    st.sampled_from([False, False, True]),
)
VARIANTS = {"a": 1, "b": 2, "c": 3}
rollouts = st.integers(0, 100_000)
weights = st.dictionaries(st.sampled_from(sorted(VARIANTS)), st.integers(1, 100_000), min_size=1)
units = st.sampled_from(["targetingKey", "company", ["company", "targetingKey"], ["plan", "app"]])
schedules = st.builds(
    lambda kind, shares: {
        "kind": kind,
        "points": [{"at": f"2025-06-1{n}T12:00:00+02:00", "rollout": share} for n, share in enumerate(shares)],
    },
    st.sampled_from(["steps", "linear"]),
    st.lists(rollouts, min_size=2, max_size=5),
)
serves = st.one_of(
    st.builds(lambda v, r: {"variant": v, "rollout": r}, st.sampled_from(sorted(VARIANTS)), rollouts),
    st.builds(lambda w, r, by: {"split": w, "rollout": r, "by": by}, weights, rollouts, units),
    st.builds(lambda w, s, by: {"split": w, "schedule": s, "by": by}, weights, schedules, units),
)
rules = st.lists(
    st.builds(lambda cs, s: {"all": cs, "serve": s}, st.lists(conditions, max_size=3), serves), max_size=4
).map(lambda found: [one | {"id": f"r{n}"} for n, one in enumerate(found)])


@st.composite
def flags(draw: st.DrawFn, key: str = "flag", needs: tuple[str, ...] = ()) -> FlagSource:
    return source(
        key,
        variants=VARIANTS,
        value_type="int",
        enabled=draw(st.sampled_from([True, True, True, False])),
        rules=draw(rules),
        overrides=draw(st.sampled_from([{}, {"b": ["1", "ann"]}])),
        fallthrough=draw(serves),
        prerequisites=[{"flag": one, "variants": ["a", "b"]} for one in needs],
        window=draw(st.sampled_from([None, None, {"from": "2030-01-01T00:00:00Z", "until": None}])),
    )


STAFF: Any = SegmentSource("staff", [{"attr": "plan", "op": "exists", "values": []}], ["ann"], ["1"])
sets_of_flags = st.tuples(flags("f1"), flags("f2", ("f1",)), flags("f3", ("f1", "f2")), flags("f4", ("f5",)))
