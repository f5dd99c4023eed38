"""What the last minutes of a metric came to: many windows at once, in a fixed number of queries."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import orjson
from django.db import connection

from monitoring import histogram
from monitoring.histogram import Distribution, Histogram, bounded
from monitoring.models import Series
from monitoring.models.metrics import AHEAD
from monitoring.queries import statements
from monitoring.queries.matched import Memory
from monitoring.queries.statements import array

# A counter's base is looked for this long before the window (or as long as the window, if that is longer).
BASE_WITHIN = timedelta(hours=1)

PLAIN = frozenset({"mean", "min", "max", "sum", "count"})
STEPS = frozenset({"increase", "rate"})
PERCENTILE = re.compile(r"p(\d{1,2}(?:\.\d{1,3})?|100)\Z")


def is_aggregation(name: str) -> bool:
    return name in PLAIN | STEPS | {"stddev", "last"} or PERCENTILE.match(name) is not None


@dataclass(frozen=True, slots=True)
class Window:
    """One question: an aggregation of a metric over the last `seconds`, of the series that carry the matchers.

    With a denominator it is increase(metric) / increase(denominator), whatever the aggregation says.
    """

    metric: str
    aggregation: str = "mean"
    seconds: int = 300
    matchers: Mapping[str, str] = field(default_factory=dict)
    denominator: str = ""
    each_series: bool = False  # else all matching series are pooled
    back: int = 0  # the same window so many seconds ago


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One answer. No data is count 0 and value None, never the value 0."""

    value: float | None = None
    # Observations in the window; of a ratio the denominator's increase, of a counter the samples.
    count: float = 0
    oldest: datetime | None = None
    newest: datetime | None = None
    series: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)


NOTHING = Aggregate()
Cell = tuple[int, int | None]  # question, series (None: pooled)


def aggregates(windows: Sequence[Window], *, now: datetime) -> list[list[Aggregate]]:
    """The answers, window by window: one where series are pooled, else one for each matching series."""
    asked = _Asked(now)
    plans = [asked.plan(prepare(window)) for window in windows]
    cells = _Cells(asked)
    labels = _labels(cells)
    return [
        [_pooled(window, plan, cells)] if not window.each_series else list(_each(window, plan, cells, labels))
        for window, plan in zip(windows, plans, strict=True)
    ]


def pooled(prepared: Sequence["Prepared"], *, now: datetime, memory: Memory) -> list[Aggregate]:
    """The same for who asks again and again: the memory knows their series. The answers tell no times."""
    asked = _Remembered(now, memory)
    plans = [asked.plan(one) for one in prepared]
    cells = _Cells(asked)
    return [_pooled(one.window, plan, cells) for one, plan in zip(prepared, plans, strict=True)]


@dataclass(frozen=True, slots=True)
class _Question:
    kind: str
    metric: str
    matchers: bytes
    seconds: int
    back: int
    each: bool
    p: float | None = None


class _Asked:
    """The distinct questions: windows that share one are answered by one row."""

    def __init__(self, now: datetime) -> None:
        self.now = now
        self.numbers: dict[_Question, int] = {}

    def plan(self, prepared: "Prepared") -> "_Plan":
        number = self.numbers.setdefault
        main = number(prepared.main, len(self.numbers))
        return _Plan(main, number(prepared.other, len(self.numbers)) if prepared.other is not None else -1)

    def run(self, kind: str, sql: str, only: frozenset[int] | None = None) -> list[tuple[Any, ...]]:
        """Every question of a kind in one statement; none, no statement."""
        rows, spans = [], []
        for question, n in self._of(kind, only):
            span = _span(question.seconds, question.back, self.now)
            spans.append(span)
            row = {"n": n, "metric": question.metric, "matchers": orjson.Fragment(question.matchers)}
            rows.append(row | {"each": question.each, "p": question.p} | span)
        if not rows:
            return []
        with connection.cursor() as cursor:
            cursor.execute(statements.MATCHED + sql, {"asked": orjson.dumps(rows).decode(), **_limits(kind, spans)})
            return cursor.fetchall()

    def _of(self, kind: str, only: frozenset[int] | None) -> Iterator[tuple[_Question, int]]:
        for question, n in self.numbers.items():
            if question.kind == kind and (only is None or n in only):
                yield question, n


class _Remembered(_Asked):
    """The same for who remembers which series each question is about."""

    def __init__(self, now: datetime, memory: Memory) -> None:
        super().__init__(now)
        self.memory = memory
        self._found = False

    def run(self, kind: str, sql: str, only: frozenset[int] | None = None) -> list[tuple[Any, ...]]:
        if not self._found:
            self.memory.refresh((one.metric, one.matchers) for one in self.numbers)
            self._found = True
        windows: dict[tuple[int, int, float | None], int] = {}
        ns: list[int] = []
        ws: list[int] = []
        ids: list[int] = []
        for question, n in self._of(kind, only):
            series = self.memory.series(question.metric, question.matchers)
            w = windows.setdefault((question.seconds, question.back, question.p), len(windows))
            ns += [n] * len(series)
            ws += [w] * len(series)
            ids += series
        if not ids:
            return []
        spans = [_span(seconds, back, self.now) for seconds, back, _ in windows]
        rows = [{"w": w, "p": p} | span for ((_, _, p), w), span in zip(windows.items(), spans, strict=True)]
        asked = {"windows": orjson.dumps(rows).decode(), "n": array(ns), "w": array(ws), "series": array(ids)}
        with connection.cursor() as cursor:
            # Who asks so does not ask when.
            asking = statements.KNOWN + sql.replace(statements.TIMES, statements.NO_TIMES)
            cursor.execute(asking, {**asked, **_limits(kind, spans)})
            return cursor.fetchall()


def _span(seconds: int, back: int, now: datetime) -> dict[str, datetime]:
    """From when until when samples count, and how far before it a counter's base is looked for."""
    end = now - timedelta(seconds=back)
    since = end - timedelta(seconds=seconds)
    # What a sender's clock put ahead of ours counts as of now, not when our clock gets there.
    until = end if back else end + AHEAD
    return {"base": since - max(timedelta(seconds=seconds), BASE_WITHIN), "since": since, "until": until}


def _limits(kind: str, spans: Sequence[Mapping[str, datetime]]) -> dict[str, datetime]:
    """The times of all the samples that a statement looks at."""
    first = "base" if kind == "steps" else "since"
    return {"first": min(one[first] for one in spans), "last": max(one["until"] for one in spans)}


@dataclass(frozen=True, slots=True)
class Prepared:
    """A window and the questions that answer it."""

    window: Window
    main: _Question
    other: _Question | None = None  # the denominator, or what counts a `last`


def prepare(window: Window) -> Prepared:
    """What has to be asked. Raises ValueError for an aggregation that there is not."""
    matchers = orjson.dumps(window.matchers, option=orjson.OPT_SORT_KEYS)

    def question(kind: str, metric: str = window.metric, p: float | None = None) -> _Question:
        return _Question(kind, metric, matchers, window.seconds, window.back, window.each_series, p)

    if window.denominator:
        return Prepared(window, question("steps"), question("steps", window.denominator))
    if window.aggregation in STEPS:
        return Prepared(window, question("steps"))
    if window.aggregation == "last":
        return Prepared(window, question("last"), question("plain"))
    if window.aggregation == "stddev":
        return Prepared(window, question("spread"))
    if percentile := PERCENTILE.match(window.aggregation):
        return Prepared(window, question("spread", p=float(percentile[1]) / 100))
    if window.aggregation in PLAIN:
        return Prepared(window, question("plain"))
    raise ValueError(f"there is no aggregation {window.aggregation!r}")


@dataclass(slots=True)
class _Plan:
    """The numbers of the questions that answer a window."""

    main: int
    other: int = -1


@dataclass(slots=True)
class _Cell:
    """What one question came to, for one series or all."""

    count: float = 0
    total: float | None = None  # the sum, or the increase; scaled DOWN
    low: float | None = None
    high: float | None = None
    spread: float | None = None  # the percentile, or where none was asked for the standard deviation
    last: float | None = None
    oldest: datetime | None = None
    newest: datetime | None = None


EMPTY = _Cell()


class _Cells:
    """The answers to all questions."""

    def __init__(self, asked: _Asked) -> None:
        self.by_question: dict[int, dict[int | None, _Cell]] = defaultdict(dict)
        for n, series, count, total, low, high, oldest, newest in asked.run("plain", statements.PLAIN):
            self.by_question[n][series] = _Cell(count or 0, total, low, high, oldest=oldest, newest=newest)
        for n, series, total, count, oldest, newest in asked.run("steps", statements.STEPS):
            self.by_question[n][series] = _Cell(int(count), total, oldest=oldest, newest=newest)
        for n, series, value in asked.run("last", statements.LAST):
            self.by_question[n][series] = _Cell(last=value)
        self._spread(asked)

    def _spread(self, asked: _Asked) -> None:
        rows = asked.run("spread", statements.SPREAD)
        percents = {n: question.p for question, n in asked.numbers.items()}
        found = _distributions(asked, frozenset(n for n, _, _, distributions, *_ in rows if distributions))
        for n, series, count, _, percentile, near, far, oldest, newest in rows:
            whole, p = found.get((n, series)), percents[n]
            if whole is None:
                # Squares of huge values overflow: those are measured on a scale on which the others vanish.
                deviation = near if near is not None or far is None else far * statements.FAR_UP
                spread = percentile if p is not None else deviation
            else:
                count = whole.count
                spread = whole.percentile(p * 100) if p is not None else whole.deviation()
            self.by_question[n][series] = _Cell(
                count, spread=None if spread is None else bounded(spread), oldest=oldest, newest=newest
            )

    def get(self, question: int, series: int | None = None) -> _Cell:
        return self.by_question[question].get(series, EMPTY) if question >= 0 else EMPTY


def _distributions(asked: _Asked, questions: frozenset[int]) -> dict[Cell, Distribution]:
    """The merged distribution of each cell in which there is one, single values included."""
    parts: dict[Cell, list[Distribution]] = defaultdict(list)
    singles: dict[Cell, Histogram] = defaultdict(Histogram)
    if questions:
        for n, series, value, kept in asked.run("spread", statements.DISTRIBUTIONS, questions):
            if kept is not None:
                parts[n, series].append(histogram.from_json(orjson.loads(kept)))
            else:
                singles[n, series].add(value)
    return {
        cell: histogram.merged([*some, *([singles[cell]] if cell in singles else [])]) for cell, some in parts.items()
    }


def _up(total: float) -> float:
    return bounded(total * statements.UP)


def _answer(window: Window, main: _Cell, other: _Cell) -> Aggregate:
    if window.denominator:
        if not other.total or main.total is None:
            return NOTHING
        return Aggregate(bounded(main.total / other.total), _up(other.total), other.oldest, other.newest)
    counted = other if window.aggregation == "last" else main
    if not counted.count:
        return NOTHING
    return Aggregate(_value(window, main), counted.count, counted.oldest, counted.newest)


def _value(window: Window, cell: _Cell) -> float | None:
    match window.aggregation:
        case "mean":
            return None if cell.total is None else _up(cell.total / cell.count)
        case "sum" | "increase":
            return None if cell.total is None else _up(cell.total)
        case "rate":
            return None if cell.total is None else _up(cell.total / window.seconds)
        case "count":
            return cell.count
        case "min":
            return cell.low
        case "max":
            return cell.high
        case "last":
            return cell.last
        case _:
            return cell.spread


def _pooled(window: Window, plan: _Plan, cells: _Cells) -> Aggregate:
    return _answer(window, cells.get(plan.main), cells.get(plan.other))


def _each(
    window: Window, plan: _Plan, cells: _Cells, labels: Mapping[int, tuple[str, Mapping[str, str]]]
) -> Iterator[Aggregate]:
    """One answer for each series; of a ratio, for each of the metric's whose labels the denominator has too."""
    others = {labels[series][0]: series for series in cells.by_question[plan.other] if series is not None}
    for series, cell in sorted(cells.by_question[plan.main].items(), key=lambda item: item[0] or 0):
        if series is None:
            continue
        print_, own = labels[series]
        found = _answer(window, cell, cells.get(plan.other, others.get(print_)))
        yield Aggregate(found.value, found.count, found.oldest, found.newest, series, own)


def _labels(cells: _Cells) -> dict[int, tuple[str, Mapping[str, str]]]:
    """Fingerprint and labels of every series that has an answer of its own."""
    ids = {series for answers in cells.by_question.values() for series in answers if series is not None}
    if not ids:
        return {}
    rows = Series.objects.filter(pk__in=ids).values_list("pk", "fingerprint", "labels")
    return {pk: (str(print_), labels) for pk, print_, labels in rows}
