"""A threshold in the contract's words: read with every fault named, and written back."""

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings
from django.db.models import Q

from monitoring import conditions, responses, usual
from monitoring.actions import incoming
from monitoring.judging import LEVELS, OPERATORS, Change, NoData
from monitoring.models import Metric, Threshold
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
    *("flapping", "response", "target", "combine", "condition", "runbook"),
)
FLAPPING = {"transitions": 6, "window": 1800}
MOST_TRANSITIONS = 100
MOST_MEMBERS = 20
ARM_LABELS = ("flag", "variant", "release")
BASELINE_FIELDS: Mapping[str, tuple[str, ...]] = {
    "arm": ARM_LABELS,
    "previous_release": ("release",),
    "offset": ("seconds",),
    "usual": ("season", "weeks"),
}
WEEK = 7 * DAY
MOST_WEEKS = 26


@dataclass(slots=True)
class Reading:
    """The fields of something as they are read, and what is wrong with them."""

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
    spec = _spelled_out(spec)
    read = Reading(spec)
    combined = spec.get("combine") is not None
    read.faults |= {str(name): "unknown field" for name in spec if name not in FIELDS}
    retention = settings.PORTAL_RAW_RETENTION_HOURS * 3600
    columns: dict[str, Any] = {
        "name": read.text("name", longest=200, required=True),
        "metric": "" if combined else read.metric("metric", required=True),
        "denominator": "" if combined else read.metric("denominator"),
        "matchers": read.labels("matchers", spec.get("matchers")),
        "operator": ">=" if combined else read.choice("operator", OPERATORS, None),
        "clear": read.number("clear"),
        "window": read.whole("window", 300, least=1, most=retention, unit="seconds"),
        "interval": read.whole("interval", 10, least=1, most=DAY, unit="seconds"),
        "hold": read.whole("for", 0, least=0, most=LONGEST_HOLD, unit="seconds"),
        "keep_firing_for": read.whole("keep_firing_for", 0, least=0, most=LONGEST_HOLD, unit="seconds"),
        "min_count": read.whole("min_count", 1, least=0, most=MAX_COUNT),
        "no_data": read.choice("no_data", tuple(NoData), NoData.KEEP),
        "on_error": read.choice("on_error", tuple(NoData), ""),
        **_flapping(read),
        "runbook": read.text("runbook", longest=10_000),
        "response": _response(read),
        "target": read.text("target", longest=200, pattern=TARGET, hint='must look like "deployment:42"'),
    }
    columns["aggregation"] = read.text(
        "aggregation",
        longest=20,
        required=not columns["denominator"] and not combined,
        pattern=AGGREGATION,
        hint="must be mean, min, max, sum, count, stddev, last, rate, increase or a percentile such as p95",
    ) or ("increase" if columns["denominator"] else "")
    columns |= {level.value: read.number(level.value) for level in LEVELS}
    columns |= _baseline(read, columns["window"], retention)
    columns |= _combined(read) if combined else {"members": []}
    _check_bounds(read, columns)
    if combined and not columns["matchers"]:
        columns["matchers"] = _shared(columns["members"])
    columns |= places(read, columns["matchers"])
    if read.faults:
        raise Invalid(read.faults)
    return columns


def _response(read: Reading) -> str:
    name = read.text("response", longest=responses.MOST_NAME)
    if name and (fault := responses.fault(name)):
        read.faults["response"] = fault
    return name


def text(threshold: Threshold, names: Mapping[int, str] | None = None) -> str:
    """Its condition as a text that reads back to it; `names` of the thresholds that it combines."""
    if threshold.slo_id:
        short = threshold.short_window or threshold.window
        factor = next(bound for level in LEVELS if (bound := getattr(threshold, level.value)) is not None)
        over = f"{conditions.duration(threshold.window)} and {conditions.duration(short)}"
        return f"burn rate > {factor:g} over {over}"
    if threshold.source:
        return f"as {threshold.source} reports it"
    return conditions.write(of(threshold), names=names)


def member_names(thresholds: Iterable[Threshold]) -> dict[int, str]:
    """The names of what these combine, where a name means one threshold only."""
    ids = {pk for threshold in thresholds for pk in threshold.members}
    if not ids:
        return {}
    names = dict(Threshold.objects.filter(pk__in=ids).values_list("pk", "name"))
    same = Threshold.objects.active().filter(name__in=set(names.values())).values_list("name", flat=True)
    counted = Counter(same)
    return {pk: name for pk, name in names.items() if counted[name] == 1}


def of(threshold: Threshold) -> dict[str, Any]:
    """The same in the contract's words, every field of it."""
    return {
        "name": threshold.name,
        "metric": threshold.metric or None,
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
        "combine": _combine_of(threshold),
        "runbook": threshold.runbook or None,
    }


def _combine_of(threshold: Threshold) -> dict[str, Any] | None:
    if not threshold.members:
        return None
    level = next(level.value for level in LEVELS if getattr(threshold, level.value) is not None)
    return {"of": threshold.members, "need": int(getattr(threshold, level)), "level": level}


def _spelled_out(spec: Mapping[str, Any]) -> Mapping[str, Any]:
    """With the fields that `condition` says in place of it."""
    if spec.get("condition") in (None, ""):
        return {name: value for name, value in spec.items() if name != "condition"}
    given = {name: value for name, value in spec.items() if name != "condition"}
    condition = spec["condition"]
    if not isinstance(condition, str):
        raise Invalid.of("condition", "must be text")
    if condition == _written(given):
        return given  # as we wrote it ourselves
    names = set(conditions.NAME.findall(condition[: conditions.LONGEST]))
    units = dict(Metric.objects.filter(name__in=names).values_list("name", "unit"))
    try:
        said = conditions.read(condition, units=units)
    except conditions.Wrong as wrong:
        raise Invalid.of("condition", str(wrong)) from None
    faults = {
        name: f"the condition says {said.get(name)}, this field says {given[name]}: leave one of them out"
        for name in conditions.FIELDS
        if given.get(name) is not None and given[name] != said.get(name)
    }
    if faults:
        raise Invalid(faults)
    return {**given, **said}


def _written(given: Mapping[str, Any]) -> str | None:
    """The text of fields that came with one, if they are whole."""
    try:
        return conditions.write(given)
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return None


def _combined(read: Reading) -> dict[str, Any]:
    """The members by name or number, and the bound of the level that they make."""
    given = read.given["combine"]
    columns: dict[str, Any] = {"members": [], "aggregation": "count", **dict.fromkeys(level.value for level in LEVELS)}
    if not isinstance(given, Mapping):
        read.faults["combine"] = 'must be an object {"of", "need"}'
        return columns
    inner = Reading(given)
    inner.faults |= {str(name): "unknown field" for name in given if name not in ("of", "need", "level")}
    of, level = given.get("of"), inner.choice("level", tuple(LEVELS), "error")
    if not isinstance(of, list | tuple) or not 2 <= len(of) <= MOST_MEMBERS:
        inner.faults["of"] = f"must be a list of 2 to {MOST_MEMBERS} thresholds, by name or number"
        of = []
    columns["members"] = _members(inner, of)
    need = given.get("need", "all")
    if need in ("all", "any"):
        columns[level] = float(len(of) if need == "all" else 1)
    else:
        columns[level] = float(inner.whole("need", 1, least=1, most=max(len(of), 1)))
    read.faults |= {f"combine.{name}": fault for name, fault in inner.faults.items()}
    if columns[level] is not None:
        for name in ("error", "warning", "critical", "clear"):
            read.faults.pop(name, None)
    return columns


def _members(inner: Reading, of: Sequence[Any]) -> list[int]:
    is_number = [isinstance(one, int) and not isinstance(one, bool) and 0 < one < 2**62 for one in of]
    ids = {one for one, number in zip(of, is_number, strict=True) if number}
    named = {one for one in of if isinstance(one, str) and not incoming.UNKEEPABLE.search(one)}
    rows = Threshold.objects.active().filter(Q(pk__in=ids) | Q(name__in=named)).order_by("pk")[: 10 * MOST_MEMBERS]
    by_id, by_name = {one.pk: one for one in rows}, defaultdict(list)
    for one in rows:
        by_name[one.name].append(one)
    found: list[int] = []
    for place, one in enumerate(of):
        where = f"of[{place}]"
        same = [by_id[one]] if is_number[place] and one in by_id else by_name.get(one, []) if one in named else []
        if not same:
            inner.faults[where] = f"there is no threshold {one}"[:200]
        elif len(same) > 1:
            numbers = ", ".join(f"#{each.pk}" for each in same)
            inner.faults[where] = f"several thresholds are named {one}: say which of {numbers}"[:200]
        elif same[0].members:
            inner.faults[where] = f"{same[0].name} is a combination itself"
        elif same[0].pk in found:
            inner.faults[where] = f"{same[0].name} is named twice"
        else:
            found.append(same[0].pk)
    return found


def _shared(members: Sequence[int]) -> dict[str, str]:
    """The service and the environment that all members have in common: where the combination is, then."""
    places = Threshold.objects.filter(pk__in=members).values_list("matchers", flat=True)
    shared = {}
    for name in ("service", "environment"):
        values = {matchers.get(name) for matchers in places}
        if len(values) == 1 and (value := values.pop()) is not None:
            shared[name] = value
    return shared


def _flapping(read: Reading) -> dict[str, int]:
    given = read.given.get("flapping")
    if given is None:
        given = FLAPPING
    if not isinstance(given, Mapping):
        read.faults["flapping"] = 'must be an object {"transitions", "window"}'
        given = FLAPPING
    inner = Reading(given)
    inner.faults |= {str(name): "unknown field" for name in given if name not in FLAPPING}
    columns = {
        "flap_transitions": inner.whole("transitions", FLAPPING["transitions"], least=0, most=MOST_TRANSITIONS),
        "flap_window": inner.whole("window", FLAPPING["window"], least=1, most=DAY, unit="seconds"),
    }
    read.faults |= {f"flapping.{name}": fault for name, fault in inner.faults.items()}
    return columns


def _baseline(read: Reading, window: int, retention: int) -> dict[str, Any]:
    given = read.given.get("baseline")
    none: dict[str, Any] = {
        "baseline_kind": "",
        "baseline_change": Change.RATIO,
        "baseline_labels": {},
        "baseline_seconds": None,
        "baseline_season": "",
    }
    if given is None:
        return none
    if not isinstance(given, Mapping):
        read.faults["baseline"] = 'must be an object {"kind", "change"}'
        return none
    inner = Reading(given)
    kind = inner.choice("kind", ("arm", "previous_release", "offset", "usual"), None)
    fields = BASELINE_FIELDS.get(kind, ())
    known = {name for names in BASELINE_FIELDS.values() for name in names}
    inner.faults |= {
        str(name): f"has no meaning for the kind {kind}" if name in known else "unknown field"
        for name in given
        if name not in ("kind", "change", *fields) and kind
    }
    labels = {name: given[name] for name in fields if name in ARM_LABELS and given.get(name) not in (None, "")}
    columns: dict[str, Any] = {
        "baseline_kind": kind,
        "baseline_change": inner.choice(
            "change", tuple(Change), Change.DEVIATIONS if kind == "usual" else Change.RATIO
        ),
        "baseline_labels": labels,
        "baseline_seconds": None,
        "baseline_season": "",
    }
    if columns["baseline_change"] == Change.DEVIATIONS and kind != "usual":
        inner.faults.setdefault("change", "deviations are from the usual alone")
    for name, value in labels.items():
        if fault := label_fault(name, value):
            inner.faults[name] = fault
    if kind == "offset":
        columns["baseline_seconds"] = inner.whole("seconds", DAY, least=1, most=retention - window, unit="seconds")
    elif kind == "usual":
        season = inner.choice("season", tuple(Threshold.Season), Threshold.Season.HOUR_OF_WEEK)
        least = usual.LEAST if season == Threshold.Season.HOUR_OF_WEEK else 1
        weeks = inner.whole("weeks", 4, least=least, most=MOST_WEEKS, unit="weeks")
        columns |= {"baseline_season": season, "baseline_seconds": weeks * WEEK}
    read.faults |= {f"baseline.{name}": fault for name, fault in inner.faults.items()}
    return columns


def _baseline_of(threshold: Threshold) -> dict[str, Any] | None:
    if not threshold.baseline_kind:
        return None
    found = {"kind": threshold.baseline_kind, "change": threshold.baseline_change, **threshold.baseline_labels}
    if threshold.baseline_kind == Threshold.Baseline.USUAL:
        found |= {"season": threshold.baseline_season, "weeks": (threshold.baseline_seconds or 0) // WEEK}
    elif threshold.baseline_seconds is not None:
        found["seconds"] = threshold.baseline_seconds
    return found


def _check_bounds(read: Reading, columns: dict[str, Any]) -> None:
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


def places(read: Reading, matchers: Mapping[str, Any]) -> dict[str, Any]:
    """The service and the environment that the matchers name: they decide who may touch the threshold."""
    found: dict[str, Any] = {}
    for name, model in (("service", Service), ("environment", Environment)):
        key = matchers.get(name)
        found[name] = model.objects.filter(key=key).first() if isinstance(key, str) else None
        if key is not None and found[name] is None:
            read.faults.setdefault(f"matchers.{name}", f"no {name} named '{key}'"[:200])
    return found
