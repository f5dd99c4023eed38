"""A threshold in the contract's words: read with every fault named, and written back."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from monitoring import responses
from monitoring.actions import incoming
from monitoring.judging import LEVELS, OPERATORS, Change, NoData
from monitoring.models import Threshold
from portal.errors import Invalid
from portal.models import Environment, Service

AGGREGATION = r"(mean|min|max|sum|count|stddev|last|rate|increase|p(\d{1,2}(\.\d{1,3})?|100))"
TARGET = r"[a-z][a-z_]{0,39}:[A-Za-z0-9][A-Za-z0-9._@:-]{0,149}"
DAY = 86_400  # seconds
LONGEST_HOLD = 7 * DAY
MAX_MATCHERS = 32
MAX_COUNT = 2_147_483_647
FIELDS = (
    *("name", "metric", "denominator", "matchers", "aggregation", "operator", "warning", "error", "critical", "clear"),
    *("window", "interval", "for", "keep_firing_for", "min_count", "baseline", "no_data", "on_error"),
    *("flapping", "response", "target"),
)
FLAPPING = {"transitions": 6, "window": 1800}
MOST_TRANSITIONS = 100
ARM_LABELS = ("flag", "variant", "release")


@dataclass(slots=True)
class _Reading:
    """The fields as they are read, and what is wrong with them."""

    given: Mapping[str, Any]
    faults: dict[str, str] = field(default_factory=dict)

    def text(self, name: str, *, longest: int, required: bool = False, pattern: str = "", hint: str = "") -> str:
        value = self.given.get(name)
        if value is None or value == "":
            if required:
                self.faults[name] = "is required"
            return ""
        if not isinstance(value, str):
            self.faults[name] = "must be text"
        elif len(value) > longest:
            self.faults[name] = f"is longer than {longest} characters"
        elif incoming.UNKEEPABLE.search(value):
            self.faults[name] = "may not contain NUL or half a surrogate pair"
        elif pattern and not re.fullmatch(pattern, value):
            self.faults[name] = hint
        else:
            return value
        return ""

    def metric(self, name: str, *, required: bool = False) -> str:
        value = self.given.get(name)
        if not required and value in (None, ""):
            return ""
        try:
            return incoming.metric_name(value)
        except incoming.Wrong as wrong:
            self.faults[name] = wrong.message
            return ""

    def number(self, name: str) -> float | None:
        value = self.given.get(name)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.faults[name] = "must be a number"
        elif abs(value) > 1e300 or math.isnan(value):
            self.faults[name] = "must be a finite number"
        else:
            return float(value)
        return None

    def whole(self, name: str, default: int, *, least: int, most: int, unit: str = "") -> int:
        value = self.given.get(name)
        if value is None:
            return default
        if isinstance(value, float) and value.is_integer():
            value = int(value)  # JSON knows no difference
        if isinstance(value, bool) or not isinstance(value, int):
            self.faults[name] = "must be a whole number" + (f" of {unit}" if unit else "")
        elif not least <= value <= most:
            self.faults[name] = f"must be from {least} to {most}" + (f" {unit}" if unit else "")
        else:
            return value
        return default

    def choice(self, name: str, choices: tuple[str, ...], default: str | None) -> str:
        value = self.given.get(name)
        if value in (None, ""):
            if default is None:
                self.faults[name] = f"is required: one of {', '.join(choices)}"
            return default or ""
        if not isinstance(value, str) or value not in choices:
            self.faults[name] = f"must be one of {', '.join(choices)}"
            return default or ""
        return value

    def labels(self, name: str, given: Any) -> dict[str, str]:
        if given is None:
            return {}
        if not isinstance(given, Mapping):
            self.faults[name] = 'must be an object {"label": "value"}'
            return {}
        if len(given) > MAX_MATCHERS:
            self.faults[name] = f"more than {MAX_MATCHERS} labels"
            return {}
        for label, value in given.items():
            if fault := label_fault(label, value):
                self.faults[f"{name}.{label}"] = fault
        return dict(given)


def label_fault(label: Any, value: Any) -> str:
    """What is wrong with one label that a series must carry; "" when nothing is."""
    try:
        return "" if incoming.labels({label: value}) else "may not be empty"
    except incoming.Wrong as wrong:
        return wrong.message


def clean(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a threshold. Raises Invalid with every field that is wrong, and why."""
    if not isinstance(spec, Mapping):
        raise Invalid.of("", "a threshold is an object")
    read = _Reading(spec)
    read.faults |= {str(name): "unknown field" for name in spec if name not in FIELDS}
    retention = settings.PORTAL_RAW_RETENTION_HOURS * 3600
    columns: dict[str, Any] = {
        "name": read.text("name", longest=200, required=True),
        "metric": read.metric("metric", required=True),
        "denominator": read.metric("denominator"),
        "matchers": read.labels("matchers", spec.get("matchers")),
        "operator": read.choice("operator", OPERATORS, None),
        "clear": read.number("clear"),
        "window": read.whole("window", 300, least=1, most=retention, unit="seconds"),
        "interval": read.whole("interval", 10, least=1, most=DAY, unit="seconds"),
        "hold": read.whole("for", 0, least=0, most=LONGEST_HOLD, unit="seconds"),
        "keep_firing_for": read.whole("keep_firing_for", 0, least=0, most=LONGEST_HOLD, unit="seconds"),
        "min_count": read.whole("min_count", 1, least=0, most=MAX_COUNT),
        "no_data": read.choice("no_data", tuple(NoData), NoData.KEEP),
        "on_error": read.choice("on_error", tuple(NoData), ""),
        **_flapping(read),
        "response": read.choice("response", tuple(responses.known()), ""),
        "target": read.text("target", longest=200, pattern=TARGET, hint='must look like "deployment:42"'),
    }
    columns["aggregation"] = read.text(
        "aggregation",
        longest=20,
        required=not columns["denominator"],
        pattern=AGGREGATION,
        hint="must be mean, min, max, sum, count, stddev, last, rate, increase or a percentile such as p95",
    ) or ("increase" if columns["denominator"] else "")
    columns |= {level.value: read.number(level.value) for level in LEVELS}
    columns |= _baseline(read, columns["window"], retention)
    _check_bounds(read, columns)
    columns |= _places(read, columns["matchers"])
    if read.faults:
        raise Invalid(read.faults)
    return columns


def of(threshold: Threshold) -> dict[str, Any]:
    """The same in the contract's words, every field of it."""
    return {
        "name": threshold.name,
        "metric": threshold.metric,
        "denominator": threshold.denominator or None,
        "matchers": threshold.matchers,
        "aggregation": threshold.aggregation,
        "operator": threshold.operator,
        "warning": threshold.warning,
        "error": threshold.error,
        "critical": threshold.critical,
        "clear": threshold.clear,
        "window": threshold.window,
        "interval": threshold.interval,
        "for": threshold.hold,
        "keep_firing_for": threshold.keep_firing_for,
        "min_count": threshold.min_count,
        "baseline": _baseline_of(threshold),
        "no_data": threshold.no_data,
        "on_error": threshold.on_error or None,
        "flapping": {"transitions": threshold.flap_transitions, "window": threshold.flap_window},
        "response": threshold.response or None,
        "target": threshold.target or None,
    }


def _flapping(read: _Reading) -> dict[str, int]:
    given = read.given.get("flapping")
    if given is None:
        given = FLAPPING
    if not isinstance(given, Mapping):
        read.faults["flapping"] = 'must be an object {"transitions", "window"}'
        given = FLAPPING
    inner = _Reading(given)
    inner.faults |= {str(name): "unknown field" for name in given if name not in FLAPPING}
    columns = {
        "flap_transitions": inner.whole("transitions", FLAPPING["transitions"], least=0, most=MOST_TRANSITIONS),
        "flap_window": inner.whole("window", FLAPPING["window"], least=1, most=DAY, unit="seconds"),
    }
    read.faults |= {f"flapping.{name}": fault for name, fault in inner.faults.items()}
    return columns


def _baseline(read: _Reading, window: int, retention: int) -> dict[str, Any]:
    given = read.given.get("baseline")
    none: dict[str, Any] = {
        "baseline_kind": "",
        "baseline_change": Change.RATIO,
        "baseline_labels": {},
        "baseline_seconds": None,
    }
    if given is None:
        return none
    if not isinstance(given, Mapping):
        read.faults["baseline"] = 'must be an object {"kind", "change"}'
        return none
    inner = _Reading(given)
    kind = inner.choice("kind", ("arm", "previous_release", "offset"), None)
    fields = {"arm": ARM_LABELS, "previous_release": ("release",), "offset": ("seconds",)}.get(kind, ())
    inner.faults |= {
        str(name): f"has no meaning for the kind {kind}" if name in (*ARM_LABELS, "seconds") else "unknown field"
        for name in given
        if name not in ("kind", "change", *fields) and kind
    }
    labels = {name: given[name] for name in fields if name in ARM_LABELS and given.get(name) not in (None, "")}
    columns: dict[str, Any] = {
        "baseline_kind": kind,
        "baseline_change": inner.choice("change", tuple(Change), Change.RATIO),
        "baseline_labels": labels,
        "baseline_seconds": None,
    }
    for name, value in labels.items():
        if fault := label_fault(name, value):
            inner.faults[name] = fault
    if kind == "offset":
        columns["baseline_seconds"] = inner.whole("seconds", DAY, least=1, most=retention - window, unit="seconds")
    read.faults |= {f"baseline.{name}": fault for name, fault in inner.faults.items()}
    return columns


def _baseline_of(threshold: Threshold) -> dict[str, Any] | None:
    if not threshold.baseline_kind:
        return None
    found = {"kind": threshold.baseline_kind, "change": threshold.baseline_change, **threshold.baseline_labels}
    if threshold.baseline_seconds is not None:
        found["seconds"] = threshold.baseline_seconds
    return found


def _check_bounds(read: _Reading, columns: dict[str, Any]) -> None:
    """Mild to severe in the direction of the operator, and the clear level on the healthy side of all of them."""
    bounds = [(level.value, columns[level]) for level in LEVELS if columns[level] is not None]
    if not bounds:
        if not {"warning", "error", "critical"} & set(read.faults):
            read.faults["error"] = "at least one of warning, error and critical is needed"
        return
    upward = columns["operator"].startswith(">")
    word = "above" if upward else "below"
    for (milder, mild), (worse, severe) in zip(bounds, bounds[1:], strict=False):
        if severe < mild if upward else severe > mild:
            read.faults.setdefault(worse, f"{worse} ({severe:g}) must not be milder than {milder} ({mild:g})")
    clear, (mildest, bound) = columns["clear"], bounds[0]
    if clear is not None and columns["operator"] and (clear > bound if upward else clear < bound):
        read.faults.setdefault("clear", f"must not lie {word} the mildest bound, {mildest} ({bound:g})")
    if columns["response"] and columns["error"] is None and columns["critical"] is None:
        read.faults.setdefault("response", "a warning alone triggers nothing: give an error or a critical bound")


def _places(read: _Reading, matchers: Mapping[str, Any]) -> dict[str, Any]:
    """The service and the environment that the matchers name: they decide who may touch the threshold."""
    found: dict[str, Any] = {}
    for name, model in (("service", Service), ("environment", Environment)):
        key = matchers.get(name)
        found[name] = model.objects.filter(key=key).first() if isinstance(key, str) else None
        if key is not None and found[name] is None:
            read.faults.setdefault(f"matchers.{name}", f"no {name} named '{key}'"[:200])
    return found
