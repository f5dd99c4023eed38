"""A portal whose sweeps have stopped says so itself."""

from datetime import timedelta
from types import SimpleNamespace

import pytest
from django.urls import reverse

from portal import jobs
from portal.celery import app
from portal.jobs import SWEEPS
from portal.models import Heartbeat
from portal.pages import chrome
from tests.pages import seats

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("name", ["monitoring.judge", "monitoring.escalate", "monitoring.deliver"])
def test_a_sweep_that_stopped_is_named_within_three_intervals_and_no_longer_when_it_runs_again(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Invariant 21: a dead evaluator is told, never taken for calm."""
    app.loader.import_default_modules()
    # The page's clock stands still: however long the test takes, nothing else grows stale.
    now = jobs.database_now()
    monkeypatch.setattr(chrome, "timezone", SimpleNamespace(now=lambda: now))
    for sweep in SWEEPS.values():
        jobs.beat(sweep.name, cycle_ms=1, backlog=0)
    captain = seats.captain()
    assert "not run lately" not in captain.get(reverse("banner")).content.decode()
    late = timedelta(seconds=max(3 * SWEEPS[name].every, 5.0) + 1)
    Heartbeat.objects.filter(name=name).update(at=now - late)
    assert jobs.stale_sweeps(now) == [name]
    assert f"{name} has not run lately" in captain.get(reverse("banner")).content.decode()
    jobs.beat(name, cycle_ms=1, backlog=0)
    assert "not run lately" not in captain.get(reverse("banner")).content.decode()
