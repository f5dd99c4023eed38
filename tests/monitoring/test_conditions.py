"""Conditions as text: what they say, what is wrong with them and where, and that nothing is lost on the way back."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitoring import conditions
from monitoring.conditions import DEFAULTS, Wrong, read, write

SAYS: list[tuple[str, dict[str, Any]]] = [
    ("error_rate > 5%", {"metric": "error_rate", "aggregation": "mean", "operator": ">", "error": 0.05}),
    (
        'p95(http_request_duration_seconds{service="shop"}) > 300ms for 5m',
        {
            "metric": "http_request_duration_seconds", "aggregation": "p95", "matchers": {"service": "shop"},
            "operator": ">", "error": 0.3, "for": 300,
        },
    ),
    (
        "rate(errors_total) / rate(requests_total) > 5%",
        {
            "metric": "errors_total", "denominator": "requests_total", "aggregation": "rate", "operator": ">",
            "error": 0.05,
        },
    ),
    (
        "errors_total/requests_total>=.5",
        {
            "metric": "errors_total", "denominator": "requests_total", "aggregation": "increase", "operator": ">=",
            "error": 0.5,
        },
    ),
    (
        "avg(x[1h30m]) < 3 warning, 2 error, -1e3 critical clear 4 keep firing 10m at least 50 every 30s no data alert",
        {
            "metric": "x", "aggregation": "mean", "window": 5400, "operator": "<", "warning": 3.0, "error": 2.0,
            "critical": -1000.0, "clear": 4.0, "keep_firing_for": 600, "min_count": 50, "interval": 30,
            "no_data": "alert",
        },
    ),
    (
        'mean(x) > 1.5x vs arm(variant="off")',
        {
            "metric": "x", "aggregation": "mean", "operator": ">", "error": 1.5,
            "baseline": {"kind": "arm", "change": "ratio", "variant": "off"},
        },
    ),
    (
        "x > 20 by difference vs offset(1d)",
        {
            "metric": "x", "aggregation": "mean", "operator": ">", "error": 20.0,
            "baseline": {"kind": "offset", "change": "difference", "seconds": 86_400},
        },
    ),
    ("size_bytes > 2MiB", {"metric": "size_bytes", "aggregation": "mean", "operator": ">", "error": 2 * 1024**2}),
    ("size > 2kB", {"metric": "size", "aggregation": "mean", "operator": ">", "error": 2.0}),
    ("busy_percent > 90%", {"metric": "busy_percent", "aggregation": "mean", "operator": ">", "error": 90.0}),
    ("all > 3", {"metric": "all", "aggregation": "mean", "operator": ">", "error": 3.0}),
    ("count > 3", {"metric": "count", "aggregation": "mean", "operator": ">", "error": 3.0}),
]  # fmt: skip


@pytest.mark.parametrize(("text", "fields"), SAYS, ids=[text for text, _ in SAYS])
def test_a_comparison_says_these_fields(text: str, fields: dict[str, Any]) -> None:
    assert read(text, units={"size": "kB"}) == {**DEFAULTS, **fields}


COMBINES: list[tuple[str, dict[str, Any]]] = [
    ("all(error rate, latency)", {"of": ["error rate", "latency"], "need": "all", "level": "error"}),
    ("any ( #1 , #22 ) warning", {"of": [1, 22], "need": "any", "level": "warning"}),
    ('2 of ("a, b", c, #3) critical', {"of": ["a, b", "c", 3], "need": 2, "level": "critical"}),
    ("at least 2 of (a, b, c)", {"of": ["a", "b", "c"], "need": 2, "level": "error"}),
]


@pytest.mark.parametrize(("text", "combine"), COMBINES, ids=[text for text, _ in COMBINES])
def test_a_combination_says_these_members(text: str, combine: dict[str, Any]) -> None:
    assert read(text)["combine"] == combine
    assert read(write(read(text)))["combine"]["of"] == combine["of"]


WRONG = [
    ("", 1, "the name of a metric"),
    ("error_rate", 11, "an operator"),
    ("error_rate > ", 14, "a number"),
    ("error_rate > five", 14, "a number, found 'five'"),
    ("error_rate = 5", 12, "an operator"),
    ("median(x) > 3", 1, "there is no aggregation 'median'"),
    ("x > 3 fur 5m", 7, "a clause"),
    ("x > 3 for 5", 11, "a duration"),
    ("x > 3 for 5m for 6m", 14, "said twice"),
    ("x > 3ms", 6, "the unit of x is not known"),
    ("x_bytes > 3ms", 12, "measured in B, not in ms"),
    ("x{a=1} > 3", 5, "double quotes"),
    ('x{a="1",a="2"} > 3', 9, "given twice"),
    ("mean(x > 3", 8, "expected )"),
    ("mean(a)/mean(b) > 3", 9, "a ratio is of two counters"),
    ('rate(a{x="1"})/rate(b) > 3', 16, "the same labels"),
    ("rate(a)/increase(b) > 3", 9, "both are increases"),
    ("x > 3 error, 4", 15, "warning, error or critical"),
    ("x > 3 error, 4 error", 14, "given twice"),
    ("x > 1e400", 5, "finite"),
    ("all(a", 6, "expected )"),
    ("all()", 5, "the name of a threshold"),
    ("2 of (a, b) clear 3", 20, "no meaning for a combination"),
    ("x > 3 by ratio", 15, "vs"),
    ("x > 3 vs yesterday", 10, "arm, previous_release, offset or usual"),
]


@pytest.mark.parametrize(("text", "column", "words"), WRONG, ids=[text for text, *_ in WRONG])
def test_what_is_wrong_is_told_with_its_column(text: str, column: int, words: str) -> None:
    with pytest.raises(Wrong) as caught:
        read(text)
    assert words in str(caught.value)
    assert caught.value.column == column


NAMES = st.from_regex(r"[a-z_][a-z0-9_]{0,12}", fullmatch=True)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False, min_value=-1e12, max_value=1e12).map(
    lambda value: value + 0.0
)
AGGREGATIONS = st.sampled_from(
    ["mean", "min", "max", "sum", "count", "stddev", "last", "rate", "increase", "p50", "p99.9"]
)
VARIANTS = st.text(min_size=1, max_size=9)
BASELINES = st.one_of(
    st.none(),
    st.fixed_dictionaries({"kind": st.just("previous_release"), "change": st.sampled_from(["ratio", "difference"])}),
    st.fixed_dictionaries({"kind": st.just("offset"), "change": st.just("ratio"), "seconds": st.integers(1, 10**6)}),
    st.fixed_dictionaries({"kind": st.just("arm"), "change": st.just("ratio"), "variant": VARIANTS}),
    st.fixed_dictionaries(
        {
            "kind": st.just("usual"), "change": st.sampled_from(["deviations", "ratio", "difference"]),
            "season": st.sampled_from(["hour_of_day", "hour_of_week"]), "weeks": st.integers(1, 52),
        }
    ),
)  # fmt: skip


@st.composite
def specs(draw: st.DrawFn) -> dict[str, Any]:
    denominator = draw(st.one_of(st.none(), NAMES))
    levels = draw(st.sets(st.sampled_from(conditions.LEVELS), min_size=1))
    return {
        **DEFAULTS,
        "metric": draw(NAMES),
        "denominator": denominator,
        "aggregation": draw(st.sampled_from(["rate", "increase"]) if denominator else AGGREGATIONS),
        "matchers": draw(st.dictionaries(NAMES, st.text(max_size=20), max_size=3)),
        "operator": draw(st.sampled_from([">", ">=", "<", "<="])),
        **{level: draw(NUMBERS) for level in levels},
        "clear": draw(st.one_of(st.none(), NUMBERS)),
        "window": draw(st.integers(1, 200_000)),
        "interval": draw(st.integers(1, 90_000)),
        "for": draw(st.integers(0, 700_000)),
        "keep_firing_for": draw(st.integers(0, 700_000)),
        "min_count": draw(st.integers(0, 10**9)),
        "no_data": draw(st.sampled_from(["keep", "ok", "alert"])),
        "baseline": draw(BASELINES),
    }


@settings(max_examples=150, deadline=None)
@given(specs())
def test_fields_written_and_read_are_the_same_fields(spec: dict[str, Any]) -> None:
    assert read(write(spec)) == spec


@settings(max_examples=150, deadline=None)
@given(st.text(alphabet='abrtenl(){}[],=/<>"5.%#m \\', max_size=40))
def test_any_text_is_read_or_refused_in_words(text: str) -> None:
    wrong, spec = None, {}
    try:
        spec = read(text)
    except Wrong as caught:
        wrong = caught
    if wrong is not None:
        assert 1 <= wrong.column <= len(text) + 1
    else:
        assert read(write(spec)) == spec or "combine" in spec


def test_a_text_is_not_endless() -> None:
    with pytest.raises(Wrong, match="at most 2000 characters"):
        read("x" * 3000)
