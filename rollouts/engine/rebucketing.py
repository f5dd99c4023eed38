"""From another system's bucketing to the portal's own: the same shares, and how many units it would move."""

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from math import prod
from typing import Any

from rollouts.engine import legacy
from rollouts.engine.compile import assemble, compile_flag
from rollouts.engine.evaluate import evaluate
from rollouts.engine.types import FULL, TARGETING_KEY, FlagSource

UNITS = 10_000


def algorithms(*documents: Mapping[str, Any]) -> set[str]:
    """The other systems whose bucketing these configs keep."""
    return {serve["bucketing"]["algo"] for document in documents for serve in _legacy_serves(document)}


def own(document: Mapping[str, Any]) -> dict[str, Any]:
    """The config with the portal's own bucketing in every place."""
    rules = [{**rule, "serve": own_serve(rule["serve"])} for rule in document["rules"]]
    return {**document, "rules": rules, "fallthrough": own_serve(document["fallthrough"])}


def own_serve(serve: Mapping[str, Any]) -> dict[str, Any]:
    """The same variants to the same shares; a namespace becomes a part of the share."""
    source = serve.get("bucketing")
    if source is None:
        return dict(serve)
    found = {name: value for name, value in serve.items() if name != "bucketing"}
    attrs = [one["attr"] for one in source.get("value", ()) if "attr" in one]
    if attrs:
        found["by"] = attrs[0]
    share = prod(_filtered(one) for one in source.get("filters", ()))
    if "ranges" in source:
        share *= min(1.0, sum(legacy.shares(source).values()))
    if share < 1:
        found["rollout"] = round(found.get("rollout", FULL) * share)
    return found


def moved(key: str, salt: str, document: Mapping[str, Any], units: int = UNITS) -> int:
    """Of so many made-up units, how many get something else from a rule when it is bucketed in the portal's way.

    Each rule alone, for those whom it is about: conditions are left out.
    """
    serves = list(_legacy_serves(document))
    if not serves:
        return 0
    return _moved(key, salt, json.dumps(serves, sort_keys=True), units)


@lru_cache(maxsize=4096)
def _moved(key: str, salt: str, serves: str, units: int) -> int:
    pairs = []
    for serve in json.loads(serves):
        attrs = _attributes(serve)
        pairs.append((attrs, _alone(key, salt, serve), _alone(key, salt, own_serve(serve))))
    count = 0
    for n in range(units):
        for attrs, before, after in pairs:
            context = dict.fromkeys(attrs, f"unit-{n}")
            if evaluate(before, key, context, now=0.0).variant != evaluate(after, key, context, now=0.0).variant:
                count += 1
                break
    return count


def _alone(key: str, salt: str, serve: Mapping[str, Any]) -> Any:
    """A snapshot of a flag that has this one rule."""
    variants = {serve["variant"]} if "variant" in serve else set(serve["split"])
    values = [{"key": one, "value": one} for one in sorted(variants | {"-"})]
    serve = {name: value for name, value in serve.items() if name != "schedule"}
    rule = {"id": "rule", "all": [], "serve": serve}
    source = FlagSource(
        key, salt, "string", values, "-", enabled=True, rules=[rule], fallthrough={"variant": "-"}, revision=1
    )
    return assemble("", 0, {key: compile_flag(source, {})})


def _attributes(serve: Mapping[str, Any]) -> list[str]:
    by, source = serve.get("by", TARGETING_KEY), serve["bucketing"]
    found = [TARGETING_KEY, *([by] if isinstance(by, str) else by), *source.get("variants_by", ())]
    found += [attr for one in source.get("filters", ()) for attr in one.get("by", ())]
    found += [one["attr"] for one in source.get("value", ()) if "attr" in one]
    return list(dict.fromkeys(found))


def _filtered(one: Mapping[str, Any]) -> float:
    steps = legacy.STEPS[one["version"]]
    return min(1.0, sum(max(0, end - start) for start, end in one["ranges"]) / steps)


def _legacy_serves(document: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for serve in (*(rule["serve"] for rule in document["rules"]), document["fallthrough"]):
        if "bucketing" in serve:
            yield serve
