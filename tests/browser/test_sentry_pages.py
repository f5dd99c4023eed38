"""A page of another origin with Sentry's unmodified SDK in its bundle: what breaks there becomes groups here."""

import subprocess
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.test import Client
from playwright.sync_api import Page

from monitoring.models import ErrorOccurrence, Rejection
from portal import keys
from tests import make
from tests.browser.chromium import chromium
from tests.browser.foreign import Site
from tests.browser.relay import Passed, Relay
from tests.clients.node import install
from tests.web import Web

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.timeout(300)]
SCRIPT = "/assets/shop-4XKQ7B2Z.js"
PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Shop</title></head><body>
<button id="buy">Buy</button><button id="fatal">Fatal</button>
<script src="{script}?v=7" data-release="shop@1.2.0" {tag}></script></body></html>"""
WITHIN = 30.0  # seconds for whatever a page sends to arrive


class Shop(Site):
    """Its pages have a bundle of their own, with the SDK in it."""

    bundle = ""

    def page(self) -> str:
        return PAGE.format(script=SCRIPT, tag=self.tag)

    @property
    def files(self) -> dict[str, tuple[str, str]]:
        return {**super().files, SCRIPT: ("text/javascript", self.bundle)}


@pytest.fixture(scope="module")
def bundle() -> str:
    """As a shop would ship it. Names are kept, as its build does that wants to read its stacks."""
    folder = install("sentry")
    command = [str(folder / "node_modules/.bin/esbuild"), "shop.mjs", "--bundle", "--minify", "--keep-names"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.fixture(scope="module")
def web(django_db_setup: None, django_db_blocker: Any) -> Iterator[Web]:
    with django_db_blocker.unblock(), Web() as running:
        yield running


def test_the_sdk_of_a_foreign_page_reports_here(bundle: str, web: Web) -> None:
    service, reader = make.service("shop"), make.key("read")
    with Shop() as shop, Shop() as thief, Relay(web.url) as relay:
        shop.bundle = thief.bundle = bundle
        shop.portal = thief.portal = relay.url
        public = keys.to_public(make.browser_key(shop.url, services=[service]))
        dsn = f"http://{public}@{urlsplit(relay.url).netloc}/{service.pk}"
        shop.tag = thief.tag = f'data-dsn="{dsn}"'
        with chromium(web.url) as browser:
            page = browser.browser.new_context().new_page()  # where the browser may complain

            def sent(kind: str, many: int) -> list[Passed]:
                def found() -> list[Passed]:
                    return [one for one in relay.reports if f'{{"type":"{kind}"}}'.encode() in one.body]

                until(page, lambda: len(found()) >= many)
                return found()

            page.goto(f"{shop.url}/orders/1234?coupon=secret#top")
            page.get_by_role("button", name="Buy").click()
            (event,) = sent("event", 1)
            assert (event.status, event.headers["origin"]) == (200, shop.url)
            assert event.headers["content-type"] == "text/plain;charset=UTF-8"
            # The SDK has read its answer: that it was refused or lost it would say with the next report.
            page.get_by_role("button", name="Fatal").click()
            assert [one.status for one in sent("event", 2)] == [200, 200]

            # A header of the page's own: the browser asks first.
            shop.tag = f'{shop.tag} data-header="Sentry sentry_key={public}, sentry_version=7"'
            page.goto(f"{shop.url}/orders/5678")
            page.get_by_role("button", name="Buy").click()
            assert sent("event", 3)[2].headers["x-sentry-auth"]
            assert "OPTIONS" in {one.method for one in relay.passed}

            # The same page at another site.
            page.goto(f"{thief.url}/orders/1")
            page.get_by_role("button", name="Buy").click()
            assert sent("event", 4)[3].status == 403

    answer = Client().get("/api/v1/errors/", headers={"Authorization": f"Bearer {reader}"}).json()
    groups = {one["type"]: one for one in answer["results"]}
    assert set(groups) == {"RangeError", "Error"}
    thrown = groups["RangeError"]
    assert (thrown["count"], thrown["severity"], thrown["last_release"]) == (2, "error", "shop@1.2.0")
    assert (thrown["service"], thrown["environment"]) == ("shop", "staging")
    assert (thrown["message"], thrown["culprit"]) == ("no price of plum at /cart", "priceOf in assets/shop-*.js")
    # Nobody's page makes an error critical. (A message comes as an error, for its stack.)
    assert groups["Error"]["severity"] == "error"
    kept = ErrorOccurrence.objects.filter(group__type="RangeError").earliest("time")
    assert (kept.url, kept.unit) == (f"{shop.url}/orders/1234", "")
    assert kept.labels == {
        "page": "/orders/:id", "browser": "chrome", "device": "desktop", "platform": "javascript", "handled": "no",
        "team": "web", "sdk_environment": "production",
    }  # fmt: skip
    assert "secret" not in kept.stack
    reasons = set(Rejection.objects.filter(source="sentry").values_list("reason", flat=True))
    assert "items of type session are taken and not kept" in reasons
    assert not [one for one in reasons if "lost errors" in one]


def until(page: Page, true: Callable[[], bool]) -> None:
    """The page goes on meanwhile."""
    for _ in range(int(WITHIN * 20)):
        if true():
            return
        page.wait_for_timeout(50)
    raise AssertionError("it has not arrived")
