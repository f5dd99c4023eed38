"""Releases, plans and deployments in the admin: forms and buttons that call the actions."""

import json
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from portal import audit
from rollouts.models import Deployment, Plan, Release
from tests import make

pytestmark = pytest.mark.django_db


@pytest.fixture
def captain() -> Client:
    client = Client()
    client.force_login(make.person("cleo", "captain", "viewer", is_staff=True))
    return client


def address(noun: str, page: str, *args: Any) -> str:
    return reverse(f"admin:rollouts_{noun}_{page}", args=args)


def press(client: Client, deployment: Deployment, name: str, because: str = "") -> Any:
    return client.post(address("deployment", "press", deployment.pk, name), {"because": because}, follow=True)


def test_a_deployment_is_drafted_by_a_form_and_run_by_buttons(captain: Client) -> None:
    place = make.environment()
    release, plan, flag = make.release(), make.plan(stages=[5, 100], dwell=600), make.flag(on_in=[place])
    serves = [{"flag": flag.key, "variant": "on", "baseline": "off"}]
    body = {"release": release.pk, "environment": place.pk, "plan": plan.pk, "serves": json.dumps(serves)}
    made = captain.post(address("deployment", "add"), body)
    assert made.status_code == 302, made.content.decode()
    deployment = Deployment.objects.get()
    assert deployment.created_by_name == "cleo"
    assert b"is progressing at 5 %" in press(captain, deployment, "start").content
    assert b"cannot advance: dwell" in press(captain, deployment, "advance").content
    assert b"is paused at 5 %" in press(captain, deployment, "pause", "lunch").content
    assert b"is progressing at 5 %" in press(captain, deployment, "resume").content
    assert b"a reason is needed" in press(captain, deployment, "roll_back").content
    assert b"is rolled back at 0 %" in press(captain, deployment, "roll_back", "errors").content
    entry = audit.of(deployment).filter(verb="deployment.rolled_back").get()
    assert (entry.actor, entry.because) == ("cleo", "errors")
    assert b"is draft at 0 %" in press(captain, deployment, "retry").content
    assert b"is cancelled at 0 %" in press(captain, deployment, "cancel", "enough").content


def test_what_a_form_got_wrong_stands_beside_the_field(captain: Client) -> None:
    place = make.environment()
    body = {"release": make.release().pk, "environment": place.pk, "plan": make.plan().pk}
    for serves in ('[{"flag": "nothing", "variant": "on", "baseline": "off"}]', "[5]", '{"a": 1}', "["):
        answer = captain.post(address("deployment", "add"), body | {"serves": serves})
        assert answer.status_code == 200
        assert answer.context["adminform"].form.errors["serves"]
    assert not Deployment.objects.exists()


def test_a_status_is_shown_and_never_typed(captain: Client) -> None:
    deployment = make.progressing(dwell=600)
    page = captain.get(address("deployment", "change", deployment.pk))
    assert page.status_code == 200
    assert b"pill" in page.content
    assert b'name="status"' not in page.content
    captain.post(address("deployment", "change", deployment.pk), {"status": "succeeded"})
    deployment.refresh_from_db()
    assert deployment.status == "progressing"


def test_only_the_buttons_that_fit_are_there(captain: Client) -> None:
    deployment = make.progressing(dwell=600)
    names = [one.name for one in captain.get(address("deployment", "change", deployment.pk)).context["buttons"]]
    assert sorted(names) == ["advance", "pause", "roll_back"]


def test_a_button_needs_the_role_it_needs_anywhere_else() -> None:
    deployment = make.progressing(dwell=600)
    viewer = Client()
    viewer.force_login(make.person("vera", "viewer", is_staff=True))
    assert b"may not operate" in press(viewer, deployment, "roll_back", "x").content
    deployment.refresh_from_db()
    assert deployment.status == "progressing"


def test_other_environments_are_not_seen() -> None:
    deployment = make.progressing(dwell=600)
    stranger = Client()
    stranger.force_login(make.person("sid", "captain", environment=make.environment("qa"), is_staff=True))
    assert stranger.get(address("deployment", "changelist")).context["cl"].result_count == 0
    assert stranger.get(address("deployment", "change", deployment.pk)).status_code in (302, 404)
    assert press(stranger, deployment, "roll_back", "x").status_code == 404


def test_a_plan_is_edited_into_a_new_version(captain: Client) -> None:
    plan = make.plan("canary", stages=[5, 100])
    page = captain.get(address("plan", "change", plan.pk))
    assert page.status_code == 200
    content = plan.content | {"watch": 60}
    body = {"content": json.dumps(content), "expected_hash": plan.hash}
    assert captain.post(address("plan", "change", plan.pk), body).status_code == 302
    newest = Plan.objects.get(name="canary", current=True)
    assert (newest.version, newest.content["watch"], newest.author_name) == (2, 60, "cleo")
    late = captain.post(address("plan", "change", newest.pk), body | {"content": json.dumps(plan.content)})
    assert b"is not the one you have seen" in late.content
    # The older version is there to read.
    assert captain.get(address("plan", "change", plan.pk)).status_code == 200
    assert Plan.objects.count() == 2


def test_a_plan_is_made_and_a_wrong_one_is_told_where(captain: Client) -> None:
    add = address("plan", "add")
    stages = [{"name": "all", "weight": 100, "dwell": 5, "gates": []}]
    for content in ("[1]", "{", json.dumps({"stages": [{**stages[0], "weight": 500}]})):
        assert captain.post(add, {"name": "big", "content": content}).status_code == 200
    assert not Plan.objects.exists()
    assert captain.post(add, {"name": "big", "content": json.dumps({"stages": stages})}).status_code == 302
    assert Plan.objects.get().version == 1


def test_a_release_is_announced_and_corrected(captain: Client) -> None:
    service = make.service()
    body = {"service": service.pk, "version": "3.0", "type": "canary", "risk": "low", "zone": "UTC", "commit": "abc"}
    assert captain.post(address("release", "add"), body | {"zone": "Moon/Base"}).status_code == 200
    assert captain.post(address("release", "add"), body).status_code == 302
    release = Release.objects.get()
    assert captain.post(address("release", "change", release.pk), body | {"notes": "now with notes"}).status_code == 302
    release.refresh_from_db()
    assert (release.notes, release.commit) == ("now with notes", "abc")


@pytest.mark.parametrize("noun", ["deployment", "deploymentflag", "stage", "gate", "vote", "plan", "release"])
def test_a_list_costs_the_same_for_two_and_for_twelve(
    captain: Client, noun: str, django_assert_max_num_queries: Any
) -> None:
    def several(count: int) -> None:
        for _ in range(count):
            place = make.environment(f"place{Deployment.objects.count()}")
            gates = [{"kind": "soak", "seconds": 60}]
            make.progressing(environment=place, stages=[5], gates=gates, dwell=600)

    several(2)
    captain.get(address(noun, "changelist"))
    with django_assert_max_num_queries(40) as two:
        captain.get(address(noun, "changelist"))
    several(10)
    with django_assert_max_num_queries(len(two)):
        assert captain.get(address(noun, "changelist")).status_code == 200
