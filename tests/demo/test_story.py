"""What is told of the month before makes sense on whatever day the demo is loaded."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from portal.demo import scene
from portal.management.demo import past_traffic, story
from portal.management.demo.story import Ending

DAYS = [datetime(2026, 1, 1, 0, 5, tzinfo=UTC) + timedelta(days=day, hours=7 * day % 24) for day in range(0, 60, 11)]


@pytest.fixture(params=DAYS, ids=lambda now: now.strftime("%a %d %b %H h"))
def now(request: pytest.FixtureRequest) -> datetime:
    return request.param


def test_everything_has_happened_and_within_the_month(now: datetime) -> None:
    for run in story.runs(now):
        assert now - timedelta(days=32) < run.created_at < run.started_at == run.entered[0]
        assert list(run.entered) == sorted(run.entered)
        assert run.entered[-1] < run.ended_at < run.watch_ended_at < now


def test_one_run_at_a_time_in_each_place_and_each_from_what_the_last_one_left(now: datetime) -> None:
    told = story.runs(now)
    for place in {(run.service, run.environment) for run in told}:
        mine = [run for run in told if (run.service, run.environment) == place]
        for before, after in pairwise(mine):
            assert before.watch_ended_at < after.created_at
            assert after.baseline == (before.build if before.ending == Ending.SUCCEEDED else before.baseline)
            assert after.build == scene.other(after.baseline)


def test_a_release_is_tried_in_staging_before_it_goes_out(now: datetime) -> None:
    told = story.runs(now)
    for run in told:
        if run.environment == scene.ENVIRONMENT:
            tried = next(one for one in told if (one.version, one.environment) == (run.version, "staging"))
            assert tried.ended_at < run.created_at


def test_two_went_wrong_and_one_of_them_lately_enough_for_the_charts(now: datetime) -> None:
    bad = [run for run in story.runs(now) if run.ending == Ending.ROLLED_BACK]
    assert [run.service for run in bad] == ["payments", "checkout"]
    assert now - bad[1].ended_at < timedelta(hours=36)


def test_the_samples_show_what_the_judge_would_have_seen(now: datetime) -> None:
    """At the moment of the rollback the pooled window is beyond the bound, half a minute earlier nearly so."""
    told = story.runs(now)
    bad = next(run for run in told if run.fault and run.service == scene.SERVICE)
    lines = past_traffic.draw(now, told)
    requests, errors = lines[scene.SERVICE, bad.build].growth(bad.ended_at - timedelta(minutes=5), bad.ended_at)
    assert 0.05 < errors / requests < 0.1
    requests, errors = lines[scene.SERVICE, bad.baseline].growth(bad.ended_at - timedelta(minutes=5), bad.ended_at)
    assert errors / requests < 0.01
