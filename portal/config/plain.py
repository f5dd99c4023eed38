"""The plain YAML that teams have for flags today, translated to a document; what became of each key is told by name."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from portal.config.reading import Source
from portal.errors import Invalid

SECTIONS = ("feature_flags", "ab_tests", "thresholds", "sentiment_keywords")
THRESHOLD_WORDS = frozenset(
    {"metric_name", "warning_threshold", "critical_threshold", "comparison_operator", "window_size_minutes"}
)
OPERATORS = {
    "greater_than": ">", "gt": ">", ">": ">", "greater_than_or_equal": ">=", "gte": ">=", ">=": ">=",
    "less_than": "<", "lt": "<", "<": "<", "less_than_or_equal": "<=", "lte": "<=", "<=": "<=",
}  # fmt: skip
YES, NO = {"yes", "on", "true"}, {"no", "off", "false"}
EVERYBODY = {"all", "everyone", "everybody", "*"}
GROUPS = "user_groups"  # the attribute of the context
KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")


@dataclass(slots=True)
class Translation:
    """The document, and line by line what became of what (path in the file, words)."""

    source: Source
    environments: list[str]
    report: list[tuple[str, str]] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)
    content: dict[str, Any] = field(default_factory=lambda: {"flightdeck": 1})
    origins: dict[str, str] = field(default_factory=dict)

    def became(self, path: str, words: str) -> None:
        self.report.append((path, words))

    def refuse(self, path: str, words: str) -> None:
        """A key that has no meaning here: it is left out, by name."""
        self.report.append((path, f"refused: {words}"))

    def put(self, section: str, key: str, value: Any, path: str) -> None:
        held = self.content.setdefault(section, {})
        if key in held:
            self.faults[path] = f"there are two {section} named {key}"
        held[key] = value
        self.origins[f"{section}.{key}"] = path


def is_plain(content: dict[str, Any]) -> bool:
    if "flightdeck" in content:
        return False
    if set(content) & (set(SECTIONS) - {"thresholds"}):
        return True
    return any(
        isinstance(one, dict) and THRESHOLD_WORDS & one.keys()
        for _, _, one in _items(content.get("thresholds"), "", [])
    )


def translate(source: Source, environments: list[str]) -> Translation:
    """Raises Invalid, naming every key that is wrong."""
    made = Translation(source, environments)
    for name in source.content:
        if name not in SECTIONS:
            made.faults[name] = f"unknown section: choose from {', '.join(SECTIONS)}"
    sections: dict[str, Callable[[Translation, str, str, dict[str, Any]], None]] = {
        "feature_flags": _flag, "ab_tests": _test, "thresholds": _threshold,
    }  # fmt: skip
    for section, read in sections.items():
        wrong: list[str] = []
        for path, key, one in _items(source.content.get(section), section, wrong):
            if not isinstance(one, dict):
                made.faults[path] = "must be a mapping"
            elif section != "thresholds" and not KEY.match(key):
                made.faults[path] = f"{key[:100]!r} is no key: letters, digits, dots, dashes and underscores"
            else:
                read(made, path, key, one)
        if wrong:
            made.faults[section] = wrong[0]
    if "sentiment_keywords" in source.content:
        made.refuse("sentiment_keywords", "the words that sentiment is read from belong to its engine")
    if made.faults:
        raise Invalid({path: f"{source.place(path)}: {words}" for path, words in made.faults.items()})
    made.source = Source(made.content, source.name, source.lines, made.origins)
    return made


def _items(value: Any, path: str, wrong: list[str]) -> Iterator[tuple[str, str, Any]]:
    """A mapping by name, or a list of things with a name."""
    if isinstance(value, dict):
        yield from ((f"{path}.{key}", key, one) for key, one in value.items())
    elif isinstance(value, list):
        for n, one in enumerate(value):
            name = (
                next((one[word] for word in ("name", "key", "id") if word in one), None)
                if isinstance(one, dict)
                else None
            )
            yield f"{path}[{n}]", str(name), one
    elif value is not None:
        wrong.append("must be a mapping, or a list")


# --- Flags --------------------------------------------------------------------------------------
def _flag(made: Translation, path: str, key: str, given: dict[str, Any]) -> None:
    groups = _texts(made, f"{path}.user_groups", given.get("user_groups"))
    share = _percent(made, f"{path}.rollout_percentage", given.get("rollout_percentage", 100))
    kind = "user_group" if groups else "percentage" if "rollout_percentage" in given else "boolean"
    serve: dict[str, Any] = {"variant": "on"} | ({} if share == 100 else {"rollout": share})
    config: dict[str, Any] = {
        "enabled": _truth(made, f"{path}.enabled", given.get("enabled", True)),
        "off_variant": "off",
    }
    if groups and not EVERYBODY & {one.lower() for one in groups}:
        condition = {"attr": GROUPS, "op": "contains", "values": groups}
        config |= {"rules": [{"all": [condition], "serve": serve}], "fallthrough": {"variant": "off"}}
        made.became(f"{path}.user_groups", f"a rule for those whose attribute {GROUPS} contains one of them")
        if share != 100:
            made.became(f"{path}.rollout_percentage", f"{share:g} % of these groups")
    else:
        config |= {"rules": [], "fallthrough": serve}
        if "rollout_percentage" in given:
            made.became(f"{path}.rollout_percentage", f"{share:g} % of everybody")
    definition: dict[str, Any] = {"type": kind, "value_type": "bool"}
    definition["variants"] = [{"key": "on", "value": True}, {"key": "off", "value": False}]
    _common(made, path, given, definition, config, ("enabled", "rollout_percentage", "user_groups"))
    made.became(path, f"flag {key}, {kind.replace('_', ' ')}")
    made.put("flags", key, definition, path)


def _test(made: Translation, path: str, key: str, given: dict[str, Any]) -> None:
    variants, split = [], {}
    listed = given.get("variants")
    for n, one in enumerate(listed if isinstance(listed, list) else []):
        at = f"{path}.variants[{n}]"
        if not isinstance(one, dict):
            made.faults[at] = "must be a mapping with name and traffic_percentage"
            continue
        name = one.get("name", one.get("key"))
        if not isinstance(name, str) or not KEY.match(name) or name in split:
            made.faults[f"{at}.name"] = "must be a key, each once"
            continue
        variants.append({"key": name, "value": one.get("value", name)})
        split[name] = _percent(made, f"{at}.traffic_percentage", one.get("traffic_percentage"))
        for word in one.keys() - {"name", "key", "value", "traffic_percentage", "description"}:
            made.faults[f"{at}.{word}"] = "unknown field"
        if "description" in one:
            made.refuse(f"{at}.description", "variants have no description")
    total = round(sum(split.values()), 3)
    if len(variants) < 2:
        made.faults[f"{path}.variants"] = "an A/B test needs at least two"
    elif abs(total - 100) > 0.01:
        made.faults[f"{path}.variants"] = f"traffic_percentage adds up to {total:g}, not to 100"
    _metrics(made, f"{path}.metrics", given.get("metrics"))
    _left_out(made, path, given)
    strings = all(isinstance(one["value"], str) for one in variants)
    definition: dict[str, Any] = {"type": "ab_test", "purpose": "experiment", "variants": variants}
    definition["value_type"] = "string" if strings else _value_type([one["value"] for one in variants])
    first = variants[0]["key"] if variants else ""
    config: dict[str, Any] = {
        "enabled": _truth(made, f"{path}.enabled", given.get("enabled", True)),
        "off_variant": first, "rules": [], "fallthrough": {"split": split},
    }  # fmt: skip
    _common(made, path, given, definition, config, ("enabled", "variants", "metrics", *_EXPERIMENTS))
    made.became(path, f"flag {key}, A/B test of {', '.join(split)}; switched off it serves {first}")
    made.put("flags", key, definition, path)


_EXPERIMENTS = (
    "minimum_detectable_effect", "confidence_level", "significance_level", "statistical_power", "sample_size",
    "minimum_sample_size", "hypothesis", "status",
)  # fmt: skip
_NO_EXPERIMENTS = "there are no experiments to judge by it here"


def _metrics(made: Translation, path: str, value: Any) -> None:
    if value is not None and not isinstance(value, list):
        made.faults[path] = "must be a list"
    for n, one in enumerate(value if isinstance(value, list) else []):
        if not isinstance(one, dict):
            made.faults[f"{path}[{n}]"] = "must be a mapping"
            continue
        for word in one:
            made.refuse(f"{path}[{n}].{word}", _NO_EXPERIMENTS)


def _left_out(made: Translation, path: str, given: dict[str, Any]) -> None:
    for word in _EXPERIMENTS:
        if word in given:
            made.refuse(f"{path}.{word}", _NO_EXPERIMENTS)


def _common(
    made: Translation, path: str, given: dict[str, Any], definition: dict[str, Any], config: dict[str, Any],
    own: tuple[str, ...],
) -> None:  # fmt: skip
    """What flags and tests share: words about it, its time, and where it is."""
    window = {}
    places = made.environments
    for word, value in given.items():
        at = f"{path}.{word}"
        if word in ("description", "owner"):
            definition[word] = "" if value is None else str(value)
        elif word == "tags":
            definition["tags"] = _texts(made, at, value)
        elif word in ("expires_at", "expiry_date", "expires"):
            definition["expires_at"] = value
        elif word in ("start_date", "end_date"):
            window["from" if word == "start_date" else "until"] = _moment(made, at, value)
        elif word in ("environment", "environments"):
            places = [value] if isinstance(value, str) else _texts(made, at, value)
        elif word not in (*own, "name", "key", "id"):
            made.faults[at] = "unknown field"
    if window:
        config["window"] = window
    if not places:
        made.faults[path] = "in which environment? Name it (--environment), or make exactly one"
    definition["environments"] = {place: dict(config) for place in places}


# --- Thresholds ---------------------------------------------------------------------------------
def _threshold(made: Translation, path: str, key: str, given: dict[str, Any]) -> None:
    operator = given.get("comparison_operator", "greater_than")
    spec: dict[str, Any] = {"metric": given.get("metric_name", key), "aggregation": given.get("aggregation", "mean")}
    if not isinstance(operator, str) or operator not in OPERATORS:
        made.faults[f"{path}.comparison_operator"] = f"choose from {', '.join(OPERATORS)}"
    spec["operator"] = OPERATORS.get(operator, ">") if isinstance(operator, str) else ">"
    for word, field_name in (("warning_threshold", "warning"), ("critical_threshold", "critical")):
        if word in given:
            if isinstance(given[word], bool) or not isinstance(given[word], int | float):
                made.faults[f"{path}.{word}"] = "must be a number"
            spec[field_name] = given[word]
    minutes = given.get("window_size_minutes", 5)
    if isinstance(minutes, bool) or not isinstance(minutes, int | float) or not 0 < minutes <= 7 * 24 * 60:
        made.faults[f"{path}.window_size_minutes"] = "must be a number of minutes above 0"
    else:
        spec["window"] = round(minutes * 60)
    known = {"name", "key", "id", "aggregation", *THRESHOLD_WORDS}
    for word in given.keys() - known:
        if word in ("description", "enabled") and given[word] is not False:
            made.refuse(f"{path}.{word}", "thresholds have none")
        else:
            made.faults[f"{path}.{word}"] = "unknown field"
    if "aggregation" not in given:
        made.became(path, f"threshold on the mean of {spec['metric']} over {spec.get('window', 0)} s")
    made.put("thresholds", key, spec, path)


# --- Values -------------------------------------------------------------------------------------
def _truth(made: Translation, path: str, value: Any) -> bool:
    word = str(value).lower()
    if word in YES or word in NO:
        return word in YES
    made.faults[path] = "must be true or false"
    return False


def _percent(made: Translation, path: str, value: Any) -> float:
    if isinstance(value, str) and value.endswith("%"):
        value = value[:-1].strip()
        value = float(value) if re.match(r"[0-9]{1,3}(\.[0-9]{1,3})?\Z", value) else value
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 100:
        made.faults[path] = "must be a percentage from 0 to 100"
        return 0
    return value


def _texts(made: Translation, path: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        made.faults[path] = "must be a list of texts"
        return []
    return list(dict.fromkeys(value))


def _moment(made: Translation, path: str, value: Any) -> str | None:
    """A day alone is its first moment, in UTC."""
    if isinstance(value, str) and re.match(r"\d{4}-\d{2}-\d{2}\Z", value):
        made.became(path, f"{value} at midnight, UTC")
        return f"{value}T00:00:00Z"
    if not isinstance(value, str):
        made.faults[path] = "must be a day or a time such as 2026-03-01T09:00:00Z"
        return None
    return value


def _value_type(values: list[Any]) -> str:
    if all(isinstance(one, bool) for one in values):
        return "bool"
    if all(isinstance(one, int) and not isinstance(one, bool) for one in values):
        return "int"
    if all(isinstance(one, int | float) and not isinstance(one, bool) for one in values):
        return "float"
    return "json"
