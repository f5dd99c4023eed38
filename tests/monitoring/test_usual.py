"""Deviation from what is usual for this hour: robust, told from too little history, and judged end to end."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from monitoring.actions import thresholds
from monitoring.models import HourRollup, Series
from monitoring.queries.rollups import floor
from monitoring.usual import Usual, deviations, needed, usual
from portal.errors import Invalid
from tests.monitoring import watching
from tests.monitoring.watching import BY, Clock


def test_the_middle_and_the_spread_are_not_moved_by_a_bad_day() -> None:
    calm = usual([10, 11, 9, 10, 10.5, 9.5])
    shaken = usual([10, 11, 9, 10, 10.5, 9000])
    assert calm is not None
    assert shaken is not None
    assert abs(calm.middle - shaken.middle) <= 0.5
    assert shaken.spread < 2


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([], None),
        ([float("nan"), float("inf")], None),
        ([1, 2, 3, 4, 5], Usual(3, 1.4826, 5)),
        # More than half are the same: the mean absolute deviation, (0+0+0+8)/4, takes the place of the median one.
        ([2, 2, 2, 10], Usual(2, 1.253314 * 2, 4)),
        ([7, 7, 7], Usual(7, 0, 3)),
    ],
)
def test_by_hand(values: list[float], expected: Usual | None) -> None:
    assert usual(values) == expected


def test_what_has_never_strayed_strays_infinitely() -> None:
    flat = Usual(7, 0, 3)
    assert deviations(7, flat) == 0
    assert deviations(8, flat) == float("inf")
    assert deviations(6, flat) == float("-inf")
    assert [needed(count) for count in (1, 4, 28)] == [3, 3, 14]


def _past(metric: str, values: dict[datetime, float]) -> None:
    """Hours of weeks gone by, as the sweep of rollups left them."""
    series = Series.objects.get(metric__name=metric)
    HourRollup.objects.bulk_create(
        HourRollup(
            series=series, time=time, samples=60, count=60, total=value * 60, squares=0, low=value, high=value,
            first=value, last=value, first_time=time, last_time=time, increase=None, histogram=None,
        )
        for time, value in values.items()
    )  # fmt: skip


USUAL: dict[str, Any] = {"baseline": {"kind": "usual"}, "error": 3.5}


@pytest.mark.django_db
class TestJudged:
    @pytest.fixture(autouse=True)
    def _clock(self) -> None:
        self.clock = Clock()
        self.clock.send(0, 100)
        self.hour = floor(self.clock.at(1), 3600)

    def _weeks(self, *values: float) -> None:
        _past("latency_ms", {self.hour - timedelta(weeks=n): value for n, value in enumerate(values, 1)})

    def test_far_from_the_usual_fires_and_says_so(self) -> None:
        self._weeks(100, 110, 90, 105)
        watched = watching.threshold(**USUAL)
        self.clock.look(1, 400)
        state = watching.state(watched)
        assert state.phase == "firing", state.reason
        assert state.reason.startswith("latency ")
        assert "deviations" in state.reason
        assert "of the usual for" in state.reason

    def test_within_the_usual_is_fine(self) -> None:
        self._weeks(100, 110, 90, 105)
        watched = watching.threshold(**USUAL)
        self.clock.look(1, 104)
        assert (watching.state(watched).phase, watching.state(watched).outcome) == ("inactive", "passed")

    def test_too_little_history_is_inconclusive_and_never_fine(self) -> None:
        self._weeks(100, 110)
        watched = watching.threshold(**USUAL)
        self.clock.look(1, 9000)
        state = watching.state(watched)
        assert (state.phase, state.outcome) == ("inactive", "inconclusive")
        assert "known of 2 hours only, 3 are needed" in state.reason

    def test_no_history_at_all_is_inconclusive(self) -> None:
        watched = watching.threshold(**USUAL)
        self.clock.look(1, 9000)
        assert watching.state(watched).outcome == "inconclusive"

    def test_hours_of_the_day_are_looked_at_day_by_day(self) -> None:
        _past("latency_ms", {self.hour - timedelta(days=n): 100.0 + n for n in range(1, 8)})
        season = {"kind": "usual", "season": "hour_of_day", "weeks": 1, "change": "ratio"}
        watched = watching.threshold(baseline=season, error=2)
        self.clock.look(1, 400)
        assert watching.state(watched).phase == "firing"
        assert "hour_of_day" in thresholds.specs.text(watched)

    def test_a_sum_is_compared_with_its_part_of_the_hour(self) -> None:
        self._weeks(1, 1.2, 0.8)  # 60 an hour: 1 in each minute
        watched = watching.threshold(
            aggregation="sum", window=60, baseline={"kind": "usual", "change": "ratio"}, error=5
        )
        self.clock.look(1, 4)
        assert watching.state(watched).value == pytest.approx(104)


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("baseline", "field"),
    [
        ({"kind": "usual", "weeks": 2}, "baseline.weeks"),
        ({"kind": "usual", "weeks": 99}, "baseline.weeks"),
        ({"kind": "usual", "season": "moon"}, "baseline.season"),
        ({"kind": "usual", "seconds": 60}, "baseline.seconds"),
        ({"kind": "offset", "change": "deviations"}, "baseline.change"),
        ({"kind": "arm", "season": "hour_of_day"}, "baseline.season"),
    ],
)
def test_what_makes_no_sense_is_named(baseline: dict[str, Any], field: str) -> None:
    spec = {"name": "x", "metric": "m", "aggregation": "mean", "operator": ">", "error": 1, "baseline": baseline}
    with pytest.raises(Invalid) as caught:
        thresholds.create(spec, by=BY)
    assert field in caught.value.errors


AGGREGATIONS = [
    ("mean", 25.0), ("min", 10.0), ("max", 40.0), ("sum", 100.0), ("count", 4.0), ("stddev", 125**0.5), ("last", 40.0),
    ("p50", 25.0), ("p99.9", 39.97), ("increase", 30.0), ("rate", 0.5),
]  # fmt: skip


@pytest.mark.django_db
@pytest.mark.parametrize(("aggregation", "value"), AGGREGATIONS)
def test_every_aggregation_is_judged_end_to_end(aggregation: str, value: float) -> None:
    clock = Clock()
    metric = "work_total" if aggregation in ("increase", "rate") else "latency_ms"
    watched = watching.threshold(metric=metric, aggregation=aggregation, error=value - 0.1, window=60)
    for second, sample in enumerate((10, 20, 30, 40)):
        clock.send(second, sample, metric=metric)
    clock.look(4)
    state = watching.state(watched)
    assert state.phase == "firing"
    assert state.value == pytest.approx(value, rel=0.01)


@pytest.mark.django_db
@pytest.mark.parametrize("kind", ["arm", "previous_release", "offset"])
def test_every_baseline_is_judged_end_to_end(kind: str) -> None:
    clock = Clock()
    spec: dict[str, Any] = {"baseline": {"kind": kind}, "error": 2}
    new, old = dict(watching.LABELS), dict(watching.LABELS)
    if kind == "arm":
        new, old = {**new, "flag": "f", "variant": "on"}, {**old, "flag": "f", "variant": "off"}
        spec["matchers"] = new
    elif kind == "previous_release":
        old, new = {**old, "release": "1.0"}, {**new, "release": "1.1"}
    else:
        spec["baseline"]["seconds"] = 86_400
    watched = watching.threshold(**spec)
    clock.send(-86_410 if kind == "offset" else 0.1, 100, labels=old)
    clock.send(0.2, 300, labels=new)
    clock.look(1)
    state = watching.state(watched)
    assert (state.phase, state.value) == ("firing", 3.0), state.reason
