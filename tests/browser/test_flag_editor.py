"""A person who has never written JSON makes a flag by clicking, and clients get it."""

import time
from decimal import Decimal

import httpx
import pytest
from playwright.sync_api import expect

from tests import make
from tests.browser.chromium import PASSWORD, chromium, settled
from tests.web import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(600)]

# By chance less than one and more than three in eight get what a quarter should, of so many: once in ten million runs.
UNITS = 400
PROPAGATES_WITHIN = 60.0  # seconds, on a busy machine


def test_a_percentage_flag_is_made_by_clicking_and_answered_to_clients() -> None:
    place = make.environment("staging")
    make.person("dana", "captain", first_name="Dana", password=PASSWORD)
    key = make.key("evaluate", environments=[place])
    with Web() as web, chromium(web.url) as browser:
        dana = browser.seat("dana")
        dana.goto(f"{web.url}/flags/")
        settled(dana)
        dana.get_by_role("link", name="New flag").click()
        dana.get_by_role("link", name="Percentage").click()
        dana.get_by_role("button", name="Make the flag").click()
        expect(dana.locator("#key-said")).to_contain_text("letters, digits")
        expect(dana.locator("#announcer")).to_contain_text("another look")
        dana.get_by_label("Key").fill("new-checkout")
        dana.get_by_role("button", name="Make the flag").click()
        link = dana.get_by_role("link", name="Set up in staging")
        expect(link).to_be_visible()
        settled(dana)
        link.click()

        dana.get_by_role("switch").check()
        dana.get_by_label("For how many of them").fill("25")
        dana.locator("summary", has_text="Rules").click()
        dana.get_by_role("button", name="Add a rule").click()
        expect(dana.locator("#rule-1-segment")).to_be_focused()
        dana.get_by_role("button", name="Add a condition").click()
        expect(dana.locator("#rule-1-cond-1-attr")).to_be_focused()
        dana.keyboard.type("country")
        dana.get_by_label("Comparison").select_option("exists")
        expect(dana.get_by_label("Values, one a line")).to_be_hidden()
        dana.get_by_label("Comparison").select_option("in")
        dana.get_by_label("Values, one a line").fill("PL\nDE")
        dana.get_by_role("button", name="See what changes").click()
        expect(dana.locator("#review")).to_be_focused()
        expect(dana.locator("#review")).to_contain_text("country is one of PL or DE → on")
        expect(dana.locator("#review")).to_contain_text("on for 25 %")
        expect(dana.locator("#else-rollout")).to_be_hidden()
        dana.get_by_label("Why?").fill("a quarter, and our own countries")
        dana.get_by_role("button", name="Save in staging").click()
        expect(dana.get_by_role("status").first).to_contain_text("it is revision 1 in staging")
        expect(dana.locator("#flag")).to_contain_text("a quarter, and our own countries")

        with httpx.Client(base_url=web.url, headers={"Authorization": f"Bearer {key}"}, timeout=20) as client:

            def value(**context: str) -> bool:
                answer = client.post("/ofrep/v1/evaluate/flags/new-checkout", json={"context": context})
                return answer.status_code == 200 and answer.json()["value"] is True

            deadline = time.monotonic() + PROPAGATES_WITHIN
            while not value(targetingKey="u", country="PL"):
                assert time.monotonic() < deadline, "the flag never reaches the clients"
            share = Decimal(sum(value(targetingKey=f"user-{n}") for n in range(UNITS))) / UNITS
        assert Decimal("0.13") < share < Decimal("0.37")
