"""LaunchDarkly: flags as its API gives them, or as its SDKs get them, as flags whose users all stay where they are."""

from collections.abc import Mapping
from typing import Any

from rollouts.engine import legacy
from rollouts.engine.reading import KEY, Faults
from rollouts.importers import launchdarkly_clauses as clauses
from rollouts.importers.logic import TooMany, alternatives
from rollouts.importers.naming import Keys
from rollouts.importers.options import REFUSE, Options
from rollouts.importers.values import Values
from rollouts.importers.wanted import Fields, Wanted, WantedFlag

MOST_RULES = 200


def translate(document: Any, options: Options) -> Wanted:
    wanted = Wanted()
    if not isinstance(document, Mapping):
        wanted.faults.add("document", "must be an object")
        return wanted
    given = document.get("flags", document.get("items"))
    if given is None and "variations" in document:
        given = [document]
    listed = list(given.values()) if isinstance(given, Mapping) else given
    if not isinstance(listed, list):
        wanted.faults.add("flags", "must be an object or a list")
        return wanted
    found = clauses.segments_of(document, wanted.faults, lambda name: options.attribute(name, clauses.ATTRIBUTES))
    wanted.segments = found["wanted"]
    keys = Keys("flag")
    flags: dict[str, _Flag] = {}
    for n, flag in enumerate(listed):
        if not isinstance(flag, Mapping) or not isinstance(flag.get("key"), str) or not flag["key"]:
            wanted.faults.add(f"flags[{n}].key", "must be a text")
            continue
        if flag["key"] in flags:
            wanted.faults.add(f"flags.{flag['key']}", "is there twice")
            continue
        if flag.get("archived") is True:
            wanted.warnings.append(f"{flag['key']} is archived: left out")
            continue
        flags[flag["key"]] = _Flag(flag, keys(flag["key"]), found["keys"], options, wanted.faults)
    for one in flags.values():
        one.define()
    for one in flags.values():
        one.configure(flags)
        wanted.flags.append(one.wanted)
    return wanted


class _Flag:
    def __init__(
        self, flag: Mapping[str, Any], key: str, segments: Mapping[str, str], options: Options, faults: Faults
    ) -> None:
        self.flag, self.segments, self.options, self.faults = flag, segments, options, faults
        self.path = f"flags.{flag['key']}"
        self.wanted = WantedFlag(key)
        self.variants: list[str] = []

    def define(self) -> None:
        values = Values()
        listed = self.flag.get("variations")
        if not isinstance(listed, list) or not listed:
            self.faults.add(f"{self.path}.variations", "must be a list with at least one")
            return
        for n, one in enumerate(listed):
            value: Any = one
            name = ""
            if isinstance(one, Mapping) and "value" in one:
                value = one["value"]
                name = one["name"] if isinstance(one.get("name"), str) and KEY.match(one["name"]) else ""
            if value is None or isinstance(value, list):
                self.faults.add(f"{self.path}.variations[{n}].value", "may be neither null nor a list")
                continue
            key = values.key(value, name)
            if key in self.variants:  # an equal one
                key = values.key(value, f"{key}-{n + 1}")
            self.variants.append(key)
        definition = values.definition(f"{self.path}.variations", self.faults)
        if self.wanted.key != self.flag["key"]:
            self._warn(f"its name in LaunchDarkly, {self.flag['key']}, is no key here: it is {self.wanted.key}")
        words = [
            one
            for one in (self.flag.get("name"), self.flag.get("description"))
            if isinstance(one, str) and one and one != self.wanted.key
        ]
        if words:
            definition["description"] = "\n".join(words)[:10_000]
        self.wanted.definition = definition

    def configure(self, flags: Mapping[str, "_Flag"]) -> None:
        if not self.variants:
            return
        rules: list[Fields] = []
        for environment, (state, path) in self._states().items():
            config = self._config(state, path, flags)
            self.wanted.configs[environment] = config
            rules += [*config["rules"], {"all": [], "serve": config["fallthrough"]}]
        split = any("bucketing" in rule["serve"] for rule in rules)
        about = any(bool(rule["all"]) for rule in rules)
        self.wanted.definition["type"] = "percentage" if split else "user_group" if about else "boolean"

    def _states(self) -> dict[str, tuple[Mapping[str, Any], str]]:
        """{our environment: (what it says there, the path of it)}."""
        held = self.flag.get("environments")
        if held is None:
            if not self.options.environment:
                self.faults.add("environment", "is needed: the document is about one environment, without its name")
                return {}
            return {self.options.environment: (self.flag, self.path)}
        if not isinstance(held, Mapping):
            self.faults.add(f"{self.path}.environments", "must be an object")
            return {}
        chosen = dict(self.options.environments)
        if not chosen:
            wished = self.options.environment
            chosen = {name: name for name in held if wished in ("", name)}
            if not chosen and len(held) == 1:
                chosen = {next(iter(held)): wished}
        found: dict[str, tuple[Mapping[str, Any], str]] = {}
        for source, target in chosen.items():
            path = f"{self.path}.environments.{source}"
            if not isinstance(held.get(source), Mapping):
                self.faults.add(path, "is not in the document")
            elif held[source].get("archived") is True:
                self._warn(f"it is archived in {source}: left out there")
            else:
                found[target] = (held[source], path)
        return found

    # --- One environment ------------------------------------------------------------------------
    def _config(self, state: Mapping[str, Any], path: str, flags: Mapping[str, "_Flag"]) -> Fields:
        on = state.get("on", False)
        if type(on) is not bool:
            self.faults.add(f"{path}.on", "must be true or false")
        off = state.get("offVariation")
        if off is None:
            self._warn("it has no offVariation: off serves its last variation, where SDKs give the default of the code")
            off = len(self.variants) - 1
        rules: list[Fields] = []
        ids: set[str] = set()
        listed = state.get("rules") or []
        if not isinstance(listed, list) or len(listed) > MOST_RULES:
            self.faults.add(f"{path}.rules", f"must be a list of at most {MOST_RULES}")
            listed = []
        for n, rule in enumerate(listed):
            rules += self._rule(rule, n, state, ids, f"{path}.rules[{n}]")
        fallthrough = state.get("fallthrough")
        if not isinstance(fallthrough, Mapping):
            self.faults.add(f"{path}.fallthrough", "must be an object")
            fallthrough = {"variation": off}
        return {
            "enabled": on is True, "off_variant": self.variant(off, f"{path}.offVariation"), "rules": rules,
            "fallthrough": self._serve(fallthrough, state, f"{path}.fallthrough"),
            "overrides": self._targets(state, path, rules), "prerequisites": self._prerequisites(state, path, flags),
            "window": None,
        }  # fmt: skip

    def _rule(self, rule: Any, n: int, state: Mapping[str, Any], ids: set[str], path: str) -> list[Fields]:
        if not isinstance(rule, Mapping):
            self.faults.add(path, "must be an object")
            return []
        if rule.get("disabled") is True:
            self._warn(f"rule {n + 1} is disabled: left out")
            return []
        given = rule.get("_id") or rule.get("id")
        own = isinstance(given, str) and KEY.match(given) and given not in ids and given != "fallthrough"
        name = str(given) if own else f"rule-{n + 1}"
        ids.add(name)
        try:
            asked = clauses.expression(rule.get("clauses"), f"{path}.clauses", self._attribute, self.segments)
            several = alternatives(asked)
        except clauses.Unknown as unknown:
            self._unknown(unknown.path, unknown.words, n)
            return []
        except TooMany:
            self._unknown(f"{path}.clauses", "has too many alternatives", n)
            return []
        serve = self._serve(rule, state, path)
        return [
            {"id": name if k == 0 else f"{name}-{k + 1}", "all": each, "serve": serve} for k, each in enumerate(several)
        ]

    def _serve(self, given: Mapping[str, Any], state: Mapping[str, Any], path: str) -> Fields:
        rollout = given.get("rollout")
        if rollout is None:
            return {"variant": self.variant(given.get("variation"), f"{path}.variation")}
        at = f"{path}.rollout"
        nobody = {"variant": self.variants[0]}
        if not isinstance(rollout, Mapping) or not isinstance(rollout.get("variations"), list):
            self.faults.add(f"{at}.variations", "must be a list")
            return nobody
        weights: list[list[Any]] = []
        for n, one in enumerate(rollout["variations"]):
            weight = one.get("weight") if isinstance(one, Mapping) else None
            if type(weight) is not int or not 0 <= weight <= 100_000:
                self.faults.add(f"{at}.variations[{n}].weight", "must be a whole number from 0 to 100000")
                continue
            weights.append([self.variant(one.get("variation"), f"{at}.variations[{n}].variation"), weight])
        if not sum(weight for _, weight in weights):
            self.faults.add(f"{at}.variations", "needs a weight above 0")
            return nobody
        bucketing: Fields = {"algo": legacy.LAUNCHDARKLY, "weights": weights}
        if rollout.get("seed") is not None:
            bucketing["seed"] = rollout["seed"]
        else:
            salt = state.get("salt") or self.flag.get("salt")
            if not isinstance(salt, str) or not salt:
                self.faults.add(f"{path.partition('.fallthrough')[0]}.salt", "is needed: it decides who gets what")
                return nobody
            bucketing |= {"key": self.flag["key"], "salt": salt}
        by = rollout.get("bucketBy") or "key"
        if not isinstance(by, str) or rollout.get("kind") == "experiment":
            by = "key"
        try:
            by = clauses.attribute_of(rollout.get("contextKind"), by, self._attribute, f"{at}.contextKind")
        except clauses.Unknown as unknown:
            self.faults.add(unknown.path, unknown.words)
            return nobody
        return {"by": by, "bucketing": bucketing}

    def _attribute(self, name: str) -> str:
        if "." in name and name not in self.options.attributes:
            self._warn(f"it asks for {name}: send {name.partition('.')[0]} as an object in the context")
        return self.options.attribute(name, clauses.ATTRIBUTES)

    def _targets(self, state: Mapping[str, Any], path: str, rules: list[Fields]) -> Fields:
        """The units that are given a variant; those of other kinds than user by rules, which come before the others."""
        first: list[Fields] = []
        found: dict[str, list[str]] = {}
        whose: dict[str, str] = {}
        for name in ("targets", "contextTargets"):
            listed = state.get(name) or []
            for n, one in enumerate(listed if isinstance(listed, list) else [None]):
                at = f"{path}.{name}[{n}]"
                values = one.get("values") if isinstance(one, Mapping) else None
                if not isinstance(one, Mapping) or not isinstance(values, list):
                    self.faults.add(f"{at}.values", "must be a list")
                    continue
                variant = self.variant(one.get("variation"), f"{at}.variation")
                if one.get("contextKind") not in (None, "", clauses.USER):
                    clause = {"op": "in", "values": values, "attribute": "key", "contextKind": one["contextKind"]}
                    try:
                        asked = clauses.expression([clause], at, self._attribute, self.segments)
                    except clauses.Unknown as unknown:
                        self._unknown(f"{at}.contextKind", unknown.words, n)
                        continue
                    first += [{"id": f"target-{n + 1}", "all": each, "serve": {"variant": variant}}
                              for each in alternatives(asked)]  # fmt: skip
                    continue
                for unit in values:
                    if not isinstance(unit, str):
                        self.faults.add(f"{at}.values", "must be texts")
                    elif whose.setdefault(unit, variant) == variant:
                        found.setdefault(variant, []).append(unit)
        rules[:0] = first
        return found

    def _prerequisites(self, state: Mapping[str, Any], path: str, flags: Mapping[str, "_Flag"]) -> list[Fields]:
        found: list[Fields] = []
        listed = state.get("prerequisites") or []
        for n, one in enumerate(listed if isinstance(listed, list) else [None]):
            at = f"{path}.prerequisites[{n}]"
            if not isinstance(one, Mapping) or not isinstance(one.get("key"), str):
                self.faults.add(f"{at}.key", "must be a text")
                continue
            other = flags.get(one["key"])
            if other is None:
                self.faults.add(f"{at}.key", f"there is no flag {one['key']} in the document")
                continue
            variant = other.variant(one.get("variation"), f"{at}.variation")
            self._warn(f"needs {other.wanted.key} to be {variant}: switched off, LaunchDarkly never counts it as met")
            found.append({"flag": other.wanted.key, "variants": [variant]})
        return found

    # --- Parts ----------------------------------------------------------------------------------
    def variant(self, index: Any, path: str) -> str:
        if type(index) is not int or not 0 <= index < len(self.variants):
            self.faults.add(path, f"must be the number of a variation, from 0 to {len(self.variants) - 1}")
            return self.variants[0] if self.variants else ""
        return self.variants[index]

    def _unknown(self, path: str, words: str, n: int) -> None:
        if self.options.unknown == REFUSE:
            self.faults.add(path, words)
        else:
            self._warn(f"{path}: {words}: left out")

    def _warn(self, words: str) -> None:
        if words not in self.wanted.warnings:
            self.wanted.warnings.append(words)
