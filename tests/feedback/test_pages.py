"""Feedback on pages and in the admin: who sees what, and that nothing a user wrote becomes a page."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from feedback.actions import entries
from feedback.models import Entry
from portal import live
from portal.audit import Automaton
from portal.models import User
from tests import make

pytestmark = pytest.mark.django_db
BY = Automaton("test")
EVIL = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)> {{ 7|add:7 }} {% now %}"


def entry(text: str = "It is slow", **fields: Any) -> Entry:
    return entries.submit(service=make.service("shop").key, text=text, by=BY, **fields)


def signed_in(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


@pytest.fixture
def viewer() -> Client:
    return signed_in(make.person("vera", "viewer"))


# --- The list -----------------------------------------------------------------------------------
def test_the_list_shows_the_newest_first_and_leads_to_each(viewer: Client) -> None:
    first, second = entry("The first words"), entry("The second words", rating=2)
    page = viewer.get("/feedback/").content.decode()
    assert page.index("The second words") < page.index("The first words")
    for one in (first, second):
        assert f'href="/feedback/{one.pk}/"' in page
    assert "2 of 5 stars" in page
    assert 'data-live="feedback"' in page


@pytest.mark.parametrize(
    ("query", "seen"),
    [
        ("", {"awful", "lovely", "plain"}),
        ("?sentiment=negative", {"awful"}),
        ("?sentiment=positive", {"lovely"}),
        ("?rating=5", {"lovely"}),
        ("?kind=question", {"plain"}),
        ("?environment=staging", {"plain"}),
        ("?service=shop&release=2.4.0", {"lovely"}),
        ("?search=AWF", {"awful"}),
        ("?flag=new-checkout&variant=on", {"lovely"}),
        ("?since=2000-01-01", {"awful", "lovely", "plain"}),
        ("?until=2000-01-01", set()),
        # What means nothing is left out.
        ("?rating=x&kind=rant&sentiment=angry&since=yesterday&page=999", {"awful", "lovely", "plain"}),
    ],
)
def test_the_filters_stand_in_the_address(viewer: Client, query: str, seen: set[str]) -> None:
    make.environment("staging")
    entry("awful")
    entry("lovely", rating=5, labels={"release": "2.4.0", "flag": "new-checkout", "variant": "on"})
    entry("plain", kind="question", environment="staging")
    answer = viewer.get(f"/feedback/{query}")
    assert answer.status_code == 200
    rows = answer.content.decode().partition("<tbody>")[2].partition("</tbody>")[0]
    assert {word for word in ("awful", "lovely", "plain") if word in rows} == seen


def test_a_chosen_filter_stays_chosen(viewer: Client) -> None:
    page = viewer.get("/feedback/?kind=bug&rating=3&search=x").content.decode()
    assert '<option value="bug" selected>' in page
    assert '<option value="3" selected>' in page
    assert 'value="x"' in page
    assert "Nothing fits these filters" in page


def test_a_part_is_fetched_alone(viewer: Client) -> None:
    entry()
    part = viewer.get("/feedback/", headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith("<section")
    assert "<html" not in part


@pytest.mark.parametrize("count", [2, 12])
def test_the_list_costs_the_same_for_two_and_twelve(
    viewer: Client, count: int, django_assert_max_num_queries: Any
) -> None:
    make.environment("staging")
    for _ in range(count):
        entry(environment="staging", rating=3)
    viewer.get("/feedback/")
    with django_assert_max_num_queries(12) as seen:
        viewer.get("/feedback/")
    COSTS.append(len(seen))
    assert len(set(COSTS)) == 1, COSTS


COSTS: list[int] = []


# --- The one ------------------------------------------------------------------------------------
def test_an_entry_shows_what_was_said_and_why_it_was_judged_so(viewer: Client) -> None:
    one = entry(
        "I lost all my drafts.\nTerrible.", kind="bug", rating=1, unit="user-7", page="/drafts",
        labels={"release": "2.4.0", "flag": "f", "variant": "on", "browser": "firefox"},
    )  # fmt: skip
    page = viewer.get(f"/feedback/{one.pk}/").content.decode()
    for shown in (
        "I lost all my drafts.<br>Terrible.",
        "lexicon-1",
        "data loss",
        "firefox",
        "user-7",
        "/drafts",
        "2.4.0",
    ):
        assert shown in page
    assert f'data-live="feedback:{one.pk}"' in page


def test_nothing_that_a_user_wrote_becomes_markup(viewer: Client) -> None:
    labels = {"release": EVIL[:100], "flag": "f", "variant": EVIL[:100], "browser": EVIL[:100]}
    one = entry(EVIL, unit=EVIL[:150], page=f"javascript:alert(1)//{EVIL}", labels=labels)
    root = signed_in(User.objects.create_superuser("root", password="x"))
    change = reverse("admin:feedback_entry_change", args=[one.pk])
    for path in ("/feedback/", f"/feedback/{one.pk}/", "/", change, reverse("admin:feedback_entry_changelist")):
        page = root.get(path).content.decode()
        assert "&lt;script&gt;alert(1)" in page, path
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert 'href="javascript:' not in page


def test_the_writers_address_is_for_those_who_may_operate(viewer: Client) -> None:
    one = entry(email="ala@example.com")
    operator = signed_in(make.person("olga", "operator"))
    change = reverse("admin:feedback_entry_change", args=[one.pk])
    path = f"/feedback/{one.pk}/"
    assert "ala@example.com" not in viewer.get(path).content.decode()
    assert "operators see" in viewer.get(path).content.decode()
    assert "ala@example.com" in operator.get(path).content.decode()
    staff = make.person("sven", "viewer", is_staff=True)
    assert "ala@example.com" not in signed_in(staff).get(change).content.decode()
    boss = make.person("boss", "operator", is_staff=True)
    assert "ala@example.com" in signed_in(boss).get(change).content.decode()


# --- Who ----------------------------------------------------------------------------------------
def test_nobody_is_asked_to_sign_in_and_no_role_is_403() -> None:
    one = entry()
    for path in ("/feedback/", f"/feedback/{one.pk}/"):
        assert Client().get(path).status_code == 302
        assert signed_in(make.person()).get(path).status_code == 403


def test_a_viewer_of_one_service_sees_only_its_feedback() -> None:
    hidden = entry("secret words")
    bank = make.service("bank")
    client = signed_in(make.person("vera", "viewer", service=bank))
    assert "secret words" not in client.get("/feedback/").content.decode()
    assert client.get(f"/feedback/{hidden.pk}/").status_code == 404
    assert ">shop<" not in client.get("/feedback/").content.decode()


def test_what_is_not_there_is_404(viewer: Client) -> None:
    assert viewer.get("/feedback/999999/").status_code == 404
    assert viewer.get(f"/feedback/{'9' * 30}/").status_code == 404


def test_entries_are_watched_by_those_who_see_them() -> None:
    one = entry()
    may = live.TOPICS["feedback"].may
    vera, nobody = make.person("vera", "viewer", service=make.service("bank")), make.person()
    assert may(make.person("wim", "viewer"), str(one.pk))
    assert may(vera, None)
    assert not may(vera, str(one.pk))
    assert not may(nobody, None)


# --- The admin ----------------------------------------------------------------------------------
@pytest.mark.parametrize("query", ["", "?sentiment__exact=negative", "?q=slow", "?rating__exact=3", "?o=2.3.4.5"])
def test_the_changelist_is_read_only(query: str) -> None:
    one = entry(rating=3)
    root = signed_in(User.objects.create_superuser("root", password="x"))
    listed = root.get(reverse("admin:feedback_entry_changelist") + query)
    assert listed.status_code == 200
    assert "It is slow" in listed.content.decode()
    assert root.get(reverse("admin:feedback_entry_add")).status_code == 403
    assert root.get(reverse("admin:feedback_entry_change", args=[one.pk])).status_code == 200
    assert root.post(reverse("admin:feedback_entry_change", args=[one.pk]), {"text": "mine"}).status_code == 403
