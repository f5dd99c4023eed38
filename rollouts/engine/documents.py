"""A flag's definition and its config in an environment: from what people write to what is stored, and back."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from rollouts.engine import operators, reading, schedules, serves
from rollouts.engine.compile import FALLTHROUGH
from rollouts.engine.reading import Faults

EDITABLE = ("enabled", "off_variant", "rules", "fallthrough", "overrides", "prerequisites", "window")
# What a GET shows beside them; a PUT of the same body is no fault.
SHOWN_ONLY = (
    "flag", "environment", "revision", "updated_at", "killed", "last_evaluated_at", "last_exposed_at", "stale",
    "warnings",
)  # fmt: skip
RULE_FIELDS = ("id", "all", "segments", "serve", "deployment", "live")
DEPLOYMENT_RULE = "deployment:"
MOST_RULES = 200
MOST_VARIANTS = 100
MOST_PREREQUISITES = 50
MOST_SEGMENTS = 50


# --- Definitions --------------------------------------------------------------------------------
def read_variants(value: Any, value_type: str, faults: Faults) -> list[dict[str, Any]]:
    """`[{"key","value"}]` with every value of the flag's type."""
    found = []
    seen: set[str] = set()
    for n, one in enumerate(reading.a_list(value, "variants", faults, most=MOST_VARIANTS)):
        path = f"variants[{n}]"
        given = reading.an_object(one, path, faults, fields=("key", "value"))
        key = reading.a_key(given.get("key"), f"{path}.key", faults)
        if key in seen:
            faults.add(f"{path}.key", f"there is a variant {key} already")
        seen.add(key)
        if "value" not in given:
            faults.add(f"{path}.value", "is missing")
            continue
        found.append({"key": key, "value": _value(given["value"], value_type, f"{path}.value", faults)})
    if not found:
        faults.add("variants", "needs at least one")
    return found


def _value(value: Any, value_type: str, path: str, faults: Faults) -> Any:
    """A variant's value; true and false are no numbers, and a whole number may be a float."""
    for at, message in reading.json_faults(value, path):
        faults.add(at, message)
        return None
    if value_type == "bool" and type(value) is bool:
        return value
    if value_type == "string" and type(value) is str:
        return value
    if value_type == "int" and (type(value) is int or (type(value) is float and value.is_integer())):
        return int(value)
    if value_type == "float" and operators.is_number(value):
        return float(value)
    if value_type == "json" and isinstance(value, Mapping):
        return value
    words = {
        "bool": "true or false",
        "string": "a text",
        "int": "a whole number",
        "float": "a number",
        "json": "an object",
    }
    faults.add(path, f"must be {words.get(value_type, value_type)}")
    return None


# --- Configs ------------------------------------------------------------------------------------
@dataclass(slots=True)
class Read:
    """A config as it will be stored, what is wrong with it, and reserved rules that somebody tried to change."""

    document: dict[str, Any]
    faults: Faults = field(default_factory=Faults)
    touched: list[str] = field(default_factory=list)


def read_config(
    given: Mapping[str, Any],
    held: Mapping[str, Any],
    *,
    variants: Collection[str],
    now: float,
    reserved: Sequence[Mapping[str, Any]] = (),
    flag_type: str = "boolean",
) -> Read:
    """What is given, over what is held: a field left out keeps its value. Rules of deployments are taken out."""
    read = Read(dict(held))
    document, faults = read.document, read.faults
    reading.an_object(given, "", faults, fields=(*EDITABLE, *SHOWN_ONLY))
    if "enabled" in given:
        document["enabled"] = reading.a_truth(given["enabled"], "enabled", faults)
    if "off_variant" in given:
        document["off_variant"] = reading.a_variant(given["off_variant"], "off_variant", faults, variants=variants)
    if "rules" in given:
        document["rules"] = _rules(given["rules"], held["rules"], reserved, read, variants=variants)
    if "fallthrough" in given:
        document["fallthrough"] = serves.serve(given["fallthrough"], "fallthrough", faults, variants=variants)
    if "overrides" in given:
        document["overrides"] = _overrides(given["overrides"], faults, variants=variants)
    if "prerequisites" in given:
        document["prerequisites"] = _prerequisites(given["prerequisites"], faults)
    if "window" in given:
        document["window"] = _window(given["window"], faults)
    if not faults:
        _refuse_the_past(document, held, now, faults)
    if flag_type == "time_based" and document["enabled"] and document["window"] is None and not _schedules(document):
        faults.add("window", "a time-based flag needs its time window, or a schedule, before it is switched on")
    return read


def _refuse_the_past(document: Mapping[str, Any], held: Mapping[str, Any], now: float, faults: Faults) -> None:
    """A schedule that is over by the time it is written is a slip; one that was held before has had its time."""
    had = list(_schedules(held).values())
    for path, schedule in _schedules(document).items():
        if schedules.is_over(schedule, now) and schedule not in had:
            faults.add(path, "a schedule in the past: its last point has passed")


def _schedules(document: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    serves = {f"rules[{n}].serve": rule["serve"] for n, rule in enumerate(document["rules"])}
    serves["fallthrough"] = document["fallthrough"]
    return {f"{path}.schedule": one["schedule"] for path, one in serves.items() if "schedule" in one}


def show_config(document: Mapping[str, Any], reserved: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
    """A stored config as people write it, with the rules of deployments first."""
    return {
        **document,
        "rules": [show_rule(one) for one in (*reserved, *document["rules"])],
        "fallthrough": serves.shown_serve(document["fallthrough"]),
    }


def show_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    shown = {name: rule[name] for name in RULE_FIELDS if name in rule}
    return {**shown, "serve": serves.shown_serve(rule["serve"])}


def show_difference(changed: Mapping[str, Sequence[Any]]) -> dict[str, list[Any]]:
    """`{field: [before, after]}` with percentages as people write them."""
    return {name: [_show_field(name, one) for one in pair] for name, pair in changed.items()}


def _show_field(name: str, value: Any) -> Any:
    if name == "fallthrough" and value:
        return serves.shown_serve(value)
    if name in ("rules", "reserved") and value:
        return [show_rule(one) for one in value]
    return value


def _rules(
    value: Any,
    held: Sequence[Mapping[str, Any]],
    reserved: Sequence[Mapping[str, Any]],
    read: Read,
    *,
    variants: Collection[str],
) -> list[dict[str, Any]]:
    faults = read.faults
    owned = {rule["id"]: show_rule(rule) for rule in reserved}
    mine = {rule["id"]: rule for rule in held}
    found: list[dict[str, Any]] = []
    paths: list[str] = []
    for n, one in enumerate(reading.a_list(value, "rules", faults, most=MOST_RULES)):
        path = f"rules[{n}]"
        given = reading.an_object(one, path, faults, fields=RULE_FIELDS)
        key = given.get("id")
        if isinstance(key, str) and key in owned:
            if dict(given) != owned[key]:
                read.touched.append(key)
            continue
        rule: dict[str, Any] = {}
        if key is not None:
            rule["id"] = _rule_id(key, f"{path}.id", faults, mine)
        rule["all"] = reading.conditions(given.get("all", []), f"{path}.all", faults)
        segments = reading.keys(given.get("segments", []), f"{path}.segments", faults, most=MOST_SEGMENTS)
        if segments:
            rule["segments"] = segments
        rule["serve"] = serves.serve(given.get("serve"), f"{path}.serve", faults, variants=variants)
        # A rule that a deployment left behind goes on to be hashed as it was.
        if isinstance(key, str) and "deployment" in mine.get(key, {}):
            rule["deployment"] = mine[key]["deployment"]
        elif "deployment" in given:
            faults.add(f"{path}.deployment", "only a deployment makes such a rule")
        found.append(rule)
        paths.append(path)
    _name(found, held, paths, faults)
    return found


def _rule_id(key: Any, path: str, faults: Faults, mine: Mapping[str, Any]) -> str:
    if isinstance(key, str) and key in mine:
        return key
    if isinstance(key, str) and (key == FALLTHROUGH or key.startswith(DEPLOYMENT_RULE)):
        faults.add(path, f"{key} is not for rules made by hand")
        return ""
    return reading.a_key(key, path, faults)


def _name(rules: list[dict[str, Any]], held: Sequence[Mapping[str, Any]], paths: Sequence[str], faults: Faults) -> None:
    """Give rules without id one that stays the same from write to write: a new id would deal its users anew.

    First that of the held rule with the same conditions, then that of the held rule in the same place.
    """
    taken: set[str] = set()
    for rule, path in zip(rules, paths, strict=True):
        if "id" in rule:
            if rule["id"] in taken:
                faults.add(f"{path}.id", f"there is a rule {rule['id']} already")
            taken.add(rule["id"])
    free = [rule for rule in held if rule["id"] not in taken and "deployment" not in rule]
    for rule in [one for one in rules if "id" not in one]:
        same = next((one for one in free if _meant(one) == _meant(rule)), None)
        if same is not None:
            free.remove(same)
            rule["id"] = same["id"]
            taken.add(same["id"])
    for n, rule in enumerate(rules):
        if "id" in rule:
            continue
        there = held[n] if n < len(held) else None
        if there is not None and there in free:
            free.remove(there)
            rule["id"] = there["id"]
        else:
            rule["id"] = next(name for k in range(1, MOST_RULES * 2 + 2) if (name := f"rule-{k}") not in taken)
        taken.add(rule["id"])


def _meant(rule: Mapping[str, Any]) -> tuple[Any, Any]:
    return rule.get("all", []), rule.get("segments", [])


def _overrides(value: Any, faults: Faults, *, variants: Collection[str]) -> dict[str, list[str]]:
    if not isinstance(value, Mapping):
        faults.add("overrides", "must be an object of variants and the units that get them")
        return {}
    found: dict[str, list[str]] = {}
    whose: dict[str, str] = {}
    for variant, units in value.items():
        path = f"overrides.{variant}"
        reading.a_variant(variant, path, faults, variants=variants)
        listed = reading.a_list(units, path, faults, most=10_000)
        found[variant] = [reading.a_text(unit, f"{path}[{n}]", faults) for n, unit in enumerate(listed)]
        for n, unit in enumerate(found[variant]):
            if whose.setdefault(unit, variant) != variant:
                faults.add(f"{path}[{n}]", f"{unit} is given {whose[unit]} already")
    return {variant: list(dict.fromkeys(units)) for variant, units in found.items() if units}


def _prerequisites(value: Any, faults: Faults) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for n, one in enumerate(reading.a_list(value, "prerequisites", faults, most=MOST_PREREQUISITES)):
        path = f"prerequisites[{n}]"
        given = reading.an_object(one, path, faults, fields=("flag", "variants"))
        key = reading.a_key(given.get("flag"), f"{path}.flag", faults)
        if any(other["flag"] == key for other in found):
            faults.add(f"{path}.flag", f"{key} is named twice")
        variants = reading.keys(given.get("variants"), f"{path}.variants", faults, most=MOST_VARIANTS)
        if not variants:
            faults.add(f"{path}.variants", "names at least one variant")
        found.append({"flag": key, "variants": variants})
    return found


def _window(value: Any, faults: Faults) -> dict[str, str | None] | None:
    if value is None:
        return None
    given = reading.an_object(value, "window", faults, fields=("from", "until"))
    found: dict[str, str | None] = {}
    for name in ("from", "until"):
        found[name] = given.get(name)
        if found[name] is not None and not _is_moment(found[name]):
            faults.add(f"window.{name}", "must be a time such as 2026-03-01T09:00:00Z, or null")
            found[name] = None
    opens, closes = operators.moment(found["from"]), operators.moment(found["until"])
    if opens is not None and closes is not None and opens >= closes:
        faults.add("window.until", "must be after its beginning")
    return found if any(found.values()) else None


def _is_moment(value: Any) -> bool:
    """RFC 3339 with its offset: a time without one would mean another moment to each reader."""
    try:
        return isinstance(value, str) and len(value) <= 64 and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False
