"""What an incident does to deployments by itself: taken back, unless it is the environment."""

from datetime import timedelta
from typing import Any

import pytest

from monitoring import responses
from monitoring.actions import definitions, judging, thresholds
from monitoring.models import Alert, Incident, ResponseRun, Sample, Threshold
from portal import audit, jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import Environment
from rollouts import tasks
from rollouts.actions import change_requests, deployments, flags
from rollouts.models import ChangeRequest, Deployment, Flag, FlagConfig
from rollouts.models.deployments import Status
from tests import make

pytestmark = pytest.mark.django_db

HERE: dict[str, Any] = {"service": "checkout", "environment": "staging"}
BOUND = {"metric": "error_rate", "aggregation": "mean", "operator": ">", "error": 2.0, "window": 60}
ON_CANARY = {"kind": "threshold", "name": "canary errors", **BOUND, "matchers": {"flag": "layout", "variant": "on"}}
ON_SERVICE = {"kind": "threshold", "name": "errors", **BOUND}


def guarded(*guardrails: dict[str, Any], weight: float = 20) -> Deployment:
    flag = make.flag("layout", on_in=[make.environment()])
    stages = [weight] if weight == 100 else [weight, 100]
    return make.progressing(stages=stages, guardrails=guardrails, flags=[flag], dwell=600)


def seen(value: float, *, ago: int = 0, **labels: str) -> None:
    make.service()
    make.environment()
    make.measured("error_rate", value, ago=ago, **(HERE | labels))


def judged(deployment: Deployment) -> Deployment:
    """The judge looks, the incident opens, its response is carried out."""
    Threshold.objects.update(due_at=jobs.database_now())
    judging.run()
    for run in ResponseRun.objects.filter(status="pending"):
        _perform(run)
    deployment.refresh_from_db()
    return deployment


def _perform(run: ResponseRun) -> None:
    try:
        run.outcome, run.status = responses.perform(run).text, "done"
    except Refused as refusal:
        run.outcome, run.status = str(refusal), "refused"
    run.save()


def outcome() -> str:
    return ResponseRun.objects.latest("id").outcome


def test_a_guardrail_is_a_threshold_that_rolls_this_deployment_back() -> None:
    deployment = guarded(ON_CANARY)
    threshold = Threshold.objects.get()
    assert (threshold.response, threshold.target, threshold.owner) == (
        "roll_back",
        f"deployment:{deployment.pk}",
        f"deployment:{deployment.pk}",
    )
    assert threshold.matchers == {"flag": "layout", "variant": "on", "environment": "staging"}


@pytest.mark.parametrize("end", ["roll_back", "watch", "superseded"])
def test_guardrails_go_when_the_deployment_ends(end: str) -> None:
    deployment = make.progressing(stages=[100], guardrails=[ON_SERVICE], watch=0 if end == "watch" else 600)
    assert Threshold.objects.active().count() == 1
    if end == "roll_back":
        deployments.roll_back(deployment, by=make.BY, because="bad")
    else:
        make.reconciled(deployment)
        assert Threshold.objects.active().count() == 1
        if end == "watch":
            make.reconciled(deployment)
        else:
            make.progressing(dwell=600)
    assert not Threshold.objects.active().filter(owner=f"deployment:{deployment.pk}").exists()


def test_a_bad_canary_beside_a_fine_baseline_is_taken_back_on_record() -> None:
    deployment = guarded(ON_CANARY)
    seen(0.5, flag="layout", variant="off")
    seen(7.0, flag="layout", variant="on")
    taken_back = judged(deployment)
    assert (taken_back.status, taken_back.weight) == (Status.ROLLED_BACK, 0)
    incident = Incident.objects.get()
    entry = audit.of(deployment).filter(verb="deployment.rolling_back").get()
    assert entry.actor == "incident response"
    assert entry.because.startswith(f"incident {incident.pk}: canary errors 7 > 2")
    assert "compared with the baseline arm now" in entry.because
    assert FlagConfig.objects.get().reserved == []


def test_a_baseline_that_is_as_bad_pauses_for_it_is_the_environment() -> None:
    deployment = guarded(ON_CANARY)
    seen(6.0, flag="layout", variant="off")
    seen(7.0, flag="layout", variant="on")
    paused = judged(deployment)
    assert (paused.status, paused.paused_reason, paused.weight) == (Status.PAUSED, "environment", 20_000)
    assert paused.held_because.startswith("environment: ")
    assert "the baseline is as bad" in paused.held_because


def test_what_still_breaks_its_guardrail_is_not_resumed_into_a_run_that_nothing_would_take_back() -> None:
    deployment = guarded(ON_CANARY)
    seen(6.0, flag="layout", variant="off")
    seen(7.0, flag="layout", variant="on")
    paused = judged(deployment)
    with pytest.raises(Refused, match=r"cannot be resumed: canary errors: .* 7 > 2"):
        deployments.resume(paused, by=make.BY)
    paused.refresh_from_db()
    assert paused.status == Status.PAUSED


def test_when_the_environment_is_fine_again_and_the_release_is_not_it_is_taken_back() -> None:
    deployment = guarded(ON_CANARY | {"window": 5})
    seen(6.0, ago=2, flag="layout", variant="off")
    seen(7.0, ago=2, flag="layout", variant="on")
    assert judged(deployment).paused_reason == "environment"
    assert tasks.reconsider() == 0
    Sample.objects.all().delete()
    assert tasks.reconsider() == 0  # nothing is known: that is no proof
    seen(7.0, flag="layout", variant="on")
    assert tasks.reconsider() == 0  # nothing is known of the baseline
    seen(0.5, flag="layout", variant="off")
    assert tasks.reconsider() == 1
    deployment.refresh_from_db()
    assert (deployment.status, deployment.weight) == (Status.ROLLED_BACK, 0)
    assert "the baseline is fine" in deployment.held_because


def test_a_pause_by_a_person_is_not_reconsidered() -> None:
    deployment = guarded(ON_CANARY)
    deployments.pause(deployment, by=make.BY, because="I look at it")
    seen(6.0, flag="layout", variant="off")
    seen(7.0, flag="layout", variant="on")
    assert judged(deployment).paused_reason == "by_hand"
    Sample.objects.all().delete()
    seen(0.5, flag="layout", variant="off")
    seen(7.0, flag="layout", variant="on")
    assert tasks.reconsider() == 0


def test_a_canary_that_is_much_worse_than_a_bad_baseline_is_taken_back() -> None:
    deployment = guarded(ON_CANARY)
    seen(3.0, flag="layout", variant="off")
    seen(40.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK


def test_a_baseline_without_data_exonerates_nobody() -> None:
    deployment = guarded(ON_CANARY)
    seen(7.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK
    assert "too little data" in outcome()


def test_a_baseline_of_too_few_exonerates_nobody() -> None:
    deployment = guarded(ON_CANARY | {"min_count": 2})
    seen(7.0, flag="layout", variant="on")
    seen(7.0, ago=1, flag="layout", variant="on")
    seen(9.0, flag="layout", variant="off")
    assert judged(deployment).status == Status.ROLLED_BACK


def test_without_arms_it_is_held_against_the_start_and_says_so() -> None:
    seen(0.4, ago=2)
    deployment = guarded(ON_SERVICE)
    assert [one["value"] for one in deployment.baseline_captured] == [0.4]
    seen(30.0)
    assert judged(deployment).status == Status.ROLLED_BACK
    assert "compared with the baseline at the start" in outcome()


def test_what_was_as_bad_before_the_start_is_not_the_release() -> None:
    seen(6.0, ago=2)
    deployment = guarded(ON_SERVICE)
    seen(6.5)
    paused = judged(deployment)
    assert (paused.status, paused.paused_reason) == (Status.PAUSED, "environment")
    assert "at the start it was as bad" in paused.held_because


def test_at_a_hundred_percent_the_arm_is_held_against_the_baseline_of_the_start() -> None:
    seen(0.5, ago=2, flag="layout", variant="off")
    deployment = guarded(ON_CANARY, weight=100)
    # Whoever still reports the old variant is no comparison any more.
    seen(9.0, flag="layout", variant="off")
    seen(9.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK
    assert "baseline at the start" in outcome()


def test_a_watched_deployment_is_taken_back_too() -> None:
    flag = make.flag("layout", on_in=[make.environment()])
    deployment = make.reconciled(make.progressing(stages=[100], guardrails=[ON_CANARY], flags=[flag]))
    assert deployment.status == Status.SUCCEEDED
    seen(7.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK


def test_a_paused_deployment_is_taken_back_too() -> None:
    deployment = guarded(ON_CANARY)
    deployments.pause(deployment, by=make.BY, because="lunch")
    seen(7.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK


def test_a_guardrail_against_its_own_baseline_needs_no_second_comparison() -> None:
    against = {"baseline": {"kind": "arm", "change": "ratio", "variant": "off"}, "error": 2.0}
    deployment = guarded(ON_CANARY | against)
    seen(3.0, flag="layout", variant="off")
    seen(9.0, flag="layout", variant="on")
    assert judged(deployment).status == Status.ROLLED_BACK


def test_a_threshold_of_the_service_finds_the_live_deployment() -> None:
    deployment = guarded()
    thresholds.create({"name": "slow", **BOUND, "matchers": HERE, "response": "roll_back"}, by=make.BY)
    seen(7.0)
    assert judged(deployment).status == Status.ROLLED_BACK
    assert ResponseRun.objects.get().target == "service:checkout@staging"


def test_a_threshold_of_the_service_is_held_against_its_own_past() -> None:
    seen(6.0, ago=3)
    deployment = guarded()
    thresholds.create({"name": "slow", **BOUND, "matchers": HERE, "response": "roll_back"}, by=make.BY)
    seen(6.5)
    assert judged(deployment).paused_reason == "environment"


def test_a_service_without_live_deployment_has_nothing_to_take_back() -> None:
    make.service()
    make.environment()
    thresholds.create({"name": "slow", **BOUND, "matchers": HERE, "response": "roll_back"}, by=make.BY)
    seen(7.0)
    judged(make.deployment())
    assert outcome() == "checkout@staging has no live deployment"
    assert ResponseRun.objects.get().status == "refused"


def run_of(name: str, target: str) -> ResponseRun:
    incident = Incident.objects.create(
        group_key=f"{name}{target}", title="burning", severity="SEV1", opened_at=jobs.database_now()
    )
    return ResponseRun.objects.create(incident=incident, name=name, target=target, because="it burns")


def test_a_response_that_runs_twice_acts_once() -> None:
    deployment = guarded()
    run = run_of("roll_back", f"deployment:{deployment.pk}")
    assert "rolled back" in responses.perform(run).text
    entries = audit.of(deployment).count()
    assert "already" in responses.perform(run).text
    assert audit.of(deployment).count() == entries


def test_pausing_and_killing_are_responses_too() -> None:
    deployment = guarded()
    responses.perform(run_of("pause", "service:checkout@staging"))
    deployment.refresh_from_db()
    assert (deployment.status, deployment.paused_reason) == (Status.PAUSED, "incident")
    assert responses.perform(run_of("kill", f"deployment:{deployment.pk}")).text == "switched off in staging: layout"
    config = FlagConfig.objects.get()
    assert not config.enabled
    config.enabled = True
    config.save()
    responses.perform(run_of("kill", "flag:layout@staging"))
    config.refresh_from_db()
    assert not config.enabled


def test_a_named_flag_alone_is_killed_where_the_incident_is() -> None:
    make.service()
    make.flag("layout", on_in=[make.environment()])
    make.flag("search", on_in=[make.environment()])
    assert (
        responses.perform(run_of("kill:search", "service:checkout@staging")).text == "switched off in staging: search"
    )
    assert dict(FlagConfig.objects.values_list("flag__key", "enabled")) == {"layout": True, "search": False}


class TestSettingAFlag:
    def flag(self) -> Flag:
        flag = make.flag("search", on_in=[make.environment()])
        config = {"overrides": {"on": ["ada"]}, "rules": [{"all": [], "serve": {"variant": "on"}}]}
        flags.configure(flag, make.environment(), config, by=make.BY)
        return flag

    def test_everybody_gets_the_variant_and_the_revision_before_is_named(self) -> None:
        self.flag()
        before = FlagConfig.objects.get().revision
        outcome = responses.perform(run_of("set_flag:search=off", "service:checkout@staging"))
        assert outcome.text == f"everybody gets off of search in staging; revision {before} is what was before"
        assert outcome.mitigates
        config = FlagConfig.objects.get()
        assert (config.enabled, config.rules, config.overrides) == (True, [], {})
        assert config.fallthrough == {"variant": "off"}
        assert "flag.pinned" in audit.of(config.flag).values_list("verb", flat=True)
        flags.restore(config.flag, config.environment, before, by=make.BY)
        assert FlagConfig.objects.get().overrides == {"on": ["ada"]}

    def test_one_that_is_off_is_switched_on_for_it(self) -> None:
        flag = self.flag()
        flags.kill(flag, make.environment(), by=make.BY)
        responses.perform(run_of("set_flag:search=on", "flag:search@staging"))
        assert FlagConfig.objects.get().enabled

    def test_a_second_time_does_nothing(self) -> None:
        self.flag()
        run = run_of("set_flag:search=on", "service:checkout@staging")
        responses.perform(run)
        revision = FlagConfig.objects.get().revision
        assert "already" in responses.perform(run).text
        assert FlagConfig.objects.get().revision == revision

    def test_while_a_deployment_serves_it_nothing_is_set(self) -> None:
        guarded()
        with pytest.raises(Refused, match="served by deployment"):
            responses.perform(run_of("set_flag:layout=on", "service:checkout@staging"))

    @pytest.mark.parametrize("argument", ["nothing=on", "search=purple", "search"])
    def test_a_flag_or_variant_that_is_not_there_is_refused_in_words(self, argument: str) -> None:
        self.flag()
        with pytest.raises(Refused):
            responses.perform(run_of(f"set_flag:{argument}", "service:checkout@staging"))

    @pytest.mark.parametrize(
        ("response", "words"),
        [
            ("set_flag", "is written set_flag:FLAG=VARIANT"),
            ("set_flag:search", "is written set_flag:FLAG=VARIANT"),
            ("set_flag:search=purple", "flag search has no variant purple"),
            ("set_flag:nothing=on", "there is no flag nothing"),
            ("propose_set_flag:nothing=on", "there is no flag nothing"),
            ("kill:nothing", "there is no flag nothing"),
            ("kill:search=on", "kill takes a flag alone"),
            ("kill:", "is written kill[:FLAG]"),
            ("pause:search", "pause takes no argument"),
            ("dance", "must be one of"),
        ],
    )
    def test_what_can_mean_nothing_is_refused_where_it_is_written(self, response: str, words: str) -> None:
        self.flag()
        spec = {**BOUND, "name": "x", "response": response}
        with pytest.raises(Invalid) as refused:
            thresholds.create(spec, by=make.BY)
        assert words in refused.value.errors["response"]
        with pytest.raises(Invalid) as refused:
            definitions.create("x", {"name": "x", "responses": [response]}, by=make.BY)
        assert words in refused.value.errors["responses[0]"]

    def test_who_may_not_configure_the_flags_service_may_not_name_it(self) -> None:
        make.service("search")
        make.flag("search", on_in=[make.environment()])
        Flag.objects.update(service=make.service("search"))
        captain = make.person("cap", "captain", environment=make.environment(), service=make.service("checkout"))
        spec = {**BOUND, "name": "x", "matchers": HERE, "target": "service:checkout@staging"}
        thresholds.create({**spec, "response": "kill"}, by=captain)
        for named in ("kill:search", "set_flag:search=off"):
            with pytest.raises(Forbidden):
                thresholds.create({**spec, "name": "y", "response": named}, by=captain)

    def test_where_flags_are_protected_it_is_asked_for_and_done_once_somebody_has_approved(self) -> None:
        flag = self.flag()
        Environment.objects.update(protected=True, approval_policy="four_eyes")
        outcome = responses.perform(run_of("set_flag:search=off", "service:checkout@staging"))
        request = ChangeRequest.objects.get()
        assert f"change request {request.pk} asks for off of search in staging" in outcome.text
        assert not outcome.mitigates
        assert FlagConfig.objects.get(flag=flag).rules
        change_requests.approve(request, by=make.approver())
        ChangeRequest.objects.update(due_at=jobs.database_now())
        assert change_requests.apply_due(request.pk)
        config = FlagConfig.objects.get(flag=flag)
        assert (config.enabled, config.rules, config.fallthrough) == (True, [], {"variant": "off"})
        assert request.because.startswith("incident ")
        again = responses.perform(run_of("set_flag:search=off", "service:checkout@staging"))
        assert (again.text, ChangeRequest.objects.count()) == ("everybody has off of search in staging already", 1)

    def test_long_names_and_reasons_are_asked_for_all_the_same(self) -> None:
        """Cut where a request holds less; a request that is refused is never told as one that was not needed."""
        variants = {"v" * 128: True, "off": False}
        flag = make.flag("k" * 128, variants=variants, on_in=[make.environment()])
        Environment.objects.update(protected=True, approval_policy="four_eyes")
        run = run_of(f"set_flag:{flag}={'v' * 128}", "service:checkout@staging")
        run.because = "it burns " * 2_000
        outcome = responses.perform(run)
        assert f"change request {ChangeRequest.objects.get().pk} asks for" in outcome.text


@pytest.mark.parametrize("name", ["roll_back", "pause", "kill"])
@pytest.mark.parametrize(
    "target", ["deployment:999999", "deployment:99999999999999999999", "service:checkout@moon", "banana:1", "flag:x@y"]
)
def test_a_target_that_is_not_there_is_refused_in_words(name: str, target: str) -> None:
    make.service()
    with pytest.raises(Refused):
        responses.perform(run_of(name, target))


def test_an_incident_opened_by_hand_takes_back_without_comparison() -> None:
    deployment = guarded(ON_CANARY)
    responses.perform(run_of("roll_back", f"deployment:{deployment.pk}"))
    deployment.refresh_from_db()
    assert deployment.status == Status.ROLLED_BACK
    assert not Alert.objects.exists()


def test_a_deployment_whose_watch_is_over_is_left_alone() -> None:
    ended = make.reconciled(make.progressing(stages=[100], watch=0), times=2)
    with pytest.raises(Refused, match="no longer live"):
        responses.perform(run_of("roll_back", f"deployment:{ended.pk}"))
    assert ended.watch_until is not None
    assert ended.watch_until < jobs.database_now() + timedelta(seconds=1)
