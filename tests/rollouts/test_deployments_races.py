"""Two at once, on real connections: what each verb promises when another is faster."""

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.db import connection, connections

from monitoring.actions import judging
from monitoring.models import Incident, Threshold
from portal import audit, jobs
from portal.errors import Refused
from rollouts import tasks
from rollouts.actions import approvals, deployments, flags, plans
from rollouts.models import Deployment, FlagConfig, Plan, Vote
from rollouts.models.deployments import Status
from tests import make

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _connections_are_closed() -> Iterator[None]:
    yield
    connections.close_all()


def at_once(*acts: Callable[[], Any]) -> list[Any]:
    """Run these at the same moment, each on a connection of its own; what each returned, or its refusal."""
    barrier, found = threading.Barrier(len(acts)), [None] * len(acts)

    def run(index: int, act: Callable[[], Any]) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            barrier.wait(timeout=20)
            found[index] = act()
        except Exception as error:
            found[index] = error  # type: ignore[call-overload]
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(index, act)) for index, act in enumerate(acts)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    return found


def copy_of(deployment: Deployment) -> Deployment:
    return Deployment.objects.get(pk=deployment.pk)


def rollout_of(deployment: Deployment) -> int:
    one = deployment.flags.get()
    reserved = FlagConfig.objects.get(flag=one.flag, environment=one.environment).reserved
    return int(reserved[0]["serve"]["rollout"]) if reserved else 0


def test_of_many_advances_at_once_one_advances() -> None:
    run = make.progressing(stages=[5, 20, 50, 100])
    copies = [copy_of(run) for _ in range(4)]
    found = at_once(*(lambda one=one: deployments.advance(one, by=make.BY) for one in copies))
    assert sorted(found) == [False, False, False, True]
    run.refresh_from_db()
    assert (run.weight, rollout_of(run)) == (20_000, 20_000)
    assert audit.of(run).filter(verb="deployment.advanced").count() == 1


@pytest.mark.parametrize("attempt", range(3))
def test_a_roll_back_beside_an_advance_ends_at_nobody(attempt: int) -> None:
    run = make.progressing(stages=[5, 20, 50, 100])
    one, other = copy_of(run), copy_of(run)
    found = at_once(
        lambda: deployments.advance(one, by=make.BY),
        lambda: deployments.roll_back(other, by=make.BY, because="bad"),
    )
    assert found[1] is True
    assert found[0] is True or isinstance(found[0], Refused)
    run.refresh_from_db()
    assert (run.status, run.weight, rollout_of(run)) == (Status.ROLLED_BACK, 0, 0)


@pytest.mark.parametrize("attempt", range(3))
def test_a_roll_back_beside_the_sweeps_ends_at_nobody(attempt: int) -> None:
    run = make.progressing(stages=[5, 20, 50, 100])
    other = copy_of(run)
    found = at_once(
        tasks.look_at_all,
        lambda: deployments.roll_back(other, by=make.BY, because="bad"),
        tasks.look_at_all,
    )
    assert found[1] is True
    tasks.look_at_all()
    run.refresh_from_db()
    assert (run.status, run.weight, rollout_of(run)) == (Status.ROLLED_BACK, 0, 0)


def test_two_roll_backs_at_once_are_one() -> None:
    run = make.progressing(dwell=600)
    one, other = copy_of(run), copy_of(run)
    found = at_once(
        lambda: deployments.roll_back(one, by=make.BY, because="first"),
        lambda: deployments.roll_back(other, by=make.BY, because="second"),
    )
    assert sorted(found) == [False, True]
    assert audit.of(run).filter(verb="deployment.rolled_back").count() == 1


def test_of_two_that_start_at_once_for_one_service_one_begins() -> None:
    one, other = make.deployment(dwell=600), make.deployment(dwell=600)
    found = at_once(
        lambda: deployments.start(one, by=make.BY),
        lambda: deployments.start(other, by=make.BY),
    )
    assert [isinstance(each, Refused) for each in found].count(True) == 1, found
    assert Deployment.objects.live().count() == 1


def test_of_two_that_start_at_once_with_one_flag_one_begins() -> None:
    flag = make.flag("layout", on_in=[make.environment()])
    one = make.deployment(flags=[flag], dwell=600)
    other = make.deployment(flags=[flag], dwell=600, release=make.release(service=make.service("shop")))
    found = at_once(
        lambda: deployments.start(one, by=make.BY),
        lambda: deployments.start(other, by=make.BY),
    )
    assert [isinstance(each, Refused) for each in found].count(True) == 1, found
    assert Deployment.objects.live().count() == 1
    assert len(FlagConfig.objects.get().reserved) == 1


def test_two_last_votes_at_once_begin_it_once() -> None:
    draft = make.deployment(environment=make.production(), dwell=600)
    deployments.start(draft, by=make.person("cleo", "captain"))
    draft.refresh_from_db()
    people = [make.person(name, "approver") for name in ("anna", "ben")]
    copies = [copy_of(draft), copy_of(draft)]
    found = at_once(
        *(
            lambda one=one, who=who: approvals.vote(one, "four_eyes", "go", by=who, expected_plan_hash=draft.plan_hash)
            for one, who in zip(copies, people, strict=True)
        )
    )
    assert [isinstance(each, Vote) for each in found].count(True) == 1, found
    draft.refresh_from_db()
    assert (draft.status, draft.stages.count()) == (Status.PROGRESSING, 3)
    assert audit.of(draft).filter(verb="deployment.progressing").count() == 1


def test_a_vote_beside_an_edit_of_the_plan_never_approves_what_was_not_seen() -> None:
    plan = make.plan("guarded", stages=[5, 100], dwell=600)
    draft = make.deployment(environment=make.production(), plan=plan)
    deployments.start(draft, by=make.person("cleo", "captain"))
    draft.refresh_from_db()
    anna, mine = make.person("anna", "approver"), copy_of(draft)
    at_once(
        lambda: approvals.vote(mine, "four_eyes", "go", by=anna, expected_plan_hash=plan.hash),
        lambda: make.plan("guarded", stages=[50, 100], dwell=600),
    )
    draft.refresh_from_db()
    if draft.status == Status.PROGRESSING:
        assert (draft.plan_hash, draft.weight) == (plan.hash, 5_000)
    else:
        assert (draft.status, draft.weight) == (Status.AWAITING_APPROVAL, 0)


def test_two_who_write_a_plan_at_once_make_two_versions() -> None:
    contents: list[dict[str, Any]] = [
        {"stages": [{"name": "one", "weight": weight, "dwell": 0, "gates": []}]} for weight in (5, 10)
    ]
    found = at_once(*(lambda one=one: plans.write("canary", one, by=make.BY) for one in contents))
    assert sorted(plan.version for plan, _ in found) == [1, 2]
    assert Plan.objects.filter(current=True).count() == 1


def test_a_kill_beside_an_advance_raises_nobody_any_further() -> None:
    run = make.progressing(stages=[5, 20, 50, 100])
    one = run.flags.get()
    mine = copy_of(run)
    at_once(
        lambda: flags.kill(one.flag, one.environment, by=make.BY, because="smoke"),
        lambda: deployments.advance(mine, by=make.BY),
    )
    tasks.look_at_all()
    run.refresh_from_db()
    assert run.status == Status.PAUSED
    assert run.weight in (5_000, 20_000)
    assert not FlagConfig.objects.get(flag=one.flag).enabled


def test_many_sweeps_at_once_look_at_each_once() -> None:
    runs = [make.progressing(stages=[5, 100], release=make.release(service=make.service(f"s{n}"))) for n in range(6)]
    at_once(*([tasks.look_at_all] * 3))
    for run in runs:
        run.refresh_from_db()
        assert audit.of(run).filter(verb="deployment.advanced").count() == 1
        assert run.weight == 100_000


def test_one_that_cannot_be_looked_at_keeps_no_other_waiting() -> None:
    broken = make.progressing(stages=[5, 100])
    healthy = make.progressing(stages=[5, 100], release=make.release(service=make.service("shop")))
    broken.stages.all().delete()
    tasks.look_at_all()
    broken.refresh_from_db()
    healthy.refresh_from_db()
    assert healthy.weight == 100_000
    assert broken.weight == 5_000
    assert "failed" in broken.held_because
    assert broken.due_at is not None
    assert broken.due_at > jobs.database_now()


def test_a_bad_sample_takes_the_release_back_without_anybodys_help() -> None:
    flag = make.flag("layout", on_in=[make.environment()])
    guardrail = {
        "kind": "threshold",
        "name": "canary errors",
        "metric": "error_rate",
        "aggregation": "mean",
        "operator": ">",
        "error": 2,
        "matchers": {"flag": "layout", "variant": "on"},
    }
    run = make.progressing(stages=[20, 100], guardrails=[guardrail], flags=[flag], dwell=600)
    place: dict[str, Any] = {"service": "checkout", "environment": "staging", "flag": "layout"}
    make.measured("error_rate", 0.5, variant="off", **place)
    make.measured("error_rate", 9.0, variant="on", **place)
    judging.run()
    run.refresh_from_db()
    assert (run.status, run.weight, rollout_of(run)) == (Status.ROLLED_BACK, 0, 0)
    incident = Incident.objects.get()
    assert f"incident {incident.pk}" in audit.of(run).filter(verb="deployment.rolled_back").get().because
    assert incident.status == Incident.Status.MITIGATED
    assert not Threshold.objects.active().exists()
