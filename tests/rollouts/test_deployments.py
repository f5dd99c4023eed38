"""What a deployment does, by the verbs that every door calls."""

from datetime import timedelta
from typing import Any

import pytest

from portal import audit, jobs
from portal.errors import Forbidden, Invalid, Refused, Stale
from rollouts.actions import deployments, flags
from rollouts.models import Deployment, FlagConfig
from rollouts.models.deployments import Status
from tests import make

pytestmark = pytest.mark.django_db


def served(deployment: Deployment) -> dict[str, Any]:
    """What the flag of this deployment does now: {"on": weight} while it is served, and its fallthrough."""
    one = deployment.flags.get()
    config = FlagConfig.objects.get(flag=one.flag, environment=one.environment)
    found = {"else": config.fallthrough["variant"]}
    for rule in config.reserved:
        found[rule["serve"]["variant"]] = rule["serve"]["rollout"]
    return found


def test_a_draft_serves_nobody() -> None:
    draft = make.deployment()
    assert (draft.status, draft.weight, draft.live, draft.stage_index) == (Status.DRAFT, 0, False, None)
    assert served(draft) == {"else": "off"}


def test_starting_serves_the_first_stage() -> None:
    begun = make.progressing(stages=[5, 50, 100], dwell=600)
    assert (begun.status, begun.weight, begun.live, begun.stage_index) == (Status.PROGRESSING, 5_000, True, 0)
    assert served(begun) == {"on": 5_000, "else": "off"}


def test_the_plan_is_copied_when_it_starts_and_later_versions_do_not_touch_it() -> None:
    begun = make.progressing(plan=make.plan("canary", stages=[5, 100], dwell=600))
    make.plan("canary", stages=[50, 100])
    begun.refresh_from_db()
    assert [stage.weight for stage in begun.stages.all()] == [5_000, 100_000]
    assert begun.plan.version == 1


def test_the_sweep_takes_it_through_its_stages_to_the_watch() -> None:
    begun = make.progressing(stages=[5, 50.125, 100], watch=600)
    assert make.reconciled(begun).weight == 50_125
    assert served(begun) == {"on": 50_125, "else": "off"}
    assert make.reconciled(begun).weight == 100_000
    watched = make.reconciled(begun)
    assert (watched.status, watched.live, watched.weight) == (Status.SUCCEEDED, True, 100_000)
    assert watched.watch_until is not None
    assert served(watched) == {"on": 100_000, "else": "off"}


def test_when_the_watch_ends_the_variant_is_everybodys() -> None:
    watched = make.reconciled(make.progressing(stages=[100], watch=0))
    assert watched.status == Status.SUCCEEDED
    ended = make.reconciled(watched)
    assert (ended.status, ended.live, ended.due_at) == (Status.SUCCEEDED, False, None)
    assert served(ended) == {"else": "on"}


def test_a_plan_that_ends_below_everybody_leaves_its_share_as_it_is() -> None:
    ended = make.reconciled(make.progressing(stages=[30], watch=0), times=2)
    assert not ended.live
    one = ended.flags.get()
    config = FlagConfig.objects.get(flag=one.flag, environment=one.environment)
    assert config.reserved == []
    assert config.fallthrough == {"variant": "off"}
    assert [rule["serve"] for rule in config.rules] == [{"variant": "on", "rollout": 30_000}]


def test_a_plan_that_ends_with_an_audience_brings_it_to_nobody_else() -> None:
    staff = [{"attr": "team", "op": "equals", "values": ["staff"]}]
    stage = {"name": "staff", "weight": 100, "dwell": 0, "audience": staff, "gates": []}
    ended = make.reconciled(make.progressing(stages=[stage], watch=0), times=2)
    one = ended.flags.get()
    config = FlagConfig.objects.get(flag=one.flag, environment=one.environment)
    assert config.fallthrough == {"variant": "off"}
    assert [(rule["all"][0]["attr"], rule["serve"]["rollout"]) for rule in config.rules] == [("team", 100_000)]


def test_a_dwell_is_waited_out() -> None:
    begun = make.progressing(stages=[5, 100], dwell=600)
    entered = begun.entered_stage_at
    assert entered is not None
    deployments.reconcile(begun, now=entered + timedelta(seconds=598))
    begun.refresh_from_db()
    assert begun.weight == 5_000
    assert begun.held_because.startswith("dwell: ")
    assert begun.due_at == entered + timedelta(seconds=600)
    deployments.reconcile(begun, now=entered + timedelta(seconds=601))
    begun.refresh_from_db()
    assert begun.weight == 100_000


def test_looking_twice_at_the_same_moment_does_nothing_twice() -> None:
    begun = make.progressing(stages=[5, 50, 100], dwell=600)
    later = jobs.database_now() + timedelta(seconds=601)
    deployments.reconcile(begun, now=later)
    deployments.reconcile(begun, now=later)
    begun.refresh_from_db()
    assert begun.weight == 50_000


def test_a_stage_held_too_long_pauses_and_stays_there_until_it_is_resumed() -> None:
    gate = {"kind": "metric", "metric": "errors", "aggregation": "mean", "operator": "<", "value": 2}
    begun = make.progressing(stages=[5, 100], gates=[gate], max_dwell=60)
    late = jobs.database_now() + timedelta(seconds=61)
    deployments.reconcile(begun, now=late)
    begun.refresh_from_db()
    assert (begun.status, begun.paused_reason, begun.weight) == (Status.PAUSED, "timeout", 5_000)
    assert "no data" in begun.held_because
    make.measured("errors", 1.0, service="checkout", environment="staging")
    deployments.reconcile(begun, now=late + timedelta(seconds=1))
    begun.refresh_from_db()
    assert (begun.status, begun.weight) == (Status.PAUSED, 5_000)
    deployments.resume(begun, by=make.BY)
    assert make.reconciled(begun).weight == 100_000


def test_an_advance_by_hand_needs_what_the_sweep_needs_and_lists_what_is_missing() -> None:
    gate = {"kind": "metric", "metric": "errors", "aggregation": "mean", "operator": "<", "value": 2}
    begun = make.progressing(stages=[5, 100], dwell=600, gates=[gate])
    with pytest.raises(Refused, match=r"metric: errors: no data.*; dwell: .* of 10 min left"):
        deployments.advance(begun, by=make.BY)
    begun.refresh_from_db()
    assert begun.weight == 5_000
    assert len(begun.blockers) == 2


def test_an_advance_by_hand_goes_one_stage_on() -> None:
    begun = make.progressing(stages=[5, 50, 100])
    assert deployments.advance(begun, by=make.BY, because="looks good")
    assert begun.weight == 50_000
    entry = audit.of(begun).filter(verb="deployment.advanced").get()
    assert (entry.because, entry.before, entry.after) == (
        "looks good",
        {"stage": 0, "weight": 5_000},
        {"stage": 1, "weight": 50_000, "epoch": 1},
    )


def test_two_who_have_seen_the_same_stage_advance_it_once() -> None:
    begun = make.progressing(stages=[5, 50, 100])
    same = Deployment.objects.get(pk=begun.pk)
    assert deployments.advance(begun, by=make.BY)
    assert not deployments.advance(same, by=make.BY)
    begun.refresh_from_db()
    assert begun.weight == 50_000


def test_paused_it_is_neither_swept_nor_advanced_and_resumes_where_it_was() -> None:
    begun = make.progressing(stages=[5, 100])
    deployments.pause(begun, by=make.BY, because="lunch")
    assert make.reconciled(begun).weight == 5_000
    with pytest.raises(Refused, match="paused"):
        deployments.advance(begun, by=make.BY)
    assert deployments.resume(begun, by=make.BY)
    begun.refresh_from_db()
    assert (begun.status, begun.stage_index, begun.paused_reason) == (Status.PROGRESSING, 0, "")


@pytest.mark.parametrize("state", ["progressing", "paused", "watched", "at_nobody"])
def test_a_roll_back_works_from_every_live_state(state: str) -> None:
    if state == "at_nobody":
        live = make.progressing(stages=[0, 100], dwell=600)
    else:
        live = make.progressing(stages=[40], dwell=0 if state == "watched" else 600)
    if state == "paused":
        deployments.pause(live, by=make.BY, because="hm")
    if state == "watched":
        assert make.reconciled(live).status == Status.SUCCEEDED
    assert deployments.roll_back(live, by=make.BY, because="errors 7 % > 2 %")
    live.refresh_from_db()
    assert (live.status, live.weight, live.live) == (Status.ROLLED_BACK, 0, False)
    assert live.held_because == "errors 7 % > 2 %"
    assert served(live) == {"else": "off"}
    entry = audit.of(live).filter(verb="deployment.rolling_back").get()
    assert entry.because == "errors 7 % > 2 %"


def test_a_roll_back_twice_is_one_and_no_error() -> None:
    live = make.progressing(dwell=600)
    assert deployments.roll_back(live, by=make.BY, because="bad")
    entries = audit.of(live).count()
    assert not deployments.roll_back(live, by=make.BY, because="bad, really")
    assert audit.of(live).count() == entries


@pytest.mark.parametrize("because", ["", "  "])
def test_taking_back_pausing_and_cancelling_need_a_reason(because: str) -> None:
    live, draft = make.progressing(dwell=600), make.deployment()
    for act in (
        lambda: deployments.roll_back(live, by=make.BY, because=because),
        lambda: deployments.pause(live, by=make.BY, because=because),
        lambda: deployments.cancel(draft, by=make.BY, because=because),
    ):
        with pytest.raises(Invalid, match="because"):
            act()


def test_a_late_sweep_never_raises_what_was_rolled_back() -> None:
    live = make.progressing(stages=[5, 100])
    stale = Deployment.objects.get(pk=live.pk)
    deployments.roll_back(live, by=make.BY, because="bad")
    deployments.reconcile(stale, now=jobs.database_now() + timedelta(hours=1))
    live.refresh_from_db()
    assert (live.status, live.weight) == (Status.ROLLED_BACK, 0)
    assert served(live) == {"else": "off"}


def test_what_never_ran_is_cancelled_and_what_runs_is_rolled_back_instead() -> None:
    draft, live = make.deployment(), make.progressing(dwell=600)
    assert deployments.cancel(draft, by=make.BY, because="not today")
    assert not deployments.cancel(draft, by=make.BY, because="not today")
    with pytest.raises(Refused, match="cancelled"):
        deployments.start(draft, by=make.BY)
    with pytest.raises(Refused, match="roll it back instead"):
        deployments.cancel(live, by=make.BY, because="x")
    with pytest.raises(Refused, match="cancel it instead"):
        deployments.roll_back(make.deployment(), by=make.BY, because="x")


def test_a_watch_that_is_over_cannot_be_rolled_back_any_more() -> None:
    ended = make.reconciled(make.progressing(stages=[100], watch=0), times=2)
    with pytest.raises(Refused, match="no longer live"):
        deployments.roll_back(ended, by=make.BY, because="too late")
    assert served(ended) == {"else": "on"}


def test_a_retry_is_a_new_epoch_with_fresh_stages_of_the_plan_as_it_is_now() -> None:
    run = make.progressing(plan=make.plan("canary", stages=[5, 100], dwell=600))
    with pytest.raises(Refused, match="only what was rolled back"):
        deployments.retry(run, by=make.BY)
    deployments.roll_back(run, by=make.BY, because="bad")
    newer = make.plan("canary", stages=[10, 100], dwell=600)
    assert deployments.retry(run, by=make.BY, because="fixed")
    assert not deployments.retry(run, by=make.BY, because="fixed")
    run.refresh_from_db()
    assert (run.status, run.epoch, run.weight, run.plan_hash) == (Status.DRAFT, 2, 0, newer.hash)
    deployments.start(run, by=make.BY)
    run.refresh_from_db()
    assert (run.weight, run.stages.filter(epoch=2).count()) == (10_000, 2)
    assert served(run) == {"on": 10_000, "else": "off"}


def test_starting_twice_is_starting_once() -> None:
    draft = make.deployment(dwell=600)
    assert deployments.start(draft, by=make.BY)
    entries = audit.of(draft).count()
    assert not deployments.start(draft, by=make.BY)
    assert audit.of(draft).count() == entries


def test_one_live_deployment_at_a_time_for_a_service_in_an_environment() -> None:
    first = make.progressing(dwell=600)
    second = make.deployment()
    with pytest.raises(Refused, match=rf"deployment {first.pk} .* is progressing: one at a time for checkout"):
        deployments.start(second, by=make.BY)
    elsewhere = make.deployment(environment=make.environment("qa"), dwell=600)
    assert deployments.start(elsewhere, by=make.BY)
    deployments.roll_back(first, by=make.BY, because="bad")
    assert deployments.start(second, by=make.BY)


def test_a_new_one_supersedes_the_watched_one_which_keeps_what_it_brought() -> None:
    watched = make.reconciled(make.progressing(stages=[100], watch=600))
    successor = make.progressing(dwell=600)
    watched.refresh_from_db()
    assert (watched.status, watched.live, watched.due_at) == (Status.SUPERSEDED, False, None)
    assert served(watched) == {"else": "on"}
    assert successor.live


def test_the_successor_may_serve_the_same_flag_over_what_the_watched_one_brought() -> None:
    place = make.environment()
    flag = make.flag("layout", variants={"off": "v1", "on": "v2", "next": "v3"}, value_type="string", on_in=[place])
    make.reconciled(make.progressing(stages=[100], flags=[flag], watch=600))
    serves = [{"flag": "layout", "variant": "next", "baseline": "on"}]
    second = deployments.create(make.release(), place, make.plan(stages=[5], dwell=600), serves, by=make.BY)
    assert deployments.start(second, by=make.BY)
    assert served(second) == {"next": 5_000, "else": "on"}


def test_one_live_deployment_at_a_time_for_a_flag() -> None:
    flag = make.flag(on_in=[make.environment()])
    first = make.progressing(flags=[flag], dwell=600)
    other = make.deployment(flags=[flag], release=make.release(service=make.service("shop")))
    with pytest.raises(Refused, match=rf"served by deployment {first.pk}"):
        deployments.start(other, by=make.BY)
    other.refresh_from_db()
    assert (other.status, other.live) == (Status.DRAFT, False)


def test_a_flag_that_does_not_serve_its_baseline_is_not_served() -> None:
    place = make.environment()
    wrong, dark = make.flag("wrong", on_in=[place], serving="on"), make.flag("dark")
    make.switch(dark, place, on=False)
    with pytest.raises(Refused, match="does not serve its baseline off"):
        deployments.start(make.deployment(flags=[wrong]), by=make.BY)
    with pytest.raises(Refused, match="switched off"):
        deployments.start(make.deployment(flags=[dark]), by=make.BY)


def test_a_flag_that_nobody_has_configured_is_switched_on_with_its_baseline() -> None:
    begun = make.progressing(flags=[make.flag("untouched")], stages=[5, 100], dwell=600)
    assert served(begun) == {"on": 5_000, "else": "off"}


def test_a_flag_that_is_killed_by_hand_pauses_its_deployment() -> None:
    begun = make.progressing(stages=[5, 100])
    one = begun.flags.get()
    flags.kill(one.flag, one.environment, by=make.BY, because="smoke")
    paused = make.reconciled(begun)
    assert (paused.status, paused.paused_reason, paused.weight) == (Status.PAUSED, "killed", 5_000)
    with pytest.raises(Refused, match="still switched off"):
        deployments.resume(paused, by=make.BY)
    flags.switch_on(one.flag, one.environment, by=make.BY)
    deployments.resume(paused, by=make.BY)
    assert make.reconciled(paused).weight == 100_000


def test_a_kill_that_is_taken_back_at_once_pauses_all_the_same() -> None:
    begun = make.progressing(stages=[5, 100])
    one = begun.flags.get()
    flags.kill(one.flag, one.environment, by=make.BY, because="smoke")
    flags.switch_on(one.flag, one.environment, by=make.BY)
    assert make.reconciled(begun).paused_reason == "killed"


def test_a_killed_flag_is_not_in_the_way_of_a_roll_back() -> None:
    begun = make.progressing(dwell=600)
    one = begun.flags.get()
    flags.kill(one.flag, one.environment, by=make.BY, because="smoke")
    assert deployments.roll_back(begun, by=make.BY, because="smoke")


def test_what_was_killed_during_the_watch_does_not_become_everybodys() -> None:
    watched = make.reconciled(make.progressing(stages=[100], watch=0))
    one = watched.flags.get()
    flags.kill(one.flag, one.environment, by=make.BY, because="smoke")
    still = make.reconciled(watched)
    assert (still.live, served(still)) == (True, {"on": 100_000, "else": "off"})
    assert still.held_because.startswith("watched on")
    with pytest.raises(Refused, match="roll it back first"):
        make.progressing(dwell=600)
    deployments.roll_back(still, by=make.BY, because="smoke")
    assert served(still) == {"else": "off"}


def test_a_release_with_a_date_waits_for_it() -> None:
    t0 = jobs.database_now() + timedelta(hours=2)
    waiting = make.progressing(release=make.release(t0=t0), dwell=600)
    assert (waiting.status, waiting.due_at, waiting.weight) == (Status.SCHEDULED, t0, 0)
    deployments.reconcile(waiting, now=t0 - timedelta(seconds=1))
    waiting.refresh_from_db()
    assert waiting.status == Status.SCHEDULED
    release = waiting.release
    release.t0 = jobs.database_now()
    release.save()
    waiting.refresh_from_db()
    deployments.reconcile(waiting, now=t0 + timedelta(seconds=1))
    waiting.refresh_from_db()
    assert (waiting.status, waiting.weight) == (Status.PROGRESSING, 5_000)


def test_a_scheduled_one_waits_for_the_one_that_runs() -> None:
    soon = jobs.database_now() + timedelta(hours=1)
    waiting = make.progressing(release=make.release(t0=soon), dwell=600)
    running = make.progressing(dwell=600)
    later = soon + timedelta(seconds=1)
    waiting.release.t0 = jobs.database_now()
    waiting.release.save()
    deployments.reconcile(waiting, now=later)
    waiting.refresh_from_db()
    assert waiting.status == Status.SCHEDULED
    assert f"deployment {running.pk}" in waiting.held_because
    deployments.roll_back(running, by=make.BY, because="bad")
    deployments.reconcile(waiting, now=later + timedelta(minutes=1))
    waiting.refresh_from_db()
    assert waiting.status == Status.PROGRESSING


def test_an_environment_without_a_policy_starts_nothing() -> None:
    undecided = make.environment("new", policy="")
    with pytest.raises(Refused, match="new has no approval policy"):
        deployments.start(make.deployment(environment=undecided), by=make.BY)


def test_what_is_served_is_checked_when_the_draft_is_made() -> None:
    release, place, plan = make.release(), make.environment(), make.plan()
    make.flag("layout")
    serves = [
        {"flag": "nowhere", "variant": "on", "baseline": "off"},
        {"flag": "layout", "variant": "blue", "baseline": "off"},
        {"flag": "layout", "variant": "on", "baseline": "on"},
    ]
    with pytest.raises(Invalid) as wrong:
        deployments.create(release, place, plan, serves, by=make.BY)
    assert wrong.value.errors == {
        "serves[0].flag": "there is no flag nowhere",
        "serves[1].variant": "flag layout has no variant blue",
        "serves[2].baseline": "must be another one than the variant",
        "serves[2].flag": "flag layout is served already",
    }


def test_a_flag_only_release_names_its_flags() -> None:
    with pytest.raises(Invalid, match="serves"):
        make.deployment(release=make.release(type="flag-only"), flags=[])
    assert make.progressing(release=make.release(type="canary"), flags=[], dwell=600).weight == 5_000


def test_an_older_version_of_a_plan_is_not_deployed() -> None:
    old = make.plan("canary", stages=[5, 100])
    new = make.plan("canary", stages=[10, 100])
    with pytest.raises(Refused, match="canary v2 is"):
        make.deployment(plan=old)
    assert make.deployment(plan=new).plan_hash == new.hash


def test_starting_a_plan_that_has_changed_since_it_was_seen_is_stale() -> None:
    plan = make.plan("canary", stages=[5, 100])
    draft = make.deployment(plan=plan)
    make.plan("canary", stages=[10, 100])
    with pytest.raises(Stale):
        deployments.start(draft, by=make.BY, expected_plan_hash=plan.hash)
    draft.refresh_from_db()
    assert draft.status == Status.DRAFT
    assert draft.plan.version == 2


@pytest.mark.parametrize(
    ("role", "allowed"), [("viewer", set()), ("operator", {"roll_back"}), ("approver", set()), ("captain", {"*"})]
)
def test_who_may_do_what(role: str, allowed: set[str]) -> None:
    place = make.environment()
    somebody = make.person("sam", role, environment=place)
    live = make.progressing(dwell=600)
    reason = {"because": "x"}
    for name, options in (("pause", reason), ("resume", {}), ("retry", {}), ("cancel", reason), ("roll_back", reason)):
        verb = getattr(deployments, name)
        if allowed & {name, "*"}:
            try:
                verb(live, by=somebody, **options)
            except Refused:
                pass  # allowed, but not now
        else:
            with pytest.raises(Forbidden):
                verb(live, by=somebody, **options)


def test_a_role_elsewhere_is_no_role_here() -> None:
    captain = make.person("cleo", "captain", environment=make.environment("qa"))
    with pytest.raises(Forbidden):
        make.deployment(by=captain)
    live = make.progressing(dwell=600)
    with pytest.raises(Forbidden):
        deployments.roll_back(live, by=captain, because="x")
