"""Every sweep that is nudged or poked by beat is a task that a worker knows."""

import re
from pathlib import Path

from portal.celery import app
from portal.jobs import SWEEPS

ROOT = Path(__file__).resolve().parents[2]


def test_every_nudged_name_is_a_registered_task() -> None:
    app.loader.import_default_modules()
    nudged = {
        name
        for package in ("portal", "rollouts", "monitoring", "feedback")
        for path in (ROOT / package).rglob("*.py")
        for name in re.findall(r'nudge\(\s*"([^"]+)"', path.read_text(encoding="utf-8"))
    }
    assert nudged
    assert nudged <= set(app.tasks)


def test_beat_pokes_every_sweep_and_nothing_else() -> None:
    app.loader.import_default_modules()
    app.finalize()
    assert set(app.conf.beat_schedule) == set(SWEEPS)
    assert set(SWEEPS) <= set(app.tasks)


def test_the_worker_is_never_eager() -> None:
    assert not app.conf.task_always_eager
