"""What a target exposes of its metrics: Prometheus' text format 0.0.4, and OpenMetrics 1.0."""

import math
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import Metric, parser
from prometheus_client.openmetrics import parser as openmetrics

from monitoring.sources.registry import MOST_SAMPLES
from monitoring.sources.remote_write import Family, Written, Wrong
from monitoring.sources.wire import Malformed, TooLarge

ACCEPT: Final = (
    "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"  # as Prometheus prefers
)
OPENMETRICS: Final = "application/openmetrics-text"
# A server that says nothing of its type speaks the older format.
TEXT: Final = ("text/plain", "")
LONGEST_SHOWN: Final = 100  # characters of a line that is wrong
# Their OpenMetrics samples tell when they began, not how they stand.
BEGAN: Final = frozenset({"counter", "histogram", "summary"})
# What the parsers raise of a text that is none.
FAULTS: Final = (ValueError, LookupError, TypeError, ArithmeticError)


def read(body: bytes, content_type: str, *, time: float) -> Written:
    """The samples in a body; those without a time of their own get `time` (Unix seconds).

    A line of the text format that is wrong costs only itself. OpenMetrics is taken whole or not at all: it ends with
    a mark, so that half of it is not taken for all. Raises Malformed or TooLarge.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind != OPENMETRICS and kind not in TEXT:
        raise Malformed(f"answers with {kind[:60]}, not with metrics")
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise Malformed(f"is not UTF-8 at byte {error.start}") from None
    written = Written()
    if kind == OPENMETRICS:
        try:
            _take(openmetrics.text_string_to_metric_families(text), written, time)
        except FAULTS as error:
            raise Malformed(f"is no OpenMetrics: {_short(str(error))}") from None
        return written
    try:
        _take(parser.text_string_to_metric_families(text), written, time)
    except FAULTS:
        # Once more, line by line: only now, as it costs thrice as much.
        written = Written()
        _take(_of_lines(text, written), written, time)
    return written


def _of_lines(text: str, written: Written) -> Iterator[Metric]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        try:
            yield from parser.text_string_to_metric_families(line)
        except FAULTS as error:
            written.wrong.append(Wrong(number, "line", f"'{_short(line)}': {_short(str(error))}", 1))


def _take(families: Iterable[Metric], written: Written, time: float) -> None:
    for family in families:
        counted = ""
        for sample in family.samples:
            name, value = sample.name, sample.value
            if family.type in BEGAN and name.endswith("_created"):
                continue
            counted = counted or name
            if not math.isfinite(value):
                written.skipped += 1
                continue
            at = time if sample.timestamp is None else float(sample.timestamp)
            written.samples.append({"metric": name, "value": float(value), "time": at, "labels": dict(sample.labels)})
            written.exemplars += sample.exemplar is not None
        if len(written.samples) + len(written.wrong) > MOST_SAMPLES:
            raise TooLarge(f"has more than {MOST_SAMPLES} samples")
        # The text format's parser takes the _total from a counter's name, which its samples carry.
        name = counted if family.type == "counter" and counted else family.name
        written.families.append(Family(name, family.type, family.unit, family.documentation))


def _short(text: str) -> str:
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}…"
