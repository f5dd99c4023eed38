"""What beat says when it cannot send: once, in a line."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule

from portal.logs import Outage
from portal.supervise import ports


@pytest.fixture
def outage(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Iterator[Outage]:
    """As settings.LOGGING has it on beat's logger, alone."""
    beat, new = logging.getLogger("celery.beat"), Outage()
    monkeypatch.setattr(beat, "filters", [new])
    with caplog.at_level(logging.WARNING, "celery.beat"):
        yield new


def _poke(broker: str, times: int) -> None:
    app = Celery("dead", broker=broker, set_as_current=False)
    app.conf.update(task_publish_retry=False, broker_transport_options={"max_retries": 0, "socket_connect_timeout": 1})
    scheduler = Scheduler(app, lazy=True)
    for n in range(times):
        scheduler.apply_entry(ScheduleEntry(f"sweep {n}", f"sweep {n}", schedule=schedule(1.0), app=app))


def test_pokes_that_cannot_be_sent_are_said_in_one_line_and_again_later(
    outage: Outage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = f"redis://127.0.0.1:{ports.free()}"
    monkeypatch.setattr(outage, "EVERY", 3600.0)
    _poke(dead, 3)
    (said,) = caplog.records
    assert said.getMessage().startswith("no sweep can be poked: ")
    assert "refused" in said.getMessage()
    assert said.exc_info is None
    monkeypatch.setattr(outage, "EVERY", 0.0)
    _poke(dead, 1)
    assert len(caplog.records) == 2


def test_what_is_no_outage_keeps_its_trace(outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
    _poke("nonsense://", 2)
    assert len(caplog.records) == 2
    assert all(record.exc_info for record in caplog.records)


def test_beats_logger_has_it(settings: Any) -> None:
    names = settings.LOGGING["loggers"]["celery.beat"]["filters"]
    assert [settings.LOGGING["filters"][name]["()"] for name in names] == ["portal.logs.Outage"]
