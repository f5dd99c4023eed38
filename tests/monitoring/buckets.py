"""The bounds against strangers with a public key, as a process has them that has just begun."""

from collections.abc import Iterator
from contextlib import contextmanager

from pytest_django.fixtures import Settings

from monitoring.actions import capping, page_reports
from monitoring.api import public_keys


@contextmanager
def full(settings: Settings) -> Iterator[None]:
    """Only a test that is about limits meets them."""
    settings.PORTAL_BROWSER_RATE = settings.PORTAL_BROWSER_KEY_RATE = 10_000
    limiters = (public_keys._addresses, public_keys._keys, public_keys._places)
    for limiter in limiters:
        limiter.cache_clear()
    page_reports.allowance.forget()
    capping.forget_all()
    public_keys.forget_origins()
    yield
    for limiter in limiters:
        limiter.cache_clear()
