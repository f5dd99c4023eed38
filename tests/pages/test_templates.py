"""What no template may say, and what every page says of itself."""

import re
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from monitoring.models import Incident
from tests.pages import seats
from tests.pages.world import world

ROOT = Path(__file__).resolve().parents[2]
TEMPLATES = sorted((ROOT / "templates").rglob("*.html"))
# What the Content-Security-Policy would keep from working, so that it would be a bug.
FORBIDDEN = {
    "an inline script": r"<script(?![^>]*\bsrc=)",
    "an inline style sheet": r"<style",
    "a style attribute": r"\sstyle\s*=",
    "an event handler": r"\son[a-z]+\s*=\s*['\"]",
    "a script address": r"javascript:",
    "evaluated htmx": r"hx-on|hx-(?:vals|headers)=['\"]js:|hx-trigger=['\"][^'\"]*\[",
    "another host": r"(?:src|href)=['\"](?:https?:)?//",
}


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_template_holds_nothing_that_the_policy_forbids(template: Path) -> None:
    text = template.read_text(encoding="utf-8")
    assert [name for name, pattern in FORBIDDEN.items() if re.search(pattern, text, re.IGNORECASE)] == []


@pytest.mark.parametrize("script", sorted((ROOT / "static/js").glob("*.js")), ids=lambda path: path.name)
def test_our_scripts_evaluate_no_text(script: Path) -> None:
    text = script.read_text(encoding="utf-8")
    assert not re.search(
        r"\beval\(|new Function|\.innerHTML|insertAdjacentHTML|document\.write|setAttribute\(.style", text
    )
    assert text.startswith("//"), "its first line says what it is for"


@pytest.mark.django_db
def test_every_answer_carries_the_strict_policy() -> None:
    made = world(1)
    owner = seats.owner()
    addresses = [
        reverse("home"),
        reverse("deployment", args=[made.deployments[0].pk]),
        reverse("admin:index"),
        reverse("admin:portal_service_changelist"),
        reverse("admin:portal_service_add"),
        reverse("api-docs"),
        "/there-is-no-such-page/",
    ]
    for client, address in [*((owner, one) for one in addresses), (Client(), reverse("login"))]:
        policy = client.get(address)["Content-Security-Policy"]
        assert "default-src 'self'" in policy, address
        assert "unsafe" not in policy, address
        assert "frame-ancestors 'none'" in policy, address


@pytest.mark.django_db
def test_the_title_counts_the_open_incidents() -> None:
    captain = seats.captain()
    assert "<title>Flightdeck</title>" in captain.get(reverse("home")).content.decode()
    world(1)
    count = Incident.objects.open().count()
    assert f"<title>({count}) Flightdeck</title>" in captain.get(reverse("home")).content.decode()
    assert f"<title>({count}) Flags · Flightdeck</title>" in captain.get(reverse("flags")).content.decode()
    assert "favicon-down.svg" in captain.get(reverse("home")).content.decode()
