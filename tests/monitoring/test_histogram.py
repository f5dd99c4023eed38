"""Percentiles within one percent, and merging that loses nothing."""

import math
from itertools import pairwise

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring import histogram
from monitoring.histogram import Explicit, Histogram

finite = st.floats(allow_nan=False, allow_infinity=False).filter(lambda v: v == 0 or abs(v) > 1e-300)
many = st.lists(finite, max_size=60)


@given(finite.filter(bool))
def test_a_value_is_within_one_percent_of_what_stands_for_its_bucket(value: float) -> None:
    stands = histogram.value_of(histogram.bucket_of(abs(value)))
    assert abs(stands - abs(value)) <= abs(value) * 0.0100001


@given(many, many)
def test_two_merged_histograms_equal_the_histogram_of_all_values(one: list[float], other: list[float]) -> None:
    both, all_at_once = Histogram.of(one), Histogram.of(one + other)
    both.merge(Histogram.of(other))
    assert (both.count, both.zero, both.positive, both.negative) == (
        all_at_once.count, all_at_once.zero, all_at_once.positive, all_at_once.negative,
    )  # fmt: skip
    assert (both.low, both.high) == (all_at_once.low, all_at_once.high)


@given(many)
def test_a_histogram_survives_being_kept_as_json(values: list[float]) -> None:
    made = Histogram.of(values)
    assert histogram.from_json(orjson.loads(orjson.dumps(made.to_json()))) == made


@pytest.mark.parametrize("percent", [0, 50, 90, 95, 99, 99.9, 100])
@pytest.mark.parametrize("sign", [1, -1])
def test_percentiles_of_many_values_are_within_one_percent(percent: float, sign: int) -> None:
    values = sign * np.random.default_rng(7).lognormal(3, 1.5, 20_000)
    found = Histogram.of(values.tolist()).percentile(percent)
    exact = float(np.percentile(values, percent, method="lower"))
    assert found is not None
    assert abs(found - exact) <= abs(exact) * 0.0101


def test_percentiles_cross_from_negative_over_zero_to_positive() -> None:
    made = Histogram.of([-5, -5, 0, 0, 5, 5])
    assert [round(made.percentile(p) or 0, 1) for p in (0, 50, 100)] == [-5, 0, 5]


def test_an_empty_histogram_has_no_percentile_rather_than_zero() -> None:
    assert Histogram().percentile(50) is None
    assert Histogram().deviation() is None
    assert Explicit((1.0,), (0, 0), 0.0).percentile(50) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Histogram().add(value)


def test_sums_that_overflow_stay_numbers() -> None:
    made = Histogram.of([1.7e308, 1.7e308])
    made.merge(Histogram.of([1.7e308]))
    assert math.isfinite(made.sum)
    assert math.isfinite(made.deviation() or 0)
    assert made.percentile(50) == 1.7e308


def prometheus_quantile(q: float, bounds: list[float], counts: list[int]) -> float:
    """histogram_quantile by its published definition, over cumulative buckets."""
    cumulative = list(np.cumsum(counts))
    rank = q * cumulative[-1]
    b = next((i for i in range(len(bounds)) if cumulative[i] >= rank), len(bounds))
    if b == len(bounds):
        return bounds[-1]
    if b == 0 and bounds[0] <= 0:
        return bounds[0]
    start, count = 0.0, cumulative[b]
    if b > 0:
        start, count, rank = bounds[b - 1], count - cumulative[b - 1], rank - cumulative[b - 1]
    return start + (bounds[b] - start) * (rank / count)


@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=12, unique=True).map(sorted),
    st.data(),
    st.sampled_from([0.5, 0.9, 0.95, 0.99, 0.999, 1.0]),
)
def test_explicit_buckets_answer_as_histogram_quantile_does(bounds: list[float], data: st.DataObject, q: float) -> None:
    size = len(bounds) + 1
    counts = data.draw(st.lists(st.integers(0, 50), min_size=size, max_size=size).filter(any))
    ours = Explicit(tuple(bounds), tuple(counts), 0.0).percentile(q * 100)
    assert ours == pytest.approx(prometheus_quantile(q, bounds, counts), rel=1e-9, abs=1e-9)


def test_explicit_buckets_of_equal_bounds_merge_exactly() -> None:
    whole = histogram.merged([Explicit((1, 2), (1, 2, 3), 9.0, 0.5, 3.0), Explicit((1, 2), (1, 0, 0), 0.2, 0.2, 0.2)])
    assert whole == Explicit((1, 2), (2, 2, 3), 9.2, 0.2, 3.0)


def test_different_bounds_merge_without_losing_a_count() -> None:
    one, other = Explicit((1, 2), (1, 2, 3), 9.0), Explicit((1, 5), (4, 0, 1), 8.0)
    whole = histogram.merged([one, other, Histogram.of([7, 7])])
    assert (whole.count, whole.sum) == (13, 31.0)


def test_steps_rise() -> None:
    steps = Histogram.of([3, -3, 0, 100, -100, 1e-9]).steps()
    assert all(left[0] < right[0] for left, right in pairwise(steps))


def test_the_deviation_of_known_values_is_close() -> None:
    values = np.random.default_rng(3).normal(100, 15, 5000)
    assert Histogram.of(values.tolist()).deviation() == pytest.approx(float(np.std(values)), rel=0.03)
