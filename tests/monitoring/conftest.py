"""What the tests of monitoring share."""

from collections.abc import Iterator

import pytest
from pytest_django.fixtures import Settings

from tests.monitoring import receiver as receivers


@pytest.fixture(autouse=True)
def _unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the outbox and its receivers are given in seconds is little on a machine that may do nothing for as long."""
    monkeypatch.setattr("monitoring.actions.outbox.CYCLE", 60.0)
    monkeypatch.setattr("monitoring.channels.http.TIMEOUT", 15.0)


@pytest.fixture
def receiver(settings: Settings) -> Iterator[receivers.Receiver]:
    """A webhook receiver on the loopback, which outgoing requests may reach."""
    settings.PORTAL_OUTGOING_ALLOW = ["127.0.0.0/8"]
    with receivers.running() as receiver:
        yield receiver
