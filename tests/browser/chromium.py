"""Debian's Chromium, driven: what it said is kept, and what it should not have said fails the test."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    ViewportSize,
    expect,
    sync_playwright,
)

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
# Reported as a console error: the browser itself reports a violation to nobody.
TELL_VIOLATIONS = """addEventListener("securitypolicyviolation", (event) =>
    console.error("policy", event.violatedDirective, event.blockedURI, event.sourceFile, event.lineNumber))"""
PHONE: ViewportSize = {"width": 390, "height": 844}
DESK: ViewportSize = {"width": 1440, "height": 900}
PASSWORD = "right for this test"
PATIENCE = 30_000  # ms: what comes in the end is not slow to a test
Scheme = Literal["light", "dark"]


@dataclass
class Chromium:
    """A browser on one portal."""

    browser: Browser
    url: str
    said: list[str] = field(default_factory=list)

    def seat(self, username: str, *, scheme: Scheme = "light", phone: bool = False) -> Page:
        """A window in which this person has signed in, at mission control."""
        page = self.window(scheme=scheme, phone=phone)
        page.goto(f"{self.url}/login/")
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("button", name="Sign in", exact=True).click()
        page.wait_for_url(f"{self.url}/")
        return page

    def window(self, *, scheme: Scheme = "light", phone: bool = False, size: ViewportSize | None = None) -> Page:
        context: BrowserContext = self.browser.new_context(
            viewport=size or (PHONE if phone else DESK),
            color_scheme=scheme,
            is_mobile=phone,
            has_touch=phone,
            device_scale_factor=2 if phone else 1,
        )
        context.add_init_script(TELL_VIOLATIONS)
        return self.tab(context)

    def tab(self, context: BrowserContext) -> Page:
        """One more window of the same person."""
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("console", self._hear)
        page.on("pageerror", lambda error: self.said.append(f"{page.url}: {error}"))
        return page

    def _hear(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.said.append(f"{message.page.url if message.page else ''}: {message.text}")


def settled(page: Page) -> None:
    """Live, and what a page asks for anew once it is live has come: what is replaced under the mouse is not pressed."""
    expect(page.locator("html")).to_have_attribute("data-live-state", "live")
    expect(page.locator(".htmx-request")).to_have_count(0)


@contextmanager
def chromium(url: str) -> Iterator[Chromium]:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    expect.set_options(timeout=PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(ARGUMENTS))
        try:
            driven = Chromium(browser, url)
            yield driven
            assert driven.said == [], "\n".join(driven.said)
        finally:
            browser.close()
