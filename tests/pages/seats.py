"""Who looks at the pages: a browser in which somebody has signed in."""

from django.test import Client

from portal.models import User
from tests import make


def seat(person: User) -> Client:
    client = Client()
    client.force_login(person)
    return client


def captain() -> Client:
    """Dana, who may deploy and configure everywhere, and approve nothing."""
    return seat(make.person("dana", "captain", first_name="Dana", is_staff=True))


def owner() -> Client:
    """Root, who may do everything that the admin offers."""
    return seat(make.person("root", "owner", is_superuser=True, is_staff=True))
