"""The pages of errors: what is shown, chosen and said there."""

from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse

from monitoring.actions import error_groups, errors
from monitoring.models import ErrorGroup
from portal import jobs
from tests import make
from tests.make import BY
from tests.pages import seats

pytestmark = pytest.mark.django_db
STACK = """Traceback (most recent call last):
  File "/usr/lib/python3.11/site-packages/django/core.py", line 3, in handle
    return view(request)
  File "/srv/shop/cart.py", line 12, in total
    return prices["<script>"]
"""


@pytest.fixture(autouse=True)
def places() -> None:
    make.service("shop")
    make.environment("staging")


def kept(type_: str = "KeyError", **told: Any) -> ErrorGroup:
    whole = {"type": type_, "message": "'<b>'", "service": "shop", "environment": "staging", "stack": STACK}
    done = errors.record([{**whole, **told}], by=BY)
    assert done.accepted == 1, done
    return ErrorGroup.objects.select_related("service", "environment").get(type=type_)


def shown(address: str, **query: str) -> str:
    answer = seats.seat(make.person("", "viewer")).get(address, query)
    assert answer.status_code == 200
    return str(answer.content.decode())


def names(**query: str) -> list[str]:
    page = shown(reverse("errors"), **query)
    return [name for name in ("KeyError", "Timeout", "ValueError") if f"<strong>{name}</strong>" in page]


def test_the_list_is_chosen_by_its_address() -> None:
    make.service("bank")
    make.environment("lab")
    kept(release="1.0", unit="u1")
    kept("Timeout", service="bank", severity="critical", message="no answer", stack="")
    error_groups.resolve(kept("ValueError", environment="lab"), by=BY)
    assert names() == names(show="new") == ["KeyError", "Timeout"]
    assert names(show="all") == ["KeyError", "Timeout", "ValueError"]
    assert names(show="resolved") == ["ValueError"]
    assert names(show="ignored") == names(show="back") == names(show="mine") == []
    assert names(service="bank") == names(severity="critical") == names(text="ANSWER") == ["Timeout"]
    assert names(release="1.0") == names(text="cart.py", environment="staging") == ["KeyError"]
    assert names(show="all", environment="nowhere") == names(text="%") == []
    assert names(severity="nonsense", page="99") == ["KeyError", "Timeout"]


def test_a_row_shows_its_day_and_what_is_new_or_back() -> None:
    now = jobs.database_now()
    for n in range(3):
        kept(unit=f"u{n}", time=now - timedelta(hours=n))
    page = shown(reverse("errors"))
    assert 'aria-label="3 in the last 24 hours, at most 1 in one"' in page
    assert page.count("<rect ") == 3
    assert '<span class="chip chip-new">new</span>' in page
    group = ErrorGroup.objects.select_related("service", "environment").get()
    error_groups.resolve(group, by=BY)
    ErrorGroup.objects.update(resolved_at=now - timedelta(minutes=5))
    kept(release="2.0")
    assert '<span class="chip chip-back">back</span>' in shown(reverse("errors"), show="back")
    ErrorGroup.objects.update(regressed_at=None, first_seen=now - timedelta(days=2))
    assert 'class="chip' not in shown(reverse("errors"))


def test_a_group_shows_its_stack_with_the_own_code_told_apart_and_nothing_runs() -> None:
    group = kept(release="1.0", unit="u1", labels={"team": "web"}, url="https://shop.example.com/")
    page = shown(reverse("error", args=[group.pk]))
    assert '<span class="own">  File &quot;/srv/shop/cart.py&quot;, line 12, in total\n</span>' in page
    assert '<span class="own">    return prices[&quot;&lt;script&gt;&quot;]' in page
    assert "<span>    return view(request)\n</span>" in page
    assert "<script>" not in page.partition("</head>")[2].replace("<script src", "")
    for text in ("&#x27;&lt;b&gt;&#x27;", "https://shop.example.com/", "web", "in 1.0", "1 user<"):
        assert text in page
    part = seats.captain().get(reverse("error", args=[group.pk]), headers={"HX-Request": "true"}).content.decode()
    assert part.lstrip().startswith('<div id="state"')


def test_a_group_whose_occurrences_are_gone_still_has_its_page() -> None:
    group = kept()
    group.occurrences.all().delete()
    assert "No occurrence is kept any more" in shown(reverse("error", args=[group.pk]))


def test_people_say_what_they_think_of_it() -> None:
    group = kept()
    olu = seats.seat(make.person("olu", "operator", first_name="Olu"))
    address = reverse("error", args=[group.pk])

    def press(verb: str, **form: str) -> int:
        return olu.post(reverse("error-press", args=[group.pk, verb]), form).status_code

    assert press("resolve", because="mended") == 302
    assert press("ignore") == 400
    assert press("ignore", because="a robot") == 302
    page = olu.get(address).content.decode()
    assert "Ignored by Olu: a robot" in page
    assert "Open again" in page
    assert press("reopen") == press("assign", person="olu") == 302
    assert "Olu (you)" in olu.get(address).content.decode()
    assert press("assign", person="nobody-there") == 400
    assert press("dance") == 404
    group.refresh_from_db()
    assert (group.status, group.assignee and group.assignee.username) == ("open", "olu")


def test_who_may_only_look_is_told_why_the_buttons_do_nothing() -> None:
    page = shown(reverse("error", args=[kept().pk]))
    assert "None of your roles may operate here." in page
    assert 'id="assign"' not in page
