"""Contexts sampled at the door of evaluation: kept masked, one a unit, for a while."""

from datetime import timedelta
from typing import Any

import pytest
from asgiref.sync import sync_to_async
from django.db import OperationalError

from portal import jobs
from rollouts.actions import contexts
from rollouts.actions.tally_writer import TallyWriter
from rollouts.models import ContextSample
from rollouts.queries.contexts import newest, of_unit, recent
from tests import make
from tests.rollouts.engine.build import rule, source
from tests.rollouts.exposures.writing import start, until
from tests.rollouts.ofrep.build import Door


def kept(environment: str, *samples: dict[str, Any], ago: int = 0) -> None:
    read = [contexts.read(environment, one) for one in samples]
    contexts.keep([one for one in read if one], at=jobs.database_now() - timedelta(seconds=ago))


@pytest.mark.django_db
def test_of_each_unit_the_newest_context_is_kept() -> None:
    place = make.environment()
    kept("staging", {"targetingKey": "ann", "plan": "free"}, {"targetingKey": "bob"}, ago=60)
    kept("staging", {"targetingKey": "ann", "plan": "pro"}, {"country": "DE"}, ago=30)
    kept("staging", {"targetingKey": "ann", "plan": "older"}, ago=90)
    kept("staging", {"country": "DE"})
    found = recent(place)
    assert found[0] == {"country": "DE"}
    assert found[1:] == [{"targetingKey": "ann", "plan": "pro"}, {"targetingKey": "bob"}]
    assert recent(place, limit=1) == [{"country": "DE"}]
    assert recent(make.environment("other")) == []
    seen = of_unit(place, "ann")
    assert seen is not None
    assert seen.context["plan"] == "pro"
    assert [one.unit for one in newest(place, containing="O")] == ["bob"]


@pytest.mark.django_db
def test_masked_attributes_are_never_stored(settings: Any) -> None:
    settings.PORTAL_CONTEXT_MASK = ["email", "api-key", "company.phone"]
    place = make.environment()
    context = {
        "targetingKey": "ann",
        "Email": "ann@example.com",
        "api_key": {"deep": "hush"},
        "company": {"phone": "hush", "name": "Acme", "staff": [{"email": "hush"}]},
        "phone": "1",
    }
    kept("staging", context)
    assert recent(place) == [
        {
            "targetingKey": "ann",
            "Email": "[masked]",
            "api_key": "[masked]",
            "company": {"phone": "[masked]", "name": "Acme", "staff": [{"email": "[masked]"}]},
            "phone": "1",
        }
    ]
    assert context["Email"] == "ann@example.com"


@pytest.mark.django_db
def test_a_masked_unit_is_kept_under_a_pseudonym(settings: Any) -> None:
    settings.PORTAL_CONTEXT_MASK = ["targetingKey"]
    place = make.environment()
    kept("staging", {"targetingKey": "ann@example.com"}, {"targetingKey": "bob@example.com"})
    kept("staging", {"targetingKey": "ann@example.com"})
    units = set(ContextSample.objects.values_list("unit", flat=True))
    assert len(units) == 2
    assert all(unit.startswith("masked-") for unit in units)
    assert {one["targetingKey"] for one in recent(place)} == units
    assert "example.com" not in str(list(ContextSample.objects.values()))


@pytest.mark.django_db
@pytest.mark.parametrize(
    "context",
    [
        {"targetingKey": "a\0b"},
        {"targetingKey": "ann", "note": "a\0b"},
        {"targetingKey": "ann", "note": "x" * 17_000},
        {"targetingKey": "u" * 600},
    ],
    ids=["NUL in the unit", "NUL", "large", "long unit"],
)
def test_what_cannot_be_kept_is_left_out(context: dict[str, Any]) -> None:
    make.environment()
    assert contexts.read("staging", context) is None


@pytest.mark.django_db
def test_contexts_are_forgotten_by_age_and_by_number(settings: Any) -> None:
    settings.PORTAL_CONTEXT_RETENTION_DAYS, settings.PORTAL_MAX_CONTEXTS = 1, 2
    place, other = make.environment(), make.environment("other")
    for minute in range(4):
        kept("staging", {"targetingKey": f"u{minute}"}, ago=60 * minute)
    kept("other", {"targetingKey": "old"}, ago=2 * 86_400)
    kept("other", {"targetingKey": "new"})
    assert contexts.forget_old() == 3
    assert [one["targetingKey"] for one in recent(place)] == ["u0", "u1"]
    assert [one["targetingKey"] for one in recent(other)] == ["new"]
    assert contexts.forget_old() == 0


# --- At the door --------------------------------------------------------------------------------
def door() -> Door:
    return Door(source("ramp", rules=[rule(name="r1", variant="on", rollout=50_000)]), source("plain"))


async def test_the_share_and_the_number_of_sampled_contexts_are_settings(settings: Any) -> None:
    settings.PORTAL_CONTEXT_PERCENT = 0
    none = door()
    await none.ask("ramp", {"targetingKey": "ann"})
    await none.ask(None, {"targetingKey": "ann"})
    assert none.tally.take().contexts == []
    settings.PORTAL_CONTEXT_PERCENT, settings.PORTAL_CONTEXTS_PER_SECOND = 100, 3
    some = door()
    for number in range(5):
        await some.ask(None, {"targetingKey": f"u{number}"})
    assert [one["targetingKey"] for _, one in some.tally.take().contexts] == ["u0", "u1", "u2"]
    await some.ask("ramp", {"targetingKey": "next"})
    assert [one["targetingKey"] for _, one in some.tally.take().contexts] == ["next"]


@pytest.mark.django_db(transaction=True)
async def test_what_is_evaluated_is_in_the_sample_a_moment_later(started: list[TallyWriter]) -> None:
    await sync_to_async(make.environment)("production")
    asked = door()
    await start(asked.tally, started)
    await asked.ask("ramp", {"targetingKey": "ann", "plan": "pro", "email": "ann@example.com"})
    await asked.ask(None, {"targetingKey": "bob"})
    await until(lambda: ContextSample.objects.count() == 2)
    found = {one["targetingKey"]: one for one in await sync_to_async(lambda: list(_contexts()))()}
    assert found == {"ann": {"targetingKey": "ann", "plan": "pro", "email": "[masked]"}, "bob": {"targetingKey": "bob"}}


def _contexts() -> Any:
    return ContextSample.objects.values_list("context", flat=True)


@pytest.mark.django_db(transaction=True)
async def test_what_the_store_did_not_take_is_written_when_it_is_back(
    started: list[TallyWriter], monkeypatch: Any
) -> None:
    await sync_to_async(make.environment)("production")
    asked, real = door(), contexts.keep

    def away(*_: Any, **__: Any) -> int:
        raise OperationalError("the server is away")

    monkeypatch.setattr(contexts, "keep", away)
    one = await start(asked.tally, started)
    assert (await asked.ask("ramp", {"targetingKey": "ann"})).status_code == 200
    await until(lambda: one.troubled)
    assert (await asked.ask("ramp", {"targetingKey": "bob"})).status_code == 200
    monkeypatch.setattr(contexts, "keep", real)
    await until(lambda: ContextSample.objects.count() == 2)


@pytest.mark.django_db(transaction=True)
async def test_what_is_left_is_written_when_the_process_ends(started: list[TallyWriter]) -> None:
    await sync_to_async(make.environment)("production")
    asked = door()
    one = await start(asked.tally, started)
    one.every = 3600.0
    await asked.ask("ramp", {"targetingKey": "ann"})
    await one.stop()
    assert await sync_to_async(ContextSample.objects.count)() == 1
