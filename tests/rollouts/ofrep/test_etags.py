"""Equal ETags if and only if equal bodies: whatever the answer depends on is in its tag, and nothing else."""

import asyncio
from itertools import combinations
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from rollouts.engine.types import FlagSource
from tests.rollouts.engine.build import rule, snapshot, source
from tests.rollouts.ofrep.build import KEY, Door

GERMAN = {"attr": "country", "op": "equals", "values": ["DE"]}


def flags(**shop: Any) -> list[FlagSource]:
    """Decided by context, by hash, and one of another service."""
    return [
        source("german", rules=[rule(GERMAN, name="germans")]),
        source("ramp", rules=[rule(name="ramp", variant="on", rollout=50_000)]),
        source("shop", service="shop", **shop),
    ]


def agree(*answers: httpx.Response) -> None:
    for one, other in combinations(answers, 2):
        assert (one.headers["etag"] == other.headers["etag"]) == (one.content == other.content)


async def test_the_configuration_is_in_it() -> None:
    door = Door(*flags())
    before = await door.ask(None, {"targetingKey": "u"})
    door.memory.snapshots["production"] = snapshot(*flags(enabled=False))
    after = await door.ask(None, {"targetingKey": "u"})
    # Another version of what gives the same answer is the same answer.
    door.memory.snapshots["production"] = snapshot(*flags(enabled=False))
    object.__setattr__(door.memory.snapshots["production"], "version", 99)
    same = await door.ask(None, {"targetingKey": "u"})
    agree(before, after, same)
    assert before.headers["etag"] != after.headers["etag"] == same.headers["etag"]


async def test_who_may_see_what_is_in_it() -> None:
    door = Door(*flags())
    door.give("shop", services=("shop",))
    door.give("bank", services=("bank",))
    answers = [await door.ask(None, {"targetingKey": "u"}, raw=raw) for raw in (KEY, "shop", "bank", KEY)]
    agree(*answers)
    # Two keys never share an answer: each has an address of its own for the stream.
    assert len({one.headers["etag"] for one in answers}) == 3


async def test_the_address_of_the_stream_is_in_it(settings: Settings) -> None:
    settings.PORTAL_STREAM_EPOCH = 1
    door = Door(*flags())
    before = await door.ask(None, {"targetingKey": "u"})
    await asyncio.sleep(1.05)
    held = {"If-None-Match": before.headers["etag"]}
    after = await door.ask(None, {"targetingKey": "u"}, headers=held)
    # Nothing else has changed; a 304 would leave the client with an address that ends.
    assert after.status_code == 200
    assert before.json()["flags"] == after.json()["flags"]
    agree(before, after)


async def test_a_tag_of_another_context_is_no_304() -> None:
    door = Door(*flags())
    german = await door.ask(None, {"targetingKey": "u", "country": "DE"})
    held = {"If-None-Match": german.headers["etag"]}
    for context, status in (({"country": "PL"}, 200), ({}, 200), ({"country": "DE"}, 304)):
        answer = await door.ask(None, {"targetingKey": "u", **context}, headers=held)
        assert answer.status_code == status


contexts = st.fixed_dictionaries(
    {},
    optional={
        "targetingKey": st.sampled_from(["a", "b", "c", "d"]),
        "country": st.sampled_from(["DE", "PL", 7, None]),
        "unread": st.integers(0, 3),
    },
)


@pytest.mark.parametrize("raw", [KEY, "shop"])
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(some=st.lists(contexts, min_size=2, max_size=6))
def test_any_two_contexts_agree(raw: str, some: list[dict[str, Any]]) -> None:
    async def asked() -> list[httpx.Response]:
        door = Door(*flags())
        door.give("shop", services=("shop",))
        return [await door.ask(None, context, raw=raw) for context in some]

    agree(*asyncio.run(asked()))
