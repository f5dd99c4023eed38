"""Unleash: what its clients fetch, or its server exports, as flags whose users all stay where they are."""

from collections.abc import Iterable, Mapping
from typing import Any

from rollouts.engine import legacy
from rollouts.engine.types import TARGETING_KEY
from rollouts.importers import unleash_constraints as constraints
from rollouts.importers.logic import ALWAYS, NEVER, Condition, Expression, Leaf, TooMany, alternatives, every
from rollouts.importers.naming import Keys, key_of
from rollouts.importers.options import REFUSE, Options
from rollouts.importers.unleash_export import environments_of
from rollouts.importers.unleash_variants import OFF, ON, Variants
from rollouts.importers.wanted import Fields, Wanted, WantedFlag, WantedSegment

PURPOSES = {
    "release": "release", "experiment": "experiment", "operational": "ops", "kill-switch": "ops",
    "permission": "permission",
}  # fmt: skip
SESSION, ADDRESS, HOSTNAME = "sessionId", "remoteAddress", "hostname"
MOST_STRATEGIES = 100


def translate(document: Any, options: Options) -> Wanted:
    wanted = Wanted()
    keys = Keys("flag")
    for environment, state in environments_of(document, options, wanted.faults).items():
        _State(state, environment, options, wanted, keys).translate()
    return wanted


class _State:
    """The features of one environment."""

    def __init__(
        self, state: Mapping[str, Any], environment: str, options: Options, wanted: Wanted, keys: Keys
    ) -> None:
        self.state, self.environment, self.options, self.wanted, self.keys = state, environment, options, wanted, keys
        self.faults = wanted.faults
        self.segments: dict[Any, Expression] = {}
        self.warnings: list[str] = []  # of the feature at hand

    def translate(self) -> None:
        self._read_segments()
        features = self.state.get("features")
        if not isinstance(features, list):
            self.faults.add("features", "must be a list")
            return
        found: dict[str, tuple[Mapping[str, Any], WantedFlag, Variants]] = {}
        for n, feature in enumerate(features):
            path = f"features[{n}]"
            if not isinstance(feature, Mapping) or not isinstance(feature.get("name"), str) or not feature["name"]:
                self.faults.add(f"{path}.name", "must be a text")
                continue
            if feature["name"] in found:
                self.faults.add(f"{path}.name", f"{feature['name']} is there twice")
                continue
            found[feature["name"]] = (feature, *self._feature(feature, f"features.{feature['name']}"))
        for name, (feature, flag, _) in found.items():
            self._dependencies(feature, flag, found, f"features.{name}.dependencies")

    # --- Segments -------------------------------------------------------------------------------
    def _read_segments(self) -> None:
        listed = self.state.get("segments") or []
        if not isinstance(listed, list):
            self.faults.add("segments", "must be a list")
            return
        for n, segment in enumerate(listed):
            path = f"segments[{n}]"
            if not isinstance(segment, Mapping) or not isinstance(segment.get("id"), int | str):
                self.faults.add(f"{path}.id", "must be a number or a text")
                continue
            asked = [
                self._constraint(one, f"{path}.constraints[{k}]")
                for k, one in enumerate(_list(segment, "constraints", path, self.faults))
            ]
            try:
                found = alternatives(every(asked))
            except TooMany:
                found = []
            if found == [[]]:
                self.segments[segment["id"]] = ALWAYS
                continue
            if not found:
                self.segments[segment["id"]] = NEVER
                continue
            name = segment.get("name")
            name = name if isinstance(name, str) and name else f"unleash-segment-{segment['id']}"
            key = key_of(name, "segment")
            if key not in {one.key for one in self.wanted.segments}:
                fields = {"name": name[:200], "conditions": found[0]}
                self.wanted.segments.append(WantedSegment(key, fields))
            self.segments[segment["id"]] = Leaf({"op": "segment", "values": [key]})

    # --- Features -------------------------------------------------------------------------------
    def _feature(self, feature: Mapping[str, Any], path: str) -> tuple[WantedFlag, Variants]:
        name = feature["name"]
        key = self.keys(name)
        flag = next((one for one in self.wanted.flags if one.key == key), None)
        if flag is None:
            flag = WantedFlag(key)
            self.wanted.flags.append(flag)
        self.warnings = flag.warnings
        if key != name:
            self._warn(f"its name in Unleash, {name}, is no key here: it is {key}")
        enabled = feature.get("enabled", False)
        if type(enabled) is not bool:
            self.faults.add(f"{path}.enabled", "must be true or false")
        variants = Variants()
        strategies = _list(feature, "strategies", path, self.faults)
        if len(strategies) > MOST_STRATEGIES:
            self.faults.add(f"{path}.strategies", f"at most {MOST_STRATEGIES}")
            strategies = []
        own = _list(feature, "variants", path, self.faults)
        rules: list[Fields] = []
        bare = False  # whether anyone gets it without a variant
        for n, strategy in enumerate(strategies):
            made, without = self._strategy(strategy, n, feature, own, variants, f"{path}.strategies[{n}]")
            rules += made
            bare = bare or without
        if not strategies:
            made, without = self._serve_all(name, own, variants, path)
            rules += made
            bare = bare or without
        definition: Fields = variants.definition(not bare, self.warnings)
        definition["type"] = _intent(rules, variants)
        if isinstance(feature.get("description"), str):
            definition["description"] = feature["description"][:10_000]
        if key != name:
            definition["description"] = f"{definition.get('description', '')}\n(in Unleash: {name})".strip()
        if isinstance(feature.get("type"), str) and feature["type"] in PURPOSES:
            definition["purpose"] = PURPOSES[feature["type"]]
        flag.definition = definition
        flag.configs[self.environment] = {
            "enabled": enabled is True, "off_variant": OFF, "rules": rules, "fallthrough": {"variant": OFF},
            "prerequisites": [], "overrides": {}, "window": None,
        }  # fmt: skip
        return flag, variants

    def _serve_all(self, name: str, own: list[Any], variants: Variants, path: str) -> tuple[list[Fields], bool]:
        """A feature without strategies is for everyone."""
        return self._rules("everyone", ALWAYS, {}, self._split(own, name, "", variants, f"{path}.variants"))

    def _strategy(
        self, strategy: Any, n: int, feature: Mapping[str, Any], own: list[Any], variants: Variants, path: str
    ) -> tuple[list[Fields], bool]:
        if not isinstance(strategy, Mapping) or not isinstance(strategy.get("name"), str):
            self.faults.add(f"{path}.name", "must be a text")
            return [], False
        parameters = strategy.get("parameters") or {}
        if not isinstance(parameters, Mapping):
            self.faults.add(f"{path}.parameters", "must be an object")
            return [], False
        if strategy.get("disabled") is True:
            self._warn(f"strategy {n + 1} is disabled: left out")
            return [], False
        asked = [self._constraint(one, f"{path}.constraints[{k}]")
                 for k, one in enumerate(_list(strategy, "constraints", path, self.faults))]  # fmt: skip
        for one in _list(strategy, "segments", path, self.faults):
            if not isinstance(one, int | str) or one not in self.segments:
                self._warn(f"strategy {n + 1} asks for segment {one}, which is not there: it never holds")
                asked.append(NEVER)
            else:
                asked.append(self.segments[one])
        share, meant = self._share(strategy["name"], parameters, feature["name"], n, path)
        asked.append(meant)
        listed = _list(strategy, "variants", path, self.faults)
        if listed:
            group = parameters.get("groupId") or feature["name"]
            split = self._split(listed, str(group), parameters.get("stickiness"), variants, f"{path}.variants")
        else:
            split = self._split(own, feature["name"], "", variants, f"features.{feature['name']}.variants")
        return self._rules(f"strategy-{n + 1}", every(asked), share, split)

    def _share(
        self, name: str, parameters: Mapping[str, Any], feature: str, n: int, path: str
    ) -> tuple[Fields, Expression]:
        """The share of users that a strategy is for, and what it asks of them."""
        if name == "default":
            return {}, ALWAYS
        if name == "userWithId":
            units = [one.strip() for one in _parameter(parameters, "userIds").split(",") if one.strip()]
            return {}, self._inside("userId", units)
        if name == "remoteAddress":
            found = constraints.networks(_parameter(parameters, "IPs"))
            leaf = Leaf({"attr": self._attribute(ADDRESS), "op": "cidr", "values": found, "reading": "loose"})
            return {}, leaf if found else NEVER
        if name == "applicationHostname":
            self._warn(f"strategy {n + 1} asks for the name of the machine: send it as {HOSTNAME} in the context")
            hosts = [one.strip() for one in _parameter(parameters, "hostNames").split(",") if one.strip()]
            return {}, self._inside(HOSTNAME, hosts, anyhow=True)
        simple = {"gradualRolloutUserId": "userId", "gradualRolloutSessionId": SESSION,
                  "gradualRolloutRandom": "random"}  # fmt: skip
        if name in simple:
            group = parameters.get("groupId", "")
            if not group and name != "gradualRolloutRandom":
                self._warn(f"strategy {n + 1} has no groupId: in Unleash it never holds")
                return {}, NEVER
            return self._rollout(
                parameters.get("percentage"), simple[name], str(group), n, f"{path}.parameters.percentage"
            )
        if name == "flexibleRollout":
            group = parameters.get("groupId") or feature
            stickiness = parameters.get("stickiness") or "default"
            if not isinstance(stickiness, str):
                self.faults.add(f"{path}.parameters.stickiness", "must be a text")
                return {}, NEVER
            return self._rollout(parameters.get("rollout"), stickiness, str(group), n, f"{path}.parameters.rollout")
        self._unknown(f"{path}.name", f"{name} is no strategy of Unleash's own", f"strategy {name}")
        return {}, NEVER

    def _rollout(self, value: Any, stickiness: str, group: str, n: int, path: str) -> tuple[Fields, Expression]:
        percent = str(value).strip() if isinstance(value, str | int) and type(value) is not bool else ""
        if not percent.isascii() or not percent.isdigit() or int(percent[:9]) > 100:
            self.faults.add(path, "must be a whole percentage from 0 to 100")
            return {}, NEVER
        share: Fields = {"rollout": int(percent)}
        if stickiness == "random":
            self._warn(f"strategy {n + 1} throws dice for each call in Unleash: here each unit keeps its side")
            return share | {"dice": True}, ALWAYS
        by, anonymous = self._units(stickiness)
        return share | {"by": by, "group": group, "anonymous": anonymous}, ALWAYS

    def _units(self, stickiness: str) -> tuple[list[str], bool]:
        """The attributes that are the unit, and whether Unleash throws dice when there is none of them."""
        if stickiness in ("", "default", "random"):
            session = self._attribute(SESSION)
            return list(dict.fromkeys([self._attribute("userId"), session])), True
        return [self._attribute(stickiness)], False

    def _split(self, listed: list[Any], group: str, stickiness: Any, variants: Variants, path: str) -> Fields:
        """The variants that everyone who comes here is divided among; empty without any."""
        weights: list[list[Any]] = []
        overrides: list[tuple[Expression, str]] = []
        by: list[str] = []
        for n, one in enumerate(listed):
            if not isinstance(one, Mapping):
                self.faults.add(f"{path}[{n}]", "must be an object")
                continue
            key = variants.key(one, f"{path}[{n}]", self.faults)
            weight = one.get("weight", 0)
            if type(weight) is not int or not 0 <= weight <= 1_000_000:
                self.faults.add(f"{path}[{n}].weight", "must be a whole number from 0 to 1000000")
                continue
            weights.append([key, weight])
            if not by:
                its_own = one.get("stickiness") or stickiness or "default"
                by = self._units(its_own if isinstance(its_own, str) else "default")[0]
            for k, override in enumerate(_list(one, "overrides", f"{path}[{n}]", self.faults)):
                asked = self._override(override, f"{path}[{n}].overrides[{k}]")
                overrides.append((asked, key))
        if not sum(weight for _, weight in weights):
            return {}
        # Unleash throws dice where the attribute is missing; here the unit itself decides then.
        by = [*by, TARGETING_KEY] if TARGETING_KEY not in by else by
        return {"weights": weights, "overrides": overrides, "by": by, "group": group}

    def _override(self, override: Any, path: str) -> Expression:
        if not isinstance(override, Mapping) or not isinstance(override.get("contextName"), str):
            self.faults.add(f"{path}.contextName", "must be a text")
            return NEVER
        return self._constraint({"contextName": override["contextName"], "operator": "IN",
                                 "values": override.get("values")}, path)  # fmt: skip

    def _rules(self, name: str, asked: Expression, share: Fields, split: Fields) -> tuple[list[Fields], bool]:
        """The rules of one strategy, and whether they serve somebody without a variant."""
        found: list[Fields] = []
        for n, (whom, key) in enumerate(split.get("overrides", ()), 1):
            serve = _serve(share, {}, key)
            found += self._alternatives(f"{name}-override-{n}", every((asked, whom)), serve)
        found += self._alternatives(name, asked, _serve(share, split, ON))
        return found, not split

    def _alternatives(self, name: str, asked: Expression, serve: Fields) -> list[Fields]:
        return [
            {"id": name if n == 0 else f"{name}-{n + 1}", "all": each, "serve": serve}
            for n, each in enumerate(alternatives(asked))
        ]

    # --- Dependencies ---------------------------------------------------------------------------
    def _dependencies(
        self,
        feature: Mapping[str, Any],
        flag: WantedFlag,
        found: Mapping[str, tuple[Mapping[str, Any], WantedFlag, Variants]],
        path: str,
    ) -> None:
        self.warnings = flag.warnings
        config = flag.configs[self.environment]
        for n, one in enumerate(_list(feature, "dependencies", path.removesuffix(".dependencies"), self.faults)):
            at = f"{path}[{n}]"
            if not isinstance(one, Mapping) or not isinstance(one.get("feature"), str):
                self.faults.add(f"{at}.feature", "must be a text")
                continue
            if one["feature"] not in found:
                self._warn(f"it depends on {one['feature']}, which is not there: it stays off, as in Unleash")
                config["enabled"] = False
                continue
            parent, parents_flag, variants = found[one["feature"]]
            if parent.get("dependencies"):
                # Unleash knows one level: such a feature is off for everyone.
                self._warn(f"it depends on {one['feature']}, which itself depends: it stays off, as in Unleash")
                config["enabled"] = False
                continue
            keys = [each["key"] for each in parents_flag.definition["variants"]]
            names = one.get("variants")
            if names is not None and (not isinstance(names, list) or not all(isinstance(each, str) for each in names)):
                self.faults.add(f"{at}.variants", "must be a list of texts")
                continue
            if one.get("enabled") is False:
                needed = [OFF]
            elif names:
                needed = sorted(key for each in names for key in variants.names.get(each, ()))
                if "disabled" in names and ON in keys:
                    needed.append(ON)
            else:
                needed = [key for key in keys if key != OFF]
            if not needed:
                self._warn(f"it waits for a variant that {one['feature']} does not have: it stays off, as in Unleash")
                config["enabled"] = False
            else:
                config["prerequisites"].append({"flag": parents_flag.key, "variants": needed})

    # --- Parts ----------------------------------------------------------------------------------
    def _constraint(self, constraint: Any, path: str) -> Expression:
        try:
            found = constraints.expression(constraint, self._attribute)
        except constraints.Unknown as unknown:
            at = f"{path}.{unknown.field}" if unknown.field else path
            self._unknown(at, unknown.words, f"a constraint: {unknown.words}")
            return NEVER
        if isinstance(constraint, Mapping) and constraint.get("contextName") == "currentTime":
            self._warn("it asks for currentTime, which Unleash's clients fill in: send it in the context")
        return found

    def _inside(self, name: str, values: list[str], *, anyhow: bool = False) -> Expression:
        if not values:
            return NEVER
        condition: Condition = {"attr": self._attribute(name), "op": "in", "values": values, "reading": "texts"}
        return Leaf(condition | {"ignore_case": True} if anyhow else condition)

    def _attribute(self, name: str) -> str:
        return self.options.attribute(name, constraints.ATTRIBUTES)

    def _unknown(self, path: str, words: str, what: str) -> None:
        if self.options.unknown == REFUSE:
            self.faults.add(path, words)
        else:
            self._warn(f"{what}: left out, it never holds")

    def _warn(self, words: str) -> None:
        if words not in self.warnings:
            self.warnings.append(words)


def _serve(share: Fields, split: Fields, variant: str) -> Fields:
    """One `serve`: a share of the users by Unleash's hash, divided by Unleash's hash."""
    serve: Fields = {}
    bucketing: Fields = {}
    weights = [one for one in split.get("weights", ()) if one[1]]
    if len(weights) == 1:
        variant = weights[0][0]
    if len(weights) > 1:
        bucketing = {"weights": split["weights"], "variants_group": split["group"], "variants_by": split["by"]}
        serve["by"] = share.get("by") or split["by"]
        bucketing |= {"group": share.get("group") or split["group"], "anonymous": share.get("anonymous", True)}
    else:
        serve["variant"] = variant
    rollout = share.get("rollout", 100)
    if rollout != 100:
        serve["rollout"] = rollout
    if "group" in share and not bucketing and not (rollout == 100 and share["anonymous"]):
        serve["by"] = share["by"]
        bucketing = {"group": share["group"], "anonymous": share["anonymous"]}
    if share.get("dice") and rollout != 100:
        serve["by"] = share.get("by", [TARGETING_KEY])
    if bucketing:
        serve["bucketing"] = {"algo": legacy.UNLEASH, **bucketing}
    return serve


def _intent(rules: Iterable[Fields], variants: Variants) -> str:
    """The type of flag that a person would have chosen."""
    found = list(rules)
    if len(variants.payloads) > 1:
        return "ab_test"
    if any("rollout" in rule["serve"] for rule in found):
        return "percentage"
    return "user_group" if any(rule["all"] for rule in found) else "boolean"


def _parameter(parameters: Mapping[str, Any], name: str) -> str:
    value = parameters.get(name, "")
    return value if isinstance(value, str) else ""


def _list(source: Mapping[str, Any], name: str, path: str, faults: Any) -> list[Any]:
    value = source.get(name)
    if value is None:
        return []
    if not isinstance(value, list):
        faults.add(f"{path}.{name}", "must be a list")
        return []
    return value
