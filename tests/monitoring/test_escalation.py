"""An incident calls people, step after step, until one answers: each step once, whatever happens to the sweeps."""

import threading
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.db.models.functions import Now

from monitoring.actions import alerts, definitions, escalation_policies, escalations, incidents, rotas, silences
from monitoring.models import Channel, EscalationPolicy, Incident, OutboxMessage, Rota
from portal import jobs
from portal.errors import Forbidden, Invalid, Refused
from portal.models import User
from tests import make
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock, the_incident

pytestmark = pytest.mark.django_db
QUARTER = 900


@pytest.fixture
def policy(db: None) -> EscalationPolicy:
    """Dana first, a quarter of an hour later whoever is on call, then a channel."""
    for name in ("dana", "sam"):
        make.person(name, "operator", email=f"{name}@example.com")
    layer = {"people": ["sam"], "every": "day", "handover": "09:00", "starts_on": "2026-01-01"}
    rotas.create("primary", {"layers": [layer]}, by=BY)
    Channel.objects.create(name="ops", kind="webhook", config={"url": "https://example.com/"})
    steps = [{"delay": QUARTER, "people": ["dana"]}, {"delay": QUARTER, "rotas": ["primary"]}, {"channels": ["ops"]}]
    return escalation_policies.create("standard", {"steps": steps, "repeat": 1, "is_default": True}, by=BY)


def opened(**fields: Any) -> Incident:
    return incidents.open_by_hand("cards are declined", by=BY, **fields)


def later(incident: Incident, seconds: float = QUARTER) -> int:
    """So much time passes; then the sweep comes by."""
    for field in ("next_page_at", "remind_at"):
        due = getattr(Incident.objects.get(pk=incident.pk), field)
        if due is not None:
            Incident.objects.filter(pk=incident.pk).update(**{field: due - timedelta(seconds=seconds)})
    done = escalations.run_due()
    incident.refresh_from_db()
    return done


def called(incident: Incident) -> list[str]:
    return [str(entry.data["to"]) for entry in incident.timeline.filter(kind="escalation.step")]


def kinds(incident: Incident) -> list[str]:
    return list(incident.timeline.values_list("kind", flat=True))


def test_the_next_step_follows_after_a_quarter_of_an_hour_without_an_answer_and_no_sooner(
    policy: EscalationPolicy,
) -> None:
    incident = opened()
    assert escalations.run_due() == 1
    assert escalations.run_due() == 0
    assert later(incident, QUARTER - 60) == 0
    assert later(incident, 60) == 1
    assert later(incident) == 1
    assert called(incident) == ["['dana']", "['sam (on call: primary)']", "['ops']"]
    assert [one.channel.name for one in OutboxMessage.objects.order_by("id")] == [
        "dana by e-mail",
        "sam by e-mail",
        "ops",
    ]


def test_it_begins_anew_as_often_as_it_says_and_then_says_that_nobody_answered(policy: EscalationPolicy) -> None:
    incident = opened()
    for _ in range(10):
        later(incident)
    assert incident.pages == 6
    assert incident.next_page_at is None
    assert kinds(incident)[-1] == "escalation.exhausted"
    keys = OutboxMessage.objects.values_list("dedupe_key", flat=True)
    assert len(keys) == len(set(keys)) == 6


@pytest.mark.parametrize("verb", ["acknowledge", "mitigate", "resolve"])
def test_an_answer_ends_it(policy: EscalationPolicy, verb: str) -> None:
    incident = opened()
    later(incident)
    getattr(incidents, verb)(incident, by=make.person("olu", "operator"))
    assert later(incident, 10 * QUARTER) == 0
    assert len(called(incident)) == 1


def test_what_the_portal_mitigates_by_itself_still_calls_somebody(policy: EscalationPolicy, clock: Clock) -> None:
    watching.deeds()
    watching.threshold(response="take_back", target="deployment:1")
    clock.look(1, 500)
    incident = the_incident()
    assert incident.status == "mitigated"
    assert later(incident, 0) == 1
    assert len(called(incident)) == 1


def test_an_outage_of_the_sweep_costs_time_and_nothing_else(policy: EscalationPolicy) -> None:
    """Not every step that was missed is made up for at once: the next one comes, and then they wait again."""
    incident = opened()
    later(incident, 0)
    assert later(incident, 20 * QUARTER) == 1
    assert escalations.run_due() == 0
    assert len(called(incident)) == 2
    assert incident.next_page_at is not None
    assert incident.next_page_at - jobs.database_now() > timedelta(seconds=QUARTER - 60)


def test_the_policy_is_the_one_that_it_opened_with(policy: EscalationPolicy) -> None:
    incident = opened()
    escalation_policies.change(policy, {"steps": [{"channels": ["ops"]}]}, by=BY)
    later(incident)
    assert called(incident) == ["['dana']"]


def test_a_step_that_reaches_nobody_does_not_wait_for_an_answer(policy: EscalationPolicy) -> None:
    incident = opened()
    User.objects.filter(username__in=("dana", "sam")).update(is_active=False)
    for _ in range(3):
        escalations.run_due()
    assert called(incident) == ["[]", "[]", "['ops']"]


def test_escalating_by_hand_takes_the_next_step_at_once_even_when_somebody_is_on_it(policy: EscalationPolicy) -> None:
    incident = opened()
    later(incident, 0)
    olu = make.person("olu", "operator")
    incidents.acknowledge(incident, by=olu)
    incidents.escalate(incident, by=olu, because="I need help")
    assert later(incident, 0) == 1
    assert called(incident)[1] == "['sam (on call: primary)']"
    assert later(incident, 10 * QUARTER) == 0


def test_whoever_took_it_is_asked_again_and_when_they_are_silent_it_is_nobodys_again(policy: EscalationPolicy) -> None:
    escalation_policies.change(policy, {"remind_after": 1800}, by=BY)
    incident = opened()
    later(incident, 0)
    dana = User.objects.get(username="dana")
    incidents.acknowledge(incident, by=dana)
    assert later(incident, 1740) == 0
    assert later(incident, 60) == 1
    assert OutboxMessage.objects.filter(kind="incident.reminder", channel__owner=dana).count() == 1
    incidents.acknowledge(incident, by=dana, because="nearly there")
    assert kinds(incident)[-1] == "confirmed"
    assert later(incident, 1800) == 1
    assert later(incident, 600) == 1
    assert (incident.status, incident.acknowledged_at) == ("triggered", None)
    assert later(incident, 0) == 1
    assert kinds(incident)[-2:] == ["unacknowledged", "escalation.step"]
    assert called(incident) == ["['dana']", "['dana']"]


def test_what_is_held_back_calls_nobody_until_that_is_over(policy: EscalationPolicy, clock: Clock) -> None:
    watching.deeds()
    matchers = [{"name": "service", "value": watching.LABELS["service"]}]
    watching.place()
    silence = silences.silence(matchers, ends_at=jobs.database_now() + timedelta(hours=1), comment="moving", by=BY)
    watching.threshold(response="take_back", target="deployment:1")
    clock.look(1, 500)
    incident = the_incident()
    assert incident.policy["key"] == "standard"
    assert escalations.run_due() == 0
    silences.expire(silence, by=BY)
    alerts.tell_held()
    assert escalations.run_due() == 1


def test_the_definitions_policy_goes_before_the_default(policy: EscalationPolicy) -> None:
    own = escalation_policies.create("own", {"steps": [{"channels": ["ops"]}]}, by=BY)
    definition = definitions.create("d", {"name": "D", "escalation": own}, by=BY)
    assert opened(definition=definition).policy["key"] == "own"
    assert opened().policy["key"] == "standard"
    with pytest.raises(Refused, match="names own"):
        escalation_policies.delete(own, by=BY)


def test_without_a_policy_nobody_is_called() -> None:
    incident = opened()
    incidents.escalate(incident, by=BY)
    assert incident.next_page_at is None or escalations.run_due() == 0


@pytest.mark.parametrize(
    ("steps", "field"),
    [
        ([], "steps"),
        ([{"people": ["nobody-here"]}], "steps[0].people"),
        ([{"rotas": ["none"]}], "steps[0].rotas"),
        ([{"channels": ["none"]}], "steps[0].channels"),
        ([{"delay": 60}], "steps[0]"),
        ([{"delay": 1, "people": ["dana"]}], "steps[0].delay"),
        ([{"people": ["dana"], "wait": 5}], "steps[0].wait"),
    ],
)
def test_a_policy_that_cannot_work_is_refused_by_its_field(
    policy: EscalationPolicy, steps: list[dict[str, Any]], field: str
) -> None:
    with pytest.raises(Invalid) as refusal:
        escalation_policies.change(policy, {"steps": steps}, by=BY)
    assert field in refusal.value.errors


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"people": ["nobody-here"]}, "layers[0].people"),
        ({"people": []}, "layers[0].people"),
        ({"every": "month"}, "layers[0].every"),
        ({"handover": "25:00"}, "layers[0].handover"),
        ({"starts_on": "tomorrow"}, "layers[0].starts_on"),
        ({"hours": [{"days": ["x"], "opens": "09:00", "closes": "10:00"}]}, "layers[0].hours[0].days"),
    ],
)
def test_a_rota_that_cannot_work_is_refused_by_its_field(change: dict[str, Any], field: str) -> None:
    make.person("dana")
    layer = {"people": ["dana"], "starts_on": "2026-01-01"}
    with pytest.raises(Invalid) as refusal:
        rotas.create("r", {"layers": [layer | change]}, by=BY)
    assert field in refusal.value.errors


def test_a_rota_that_a_policy_calls_stays(policy: EscalationPolicy) -> None:
    rota = Rota.objects.get()
    with pytest.raises(Refused, match="take it out of the policy"):
        rotas.delete(rota, by=BY)


def test_operators_stand_in_and_only_who_configures_edits(policy: EscalationPolicy) -> None:
    rota, dana = Rota.objects.get(), User.objects.get(username="dana")
    until = jobs.database_now() + timedelta(hours=1)
    override = rotas.stand_in(rota, dana, ends_at=until, by=dana, comment="dentist")
    incident = opened()
    later(incident, 0)
    later(incident)
    assert called(incident)[1] == "['dana (on call: primary)']"
    rotas.take_back(override, by=dana)
    with pytest.raises(Refused, match="over"):
        rotas.take_back(override, by=dana)
    with pytest.raises(Forbidden):
        rotas.change(rota, {"name": "x"}, by=dana)
    with pytest.raises(Forbidden):
        rotas.stand_in(rota, dana, ends_at=until, by=make.person("vera", "viewer"))


@pytest.fixture
def clock(db: None) -> Clock:
    return Clock()


class TestRaces:
    """Invariant 6: of an answer at 14:59 and a step at 15:00 exactly one is first, and the timeline agrees."""

    pytestmark = pytest.mark.django_db(transaction=True)

    def test_an_answer_that_is_not_committed_yet_keeps_the_step_from_being_taken(
        self, policy: EscalationPolicy
    ) -> None:
        incident = opened()
        assert escalations.run_due() == 1
        Incident.objects.update(next_page_at=Now())
        acknowledged, looked = threading.Event(), threading.Event()

        def answer() -> None:
            try:
                with transaction.atomic():
                    incidents.acknowledge(Incident.objects.get(), by=BY)
                    acknowledged.set()
                    looked.wait(60)
            finally:
                connection.close()

        person = threading.Thread(target=answer)
        person.start()
        assert acknowledged.wait(60)
        assert escalations.run_due() == 0
        looked.set()
        person.join()
        assert escalations.run_due() == 0
        assert kinds(incident) == ["opened", "escalation.step", "acknowledged"]

    def test_an_answer_and_a_step_in_the_same_instant_agree_with_the_timeline(self, policy: EscalationPolicy) -> None:
        for _ in range(8):
            incident = opened()
            escalations.run_due()
            Incident.objects.filter(pk=incident.pk).update(next_page_at=Now())
            start = threading.Barrier(3)

            def run(act: Any, start: threading.Barrier = start) -> None:
                try:
                    start.wait(60)
                    act()
                finally:
                    connection.close()

            def acknowledge(pk: int = incident.pk) -> None:
                incidents.acknowledge(Incident.objects.get(pk=pk), by=BY)

            threads = [threading.Thread(target=run, args=[act]) for act in (acknowledge, escalations.run_due)]
            for thread in threads:
                thread.start()
            start.wait(60)
            for thread in threads:
                thread.join()
            assert escalations.run_due() == 0
            incident.refresh_from_db()
            assert incident.status == "acknowledged"
            # Either the step came first, or there was none: never one after the answer.
            assert kinds(incident)[-1] == "acknowledged"
            assert incident.pages == kinds(incident).count("escalation.step") in (1, 2)

    def test_two_sweeps_at_once_take_a_step_once(self, policy: EscalationPolicy) -> None:
        """Invariant 5: two beats, two workers."""
        incident = opened()
        start = threading.Barrier(4)
        done: list[int] = []

        def sweep() -> None:
            try:
                start.wait(60)
                done.append(escalations.run_due())
            finally:
                connection.close()

        threads = [threading.Thread(target=sweep) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(done) == 1
        assert kinds(incident) == ["opened", "escalation.step"]
