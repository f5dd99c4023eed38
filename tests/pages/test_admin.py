"""The admin: every list, form and history, whatever there is to show."""

import re

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from portal import places
from portal.admin import site
from portal.models import User
from tests import make
from tests.pages import seats
from tests.pages.world import world

pytestmark = pytest.mark.django_db


def _address(model: type, page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)  # type: ignore[attr-defined]


def _costs(owner: Client) -> dict[str, int]:
    costs = {}
    for model in site._registry:
        with CaptureQueriesContext(connection) as queries:
            answer = owner.get(_address(model, "changelist"))
        assert answer.status_code == 200, model
        costs[model._meta.label] = len(queries)
    return costs


def test_every_changelist_costs_the_same_for_two_rows_and_twelve() -> None:
    owner = seats.owner()
    made = world(2)
    few = _costs(owner)
    made.grow(12)
    # A model of which the world has no rows is not tried at all: tests/pages/world.py has to make some.
    assert [model._meta.label for model in site._registry if model._default_manager.count() < 12] == []
    many = _costs(owner)
    assert {label: (few[label], cost) for label, cost in many.items() if cost != few[label]} == {}


def test_every_form_and_history_opens() -> None:
    owner = seats.owner()
    world(1)
    for model, admin in site._registry.items():
        row = model._default_manager.first()
        assert row is not None
        assert owner.get(_address(model, "change", row.pk)).status_code == 200, model
        assert owner.get(_address(model, "history", row.pk)).status_code == 200, model
        answer = owner.get(_address(model, "add"))
        request = answer.wsgi_request
        assert answer.status_code == (200 if admin.has_add_permission(request) else 403), model


def test_the_history_of_a_thing_is_what_the_audit_trail_says_of_it() -> None:
    owner = seats.owner()
    service = places.create_service("checkout", by=make.BY)
    places.change_service(service, {"name": "The checkout"}, by=make.BY, because="a better name")
    shown = owner.get(reverse("admin:portal_service_history", args=[service.pk])).content.decode()
    assert "a better name" in shown
    assert "<ins>The checkout</ins>" in shown
    assert shown.index("Changed") < shown.index("Created")


def test_the_index_lists_what_people_come_for_first_and_what_one_did_last() -> None:
    owner = seats.owner()
    dana = User.objects.get(username="root")
    places.create_service("checkout", by=dana)
    shown = owner.get(reverse("admin:index")).content.decode()
    main = shown[shown.index("<main") :]
    assert [
        main.index(name) for name in ("Rollouts", "Monitoring", "People, places and keys", "Sign-in attempts")
    ] == sorted(main.index(name) for name in ("Rollouts", "Monitoring", "People, places and keys", "Sign-in attempts"))
    assert re.search(r"Created: <strong>checkout</strong>", main)


def test_the_admin_stands_in_the_portals_frame() -> None:
    owner = seats.owner()
    for address in (reverse("admin:index"), reverse("admin:portal_service_changelist")):
        shown = owner.get(address).content.decode()
        assert 'class="bar"' in shown
        assert f'href="{reverse("deployments")}"' in shown
        assert "admin/css/base.css" not in shown


def test_who_is_no_staff_is_asked_to_sign_in_as_somebody_else() -> None:
    answer = seats.seat(make.person("vic", "viewer")).get(reverse("admin:index"), follow=True)
    assert "You are signed in as vic, who may not open that page" in answer.content.decode()


def test_odd_addresses_and_fields_are_refused_and_break_nothing() -> None:
    made = world(1)
    owner = seats.owner()
    for model in site._registry:
        changelist = _address(model, "changelist")
        assert owner.get(f"{changelist}?q=%00").status_code == 400, model
        assert owner.get(f"{changelist}?nonsense=1&p=99999999999999999999").status_code == 302, model
        assert owner.get(f"{changelist}%00/history/").status_code == 404, model
        assert owner.get(f"{changelist}999999999999999999999/change/").status_code == 302, model
    press = reverse("admin:rollouts_deployment_press", args=[made.deployments[0].pk, "roll_back"])
    assert owner.post(press, {"because": "\0"}).status_code == 400
    assert "because: is longer than" in owner.post(press, {"because": "x" * 10_001}, follow=True).content.decode()
    made.deployments[0].refresh_from_db()
    assert made.deployments[0].live
