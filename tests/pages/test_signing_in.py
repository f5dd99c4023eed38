"""Signing in, and what stands there when it is not possible."""

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse

from tests import make

pytestmark = pytest.mark.django_db


def test_one_comes_back_to_where_one_wanted_to_go() -> None:
    make.person("dana", "viewer", password="right")
    client = Client()
    asked = client.get(reverse("flags"), follow=True)
    assert asked.redirect_chain == [(f"{reverse('login')}?next={reverse('flags')}", 302)]
    given = {"username": "dana", "password": "right", "next": reverse("flags")}
    assert client.post(reverse("login"), given)["Location"] == reverse("flags")


def test_a_wrong_password_is_said_and_too_many_lock_the_door() -> None:
    make.person("dana", "viewer", password="right")
    client = Client()
    for _ in range(settings.AXES_FAILURE_LIMIT - 1):
        answer = client.post(reverse("login"), {"username": "dana", "password": "wrong"})
        assert answer.status_code == 200
        assert "Please enter a correct username and password" in answer.content.decode()
    client.post(reverse("login"), {"username": "dana", "password": "wrong"})
    answer = client.post(reverse("login"), {"username": "dana", "password": "right"})
    assert answer.status_code == 429
    assert "Too many attempts" in answer.content.decode()


def test_a_page_that_is_not_there_says_so_in_the_portals_clothes() -> None:
    answer = Client().get("/nothing/here/")
    assert answer.status_code == 404
    assert 'class="bar"' in answer.content.decode()


def test_one_signs_out_with_a_press_not_by_following_a_link() -> None:
    client = Client()
    client.force_login(make.person("dana", "viewer"))
    assert client.get(reverse("logout")).status_code == 405
    client.post(reverse("logout"))
    assert client.get(reverse("home")).status_code == 302
