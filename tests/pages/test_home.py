"""Mission control: what runs, what waits for whom, and what is wrong."""

from types import SimpleNamespace

import pytest
from celery import current_app
from django.test import Client
from django.urls import reverse

from feedback.actions import entries
from monitoring.actions import incidents
from portal import jobs
from portal.pages import chrome
from portal.pages.home import STILL_SHOWN
from rollouts.actions import deployments
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db


def _part(client: Client, name: str) -> str:
    return client.get(reverse("home-part", args=[name]), headers={"HX-Request": "true"}).content.decode()


def test_an_empty_portal_says_what_the_next_step_is() -> None:
    shown = seats.captain().get(reverse("home")).content.decode()
    assert "No rollout is running" in shown
    assert "Nothing waits for you" in shown
    assert "No incident is open" in shown
    assert "No feedback yet" in shown


def test_a_running_deployment_shows_its_stages_weight_and_what_holds_it() -> None:
    run = make.progressing(stages=[5, 25, 100], dwell=600, gates=[{"kind": "soak", "seconds": 900}])
    assert run.entered_stage_at is not None
    deployments.reconcile(run, now=run.entered_stage_at)
    shown = _part(seats.captain(), "running")
    assert shown.count("rail-next") == 2
    assert shown.count("rail-now") == 1
    assert "5\N{NO-BREAK SPACE}%" in shown
    assert "soak: served for 0 s of 900 s" in shown
    assert f'data-chart="chart:deployment:{run.pk}"' in shown
    assert "data-left" in shown, "the rest of the dwell is counted down"


def test_a_run_that_was_just_taken_back_still_says_why() -> None:
    run = make.progressing(stages=[5, 100], dwell=600)
    deployments.roll_back(run, by=BY, because="payments fail")
    captain = seats.captain()
    shown = _part(captain, "running")
    assert "rail-back" in shown
    assert "payments fail" in shown
    run.ended_at = jobs.database_now() - 2 * STILL_SHOWN
    run.save(update_fields=["ended_at"])
    assert "No rollout is running" in _part(captain, "running")


def test_a_stage_whose_gates_pass_says_that_only_its_dwell_is_missing() -> None:
    make.reconciled(make.progressing(stages=[5, 100], dwell=600))
    assert "the stage is served for its whole dwell" in _part(seats.captain(), "running")


def test_a_button_that_cannot_be_pressed_says_why() -> None:
    run = make.progressing(stages=[5, 100], dwell=600)
    deployments.pause(run, by=BY, because="coffee")
    captain = _part(seats.captain(), "running")
    assert "It is paused: resume it first." in captain
    viewer = _part(seats.seat(make.person("vic", "viewer")), "running")
    assert "None of your roles may operate checkout in staging." in viewer
    assert "<form" not in viewer


def test_who_may_approve_is_asked_and_nobody_else() -> None:
    dana = make.person("dana", "captain", "approver")
    run = make.deployment(environment=make.production(), by=dana)
    deployments.start(run, by=dana)
    asked = _part(seats.seat(make.person("ines", "approver")), "needs")
    assert f"{run.release}</a> asks for your approval in production" in asked
    assert run.plan_hash in asked
    assert "Nothing waits for you" in _part(seats.seat(dana), "needs"), "an author has no vote"
    assert "Nothing waits for you" in _part(seats.seat(make.person("vic", "viewer")), "needs")


def test_a_vote_that_was_cast_is_asked_for_no_more() -> None:
    run = make.deployment(environment=make.production())
    deployments.start(run, by=BY)
    ines = seats.seat(make.person("ines", "approver"))
    vote = {"rule": "four_eyes", "value": "abstain", "plan_hash": run.plan_hash, "back": "/"}
    answer = ines.post(reverse("deployment-vote", args=[run.pk]), vote, follow=True)
    assert f"Your vote on deployment {run.pk} counts: abstain." in answer.content.decode()
    assert "asks for your approval" not in _part(ines, "needs")


def test_an_untaken_incident_waits_for_operators_until_one_acknowledges_it() -> None:
    incident = incidents.open_by_hand(
        "cards are declined", by=BY, service=make.service(), environment=make.production()
    )
    olu = seats.seat(make.person("olu", "operator"))
    assert "Nobody has taken" in _part(olu, "needs")
    answer = olu.post(reverse("incident-press", args=[incident.pk, "acknowledge"]), {"back": "/"}, follow=True)
    assert answer.redirect_chain == [("/", 302)]
    assert "Nobody has taken" not in _part(olu, "needs")
    assert "olu is on it" in _part(olu, "incidents")
    assert ">Acknowledge<" not in _part(olu, "incidents")


def test_the_worst_incident_stands_first() -> None:
    for severity in ("SEV4", "SEV1", "SEV3"):
        incidents.open_by_hand(f"a {severity}", by=BY, severity=severity)
    shown = _part(seats.captain(), "incidents")
    assert shown.index("a SEV1") < shown.index("a SEV3") < shown.index("a SEV4")


def test_what_users_write_is_text_and_nothing_else() -> None:
    make.service()
    entries.submit(service="checkout", by=BY, rating=1, text="<script>alert(1)</script> <b>broken</b>")
    shown = _part(seats.captain(), "feedback")
    assert "&lt;script&gt;alert(1)" in shown
    assert "1 of 5 stars" in shown
    assert "<b>broken" not in shown


def test_a_sweep_that_has_stopped_is_said_on_every_page(monkeypatch: pytest.MonkeyPatch) -> None:
    current_app.finalize()  # as in a web process: every sweep is known by name
    # The page's clock stands still: however long the test takes, no sweep of it grows stale.
    now = jobs.database_now()
    monkeypatch.setattr(chrome, "timezone", SimpleNamespace(now=lambda: now))
    captain = seats.captain()
    assert "may be out of date" in captain.get(reverse("flags")).content.decode()
    for name in jobs.SWEEPS:
        jobs.beat(name, cycle_ms=1, backlog=0)
    assert "may be out of date" not in captain.get(reverse("flags")).content.decode()


def test_a_part_that_is_not_there_is_not_found() -> None:
    assert seats.captain().get(reverse("home-part", args=["nonsense"])).status_code == 404
