"""Why a unit got what it got: what was recorded beside what it gets now, and under which revision."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.actions import exposures
from monitoring.actions.exposures import Shown
from portal import jobs
from portal.models import Environment
from rollouts.actions import contexts, flags, segments
from rollouts.models import Flag, FlagConfig
from tests import make
from tests.monitoring.doors import Caller, fields

pytestmark = pytest.mark.django_db
BY = make.BY


@pytest.fixture
def place() -> Environment:
    return make.environment()


@pytest.fixture
def flag(place: Environment) -> Flag:
    return make.flag(on_in=[place])


def only_for(flag: Flag, place: Environment, plan: str) -> int:
    rule = {"all": [{"attr": "plan", "op": "equals", "values": [plan]}], "serve": {"variant": "on"}}
    return flags.configure(flag, place, {"rules": [rule]}, by=BY, because=f"for {plan}").revision


def shown(
    flag: Flag, variant: str, unit: str = "ann", *, revision: int | None = None, at: datetime | None = None
) -> None:
    at = at or jobs.database_now()
    one = Shown("staging", flag.key, variant, unit, at, revision, "RULE")
    exposures.expose([one])


def seen(**context: Any) -> None:
    sample = contexts.read("staging", {"targetingKey": "ann", **context})
    assert sample
    contexts.keep([sample], at=jobs.database_now())


def why(flag: Flag, unit: str = "ann", caller: Caller | None = None) -> Any:
    return (caller or Caller("read")).get(f"flags/{flag.key}/environments/staging/why/?unit={unit}")


def test_what_was_recorded_stands_beside_what_it_gets_now(flag: Flag, place: Environment) -> None:
    revision = only_for(flag, place, "pro")
    seen(plan="pro", email="ann@example.com")
    shown(flag, "on", revision=revision)
    found = why(flag)
    assert [(one["variant"], one["revision"], one["source"]) for one in found["recorded"]] == [
        ("on", revision, "evaluation")
    ]
    assert found["now"]["variant"] == "on"
    assert [step["step"] for step in found["now"]["trace"]][0] == "rule"
    assert found["then"] is None
    assert found["context"] == {"targetingKey": "ann", "plan": "pro", "email": "[masked]"}
    assert found["notes"] == ["Masked in the sampled context: email. Rules about them cannot be tried."]


def test_after_a_change_the_revision_under_which_it_got_it_is_explained(flag: Flag, place: Environment) -> None:
    first = only_for(flag, place, "pro")
    seen(plan="pro")
    shown(flag, "on", revision=first)
    second = only_for(flag, place, "enterprise")
    found = why(flag)
    assert (found["now"]["variant"], found["now"]["revision"]) == ("off", second)
    assert (found["then"]["variant"], found["then"]["revision"]) == ("on", first)
    assert found["then"]["trace"] != found["now"]["trace"]
    assert (found["then_by"], found["then_because"]) == ("test", "for pro")
    assert found["notes"][-1] == (
        f"It was revision {first} then and is revision {second} now; "
        f"under revision {first} the answer is on, as was recorded."
    )


@pytest.mark.django_db(transaction=True)
def test_an_event_without_a_revision_is_placed_by_its_time(flag: Flag, place: Environment) -> None:
    first = only_for(flag, place, "pro")
    seen(plan="pro")
    shown(flag, "on")
    second = only_for(flag, place, "enterprise")
    found = why(flag)
    assert (found["now"]["revision"], found["now"]["variant"]) == (second, "off")
    assert (found["then"]["revision"], found["then"]["variant"]) == (first, "on")


def test_a_segment_is_what_it_was_then(flag: Flag, place: Environment) -> None:
    staff = segments.create("staff", by=BY, included=["ann"])
    revision = flags.configure(
        flag, place, {"rules": [{"segments": ["staff"], "serve": {"variant": "on"}}]}, by=BY
    ).revision
    shown(flag, "on", revision=revision, at=jobs.database_now() + timedelta(seconds=1))
    assert why(flag)["then"] is None
    segments.change(staff, {"included": ["bob"]}, by=BY)
    found = why(flag)
    assert found["now"]["variant"] == "off"
    assert found["then"] is not None
    assert "has not changed since" in found["notes"][-1]


def test_without_records_and_contexts_it_says_so(flag: Flag) -> None:
    found = why(flag, "ghost")
    assert found["recorded"] == []
    assert found["context"] == {"targetingKey": "ghost"}
    assert found["context_seen_at"] is None
    assert found["notes"] == [
        "Nothing was recorded of ghost: a bulk evaluation is no exposure.",
        "No context of this unit was sampled: explained with the targetingKey alone.",
    ]


def test_a_masked_unit_is_found_by_its_own_name(flag: Flag, settings: Any) -> None:
    settings.PORTAL_CONTEXT_MASK = ["targetingKey"]
    sample = contexts.read("staging", {"targetingKey": "ann", "plan": "pro"})
    assert sample
    contexts.keep([sample], at=jobs.database_now())
    shown(flag, "off", unit=sample[2])
    found = why(flag)
    assert len(found["recorded"]) == 1
    assert found["context"]["plan"] == "pro"


def test_a_key_for_one_service_is_not_shown_contexts(flag: Flag, place: Environment) -> None:
    service = make.service("shop")
    flags.change(flag, {"service": service}, by=BY)
    seen(plan="pro")
    found = why(flag, caller=Caller("read", services=[service]))
    assert found["context"] == {"targetingKey": "ann"}
    assert "you may not view the sampled contexts" in found["notes"][-1]


@pytest.mark.parametrize("query", ["", "?unit=", f"?unit={'u' * 513}", "?unit=a%00b"])
def test_a_unit_is_needed(flag: Flag, query: str) -> None:
    status, body = Caller("read")("GET", f"flags/{flag.key}/environments/staging/why/{query}")
    assert (status, fields(body)) == (400, {"unit"})


def test_a_flag_nobody_configured_is_explained_all_the_same(place: Environment) -> None:
    flag = make.flag()
    assert not FlagConfig.objects.exists()
    shown(flag, "off", revision=0)
    found = why(flag)
    assert found["now"]["reasonDetail"] == "NOT_CONFIGURED"
    assert found["then"] is None
