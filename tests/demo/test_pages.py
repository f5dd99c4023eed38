"""The demo's page and seats: who may do what, what goes on record, and what newcomers tick off."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db import transaction
from django.test import Client

from feedback.models import Entry
from monitoring.models import Incident
from portal.demo import scene
from portal.demo.control import Control
from portal.demo.trouble import Trouble
from portal.management.demo import emptying
from portal.management.demo.cast import CAST, PASSWORD
from portal.management.demo.loading import Loaded
from portal.models import AuditEntry, Seat, User
from rollouts.actions import deployments
from rollouts.models import Deployment
from tests import make
from tests.demo import once


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("data")


@pytest.fixture(scope="module")
def loaded_once(django_db_setup: None, django_db_blocker: Any, data_dir: Path) -> Iterator[Loaded]:
    with once.demo(django_db_blocker, data_dir) as found:
        yield found


@pytest.fixture
def loaded(loaded_once: Loaded, settings: Any, data_dir: Path) -> Iterator[Loaded]:
    """Each test's own traces are taken back."""
    settings.DATA_DIR = data_dir
    with transaction.atomic():
        yield loaded_once
        transaction.set_rollback(True)


class Shop:
    """The control door of a service that simulates nothing."""

    def __init__(self, data_dir: Path, variant: str) -> None:
        self.trouble = Trouble()
        release = {"deployment": {"id": 1}, "variant": variant, "next_in": None}
        state = {
            "visits": 10, "evaluations": 12, "evaluation_failures": 0, "samples_sent": 40, "reports_waiting": 0,
            "feedback_posted": 2, "running_for": 9.0, "release": release,
        }  # fmt: skip
        self.control = Control(data_dir, self.trouble, lambda: {**state, "injected": self.trouble.shown()})
        self.control.serve()


@pytest.fixture
def shop(data_dir: Path) -> Iterator[Shop]:
    running = Shop(data_dir, "green")
    yield running
    running.control.close()


def sitting(username: str) -> Client:
    client = Client()
    assert client.post(f"/demo/sit/{username}/").status_code == 302
    return client


def said(client: Client, address: str, **fields: str) -> str:
    """What the page says after the form was sent."""
    answer = client.post(address, fields, follow=True, headers={"Referer": "http://testserver/demo/"})
    return str(answer.content.decode())


# --- Seats --------------------------------------------------------------------------------------
def test_the_login_page_names_the_seats_and_their_password(loaded: Loaded) -> None:
    page = Client().get("/login/").content.decode()
    assert all(part.first_name in page and part.role in page for part in CAST)
    assert PASSWORD in page


@pytest.mark.parametrize("username", [part.username for part in CAST])
def test_each_seat_can_be_taken_and_sees_the_demo(loaded: Loaded, username: str) -> None:
    client = sitting(username)
    assert client.get("/").context["user"].username == username
    page = client.get("/demo/")
    assert page.status_code == 200
    assert "Make trouble" in page.content.decode()


def test_only_seats_can_be_taken_without_a_password(loaded: Loaded) -> None:
    make.person("boss", "owner")
    client = Client()
    assert client.post("/demo/sit/boss/").status_code == 404
    assert "_auth_user_id" not in client.session


def test_a_seat_with_a_password_of_its_own_is_not_given_away(loaded: Loaded) -> None:
    dana = User.objects.get(username="dana")
    dana.set_password("something else entirely")
    dana.save()
    client = Client()
    assert client.post("/demo/sit/dana/").status_code == 409
    assert "_auth_user_id" not in client.session


def test_a_seat_is_taken_by_post_with_its_token_alone(loaded: Loaded) -> None:
    assert Client().get("/demo/sit/dana/").status_code == 405
    assert Client(enforce_csrf_checks=True).post("/demo/sit/dana/").status_code == 403


def test_who_is_not_signed_in_is_asked_to(loaded: Loaded, shop: Shop) -> None:
    for address in ("/demo/", "/demo/state/", "/demo/card/"):
        assert Client().get(address)["Location"].startswith("/login/")
    for address in ("/demo/inject/errors/", "/demo/say/", "/demo/start-empty/"):
        assert Client().post(address, {"text": "x", "because": "x", "sure": "yes"})["Location"].startswith("/login/")
    assert not shop.trouble.of(is_variant=True).any


def test_who_has_no_role_here_sees_and_does_nothing(loaded: Loaded, shop: Shop) -> None:
    client = Client()
    client.force_login(make.person("nobody"))
    assert client.get("/demo/").status_code == 403
    assert client.post("/demo/inject/errors/").status_code == 403
    elsewhere = Client()
    roles = ("operator", "owner")
    elsewhere.force_login(make.person("eve", *roles, environment=make.environment("lab"), service=make.service("labs")))
    assert scene.FIRST_LIVE_VERSION not in elsewhere.get("/demo/").content.decode()
    for address in ("/demo/inject/errors/", "/demo/say/", "/demo/start-empty/"):
        assert elsewhere.post(address, {"text": "x", "because": "x", "sure": "yes"}).status_code == 403
    assert not shop.trouble.of(is_variant=True).any


# --- Making trouble -----------------------------------------------------------------------------
@pytest.mark.parametrize("username", ["dana", "sam", "olga"])
def test_who_may_operate_injects_and_it_goes_on_record(loaded: Loaded, shop: Shop, username: str) -> None:
    page = said(sitting(username), "/demo/inject/errors/")
    assert "takes the release back within seconds" in page
    assert shop.trouble.of(is_variant=True).errors > 0.2
    assert not shop.trouble.of(is_variant=False).any
    line = AuditEntry.objects.get(verb="demo.injected")
    assert (line.actor_id, line.object_label) == (str(User.objects.get(username=username).pk), scene.SERVICE)


@pytest.mark.parametrize("username", ["vera", "ines"])
def test_who_may_not_is_told_so(loaded: Loaded, shop: Shop, username: str) -> None:
    client = sitting(username)
    assert "may only look" in client.get("/demo/").content.decode()
    assert client.post("/demo/inject/errors/").status_code == 403
    assert not shop.trouble.of(is_variant=True).any
    assert not AuditEntry.objects.filter(verb="demo.injected").exists()


def test_each_button_does_what_it_says_and_calm_ends_it(loaded: Loaded, shop: Shop) -> None:
    client = sitting("dana")
    client.post("/demo/inject/latency/")
    assert shop.trouble.of(is_variant=True).latency > 900
    client.post("/demo/inject/angry/")
    assert shop.trouble.of(is_variant=True).angry
    client.post("/demo/inject/both/")
    assert shop.trouble.of(is_variant=False).errors > 0.2
    assert "Injected into both builds" in client.get("/demo/state/").content.decode()
    client.post("/demo/inject/calm/")
    assert "Nothing is injected" in client.get("/demo/state/").content.decode()
    assert AuditEntry.objects.filter(verb="demo.calmed").count() == 1


def test_a_service_that_does_not_answer_is_said_and_not_recorded(loaded: Loaded) -> None:
    client = sitting("dana")
    assert "does not answer" in client.get("/demo/").content.decode()
    assert client.post("/demo/inject/errors/").status_code == 409
    assert not AuditEntry.objects.filter(verb="demo.injected").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", '{"url": "http://192.0.2.1:80", "token": "x"}', '{"url": "http://example.com", "token": ""}'],
)
def test_nobody_but_this_machine_is_asked(loaded: Loaded, data_dir: Path, content: str) -> None:
    path = data_dir / scene.CONTROL_FILE
    path.write_text(content)
    try:
        assert "does not answer" in sitting("dana").get("/demo/state/").content.decode()
    finally:
        path.unlink()


def test_an_unknown_injection_is_not_found(loaded: Loaded, shop: Shop) -> None:
    assert sitting("dana").post("/demo/inject/rain/").status_code == 404


# --- Saying something ---------------------------------------------------------------------------
def test_a_visitors_words_are_feedback_like_any_other(loaded: Loaded) -> None:
    page = said(sitting("dana"), "/demo/say/", text="Koszmar, nic nie działa", rating="1")
    assert "Taken as negative" in page
    entry = Entry.objects.latest("id")
    assert (entry.rating, entry.sentiment, entry.flag) == (1, "negative", scene.FLAG)
    assert entry.release == scene.FIRST_LIVE_VERSION


@pytest.mark.parametrize("fields", [{}, {"rating": "6"}, {"rating": "x", "text": "a"}, {"text": "a\0b"}])
def test_nothing_or_nonsense_is_refused(loaded: Loaded, fields: dict[str, str]) -> None:
    before = Entry.objects.count()
    assert sitting("dana").post("/demo/say/", fields).status_code == 400
    assert Entry.objects.count() == before


# --- The six ticks ------------------------------------------------------------------------------
def ticked(client: Client) -> set[str]:
    steps = client.get("/").context["demo"].steps
    return {step.name for step in steps if step.done}


def test_each_tick_is_set_by_doing_the_thing(loaded: Loaded, shop: Shop) -> None:
    client = sitting("dana")
    assert ticked(client) == set(), "what the past holds ticks nothing"
    live = Deployment.objects.get(live=True, service__key=scene.SERVICE)
    client.get(f"/deployments/{live.pk}/")
    assert ticked(client) == {"canary"}
    waiting = Incident.objects.open().get()
    client.post(f"/incidents/{waiting.pk}/acknowledge/")
    assert ticked(client) == {"canary", "acknowledge"}
    client.post("/demo/inject/errors/")
    assert ticked(client) == {"canary", "acknowledge", "inject"}
    deployments.roll_back(live, by=make.BY, because="errors of green 9 % > 5 %")
    assert ticked(client) == {"canary", "acknowledge", "inject", "rollback"}
    client.get(f"/deployments/{live.pk}/")
    client.post("/demo/say/", {"text": "Great, thank you!"})
    assert ticked(client) == {"canary", "acknowledge", "inject", "rollback", "record", "say"}


def test_ticks_stay_when_another_seat_is_taken(loaded: Loaded) -> None:
    client = sitting("dana")
    client.get("/")
    live = Deployment.objects.get(live=True, service__key=scene.SERVICE)
    client.get(f"/deployments/{live.pk}/")
    client.post("/demo/sit/sam/")
    assert client.get("/").context["user"].username == "sam"
    assert ticked(client) == {"canary"}


def test_the_steps_lead_somewhere(loaded: Loaded) -> None:
    client = sitting("dana")
    for step in client.get("/").context["demo"].steps:
        assert client.get(step.url.partition("#")[0]).status_code == 200


# --- Starting empty -----------------------------------------------------------------------------
def test_only_an_owner_starts_empty_and_says_why(loaded: Loaded, data_dir: Path) -> None:
    asked = {"because": "ours begins", "sure": "yes"}
    assert sitting("dana").post("/demo/start-empty/", asked).status_code == 403
    olga = sitting("olga")
    assert olga.post("/demo/start-empty/", {**asked, "because": ""}).status_code == 400
    assert olga.post("/demo/start-empty/", {"because": "ours begins"}).status_code == 400
    assert olga.post("/demo/start-empty/", asked).status_code == 409, "nobody supervises this portal"
    assert not emptying.is_wished(data_dir)
    assert Seat.objects.exists()


# --- Without the demo ---------------------------------------------------------------------------
@pytest.mark.django_db
def test_without_seats_nothing_of_the_demo_is_there() -> None:
    client = Client()
    assert "demo" not in client.get("/login/").content.decode()
    client.force_login(make.person("somebody", "owner"))
    assert client.get("/demo/").status_code == 404
    assert client.get("/demo/card/").status_code == 404
    assert client.post("/demo/inject/errors/").status_code == 404
    assert client.post("/demo/start-empty/", {"because": "x", "sure": "yes"}).status_code == 404
    assert "/demo/" not in client.get("/").content.decode()
