"""A threshold's condition as text: read into the contract's fields, and written back. `docs/conditions.md` says how."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

LONGEST = 2_000  # characters
LEVELS = ("warning", "error", "critical")
# What a text says; all of it is set anew when a text is given.
FIELDS = (
    *("metric", "denominator", "matchers", "aggregation", "operator", *LEVELS, "clear", "window", "interval", "for"),
    *("keep_firing_for", "min_count", "baseline", "no_data", "combine"),
)
DEFAULTS: Mapping[str, Any] = {
    "denominator": None, "matchers": {}, "clear": None, "window": 300, "interval": 10, "for": 0, "keep_firing_for": 0,
    "min_count": 1, "baseline": None, "no_data": "keep", **dict.fromkeys(LEVELS),
}  # fmt: skip
AGGREGATION = re.compile(r"(mean|avg|min|max|sum|count|stddev|last|rate|increase|p(\d{1,2}(\.\d{1,3})?|100))(?=\s*\()")
AGGREGATIONS = "mean, min, max, sum, count, stddev, last, rate, increase or a percentile such as p95"
NAME = re.compile(r"[a-zA-Z_:][a-zA-Z0-9_:]*")
LABEL = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.DOTALL)
NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
UNIT = re.compile(r"%|[a-zA-Zµ]+")
WORD = re.compile(r"[a-z_]+")
SPACE = re.compile(r"\s*")
COUNTED = re.compile(r"(all|any|(?:at least\s+)?(\d{1,3})\s+of)\s*\(")
BARE = re.compile(r"[^,()\"]+")
PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*(?: [A-Za-z0-9_-]+)*\Z")
ESCAPES = {"n": "\n", "t": "\t"}

DURATIONS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 604_800}
# A unit of the text or the metric: what it measures, and how many of the base unit it is.
UNITS: Mapping[str, tuple[str, Decimal]] = {
    **{name: ("time", Decimal("1e-9")) for name in ("ns", "nanoseconds")},
    **{name: ("time", Decimal("1e-6")) for name in ("us", "µs", "microseconds")},
    **{name: ("time", Decimal("1e-3")) for name in ("ms", "milliseconds", "millisecond")},
    **{name: ("time", Decimal(1)) for name in ("s", "sec", "seconds", "second")},
    **{name: ("time", Decimal(60)) for name in ("m", "min", "minutes")},
    **{name: ("time", Decimal(3600)) for name in ("h", "hours")},
    **{name: ("time", Decimal(86_400)) for name in ("d", "days")},
    **{name: ("bytes", Decimal(1)) for name in ("B", "By", "bytes", "byte")},
    **{name: ("bytes", Decimal(10) ** (3 * power)) for power, name in enumerate(("kB", "MB", "GB", "TB"), 1)},
    **{name: ("bytes", Decimal(1024) ** power) for power, name in enumerate(("KiB", "MiB", "GiB", "TiB"), 1)},
    **{name: ("share", Decimal("0.01")) for name in ("%", "percent")},
    **{name: ("share", Decimal(1)) for name in ("", "1", "ratio", "share")},
}
# What the end of a name says where the metric's unit is not known, as Prometheus names metrics.
ENDINGS = {
    "_seconds": "s", "_milliseconds": "ms", "_ms": "ms", "_bytes": "B", "_ratio": "ratio", "_percent": "%",
}  # fmt: skip


class Wrong(ValueError):
    """What is wrong with a text, and where: `column` counts from 1."""

    def __init__(self, column: int, words: str) -> None:
        super().__init__(f"column {column}: {words}")
        self.column = column


def read(text: str, *, units: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The fields that the text says, in the contract's words; those that it leaves out have their defaults.

    `units`: of metrics, by name: 300ms of a metric in seconds is 0.3. Raises Wrong with the column.
    """
    if len(text) > LONGEST:
        raise Wrong(LONGEST + 1, f"a condition has at most {LONGEST} characters")
    reader = _Reader(text, units or {})
    spec = reader.combination() if reader.looking_at(COUNTED) else reader.comparison()
    reader.space()
    if reader.at < len(text):
        raise reader.expected("the end" if "combine" in spec else "a clause such as for 5m, or the end")
    return spec


def write(spec: Mapping[str, Any], *, names: Mapping[int, str] | None = None) -> str:
    """The contract's fields as a text that reads back to them. `names`: of the thresholds of a combination.

    What is a default is left out. A ratio is of two increases, whatever its aggregation says.
    """
    if combine := spec.get("combine"):
        return _combination(combine, spec, names or {})
    parts = [_measured(spec), spec["operator"], _bounds(spec)]
    if baseline := spec.get("baseline"):
        parts.append(_baseline(baseline))
    return " ".join([*parts, *_clauses(spec)])


@dataclass(slots=True)
class _Reader:
    text: str
    units: Mapping[str, str]
    at: int = 0
    spec: dict[str, Any] = field(default_factory=dict)

    def space(self) -> None:
        found = SPACE.match(self.text, self.at)
        self.at = found.end() if found else self.at

    def looking_at(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        self.space()
        return pattern.match(self.text, self.at)

    def take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        found = self.looking_at(pattern)
        if found is None:
            raise self.expected(what)
        self.at = found.end()
        return found

    def sign(self, sign: str, *, must: bool = False) -> bool:
        self.space()
        if self.text.startswith(sign, self.at):
            self.at += len(sign)
            return True
        if must:
            raise self.expected(sign)
        return False

    def words(self, *words: str) -> bool:
        """These words in this order, or nothing at all."""
        found = re.compile(r"\s+".join(words) + r"(?![a-zA-Z0-9_])").match(self.text, self._skipped())
        if found:
            self.at = found.end()
        return found is not None

    def _skipped(self) -> int:
        self.space()
        return self.at

    def expected(self, what: str) -> Wrong:
        self.space()
        found = self.text[self.at : self.at + 20]
        return Wrong(self.at + 1, f"expected {what}, found " + (f"'{found}'" if found else "the end"))

    # --- A comparison ---

    def comparison(self) -> dict[str, Any]:
        first = self._term()
        self.spec = {"metric": first.metric, "matchers": first.matchers, "aggregation": first.aggregation or "mean"}
        window = first.window
        if self.sign("/"):
            column = self._skipped() + 1
            other = self._term()
            self._ratio(first, other, column)
            window = first.window or other.window
        if window:
            self.spec["window"] = window
        operator = self.take(re.compile(r">=|<=|>|<"), "an operator: >, >=, < or <=" + self._hint(first))
        self.spec["operator"] = operator.group()
        self._read_bounds()
        self._read_clauses()
        return {**DEFAULTS, **self.spec}

    def _hint(self, term: "_Term") -> str:
        return "" if term.aggregation else ", or / and a second counter"

    def _term(self) -> "_Term":
        aggregation = ""
        if found := self.looking_at(AGGREGATION):
            self.at = found.end()
            aggregation = "mean" if found.group() == "avg" else found.group()
            self.sign("(", must=True)
        name = self.take(NAME, "the name of a metric")
        if not aggregation and self.looking_at(re.compile(r"\(")):
            raise Wrong(name.start() + 1, f"there is no aggregation '{name.group()}': choose {AGGREGATIONS}")
        term = _Term(aggregation, name.group(), self._labels() if self.sign("{") else {})
        if self.sign("["):
            term.window = self._duration()
            self.sign("]", must=True)
        if aggregation:
            self.sign(")", must=True)
        return term

    def _ratio(self, first: "_Term", other: "_Term", column: int) -> None:
        for term in (first, other):
            if term.aggregation not in ("", "rate", "increase"):
                raise Wrong(column, f"a ratio is of two counters: rate or increase, not {term.aggregation}")
        if first.aggregation and other.aggregation and first.aggregation != other.aggregation:
            raise Wrong(column, "both sides of a ratio are rates, or both are increases")
        if other.matchers != first.matchers:
            raise Wrong(column, "both sides of a ratio are of the same labels")
        if first.window and other.window and first.window != other.window:
            raise Wrong(column, "both sides of a ratio are over the same window")
        self.spec |= {"denominator": other.metric, "aggregation": first.aggregation or other.aggregation or "increase"}

    def _labels(self) -> dict[str, str]:
        found: dict[str, str] = {}
        while not self.sign("}"):
            label = self.take(LABEL, "the name of a label, or }")
            self.sign("=", must=True)
            if label.group() in found:
                raise Wrong(label.start() + 1, f"{label.group()} is given twice")
            found[label.group()] = _unescaped(self.take(STRING, "a value in double quotes").group(1))
            if not self.sign(","):
                self.sign("}", must=True)
                break
        return found

    def _duration(self) -> int:
        start, total = self._skipped(), Decimal(0)
        while found := self.looking_at(re.compile(r"(\d+(?:\.\d+)?)(sec|s|min|m|h|d|w)(?![a-zA-Z])")):
            self.at = found.end()
            total += Decimal(found[1]) * DURATIONS[found[2]]
        if self.at == start:
            raise self.expected("a duration such as 30s, 5m, 1h30m or 1d")
        if total != int(total) or total > 10**9:
            raise Wrong(start + 1, "a duration is whole seconds")
        return int(total)

    def _read_bounds(self) -> None:
        level = ""
        while True:
            column = self._skipped() + 1
            value = self._value()
            found = self.looking_at(re.compile(r"(warning|error|critical)(?![a-zA-Z0-9_])"))
            if found:
                self.at = found.end()
            elif level:
                raise self.expected("warning, error or critical")
            level = found.group() if found else "error"
            if level in self.spec:
                raise Wrong(column, f"the bound of {level} is given twice")
            self.spec[level] = value
            if not found or not self.sign(","):
                return

    def _value(self) -> float:
        number = self.take(NUMBER, "a number")
        value = Decimal(number.group())
        unit = self.looking_at(UNIT)
        if unit is None or (unit.group() not in UNITS and unit.group() != "x"):
            return _finite(value, number.start())
        self.at = unit.end()
        if unit.group() == "x":  # 1.5x of the baseline: a plain number
            return _finite(value, number.start())
        return _finite(value * self._scale(unit.group(), unit.start() + 1), number.start())

    def _scale(self, unit: str, column: int) -> Decimal:
        """How many of the metric's own unit one of this unit is."""
        kind, size = UNITS[unit]
        metric = self.spec["metric"]
        own = "" if self.spec.get("denominator") else self.units.get(metric, "")
        if not own and not self.spec.get("denominator"):
            own = next((unit for ending, unit in ENDINGS.items() if metric.removesuffix("_total").endswith(ending)), "")
        if own in UNITS and UNITS[own][0] == kind:
            return size / UNITS[own][1]
        if self.spec["aggregation"] in ("count", "stddev") or own:
            raise Wrong(column, f"{metric} is measured in {own or 'no unit'}, not in {unit}: write the plain number")
        raise Wrong(column, f"the unit of {metric} is not known: write the plain number, or give the metric its unit")

    def _read_clauses(self) -> None:
        change = ""
        while self._skipped() < len(self.text):
            column = self.at + 1
            if self.words("for"):
                self._once("for", self._duration(), column)
            elif self.words("clear"):
                self._once("clear", self._value(), column)
            elif self.words("keep", "firing"):
                self.words("for")
                self._once("keep_firing_for", self._duration(), column)
            elif self.words("at", "least"):
                self._once("min_count", int(self.take(re.compile(r"\d{1,10}"), "a whole number").group()), column)
            elif self.words("every"):
                self._once("interval", self._duration(), column)
            elif self.words("no", "data"):
                policy = self.take(re.compile(r"keep|ok|alert"), "keep, ok or alert")
                self._once("no_data", policy.group(), column)
            elif self.words("by"):
                change = self.take(
                    re.compile(r"ratio|difference|deviations"), "ratio, difference or deviations"
                ).group()
                if not self.words("vs"):
                    raise self.expected("vs and what it is compared with")
                self._once("baseline", self._versus(change), column)
            elif self.words("vs"):
                self._once("baseline", self._versus(""), column)
            else:
                raise self.expected("a clause such as for 5m, or the end")

    def _once(self, name: str, value: Any, column: int) -> None:
        if name in self.spec:
            raise Wrong(column, "is said twice")
        self.spec[name] = value

    def _versus(self, change: str) -> dict[str, Any]:
        kind = self.take(re.compile(r"previous_release|arm|offset|usual"), "arm, previous_release, offset or usual")
        found: dict[str, Any] = {"kind": kind.group()}
        found["change"] = change or ("deviations" if kind.group() == "usual" else "ratio")
        if not self.sign("("):
            return found
        while not self.sign(")"):
            self._argument(found, kind.group())
            if not self.sign(","):
                self.sign(")", must=True)
                break
        return found

    def _argument(self, found: dict[str, Any], kind: str) -> None:
        if kind == "offset":
            found["seconds"] = self._duration()
        elif kind == "usual":
            if season := self.looking_at(re.compile(r"hour_of_day|hour_of_week")):
                self.at = season.end()
                found["season"] = season.group()
                return
            weeks = self.take(re.compile(r"(\d{1,3})\s*weeks?"), "hour_of_day, hour_of_week or a number of weeks")
            found["weeks"] = int(weeks[1])
        else:
            label = self.take(re.compile(r"flag|variant|release"), "flag, variant or release").group()
            self.sign("=", must=True)
            found[label] = _unescaped(self.take(STRING, "a value in double quotes").group(1))

    # --- A combination ---

    def combination(self) -> dict[str, Any]:
        head = self.take(COUNTED, "all, any, or a number and of")
        of: list[str | int] = []
        while True:
            of.append(self._member())
            if not self.sign(","):
                break
        self.sign(")", must=True)
        need: str | int = int(head[2]) if head[2] else head[1]
        level = "error"
        if found := self.looking_at(re.compile(r"(warning|error|critical)(?![a-zA-Z0-9_])")):
            self.at = found.end()
            level = found.group()
        self._read_clauses()
        for name in self.spec:
            if name not in ("for", "keep_firing_for", "interval", "no_data"):
                raise Wrong(self.at + 1, f"{name} has no meaning for a combination")
        said = {name: self.spec.get(name, DEFAULTS[name]) for name in ("for", "keep_firing_for", "interval", "no_data")}
        return {"combine": {"of": of, "need": need, "level": level}, **said}

    def _member(self) -> str | int:
        if found := self.looking_at(STRING):
            self.at = found.end()
            return _unescaped(found.group(1))
        if found := self.looking_at(re.compile(r"#(\d{1,18})")):
            self.at = found.end()
            return int(found[1])
        name = self.take(BARE, "the name of a threshold, or # and its number").group().strip()
        if not name:
            raise self.expected("the name of a threshold, or # and its number")
        return name


@dataclass(slots=True)
class _Term:
    aggregation: str
    metric: str
    matchers: dict[str, str]
    window: int = 0


def _finite(value: Decimal, at: int) -> float:
    found = float(value)
    if abs(found) > 1e300:
        raise Wrong(at + 1, "must be a finite number")
    return found


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", lambda found: ESCAPES.get(found[1], found[1]), text, flags=re.DOTALL)


# --- Written ------------------------------------------------------------------------------------


def _measured(spec: Mapping[str, Any]) -> str:
    labels = ", ".join(f"{name}={_quoted(value)}" for name, value in sorted(spec.get("matchers", {}).items()))
    window = spec.get("window", DEFAULTS["window"])
    rest = (f"{{{labels}}}" if labels else "") + (f"[{duration(window)}]" if window != DEFAULTS["window"] else "")
    aggregation = spec.get("aggregation") or "mean"
    if not spec.get("denominator"):
        return f"{aggregation}({spec['metric']}{rest})"
    aggregation = aggregation if aggregation == "rate" else "increase"
    return f"{aggregation}({spec['metric']}{rest}) / {aggregation}({spec['denominator']}{rest})"


def _bounds(spec: Mapping[str, Any]) -> str:
    given = [(level, spec[level]) for level in LEVELS if spec.get(level) is not None]
    if [level for level, _ in given] == ["error"]:
        return _number(given[0][1], spec)
    return ", ".join(f"{_number(value, spec)} {level}" for level, value in given)


def _number(value: float, spec: Mapping[str, Any]) -> str:
    text = f"{value:g}" if float(f"{value:g}") == value else repr(float(value))
    if spec.get("denominator") and (spec.get("baseline") or {}).get("change") not in ("ratio", "deviations"):
        percent = f"{value * 100:g}"
        if float(Decimal(percent) / 100) == value and "e" not in percent:
            return f"{percent}%"
    return text


def _baseline(baseline: Mapping[str, Any]) -> str:
    kind, change = baseline["kind"], baseline.get("change")
    inside: list[str] = []
    if kind == "offset" and "seconds" in baseline:
        inside.append(duration(baseline["seconds"]))
    elif kind == "usual":
        inside += [baseline["season"]] if "season" in baseline else []
        inside += [f"{baseline['weeks']} weeks"] if "weeks" in baseline else []
    inside += [f"{name}={_quoted(baseline[name])}" for name in ("flag", "variant", "release") if name in baseline]
    default = "deviations" if kind == "usual" else "ratio"
    by = f"by {change} " if change and change != default else ""
    return f"{by}vs {kind}" + (f"({', '.join(inside)})" if inside else "")


def _clauses(spec: Mapping[str, Any]) -> list[str]:
    def said(name: str) -> Any:
        value = spec.get(name)
        return None if value == DEFAULTS[name] else value

    found = []
    if (value := said("for")) is not None:
        found.append(f"for {duration(value)}")
    if (value := said("clear")) is not None:
        found.append(f"clear {_number(value, spec)}")
    if (value := said("keep_firing_for")) is not None:
        found.append(f"keep firing {duration(value)}")
    if (value := said("min_count")) is not None:
        found.append(f"at least {value}")
    if (value := said("interval")) is not None:
        found.append(f"every {duration(value)}")
    if (value := said("no_data")) is not None:
        found.append(f"no data {value}")
    return found


def _combination(combine: Mapping[str, Any], spec: Mapping[str, Any], names: Mapping[int, str]) -> str:
    of, need = list(combine["of"]), combine["need"]
    members = ", ".join(_named(one, names) for one in of)
    count = len(of) if need == "all" else 1 if need == "any" else need
    head = "all" if count == len(of) else "any" if count == 1 else f"{count} of "
    level = "" if combine.get("level", "error") == "error" else f" {combine['level']}"
    said = {name: spec.get(name, DEFAULTS[name]) for name in ("for", "keep_firing_for", "interval", "no_data")}
    return " ".join([f"{head}({members}){level}", *_clauses({**DEFAULTS, **said})])


def _named(one: int | str, names: Mapping[int, str]) -> str:
    name = names.get(one, "") if isinstance(one, int) else one
    if not name:
        return f"#{one}"
    return name if PLAIN_NAME.match(name) else _quoted(name)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def duration(seconds: int) -> str:
    """300 → "5m", in the largest unit that is exact."""
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if seconds and seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"
