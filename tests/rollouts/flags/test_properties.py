"""What holds of the store and the doors: P8, P10, P14, P15 and P17 of the seventeen properties, by a few examples each.

The others are in tests/rollouts/engine; of P17 this is the refusal, the preview is with the change requests.
"""

import asyncio
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from portal.errors import Invalid, Refused
from portal.models import AuditEntry
from rollouts.actions import flags, segments
from rollouts.engine.cycles import cycles
from rollouts.engine.evaluate import evaluate, evaluate_all
from rollouts.engine.revisions import rebuilt
from rollouts.engine.types import ErrorCode, FlagSource, Reason
from rollouts.models import Flag, FlagConfig, FlagRevision, Segment
from rollouts.snapshots import Store
from tests import make
from tests.rollouts.engine import strategies
from tests.rollouts.engine.build import source
from tests.rollouts.flags.test_flag_doors import Caller
from tests.rollouts.ofrep.build import Door

pytestmark = pytest.mark.django_db
BY = make.BY
ON, OFF = {"variant": "on"}, {"variant": "off"}
# Each example writes to the store: few of them, and none that only makes a failure shorter.
few = settings(
    max_examples=6,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
# Examples of one test share its transaction: each names its own.
_number = count(1)

shares = st.integers(0, 100)
serves = st.one_of(
    st.builds(lambda share: {"variant": "on", "rollout": share}, shares),
    st.builds(lambda on, off: {"split": {"on": on, "off": off}}, st.integers(1, 100), shares),
)
configs = st.fixed_dictionaries(
    {},
    optional={
        "enabled": st.booleans(),
        "off_variant": st.sampled_from(["on", "off"]),
        "fallthrough": serves,
        "rules": st.lists(st.builds(lambda serve: {"serve": serve}, serves), max_size=3),
        "overrides": st.sampled_from([{}, {"on": ["ann"]}, {"off": ["ann", "bob"]}]),
        "window": st.sampled_from([None, {"from": "2020-01-01T00:00:00Z", "until": None}]),
    },
)
# A percentage beyond 100, a variant and a segment that are not there.
impossible = st.sampled_from(
    [
        {"fallthrough": {"variant": "on", "rollout": 101}},
        {"off_variant": "ghost"},
        {"rules": [{"segments": ["ghost"], "serve": ON}]},
    ]
)


# --- P8: the kill switch ------------------------------------------------------------------------
@pytest.mark.django_db(transaction=True)
@few
@given(st.lists(configs, min_size=1, max_size=3), st.sampled_from(["ann", "bob", "u1"]))
def test_p8_whatever_is_configured_a_kill_gives_everyone_the_off_variant(writes: list[Any], unit: str) -> None:
    place, flag = make.environment(), make.flag(f"flag-{next(_number)}")
    held = Store()
    for config in writes:
        flags.configure(flag, place, config, by=BY)
    held.refresh()
    killed = flags.kill(flag, place, by=BY)
    # One look at the store, by which every process comes up to date.
    held.refresh()
    result = evaluate(held.snapshots[place.key], flag.key, {"targetingKey": unit}, now=0.0)
    assert (result.variant, result.reason) == (killed.off_variant, Reason.DISABLED)


# --- P10: prerequisites never lead back ---------------------------------------------------------
edges = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=4, max_size=8)


@few
@given(edges)
def test_p10_an_edge_that_closes_a_cycle_is_refused_and_no_other(wanted: list[tuple[int, int]]) -> None:
    place = make.environment("production")
    call = Caller(make.key("write"))
    keys = [make.flag(f"flag-{next(_number)}").key for _ in range(4)]
    needs: dict[str, list[str]] = {key: [] for key in keys}
    for one, other in wanted:
        key, needed = keys[one], keys[other]
        if needed in needs[key]:
            continue
        tried = {**needs, key: [*needs[key], needed]}
        body = {"prerequisites": [{"flag": name, "variants": ["on"]} for name in tried[key]]}
        answer = call("PUT", f"flags/{key}/environments/{place.key}/", body)
        if cycles(tried):
            assert answer.status_code == 400
            fields = {one["field"] for one in answer.json()["errors"]}
            assert fields <= {f"prerequisites[{n}].flag" for n in range(len(tried[key]))}
        else:
            assert answer.status_code == 200
            needs = tried
        held = FlagConfig.objects.filter(flag__key__in=keys).values_list("flag__key", "prerequisites")
        assert {k: [need["flag"] for need in found] for k, found in held if found} == {
            k: found for k, found in needs.items() if found
        }


@pytest.mark.django_db(transaction=True)
@few
@given(edges)
def test_p10_of_cycles_forced_into_the_store_only_the_members_err(wanted: list[tuple[int, int]]) -> None:
    place = make.environment("production")
    made = [make.flag(f"flag-{next(_number)}", on_in=[place], serving="on") for _ in range(4)]
    needs = {flag.key: sorted({made[b].key for a, b in wanted if made[a] == flag}) for flag in made}
    for flag in made:
        FlagConfig.objects.filter(flag=flag).update(
            prerequisites=[{"flag": key, "variants": ["on"]} for key in needs[flag.key]]
        )
    held = Store()
    held.refresh()
    got = {one.flag: one for one in evaluate_all(held.snapshots[place.key], {"targetingKey": "u"}, now=0.0)}
    guilty = set(cycles(needs))
    assert {flag.key for flag in made if got[flag.key].error is ErrorCode.GENERAL} == guilty
    for flag in made:
        if flag.key not in guilty:
            reaches = _reached(flag.key, needs) & guilty
            assert got[flag.key].variant == ("off" if reaches else "on")


def _reached(key: str, needs: dict[str, list[str]]) -> set[str]:
    found: set[str] = set()
    waiting = [key]
    while waiting:
        for one in needs[waiting.pop()]:
            if one not in found:
                found.add(one)
                waiting.append(one)
    return found


# --- P14: equal tags, equal bodies --------------------------------------------------------------
told = st.fixed_dictionaries(
    {},
    optional={
        "targetingKey": st.sampled_from(["ann", "u1", "1"]),
        "plan": st.sampled_from(["pro", "a", None, 1, ["a"]]),
        "country": st.sampled_from(["DE", "FR", 7]),
        "age": st.integers(0, 2**63) | st.floats(allow_nan=False, allow_infinity=False),
    },
)


@settings(few, max_examples=20)
@given(strategies.sets_of_flags, strategies.sets_of_flags, st.lists(told, min_size=2, max_size=4))
def test_p14_two_answers_have_equal_tags_exactly_when_their_bodies_are_equal(
    one: tuple[FlagSource, ...], other: tuple[FlagSource, ...], contexts: list[Any]
) -> None:
    async def ask() -> list[tuple[str, bytes]]:
        found = []
        for sources in (one, other, (*one, source("more"))):
            door = Door(*sources, segments=[strategies.STAFF])
            for context in contexts:
                answer = await door.ask(None, context)
                if answer.status_code == 200:
                    found.append((answer.headers["etag"], answer.content))
        return found

    answers = asyncio.run(ask())
    for tag, body in answers:
        for other_tag, other_body in answers:
            assert (tag == other_tag) is (body == other_body)


# --- P15: the log is the history ----------------------------------------------------------------
@few
@given(st.lists(st.one_of(configs, configs, impossible), min_size=3, max_size=10))
def test_p15_every_write_is_a_revision_and_the_log_alone_rebuilds_each_state(writes: list[Any]) -> None:
    place, flag = make.environment(), make.flag(f"flag-{next(_number)}")
    states: list[dict[str, Any]] = []
    for config in writes:
        before = FlagConfig.objects.of(flag, place)
        try:
            after = flags.configure(flag, place, config, by=BY)
        except Invalid:
            continue
        # What changes nothing writes nothing.
        if before is None or after.document() != before.document():
            states.append(after.document() | {"reserved": []})
    log = FlagRevision.objects.filter(flag=flag, environment=place).order_by("number")
    assert [one.number for one in log] == list(range(1, len(states) + 1))
    for n, state in enumerate(states):
        # A field that nobody has ever said anything about is in no diff.
        assert dict.fromkeys(state) | rebuilt(one.diff for one in log[: n + 1]) == state == log[n].document
    written = ("flag.configured", "flag.killed", "flag.switched_on")
    assert AuditEntry.objects.filter(object_id=str(flag.pk), verb__in=written).count() == len(states)
    if states:
        restored = flags.restore(flag, place, 1, by=BY)
        assert restored.document() | {"reserved": []} == states[0]


# --- P17: what is in use stays ------------------------------------------------------------------
@few
@given(st.sets(st.integers(0, 2)), st.sets(st.integers(0, 2)), st.integers(0, 2))
def test_p17_a_segment_goes_exactly_when_nothing_refers_to_it(
    by_name: set[int], by_condition: set[int], within: int
) -> None:
    place, number = make.environment(), next(_number)
    made = [segments.create(f"segment-{number}-{n}", by=BY, included=["ann"]) for n in range(3)]
    outer = segments.create(
        f"segment-{number}-outer", by=BY, conditions=[{"op": "segment", "values": [made[within].key]}]
    )
    flag = make.flag(f"flag-{number}")
    rules: list[dict[str, Any]] = [{"segments": [made[n].key], "serve": ON} for n in sorted(by_name)]
    rules += [
        {"all": [{"op": "segment", "values": [made[n].key], "negate": True}], "serve": ON} for n in sorted(by_condition)
    ]
    flags.configure(flag, place, {"rules": rules}, by=BY)
    for n, segment in enumerate(made):
        users = {f"flag {flag.key} in staging"} if n in by_name | by_condition else set()
        users |= {f"segment {outer.key}"} if n == within else set()
        if users:
            with pytest.raises(Refused) as refused:
                segments.delete(segment, by=BY)
            assert all(user in str(refused.value) for user in users)
            assert Segment.objects.filter(key=made[n].key).exists()
        else:
            segments.delete(segment, by=BY)
            assert not Segment.objects.filter(key=made[n].key).exists()


@few
@given(st.sets(st.sampled_from("abcd"), min_size=1, max_size=3), st.sampled_from("abcd"))
def test_p17_a_variant_goes_exactly_when_nothing_serves_it(used: set[str], off: str) -> None:
    place = make.environment()
    flag = make.flag(f"flag-{next(_number)}", variants=dict(zip("abcd", "1234", strict=True)), value_type="string")
    flags.configure(flag, place, {"off_variant": off, "fallthrough": {"split": dict.fromkeys(used, 25)}}, by=BY)
    for gone in "abcd":
        left = [one for one in Flag.objects.get(pk=flag.pk).variants if one["key"] != gone]
        if not left:
            continue  # its last: there is nothing else to serve
        if gone in used | {off}:
            with pytest.raises(Refused, match=f"{gone} by "):
                flags.change(flag, {"variants": left}, by=BY)
            flag.refresh_from_db()
        else:
            assert flags.change(flag, {"variants": left}, by=BY)
