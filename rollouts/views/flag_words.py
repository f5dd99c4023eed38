"""What a flag does in an environment, in sentences."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollouts.engine import legacy
from rollouts.engine.types import FULL, TARGETING_KEY
from rollouts.models import FlagConfig

DEPLOYMENTS_SHARE = "by deployment"
FEW = 5  # units named in a line
# Each operator between an attribute and its values, and its denial.
OPERATORS = {
    "equals": ("is", "is not"),
    "in": ("is one of", "is none of"),
    "contains": ("contains", "does not contain"),
    "starts_with": ("starts with", "does not start with"),
    "ends_with": ("ends with", "does not end with"),
    "regex": ("matches", "does not match"),
    "gt": (">", "is not >"),
    "gte": ("≥", "is not ≥"),
    "lt": ("<", "is not <"),
    "lte": ("≤", "is not ≤"),
    "before": ("is before", "is not before"),
    "after": ("is after", "is not after"),
    "semver_eq": ("is version", "is not version"),
    "semver_gt": ("is newer than", "is not newer than"),
    "semver_gte": ("is at least version", "is older than"),
    "semver_lt": ("is older than", "is not older than"),
    "semver_lte": ("is at most version", "is newer than"),
    "cidr": ("lies in", "lies outside of"),
    "exists": ("is given", "is not given"),
    "segment": ("belongs to", "does not belong to"),
}


SYSTEMS = {
    legacy.UNLEASH: "Unleash", legacy.GROWTHBOOK: "GrowthBook", legacy.FLAGD: "flagd",
    legacy.LAUNCHDARKLY: "LaunchDarkly",
}  # fmt: skip
LABELS = {"reserved": DEPLOYMENTS_SHARE, "fallthrough": "everyone else", "overrides": "named units"}


@dataclass(frozen=True, slots=True)
class Line:
    """One rule: whom it is about, and what they get."""

    who: str
    what: str
    deployment: int | str | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """A flag in one environment at a glance."""

    state: str
    word: str
    everyone: str  # what those get whom no rule is about
    served: str = ""  # what a live deployment serves of it
    deployment: int | str | None = None
    rules: int = 0


def summary(config: FlagConfig | None) -> Summary:
    if config is None:
        return Summary("off", "Off", "the off variant")
    if not config.enabled:
        state, word = ("killed", "Killed") if config.reserved else ("off", "Off")
        return Summary(state, word, config.off_variant, rules=len(config.rules))
    everyone = serving(config.fallthrough) or config.off_variant
    if config.reserved:
        rule = config.reserved[0]
        share = _percent(rule["serve"].get("rollout", FULL))
        served = str(rule["serve"].get("variant", ""))
        return Summary("serving", f"Serving {share}", everyone, served, rule.get("deployment"), len(config.rules))
    return Summary("on", "On", everyone, rules=len(config.rules))


def lines(config: FlagConfig) -> list[Line]:
    """The rules in the order in which they are asked, deployments' first."""
    found = []
    for rule in (*config.reserved, *config.rules):
        what = serving(rule.get("serve", {}))
        if rule.get("baseline"):
            what += f", the others {rule['baseline']}"
        found.append(Line(who(rule), what, rule.get("deployment")))
    return found


def difference(changed: Mapping[str, Sequence[Any]]) -> list[tuple[str, str, str]]:
    """A revision's changes: (field, before, after), without what was and is empty."""
    return [
        (LABELS.get(name, name.replace("_", " ")), _field(name, before), _field(name, after))
        for name, (before, after) in changed.items()
        if not (_is_empty(before) and _is_empty(after))
    ]


def serving(serve: Mapping[str, Any]) -> str:
    """As in: on; on for 25 %; a 60 % · b 40 %."""
    if "split" in serve:
        total = sum(serve["split"].values()) or 1
        what = " · ".join(
            f"{variant} {_percent(round(weight * FULL / total))}" for variant, weight in serve["split"].items()
        )
    else:
        what = str(serve.get("variant", ""))
    rollout = serve.get("rollout", FULL)
    if "schedule" in serve:
        what += f" {_schedule(serve['schedule'])}"
    elif rollout != FULL:
        what += f" for {_percent(rollout)}"
    if "bucketing" in serve:
        what += f", by {SYSTEMS.get(serve['bucketing']['algo'], 'another system')}'s hash"
    by = serve.get("by", TARGETING_KEY)
    if by != TARGETING_KEY:
        what += f", by {by if isinstance(by, str) else _list(by)}"
    return what


def _schedule(schedule: Mapping[str, Any]) -> str:
    """As in: for 5 % from 2026-03-01T09:00Z, 25 % from …; or growing from 0 % at … to 100 % at …."""
    points = [(_percent(one["rollout"]), one["at"]) for one in schedule["points"]]
    if schedule["kind"] == "steps":
        return "for " + ", ".join(f"{share} from {at}" for share, at in points)
    return "growing evenly: " + ", ".join(f"{share} at {at}" for share, at in points)


def conditions(config: FlagConfig) -> list[str]:
    """What stands before the rules: window and prerequisites."""
    found = []
    window = config.window or {}
    if window.get("from"):
        found.append(f"from {window['from']}")
    if window.get("until"):
        found.append(f"until {window['until']}")
    for one in config.prerequisites:
        found.append(f"only while {one['flag']} is {_list(one['variants'])}")
    return found


def _is_empty(value: Any) -> bool:
    return value is None or value in ("", [], {})


def _field(name: str, value: Any) -> str:
    if _is_empty(value):
        return ""
    if name == "enabled":
        return "on" if value else "off"
    if name == "fallthrough":
        return serving(value)
    if name in ("rules", "reserved"):
        return "; ".join(f"{who(rule)}: {serving(rule.get('serve', {}))}" for rule in value)
    if name == "overrides":
        return "; ".join(f"{variant}: {_few(units)}" for variant, units in value.items())
    if name in ("window", "prerequisites"):
        return "; ".join(conditions(FlagConfig(**{name: value})))
    if name == "variants":
        return ", ".join(str(one["key"]) for one in value)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def who(rule: Mapping[str, Any]) -> str:
    parts = [condition(one) for one in rule.get("all", ())]
    if segments := rule.get("segments"):
        parts.append(f"belongs to {_list(segments)}")
    return " and ".join(parts) if parts else "everyone"


def condition(one: Mapping[str, Any]) -> str:
    positive, negative = OPERATORS.get(one["op"], (one["op"], f"not {one['op']}"))
    words = negative if one.get("negate") else positive
    values = one.get("values", ())
    if one["op"] == "segment":
        return f"{words} {_list(values)}"
    if one["op"] == "modulo" and len(values) == 2:
        denied = "is not" if one.get("negate") else "is"
        missing = " or is not given" if one.get("missing") else ""
        return f"{one['attr']} modulo {values[0]} {denied} {values[1]}{missing}"
    case = " (whatever the case)" if one.get("ignore_case") else ""
    missing = " or is not given" if one.get("missing") else ""
    return f"{one['attr']} {words} {_list(values)}{case}{missing}".replace("  ", " ").strip()


def _few(units: Sequence[str]) -> str:
    more = len(units) - FEW
    return ", ".join(units[:FEW]) + (f" and {more} more" if more > 0 else "")


def _list(values: Sequence[Any]) -> str:
    texts = [str(value) for value in values]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} or {texts[-1]}" if texts else ""


def _percent(thousandths: int) -> str:
    return f"{thousandths / 1000:.3f}".rstrip("0").rstrip(".") + " %"
