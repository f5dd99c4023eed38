"""Rules of the models that no reviewer should have to remember."""

import re
from collections import Counter
from pathlib import Path

import pytest
from django.apps import apps
from django.contrib import admin
from django.db import models

ROOT = Path(__file__).resolve().parents[2]
OURS = ("portal", "rollouts", "monitoring", "feedback")

# Models without an admin page of their own, and why.
WITHOUT_ADMIN = {
    "monitoring.Sample": "millions of rows: read by metric, in charts and by REST",
    "monitoring.Observation": "millions of rows: read by metric, in charts and by REST",
    "monitoring.ErrorHour": "shown on the group's page",
    "monitoring.ErrorRelease": "shown on the group's page",
    "monitoring.ErrorUnit": "a digest to count by, nothing for people",
    "monitoring.Standing": "where each cumulative distribution stands, nothing for people",
    "monitoring.CountedBatch": "what each web process wrote last, nothing for people",
    "monitoring.ChannelThread": "where a living message is, nothing for people",
    "monitoring.HookReceipt": "gone after a quarter of an hour",
    "monitoring.MinuteRollup": "millions of rows: read by metric, in charts and by REST",
    "monitoring.HourRollup": "millions of rows: read by metric, in charts and by REST",
    "monitoring.DirtyBucket": "a mark for the sweep of rollups, gone within minutes",
    "monitoring.DueThreshold": "a mark for the judge, gone within a second",
    "portal.Grant": "edited on the person's page",
    "portal.Version": "a counter for processes, nothing for people",
    "portal.Seat": "comes and goes with the demo",
    "portal.Reply": "an answer kept for retries, nothing for people",
}


def _models() -> list[type[models.Model]]:
    return [model for name in OURS for model in apps.get_app_config(name).get_models()]


@pytest.mark.parametrize("model", _models(), ids=lambda model: model._meta.label)
def test_every_model_is_in_the_admin(model: type[models.Model]) -> None:
    if model._meta.label not in WITHOUT_ADMIN:
        assert model in admin.site._registry, f"{model._meta.label} has no admin page, and no reason is given"


def test_reasons_are_given_only_for_models_that_need_them() -> None:
    names = {model._meta.label for model in _models()}
    assert set(WITHOUT_ADMIN) <= names
    assert not [name for name in WITHOUT_ADMIN if apps.get_model(name) in admin.site._registry]


@pytest.mark.parametrize("model", _models(), ids=lambda model: model._meta.label)
def test_a_status_has_its_table_of_moves(model: type[models.Model]) -> None:
    fields = {field.name: field for field in model._meta.concrete_fields}
    if "status" not in fields or not fields["status"].choices:
        return
    moves = getattr(model, "MOVES", None)
    assert moves is not None, f"{model._meta.label}.status has no MOVES beside its choices"
    known = {str(value) for value, _ in fields["status"].flatchoices}
    assert {str(start) for start in moves} | {str(end) for ends in moves.values() for end in ends} <= known


@pytest.mark.parametrize("app", OURS)
def test_migrations_are_named_for_what_they_do_and_numbered_once(app: str) -> None:
    names = [path.stem for path in (ROOT / app / "migrations").glob("0*.py")]
    assert not [name for name in names if re.search(r"_auto_|_initial$", name)]
    numbers = Counter(name[:4] for name in names)
    assert not [number for number, count in numbers.items() if count > 1]
