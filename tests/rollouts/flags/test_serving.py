"""What deployments do to flags, and what people may do meanwhile."""

from typing import Any

import pytest

from portal.errors import Forbidden, Invalid, Refused
from portal.models import Environment
from rollouts import snapshots
from rollouts.actions import flags, segments
from rollouts.engine import documents
from rollouts.engine.evaluate import evaluate
from rollouts.models import Flag, FlagConfig
from tests import make

pytestmark = pytest.mark.django_db
BY = make.BY


@pytest.fixture
def place() -> Environment:
    return make.environment("production")


def serve(flag: Flag, place: Environment, weight: int, *, deployment: int = 42, **options: Any) -> bool:
    given = {"variant": "on", "baseline": "off", "by": BY, "because": "stage", **options}
    return flags.serve(flag, place, deployment=deployment, weight=weight, **given)


def users(flag: Flag, place: Environment, **attributes: Any) -> set[int]:
    """Those of a thousand who get `on`."""
    snapshot = snapshots.fresh(place, flag.key)
    return {
        n
        for n in range(1000)
        if evaluate(snapshot, flag.key, {"targetingKey": f"u{n}", **attributes}, now=0.0).variant == "on"
    }


def config(flag: Flag) -> FlagConfig:
    return FlagConfig.objects.get(flag=flag)


def shown(flag: Flag) -> dict[str, Any]:
    return documents.show_config(config(flag).document(), config(flag).reserved)


def test_the_first_stage_switches_a_flag_on_that_was_never_configured(place: Environment) -> None:
    flag = make.flag("flag")
    assert serve(flag, place, 5_000) is True
    assert (config(flag).enabled, config(flag).fallthrough) == (True, {"variant": "off"})
    assert 20 < len(users(flag, place)) < 90


def test_stages_only_add_users_and_a_rollback_takes_all_back(place: Environment) -> None:
    flag = make.flag("flag")
    cohorts = []
    for weight in (5_000, 25_000, 100_000):
        serve(flag, place, weight)
        cohorts.append(users(flag, place))
    assert cohorts[0] < cohorts[1] < cohorts[2]
    assert len(cohorts[2]) == 1000
    serve(flag, place, 0)
    assert users(flag, place) == set()
    assert serve(flag, place, 0) is False


def test_a_stage_reaches_only_its_audience(place: Environment) -> None:
    flag = make.flag("flag")
    staff = [{"attr": "group", "op": "equals", "values": ["staff"]}]
    serve(flag, place, 100_000, audience=staff)
    assert len(users(flag, place, group="staff")) == 1000
    assert users(flag, place, group="public") == set()
    segments.create("beta", by=BY, included=["u7"])
    serve(flag, place, 100_000, audience={"segments": ["beta"]})
    assert users(flag, place) == {7}


def test_a_served_flag_is_not_edited_by_hand(place: Environment) -> None:
    flag = make.flag("flag")
    serve(flag, place, 5_000)
    for edit in (
        {"rules": [{"serve": {"variant": "on"}}]},
        {"fallthrough": {"variant": "on"}},
        {"overrides": {"on": ["ann"]}},
        {"enabled": False, "fallthrough": {"variant": "on"}},
        {"rules": [{"id": "deployment:42", "deployment": 42, "all": [], "serve": {"variant": "on", "rollout": 100}}]},
    ):
        with pytest.raises(Refused, match=r"served by deployment 42 \(on to 5 %\) in production"):
            flags.configure(flag, place, edit, by=BY)
    with pytest.raises(Refused, match="deployment 42"):
        flags.archive(flag, by=BY)
    with pytest.raises(Refused, match="variants of flag flag are used"):
        flags.change(flag, {"variants": [{"key": "off", "value": False}]}, by=BY)
    # In another environment it is free.
    flags.configure(flag, make.environment("staging"), {"fallthrough": {"variant": "on"}}, by=BY)


def test_writing_what_was_read_changes_nothing_even_while_served(place: Environment) -> None:
    flag = make.flag("flag")
    serve(flag, place, 33_333)
    assert shown(flag)["rules"][0]["serve"] == {"variant": "on", "rollout": 33.333}
    assert flags.configure(flag, place, shown(flag), by=BY).revision == 1


@pytest.mark.parametrize("way", ["kill", "put", "put what was read"])
def test_a_kill_is_always_possible_and_marks_the_deployment(place: Environment, way: str) -> None:
    flag = make.flag("flag")
    serve(flag, place, 100_000)
    if way == "kill":
        flags.kill(flag, place, by=BY)
    else:
        flags.configure(flag, place, {**(shown(flag) if way != "put" else {}), "enabled": False}, by=BY)
    assert users(flag, place) == set()
    assert config(flag).killed
    # Switched on again before the deployment looked: it must still see it.
    flags.switch_on(flag, place, by=BY)
    assert config(flag).killed
    # Resuming serves the same weight again, and that is its taking notice.
    assert serve(flag, place, 100_000) is True
    assert not config(flag).killed


def test_a_killed_flag_is_not_raised_by_a_stage_that_did_not_notice(place: Environment) -> None:
    flag = make.flag("flag")
    serve(flag, place, 5_000)
    flags.kill(flag, place, by=BY)
    with pytest.raises(Refused, match="switched off"):
        serve(flag, place, 25_000)
    flags.switch_on(flag, place, by=BY)
    with pytest.raises(Refused, match="no further until somebody resumes"):
        serve(flag, place, 25_000)


def test_taking_back_is_never_refused(place: Environment) -> None:
    flag = make.flag("flag")
    nobody = make.person("nobody")
    serve(flag, place, 5_000)
    flags.kill(flag, place, by=BY)
    assert serve(flag, place, 0, by=nobody) is True
    assert config(flag).killed
    assert flags.release(flag, place, deployment=42, by=nobody, because="over") is True
    assert flags.release(flag, place, deployment=42, by=nobody, because="over") is False
    assert config(flag).reserved == []
    assert serve(make.flag("other"), place, 0) is False


def test_a_flag_that_gives_everyone_something_else_is_not_served(place: Environment) -> None:
    for n, fallthrough in enumerate(
        (
            {"variant": "on"},
            {"split": {"on": 50, "off": 50}},
            {"variant": "off", "rollout": 50},
            {"variant": "off", "schedule": {"kind": "steps", "points": [{"at": "2099-01-01T00:00:00Z", "rollout": 5}]}},
        )
    ):
        flag = make.flag(f"flag{n}")
        flags.configure(flag, place, {"enabled": True, "fallthrough": fallthrough}, by=BY)
        with pytest.raises(Refused, match="does not give everyone its baseline off"):
            serve(flag, place, 5_000)


def test_a_flag_that_is_off_or_archived_or_served_already_is_not_served(place: Environment) -> None:
    off, archived, taken = make.flag("off-flag"), make.flag("archived"), make.flag("taken")
    flags.kill(off, place, by=BY)
    flags.archive(archived, by=BY)
    serve(taken, place, 5_000, deployment=41)
    for flag, why in ((off, "switched off"), (archived, "archived"), (taken, "served by deployment 41")):
        with pytest.raises(Refused, match=why):
            serve(flag, place, 5_000)


def test_serving_asks_for_the_right_and_for_what_exists(place: Environment) -> None:
    flag = make.flag("flag")
    with pytest.raises(Forbidden):
        serve(flag, place, 5_000, by=make.person("vera", "viewer"))
    with pytest.raises(Refused, match="no variant blue"):
        serve(flag, place, 5_000, variant="blue")
    with pytest.raises(Refused, match="no segment ghost"):
        serve(flag, place, 5_000, audience={"segments": ["ghost"]})
    for weight in (-1, 100_001, 0.5, True):
        with pytest.raises(Invalid):
            serve(flag, place, weight)  # type: ignore[arg-type]
    with pytest.raises(Invalid) as caught:
        serve(flag, place, 5_000, audience=[{"attr": "a", "op": "guess"}])
    assert "audience[0].op" in caught.value.errors


def test_a_deployment_that_succeeds_makes_its_variant_everyones(place: Environment) -> None:
    flag = make.flag("flag")
    serve(flag, place, 100_000)
    flags.release(flag, place, deployment=42, promote=True, by=BY, because="done")
    assert (config(flag).fallthrough, config(flag).reserved) == ({"variant": "on"}, [])
    assert len(users(flag, place)) == 1000


def test_a_share_that_stays_becomes_a_rule_like_others_and_keeps_its_users(place: Environment) -> None:
    flag = make.flag("flag")
    serve(flag, place, 20_000)
    before = users(flag, place)
    assert flags.leave(flag, place, deployment=42, by=BY, because="the last stage") is True
    assert users(flag, place) == before
    # Now it may be edited, and its users stay the same ones.
    rules = shown(flag)["rules"]
    rules[0]["serve"]["rollout"] = 40
    flags.configure(flag, place, {"rules": rules}, by=BY)
    assert before < users(flag, place)
    flags.configure(flag, place, {"rules": []}, by=BY)
    assert users(flag, place) == set()
