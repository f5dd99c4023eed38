"""What a target exposes, read: both formats, and what is wrong with some."""

import pytest

from monitoring.sources import exposition
from monitoring.sources.registry import MOST_SAMPLES
from monitoring.sources.remote_write import Written
from monitoring.sources.wire import Malformed, TooLarge
from tests.monitoring.targets import OPENMETRICS, TEXT

NOW = 1_800_000_000.0


def read(text: str, kind: str = TEXT) -> Written:
    return exposition.read(text.encode(), kind, time=NOW)


def values(written: Written) -> dict[str, float]:
    return {
        one["metric"] + "".join(f",{name}={value}" for name, value in sorted(one["labels"].items())): one["value"]
        for one in written.samples
    }


def test_text() -> None:
    written = read(
        "# HELP jobs_total Jobs done.\n# TYPE jobs_total counter\n"
        'jobs_total{queue="a\\"b\\\\c\\nd"} 3\njobs_total{queue="x"} 4 1799999990000\n'
        "# TYPE size gauge\nsize -1.5e3\nplain 7\nnothing NaN\nmuch +Inf\n"
    )
    assert values(written) == {
        'jobs_total,queue=a"b\\c\nd': 3.0, "jobs_total,queue=x": 4.0, "size": -1500.0, "plain": 7.0,
    }  # fmt: skip
    assert [one["time"] for one in written.samples][:2] == [NOW, 1_799_999_990.0]
    assert written.skipped == 2
    described = {one.name: (one.type, one.help) for one in written.families}
    assert described["jobs_total"] == ("counter", "Jobs done.")
    assert described["size"][0] == "gauge"


def test_a_histogram_is_its_counters_as_a_prometheus_would_write_them() -> None:
    written = read(
        "# TYPE took_seconds histogram\ntook_seconds_sum 1.5\ntook_seconds_count 3\n"
        'took_seconds_bucket{le="0.5"} 2\ntook_seconds_bucket{le="+Inf"} 3\n'
    )
    assert values(written) == {
        "took_seconds_bucket,le=0.5": 2.0, "took_seconds_bucket,le=+Inf": 3.0,
        "took_seconds_sum": 1.5, "took_seconds_count": 3.0,
    }  # fmt: skip
    assert [(one.name, one.type) for one in written.families] == [("took_seconds", "histogram")]


def test_openmetrics() -> None:
    written = read(
        "# TYPE jobs counter\njobs_total 5 1799999990.5\njobs_created 1700000000 1799999990.5\n# EOF\n", OPENMETRICS
    )
    assert [(one["metric"], one["value"], one["time"]) for one in written.samples] == [
        ("jobs_total", 5.0, 1_799_999_990.5)
    ]
    assert [(one.name, one.type) for one in written.families] == [("jobs_total", "counter")]


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("# TYPE a gauge\na 1\n", OPENMETRICS, "is no OpenMetrics: "),  # half of it: the mark of its end is missing
        ('a{x="1",x="2"} 1\n# EOF\n', OPENMETRICS, "is no OpenMetrics: "),
        ("<html></html>", "text/html; charset=utf-8", "answers with text/html, not with metrics"),
        ('{"a": 1}', "application/json", "answers with application/json, not with metrics"),
    ],
)
def test_what_is_no_exposition(text: str, kind: str, words: str) -> None:
    with pytest.raises(Malformed, match=words):
        read(text, kind)


def test_what_is_not_utf_8() -> None:
    with pytest.raises(Malformed, match="is not UTF-8 at byte 3"):
        exposition.read(b'a{x\xff="1"} 1\n', TEXT, time=NOW)


def test_a_line_that_is_wrong_costs_only_itself() -> None:
    written = read('good 1\nbad{x="1",x="2"} 1\nnonsense\nbetter{x="y"} 2\n')
    assert values(written) == {"good": 1.0, "better,x=y": 2.0}
    assert [(one.index, one.field) for one in written.wrong] == [(2, "line"), (3, "line")]


def test_too_many_samples() -> None:
    with pytest.raises(TooLarge):
        read("".join(f'a{{n="{n}"}} 1\n' for n in range(MOST_SAMPLES + 1)))
