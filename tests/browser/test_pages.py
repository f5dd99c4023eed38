"""The pages in a real browser: light, dark and on a phone, live, without an error or a violation of the policy."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.urls import reverse
from playwright.sync_api import Page, expect

from monitoring.models import ErrorGroup, PostMortem
from portal.models import User
from rollouts.actions import audience_links
from rollouts.models import Audience, Segment
from tests import make
from tests.browser.chromium import DESK, PASSWORD, PHONE, Chromium, Scheme, chromium, settled
from tests.pages.world import World, world
from tests.web import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

# The panel of the verb that is open.
OPEN = "#state .act[open] textarea"
SEND = "#state .act[open] button"
# Names a folder where the pictures are kept to be looked at; without it none is taken.
SHOTS = os.environ.get("BROWSER_SHOTS")
SCHEMES: tuple[Scheme, ...] = ("light", "dark")
TOO_WIDE = "document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture
def made() -> World:
    """A portal in use, Dana who drives it, and Sam who approves."""
    make.person("dana", "captain", first_name="Dana", is_staff=True, is_superuser=True, password=PASSWORD)
    make.person("sam", "approver", "operator", first_name="Sam", password=PASSWORD)
    return world(3)


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: Any) -> Iterator[Web]:
    """One for all of them: what it remembers of a portal that is gone must not harm the next."""
    with django_db_blocker.unblock(), Web() as running:
        yield running


@pytest.fixture
def browser(made: World, web: Web) -> Iterator[Chromium]:
    """After the world: the browser's driver is a loop in this thread, in which Django asks its database nothing."""
    with chromium(web.url) as driven:
        yield driven


@pytest.fixture
def addresses(made: World) -> dict[str, str]:
    segment = Segment.objects.order_by("pk")[0].key
    return {
        "home": reverse("home"),
        "deployments": reverse("deployments") + "?show=all",
        "deployment": reverse("deployment", args=[made.deployments[0].pk]),
        "release": reverse("release", args=[made.releases[0].pk]),
        "incidents": reverse("incidents"),
        "on-call": reverse("on-call"),
        "my-notifications": reverse("my-notifications"),
        "incident-figures": reverse("incident-figures"),
        "post-mortem": reverse("post-mortem", args=[PostMortem.objects.order_by("pk")[0].incident_id]),
        "action-items": reverse("action-items"),
        "incident": reverse("incident", args=[made.incidents[0].pk]),
        "errors": reverse("errors"),
        "error": reverse("error", args=[ErrorGroup.objects.order_by("pk")[0].pk]),
        "channels": reverse("channels"),
        "dead-letters": reverse("dead-letters"),
        "change-requests": reverse("change-requests"),
        "change-request": reverse("change-request", args=[made.requests[0].pk]),
        "flags": reverse("flags"),
        "flag": reverse("flag", args=[made.flags[0].key]),
        "flag-connect": reverse("flag-connect", args=[made.flags[0].key]),
        "join": urlsplit(audience_links.make(Audience.objects.earliest("id"), unit="u1", by=make.BY)[0]).path,
        "flag-new": reverse("flag-new"),
        "flag-new-ab": reverse("flag-new") + "?type=ab_test",
        "flag-definition": reverse("flag-definition", args=[made.flags[0].key]),
        "flag-edit": reverse("flag-edit", args=[made.flags[0].key, made.environment.key]),
        "segments": reverse("segments"),
        "segment": reverse("segment", args=[segment]),
        "segment-edit": reverse("segment-edit", args=[segment]),
        "admin-index": reverse("admin:index"),
        "admin-changelist": reverse("admin:rollouts_deployment_changelist"),
        "admin-bulk-actions": reverse("admin:portal_user_changelist"),
        "admin-form": reverse("admin:monitoring_incidentdefinition_add"),
        "admin-dates": reverse("admin:portal_apikey_add"),
        "admin-inlines": reverse("admin:portal_user_change", args=[User.objects.get(username="dana").pk]),
        "admin-buttons": reverse("admin:rollouts_deployment_change", args=[made.deployments[0].pk]),
        "admin-history": reverse("admin:rollouts_deployment_history", args=[made.deployments[0].pk]),
        "api-docs": reverse("api-docs"),
    }


def test_every_page_is_drawn_without_an_error_and_fits(addresses: dict[str, str], web: Web, browser: Chromium) -> None:
    # A real phone's window is drawn anew for its picture alone: whether a page fits, its width tells.
    for phone in (False, True) if SHOTS else (False,):
        stranger = browser.window(phone=phone)
        stranger.goto(f"{web.url}{reverse('login')}")
        _photograph(stranger, "login", phone)
        dana = browser.seat("dana", phone=phone)
        for name, address in addresses.items():
            answer = dana.goto(web.url + address)
            assert answer is not None
            assert answer.status == 200, address
            expect(dana.locator("h1, h2").first).to_be_visible()
            if name != "api-docs":
                expect(dana.locator("[data-live-clock]")).to_contain_text("live")
                assert dana.evaluate(TOO_WIDE) <= 0, f"{address}, phone: {phone}"
            _photograph(dana, name, phone)
            if not phone and name != "api-docs":
                dana.set_viewport_size(PHONE)
                assert dana.evaluate(TOO_WIDE) <= 0, f"{address} at a phone's width"
                dana.set_viewport_size(DESK)


def test_what_one_person_does_the_other_sees_without_a_reload(made: World, web: Web, browser: Chromium) -> None:
    run = reverse("deployment", args=[made.deployments[0].pk])
    dana, sam = browser.seat("dana"), browser.seat("sam")
    sam.goto(web.url + run)
    dana.goto(web.url + run)
    settled(sam)
    settled(dana)
    sam.evaluate("window.isTheSamePage = true")
    dana.locator("#state summary", has_text="Roll back").click()
    dana.locator(OPEN).fill("payments fail")
    dana.locator(SEND).click()
    expect(dana.get_by_role("status").first).to_contain_text("is rolled back")
    expect(sam.locator("#state .pill").first).to_have_text("Rolled back")
    expect(sam.locator("#timeline")).to_contain_text("payments fail")
    expect(sam.locator("#announcer")).to_contain_text("rolled back")
    assert sam.evaluate("window.isTheSamePage")


def test_a_reason_being_typed_survives_what_others_do_meanwhile(made: World, web: Web, browser: Chromium) -> None:
    run = reverse("deployment", args=[made.deployments[0].pk])
    dana, other = browser.seat("dana"), browser.seat("dana")
    dana.goto(web.url + run)
    other.goto(web.url + run)
    settled(dana)
    settled(other)
    dana.locator("#state summary", has_text="Roll back").click()
    dana.locator(OPEN).fill("half a sentence")
    other.locator("#state summary", has_text="Pause").click()
    other.locator(OPEN).fill("a look at the logs")
    other.locator(SEND).click()
    expect(dana.locator("#state .pill").first).to_have_text("Paused")
    expect(dana.locator(OPEN)).to_have_value("half a sentence")
    dana.keyboard.press("Escape")
    expect(dana.locator(OPEN)).to_have_count(0)


def test_the_chart_is_drawn_and_stays_where_it_is_when_the_page_is_refreshed(
    made: World, web: Web, browser: Chromium
) -> None:
    dana = browser.seat("dana")
    settled(dana)
    chart = dana.locator(f"#chart-{made.deployments[0].pk}")
    expect(chart.locator("canvas")).to_have_count(1)
    expect(chart).to_contain_text("limit >")
    dana.evaluate(f"document.querySelector('#chart-{made.deployments[0].pk} canvas').marked = true")
    other = browser.seat("dana")
    other.goto(web.url + reverse("deployment", args=[made.deployments[0].pk]))
    settled(other)
    other.locator("#state summary", has_text="Pause").click()
    other.locator(OPEN).fill("a look at the logs")
    other.locator(SEND).click()
    expect(dana.locator("#running")).to_contain_text("a look at the logs")
    assert dana.evaluate(f"document.querySelector('#chart-{made.deployments[0].pk} canvas').marked")


def test_a_lost_socket_is_said_and_the_page_asks_by_itself(made: World, web: Web, browser: Chromium) -> None:
    dana = browser.seat("dana")
    dana.route_web_socket("**/live/", lambda socket: socket.close())
    dana.goto(web.url + reverse("home"))
    expect(dana.locator("[data-live-clock]")).to_contain_text("not live")
    assert dana.evaluate("document.documentElement.dataset.liveState") == "lost"
    other = browser.seat("sam")
    _take_the_first_incident(other)
    expect(dana.locator("#open-incidents")).to_contain_text("Sam is on it")
    # A socket that was refused is an error that the browser itself reports.
    browser.said[:] = [line for line in browser.said if "WebSocket" not in line]


def test_the_theme_is_chosen_and_survives_a_reload(made: World, web: Web, browser: Chromium) -> None:
    dana = browser.seat("dana", scheme="light")
    grounds = [_ground(dana)]
    for _ in range(2):
        dana.get_by_role("button", name="Theme").click()
        grounds.append(_ground(dana))
    light, chosen_light, chosen_dark = grounds
    assert (light, chosen_light) == ("rgb(246, 248, 250)", "rgb(246, 248, 250)")
    assert chosen_dark == "rgb(15, 20, 26)"
    dana.reload()
    assert _ground(dana) == chosen_dark
    dana.goto(web.url + reverse("admin:index"))
    assert _ground(dana) == chosen_dark, "the admin is the same house"


def test_the_keyboard_reaches_the_content_and_the_buttons(made: World, web: Web, browser: Chromium) -> None:
    dana = browser.seat("dana")
    dana.goto(web.url + reverse("deployment", args=[made.deployments[0].pk]))
    settled(dana)
    dana.keyboard.press("Tab")
    expect(dana.locator(":focus")).to_have_text("Skip to the content")
    dana.keyboard.press("Enter")
    dana.wait_for_url(lambda url: urlsplit(url).fragment == "main")
    dana.locator("#state summary", has_text="Roll back").focus()
    dana.keyboard.press("Enter")
    expect(dana.locator(":focus")).to_have_attribute("name", "because")


def test_on_a_phone_what_needs_somebody_stands_first(made: World, web: Web, browser: Chromium) -> None:
    sam = browser.seat("sam", phone=True)
    settled(sam)
    needs, running = sam.locator("#needs").bounding_box(), sam.locator("#running").bounding_box()
    assert needs is not None
    assert running is not None
    assert needs["y"] < running["y"]
    small = sam.evaluate(
        """[...document.querySelectorAll("main .btn")].filter((button) => button.checkVisibility()
        && button.getBoundingClientRect().height < 44).map((button) => button.textContent)"""
    )
    assert small == [], "fingers need 44 pixels"
    sam.locator("#running .act summary", has_text="Roll back").first.click()
    panel = sam.locator(".act[open] .act-panel").bounding_box()
    assert panel is not None
    assert (panel["x"], panel["width"]) == (0, 390)


def _photograph(page: Page, name: str, phone: bool) -> None:
    if not SHOTS:
        return
    for scheme in SCHEMES[:1] if phone else SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.screenshot(path=Path(SHOTS) / f"{name}-{'phone' if phone else scheme}.png", full_page=True)


def _ground(page: Page) -> str:
    return str(page.evaluate("getComputedStyle(document.body).backgroundColor"))


def _take_the_first_incident(page: Page) -> None:
    settled(page)
    page.locator("#open-incidents").get_by_role("button", name="Acknowledge").first.click()
    expect(page.get_by_role("status").first).to_contain_text("is acknowledged")
