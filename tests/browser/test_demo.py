"""A newcomer in a real browser, on a first start: a release breaks and is taken back before his eyes."""

import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, ViewportSize, expect

from portal.demo import scene
from portal.management.demo.cast import CAST
from tests import migrated
from tests.browser.chromium import Chromium, Scheme, chromium, settled
from tests.running import Running

# One portal is shared by all of them, in their order.
pytestmark = [pytest.mark.xdist_group("demo-in-a-browser"), pytest.mark.timeout(600)]
# A machine that tests on all its cores answers late: that is not what is tested here.
SETTINGS = {"PORTAL_DEMO_VISITS": "30", "PORTAL_REQUEST_TIMEOUT": "60"}
SLOW = 120_000  # milliseconds for what the portal does by itself
MINUTES = 400_000
READABLE = 45.0  # seconds of the second stage, so that its figures are there
LOOKS: tuple[Scheme, ...] = ("light", "dark")
PICTURE: ViewportSize = {"width": 1280, "height": 972}
LARGEST = 300_000  # bytes
STAYS = "window.isTheSamePage = true"
STAYED = "window.isTheSamePage"
NOTES_WHEN_SEEN = """([selector, words]) => {
    const look = () => {
        if (!window.seenAt && document.querySelector(selector)?.textContent.includes(words)) window.seenAt = Date.now();
    };
    new MutationObserver(look).observe(document, { subtree: true, childList: true, characterData: true });
}"""


@pytest.fixture(scope="module")
def portal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    data = migrated.into(tmp_path_factory.mktemp("browser") / "data")
    running = Running(data, "--port", "0", env=SETTINGS, demo=())
    try:
        yield running.wait_ready()
    finally:
        running.end()


@pytest.fixture
def browser(portal: Running) -> Iterator[Chromium]:
    assert portal.url is not None
    with chromium(portal.url) as driven:
        yield driven


def test_mission_control_is_photographed(browser: Chromium, tmp_path: Path) -> None:
    # SCREENSHOTS names the folder of the README's pictures (`make screenshots`): they wait for some minutes of data.
    folder = os.environ.get("SCREENSHOTS")
    pages: list[tuple[Scheme, Page]] = [(look, browser.window(scheme=look, size=PICTURE)) for look in LOOKS]
    for _, page in pages:
        page.goto(browser.url)
        _sit(page, "Dana")
        canary = page.locator("#running article", has_text=scene.FIRST_LIVE_VERSION)
        expect(canary.locator("canvas")).to_have_count(2, timeout=SLOW)
        if folder:
            expect(canary.locator(".figure")).to_contain_text("25", timeout=MINUTES)
    if folder:
        time.sleep(READABLE)
    for look, page in pages:
        expect(page.locator("#banner")).not_to_contain_text("out of date", timeout=SLOW)
        picture = Path(folder or tmp_path) / f"mission-control-{look}.png"
        page.screenshot(path=picture)
        assert picture.stat().st_size < LARGEST


def test_injected_errors_are_seen_as_incident_and_rollback_without_a_reload(browser: Chromium) -> None:
    home = browser.window()
    home.goto(browser.url)
    for part in CAST:
        expect(home.get_by_role("button", name=part.first_name, exact=True)).to_be_visible()
    _sit(home, "Dana")
    canary = home.locator("#running article", has_text=scene.FIRST_LIVE_VERSION)
    expect(canary.locator(".pill").first).to_have_text("Progressing", timeout=SLOW)
    expect(canary.locator("canvas").first).to_be_visible(timeout=SLOW)
    home.evaluate(STAYS)
    requested: list[str] = []
    home.on("framenavigated", lambda frame: requested.append(frame.url))

    control = browser.tab(home.context)
    control.goto(f"{browser.url}/demo/")
    control.get_by_role("button", name="Inject errors").click()
    expect(control.get_by_role("status").first).to_contain_text("takes the release back within seconds")

    expect(canary.locator(".pill").first).to_have_text("Rolled back", timeout=SLOW)
    expect(canary.locator(".verdict")).to_contain_text("errors")
    expect(home.locator("#open-incidents")).to_contain_text(f"{scene.SERVICE} in {scene.ENVIRONMENT}")
    assert home.evaluate(STAYED)
    assert requested == []


def test_what_one_browser_does_shows_in_the_other(browser: Chromium, capsys: pytest.CaptureFixture[str]) -> None:
    sam, vera = browser.window(), browser.window()
    for page, name in ((sam, "Sam"), (vera, "Vera")):
        page.goto(browser.url)
        _sit(page, name)
    vera.evaluate(STAYS)
    vera.evaluate(NOTES_WHEN_SEEN, ["#open-incidents", "Sam Okafor is on it"])
    expect(vera.locator("#open-incidents")).not_to_contain_text("Sam Okafor is on it")
    # What the pressed button's form does last, before the browser leaves for the answer.
    sam.evaluate("addEventListener('submit', () => sessionStorage.setItem('sentAt', Date.now()))")
    sam.locator("#open-incidents").get_by_role("button", name="Acknowledge").first.click()
    expect(sam.get_by_role("status").first).to_contain_text("is acknowledged", timeout=SLOW)
    expect(vera.locator("#open-incidents")).to_contain_text("Sam Okafor is on it", timeout=SLOW)
    assert vera.evaluate(STAYED)
    took = vera.evaluate("window.seenAt") - int(sam.evaluate("sessionStorage.getItem('sentAt')"))
    with capsys.disabled():
        print(f"\nfrom pressing Acknowledge in one browser to seeing it in the other: {took} ms")


def _sit(page: Page, name: str) -> None:
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(re.compile(r"/$"))
    expect(page.get_by_role("heading", name="Mission control")).to_be_visible()
    settled(page)
