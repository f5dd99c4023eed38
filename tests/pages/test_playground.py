"""The pages of the playground and of a flag's use: what a context gets, and why a unit got what it got."""

from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.actions import exposures
from monitoring.actions.exposures import Shown, minute_of
from portal import jobs, live
from portal.models import User
from rollouts.actions import contexts, flags
from rollouts.models import ContextSample, Flag, FlagConfig
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db
PRO = [{"id": "pros", "all": [{"attr": "plan", "op": "equals", "values": ["pro"]}], "serve": {"variant": "on"}}]


@pytest.fixture
def viewer() -> Client:
    return seats.seat(make.person("vic", "viewer"))


@pytest.fixture
def flag() -> Flag:
    place = make.environment()
    made = make.flag("lamp", on_in=[place])
    flags.configure(made, place, {"rules": PRO}, by=BY)
    return made


def play(client: Client, context: str, *, htmx: bool = True, **more: str) -> Any:
    headers = {"HX-Request": "true"} if htmx else {}
    body = {"environment": "staging", "context": context, **more}
    return client.post(reverse("playground-answers"), body, headers=headers)


def test_every_flag_is_decided_and_its_trace_stands_beneath(viewer: Client, flag: Flag) -> None:
    make.flag("other")
    shown = play(viewer, '{"targetingKey": "ann", "plan": "pro"}').content.decode()
    assert "<html" not in shown
    assert 'id="answer-lamp"' in shown
    assert "plan is pro" in shown
    assert "✓ holds" in shown
    assert "2 flags" in shown
    assert "✗ does not hold" in play(viewer, '{"targetingKey": "ann"}').content.decode()


def test_it_works_without_scripts(viewer: Client, flag: Flag) -> None:
    shown = play(viewer, '{"targetingKey": "ann", "plan": "pro"}', htmx=False).content.decode()
    assert "<html" in shown
    assert "&quot;plan&quot;: &quot;pro&quot;" in shown
    assert 'id="answer-lamp"' in shown


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("{", "This is not JSON"),
        ("[]", "context: must be an object"),
        ('{"targetingKey": 7}', "context.targetingKey: must be a text"),
        ('{"a": "' + "x" * 70_000 + '"}', "larger than 65536 bytes"),
        ("\ud800", "This is not JSON"),
    ],
)
def test_what_is_wrong_with_a_context_is_said(viewer: Client, flag: Flag, typed: str, words: str) -> None:
    answer = play(viewer, typed.encode("utf-8", "surrogatepass").decode("latin-1"))
    assert answer.status_code == 200
    assert words in answer.content.decode()


def test_flags_are_filtered_and_come_in_pages(viewer: Client, flag: Flag) -> None:
    for number in range(60):
        make.flag(f"many-{number:02}")
    shown = play(viewer, "{}", q="lam").content.decode()
    assert 'id="answer-lamp"' in shown
    assert "many-" not in shown
    assert "1–50 of 61" in play(viewer, "{}").content.decode()
    assert "many-59" in play(viewer, "{}", page="2").content.decode()
    assert "No flag fits" in play(viewer, "{}", q="nothing like that").content.decode()


def test_a_sampled_context_is_picked(viewer: Client, flag: Flag) -> None:
    for unit in ("ann", "bob"):
        sample = contexts.read("staging", {"targetingKey": unit, "plan": "pro", "email": f"{unit}@example.com"})
        assert sample
        contexts.keep([sample], at=jobs.database_now())
    page = f"{reverse('playground')}?environment=staging"
    shown = viewer.get(page).content.decode()
    assert "example.com" not in shown
    assert ">bob</a>" in shown
    assert ">bob</a>" not in viewer.get(f"{page}&units=an").content.decode()
    number = ContextSample.objects.get(unit="ann").pk
    picked = viewer.get(f"{page}&sample={number}").content.decode()
    assert "&quot;targetingKey&quot;: &quot;ann&quot;" in picked
    assert "plan is pro" in picked
    for odd in ("x", "9" * 30, "-1", str(number + 10_000)):
        assert viewer.get(f"{page}&sample={odd}").status_code == 200


def test_contexts_are_for_those_who_view_the_environment_whole(flag: Flag) -> None:
    service = make.service("shop")
    sample = contexts.read("staging", {"targetingKey": "annabel"})
    assert sample
    contexts.keep([sample], at=jobs.database_now())
    limited = seats.seat(make.person("lim", "viewer", service=service))
    shown = limited.get(f"{reverse('playground')}?environment=staging&sample={ContextSample.objects.get().pk}")
    assert "you need to be allowed to view staging for every service" in shown.content.decode()
    assert "annabel" not in shown.content.decode()


def test_why_a_unit_got_what_it_got(viewer: Client, flag: Flag) -> None:
    place = make.environment()
    sample = contexts.read("staging", {"targetingKey": "ann", "plan": "pro"})
    assert sample
    contexts.keep([sample], at=jobs.database_now())
    revision = FlagConfig.objects.get(flag=flag).revision
    exposures.expose([Shown("staging", "lamp", "on", "ann", jobs.database_now(), revision, "RULE pros")])
    flags.configure(flag, place, {"rules": []}, by=BY)
    address = reverse("flag-why", args=["lamp"])
    shown = viewer.get(f"{address}?unit=ann&environment=staging").content.decode()
    assert "How it got it then" in shown
    assert "What it gets now" in shown
    assert f"It was revision {revision} then and is revision {revision + 1} now" in shown
    assert "Whom is it about?" in viewer.get(address).content.decode()
    assert "at most 512 characters" in viewer.get(f"{address}?unit={'u' * 600}").content.decode()
    assert "Only single evaluations" in viewer.get(f"{address}?unit=ghost").content.decode()


def test_the_page_of_a_flag_says_how_it_is_used(viewer: Client, flag: Flag) -> None:
    address = reverse("flag", args=["lamp"])
    assert "It has never been evaluated in staging." in viewer.get(address).content.decode()
    minute = minute_of(jobs.database_now())
    long_ago = minute - timedelta(days=40)
    exposures.count("web", 1, {("staging", "lamp", "on", long_ago): 3}, [])
    Flag.objects.update(created_at=long_ago)
    shown = viewer.get(address).content.decode()
    assert "not evaluated in staging for 40 d" in shown
    config = FlagConfig.objects.get()
    assert f'data-chart="chart:flag-use:{config.pk}"' in shown
    listed = viewer.get(f"{reverse('flags')}?life=stale").content.decode()
    assert "not evaluated in staging for 40 d" in listed
    exposures.count("web", 2, {("staging", "lamp", "on", minute): 3}, [])
    assert "No flag fits" in viewer.get(f"{reverse('flags')}?life=stale").content.decode()


def test_the_chart_has_a_point_for_each_minute_and_variant(viewer: Client, flag: Flag) -> None:
    now = jobs.database_now()
    exposures.count(
        "web", 1, {("staging", "lamp", "on", minute_of(now)): 7}, [Shown("staging", "lamp", "on", "u", now)]
    )
    frame = viewer.get(reverse("flag-use-frame", args=["lamp", "staging"])).json()
    assert [panel["lines"] for panel in frame["panels"]] == [["on", "off"], ["on", "off"]]
    assert {len(points) for points in frame["series"].values()} == {61}
    assert sum(value for _, value in frame["series"]["e:on"]) == 7
    assert sum(value for _, value in frame["series"]["x:on"]) == 1
    assert sum(value for _, value in frame["series"]["x:off"]) == 0


def test_who_may_not_view_a_flag_may_not_watch_its_use(flag: Flag) -> None:
    topic, config = live.TOPICS["chart:flag-use"], FlagConfig.objects.get()
    inside, outside = make.person("in", "viewer"), make.person("out", "viewer", environment=make.environment("other"))
    assert topic.may(inside, str(config.pk))
    assert not topic.may(outside, str(config.pk))
    assert not topic.may(User.objects.create_user("nobody"), str(config.pk))
    assert not topic.may(inside, None)
    assert not topic.may(inside, "999999")
    assert topic.frame is not None
    assert set(topic.frame(str(config.pk))["series"]) == {"x:on", "x:off", "e:on", "e:off"}


def test_a_flag_whose_type_promises_what_it_does_not_do_still_has_its_page(viewer: Client) -> None:
    place = make.environment()
    made = make.flag("shares", on_in=[place])
    flags.change(made, {"type": "ab_test"}, by=BY)
    shown = viewer.get(reverse("flag", args=["shares"]))
    assert shown.status_code == 200
    assert "tone-due" in shown.content.decode()
