"""What the tests of monitoring share."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.monitoring import receiver as receivers


@pytest.fixture
def receiver(settings: Settings) -> Iterator[receivers.Receiver]:
    """A webhook receiver on the loopback, which outgoing requests may reach."""
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with receivers.running() as receiver:
        yield receiver
