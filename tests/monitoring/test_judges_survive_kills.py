"""A judge may die at any statement: in the end there is one alert, one incident, one deed and one message."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitoring.actions import definitions
from monitoring.models import Alert, Channel, Incident, OutboxMessage, ResponseRun
from portal.models import Service
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock

pytestmark = pytest.mark.django_db(transaction=True)
ROOT = Path(__file__).resolve().parents[2]


def test_killed_before_every_statement_in_turn() -> None:
    """Invariant 1: a judge killed anywhere leaves one alert and its messages."""
    watching.deeds()
    channel = Channel.objects.create(name="ops", kind="webhook", config={"url": "http://192.0.2.1/"})
    definitions.create("told", {"name": "Told", "rank": 1, "channels": [channel]}, by=BY)
    watching.threshold(response="take_back", target="deployment:42", window=7200, interval=3600)
    Clock().send(0, 500)
    done = subprocess.run(
        [sys.executable, "-m", "tests.monitoring.killed_judges"],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": watching.database_url()},
        timeout=200,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    judges, responders = (int(number) for number in done.stdout.split())
    print(f"{judges} judges and {responders} responders killed")
    assert judges > 15
    assert responders > 10
    assert [alert.status for alert in Alert.objects.all()] == ["firing"]
    incident = Incident.objects.get()
    assert incident.status == "mitigated"
    kinds = [entry.kind for entry in incident.timeline.all()]
    assert kinds == ["opened", "response.queued", "response.done", "mitigated"]
    assert [entry.seq for entry in incident.timeline.all()] == [1, 2, 3, 4]
    assert ResponseRun.objects.get().status == "done"
    assert Service.objects.filter(key__startswith="taken-back").count() == 1
    assert sorted(OutboxMessage.objects.values_list("kind", flat=True)) == ["incident.mitigated", "incident.opened"]
