"""Valkey is killed under an open page: it says so, asks by itself, and is live again when Valkey is back."""

import signal

import httpx
import pytest
from playwright.sync_api import expect

from portal.supervise.valkey import Valkey
from tests import make
from tests.browser.chromium import PASSWORD, chromium
from tests.web import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
SOON = 30_000  # milliseconds


def test_without_valkey_the_page_says_so_and_asks_and_with_it_is_live_again(mortal_valkey: Valkey) -> None:
    make.person("dana", "captain", first_name="Dana", password=PASSWORD)
    raw = make.key("write")
    with Web(REDIS_URL=mortal_valkey.url) as web, chromium(web.url) as browser:
        dana = browser.seat("dana")
        clock, incidents = dana.locator("[data-live-clock]"), dana.locator("#open-incidents")
        expect(clock).to_contain_text("live · checked")
        dana.evaluate("window.isTheSamePage = true")
        _report(web, raw, "told by the socket")
        expect(incidents).to_contain_text("told by the socket")

        mortal_valkey.child.signal(signal.SIGKILL)
        expect(clock).to_contain_text("not live", timeout=SOON)
        _report(web, raw, "asked for by the page")
        expect(incidents).to_contain_text("asked for by the page", timeout=SOON)
        expect(clock).to_contain_text("not live")

        mortal_valkey.child.wait_stopped()
        mortal_valkey.child.start()
        expect(clock).to_contain_text("live · checked", timeout=SOON)
        _report(web, raw, "told again")
        expect(incidents).to_contain_text("told again")
        assert dana.evaluate("window.isTheSamePage")


def _report(web: Web, raw: str, title: str) -> None:
    answer = httpx.post(
        f"{web.url}/api/v1/incidents/",
        json={"title": title},
        headers={"X-API-Key": raw},
        timeout=20,
        trust_env=False,
    )
    assert answer.status_code == 201, answer.text
