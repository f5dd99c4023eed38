"""The demo's errors: believable, consistent with what is kept of them, and grouped as the running portal groups."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum

from monitoring import grouping
from monitoring.models import ErrorGroup, Sample
from portal import audit
from portal.demo import scene
from portal.management.demo.loading import Loaded
from tests.demo import once

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def loaded(django_db_setup: None, django_db_blocker: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    data_dir: Path = tmp_path_factory.mktemp("data")
    with once.demo(django_db_blocker, data_dir) as found:
        yield found


def test_each_group_is_what_its_parts_say(loaded: Loaded) -> None:
    groups = list(ErrorGroup.objects.all())
    assert len(groups) == 7
    assert {group.status for group in groups} == {"open", "resolved", "ignored"}
    for group in groups:
        assert group.count == group.hours.aggregate(Sum("count"))["count__sum"] > 0, group
        assert 0 < group.users <= group.count
        assert group.first_seen <= group.last_seen
        assert group.occurrences.count() <= group.count
        moves = list(audit.of(group).exclude(verb="errorgroup.assigned").order_by("at"))
        assert (moves[-1].after or {})["status"] == group.status if moves else group.status == "open"
        seen = group.releases.filter(release=group.last_release)
        assert seen.exists() or not group.last_release


def test_one_is_back_and_says_in_which_release(loaded: Loaded) -> None:
    back = ErrorGroup.objects.get(regressed_at__isnull=False)
    assert back.status_because.startswith("it came again in 2026.")
    assert back.status_because.removeprefix("it came again in ") in set(back.releases.values_list("release", flat=True))


def test_what_comes_again_falls_into_the_same_group(loaded: Loaded) -> None:
    group = ErrorGroup.objects.get(type="KeyError")
    kept = group.occurrences.latest("time")
    assert grouping.group(group.type, kept.message, stack=kept.stack).fingerprint == group.fingerprint


def test_those_of_the_last_days_are_measured(loaded: Loaded) -> None:
    labels = {"series__metric__name": "reported_errors", "series__labels__environment": scene.ENVIRONMENT}
    assert Sample.objects.filter(**labels).exists()
