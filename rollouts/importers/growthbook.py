"""GrowthBook: the features payload that its SDKs fetch, as flags whose users all stay where they are."""

from collections.abc import Mapping
from typing import Any

from rollouts.engine import legacy, operators
from rollouts.engine.reading import KEY
from rollouts.importers.growthbook_conditions import Conditions, Unknown
from rollouts.importers.logic import ALWAYS, Expression, TooMany, alternatives
from rollouts.importers.naming import Keys
from rollouts.importers.options import REFUSE, Options
from rollouts.importers.values import Values
from rollouts.importers.wanted import Fields, Wanted, WantedFlag

ATTRIBUTES = {"id": "targetingKey"}
MOST_RULES = 200
# What has no translation, and would change who gets what.
UNTRANSLATABLE = ("contextualVariations", "contextualBanditRef")


def translate(document: Any, options: Options) -> Wanted:
    wanted = Wanted()
    features = document.get("features") if isinstance(document, Mapping) else None
    if not isinstance(features, Mapping):
        said = "is encrypted: give the decrypted one" if _is_encrypted(document) else "must be an object"
        wanted.faults.add("features", said)
    if not options.environment:
        wanted.faults.add("environment", "is needed: the document is about one environment, without its name")
    if wanted.faults or not isinstance(features, Mapping):
        return wanted
    groups = document.get("savedGroups") or {}
    if not isinstance(groups, Mapping):
        wanted.faults.add("savedGroups", "must be an object")
        return wanted
    _Payload(features, groups, options, wanted).translate()
    return wanted


def _is_encrypted(document: Any) -> bool:
    return isinstance(document, Mapping) and "encryptedFeatures" in document


class _Payload:
    def __init__(
        self, features: Mapping[str, Any], groups: Mapping[str, Any], options: Options, wanted: Wanted
    ) -> None:
        self.features, self.options, self.wanted = features, options, wanted
        self.faults = wanted.faults
        self.keys = Keys("flag")
        self.values: dict[str, Values] = {}
        self.conditions = Conditions(groups, lambda name: options.attribute(name, ATTRIBUTES))
        self.flag = WantedFlag("")

    def translate(self) -> None:
        for name, feature in self.features.items():
            if not isinstance(feature, Mapping):
                self.faults.add(f"features.{name}", "must be an object")
                continue
            self._feature(name, feature)
        for flag, (name, feature) in zip(self.wanted.flags, self._readable(), strict=False):
            self.flag = flag
            self._prerequisites(name, feature)
        self.wanted.segments += self.conditions.segments.values()

    def _readable(self) -> list[tuple[str, Mapping[str, Any]]]:
        return [(name, one) for name, one in self.features.items() if isinstance(one, Mapping)]

    def _feature(self, name: str, feature: Mapping[str, Any]) -> None:
        path = f"features.{name}"
        flag = self.flag = WantedFlag(self.keys(name))
        self.wanted.flags.append(flag)
        values = self.values[name] = Values()
        default = feature.get("defaultValue")
        if type(default) is bool:
            values.key(True)
            values.key(False)
        fallthrough = values.key(default)
        listed = feature.get("rules") or []
        if not isinstance(listed, list) or len(listed) > MOST_RULES:
            self.faults.add(f"{path}.rules", f"must be a list of at most {MOST_RULES}")
            listed = []
        rules: list[Fields] = []
        ids: set[str] = set()
        for n, rule in enumerate(listed):
            at = f"{path}.rules[{n}]"
            if not isinstance(rule, Mapping):
                self.faults.add(at, "must be an object")
                continue
            rules += self._rule(rule, n, name, values, ids, at)
        off = "off" if type(default) is bool else fallthrough
        flag.definition = values.definition(f"{path}.defaultValue", self.faults)
        flag.definition["type"] = _intent(rules)
        if flag.key != name:
            flag.warnings.append(f"its name in GrowthBook, {name}, is no key here: it is {flag.key}")
            flag.definition["description"] = f"(in GrowthBook: {name})"
        flag.configs[self.options.environment] = {
            "enabled": True, "off_variant": off, "rules": rules, "fallthrough": {"variant": fallthrough},
            "prerequisites": [], "overrides": {}, "window": None,
        }  # fmt: skip

    # --- Rules ----------------------------------------------------------------------------------
    def _rule(
        self, rule: Mapping[str, Any], n: int, name: str, values: Values, ids: set[str], path: str
    ) -> list[Fields]:
        for field in UNTRANSLATABLE:
            if rule.get(field):
                self._unknown(f"{path}.{field}", f"{field} cannot be translated", n)
                return []
        given = rule.get("id")
        own = isinstance(given, str) and KEY.match(given) and given not in ids and given != "fallthrough"
        name_of_rule = str(given) if own else f"rule-{n + 1}"
        ids.add(name_of_rule)
        try:
            if rule.get("condition") is None:
                asked: Expression = ALWAYS
            else:
                asked = self.conditions.expression(rule["condition"], f"{path}.condition")
            several = alternatives(asked)
        except Unknown as unknown:
            self._unknown(unknown.path, unknown.words, n)
            return []
        except TooMany:
            self._unknown(f"{path}.condition", "has too many alternatives", n)
            return []
        if rule.get("force") is not None:
            serve = self._force(rule, name, values, path)
        elif isinstance(rule.get("variations"), list):
            serve = self._experiment(rule, n, name, values, path)
        else:
            if not rule.get("parentConditions"):
                self._warn(f"rule {n + 1} neither forces a value nor has variations: left out, as SDKs skip it")
            return []
        if serve is None:
            return []
        return [
            {"id": name_of_rule if k == 0 else f"{name_of_rule}-{k + 1}", "all": each, "serve": serve}
            for k, each in enumerate(several)
        ]

    def _force(self, rule: Mapping[str, Any], name: str, values: Values, path: str) -> Fields | None:
        variant = values.key(rule["force"])
        coverage, span = rule.get("coverage"), rule.get("range")
        version = self._version(rule, path)
        by = self._by(rule, path, fallback=True)
        filters = self._filters(rule, path)
        bucketing: Fields = {"algo": legacy.GROWTHBOOK, "version": version, "seed": self._seed(rule, name, path)}
        if filters:
            bucketing["filters"] = filters
        if span is not None:
            start, end = self._span(span, version, f"{path}.range")
            return {"by": by, "bucketing": bucketing | {"ranges": [[variant, start, end]]}} if end > start else None
        if coverage is not None:
            if not operators.is_number(coverage):
                self.faults.add(f"{path}.coverage", "must be a number")
                return None
            edge = boundary(coverage, version)
            if edge == legacy.STEPS[version]:
                # All who have a hash value: it has to be there.
                return {"by": by, "bucketing": bucketing | {"ranges": [[variant, 0, edge]]}}
            return {"variant": variant, "rollout": edge * 100 / legacy.STEPS[version], "by": by, "bucketing": bucketing}
        return {"variant": variant, "by": by, "bucketing": bucketing} if filters else {"variant": variant}

    def _experiment(self, rule: Mapping[str, Any], n: int, name: str, values: Values, path: str) -> Fields | None:
        variations = rule["variations"]
        if len(variations) < 2:
            self._warn(f"rule {n + 1} has fewer than two variations: left out, as SDKs skip it")
            return None
        if rule.get("active") is False or rule.get("status") == "draft":
            self._warn(f"the experiment of rule {n + 1} does not run: left out")
            return None
        meta = rule.get("meta")
        listed = meta if isinstance(meta, list) else []
        passed = {k for k, one in enumerate(listed) if isinstance(one, Mapping) and one.get("passthrough")}
        given = [one for k, one in enumerate(variations) if k not in passed]
        if len({values.key(one) for one in given}) < len(given):
            self._warn(f"variations of rule {n + 1} with the same value are one variant here")
        if rule.get("bucketVersion") or rule.get("fallbackAttribute"):
            self._warn(f"rule {n + 1} may use sticky buckets: what they hold is not in the payload")
        key = rule.get("key") or name
        version = self._version(rule, path)
        ranges = rule.get("ranges")
        if ranges is None:
            ranges = self._weighted(rule, len(variations), path)
        if not isinstance(ranges, list) or len(ranges) != len(variations):
            self.faults.add(f"{path}.ranges", "must be a list, one for each variation")
            return None
        spans = [self._span(span, version, f"{path}.ranges[{k}]") for k, span in enumerate(ranges)]
        # Who is passed through goes on to the next rule, as who is in no range does.
        found = [
            [values.key(value), *span]
            for k, (value, span) in enumerate(zip(variations, spans, strict=True))
            if k not in passed
        ]
        by = self._by(rule, path)
        filters = self._filters(rule, path)
        if not filters and rule.get("namespace") is not None:
            filters = [self._namespace(rule["namespace"], by, f"{path}.namespace")]
        if all(spans[k][1] <= spans[k][0] for k in range(len(spans)) if k not in passed):
            self._warn(f"the experiment of rule {n + 1} covers nobody: left out")
            return None
        bucketing: Fields = {"algo": legacy.GROWTHBOOK, "version": version,
                             "seed": self._seed(rule, str(key), path), "ranges": found}  # fmt: skip
        return {"by": by, "bucketing": bucketing | ({"filters": filters} if filters else {})}

    def _weighted(self, rule: Mapping[str, Any], count: int, path: str) -> list[Any]:
        """Ranges of weights and coverage, added up as the SDKs add them."""
        coverage = rule.get("coverage", 1)
        coverage = 1 if coverage is None else coverage
        if not operators.is_number(coverage):
            self.faults.add(f"{path}.coverage", "must be a number")
            return [[0, 0]] * count
        coverage = min(1, max(0, coverage))
        weights = rule.get("weights")
        if not (
            isinstance(weights, list) and len(weights) == count
            and all(operators.is_number(one) and 0 <= one <= 2 for one in weights) and 0.99 <= sum(weights) <= 1.01
        ):  # fmt: skip
            if weights is not None:
                self._warn("weights that do not add up to 1 are equal ones, as in GrowthBook")
            weights = [1 / count] * count
        ranges, added = [], 0.0
        for weight in weights:
            ranges.append([added, added + coverage * weight])
            added += weight
        return ranges

    def _filters(self, rule: Mapping[str, Any], path: str) -> list[Fields]:
        listed = rule.get("filters") or []
        if not isinstance(listed, list):
            self.faults.add(f"{path}.filters", "must be a list")
            return []
        found = []
        for n, one in enumerate(listed):
            at = f"{path}.filters[{n}]"
            if not isinstance(one, Mapping) or not isinstance(one.get("ranges"), list):
                self.faults.add(f"{at}.ranges", "must be a list")
                continue
            version = self._version(one, at, 2)
            ranges = [list(self._span(span, version, f"{at}.ranges[{k}]")) for k, span in enumerate(one["ranges"])]
            attr = self._attribute(one.get("attribute") or "id", f"{at}.attribute")
            found.append({"seed": self._seed(one, "", at), "version": version, "by": [attr], "ranges": ranges})
        return found

    def _namespace(self, value: Any, by: list[str], path: str) -> Fields:
        if not isinstance(value, list) or len(value) != 3 or not isinstance(value[0], str):
            self.faults.add(path, "must be a name, where its range begins and where it ends")
            return {"seed": "__", "version": 1, "by": by, "ranges": [[0, 0]]}
        ranges = [list(self._span(value[1:], 1, path))]
        return {"seed": f"__{value[0]}", "version": 1, "by": by, "ranges": ranges}

    # --- Prerequisites --------------------------------------------------------------------------
    def _prerequisites(self, name: str, feature: Mapping[str, Any]) -> None:
        """Those that gate the whole feature stand in its first rules."""
        config = self.flag.configs[self.options.environment]
        first = True
        rules = feature.get("rules")
        for n, rule in enumerate(rules if isinstance(rules, list) else []):
            parents = rule.get("parentConditions") if isinstance(rule, Mapping) else None
            if not parents:
                first = False
                continue
            path = f"features.{name}.rules[{n}].parentConditions"
            if not isinstance(parents, list) or not all(isinstance(one, Mapping) for one in parents):
                self.faults.add(path, "must be a list of objects")
                continue
            for k, one in enumerate(parents):
                if not first or not one.get("gate"):
                    self._unknown(f"{path}[{k}]", "a prerequisite of one rule: here they are of the whole flag", n)
                    continue
                self._gate(one, config, f"{path}[{k}]", n)

    def _gate(self, parent: Mapping[str, Any], config: Fields, path: str, n: int) -> None:
        name = parent.get("id")
        if not isinstance(name, str) or name not in self.values:
            self._warn(f"it needs {name}, which is not in the payload: it stays off")
            config["enabled"] = False
            return
        try:
            tested = Conditions({}, str)
            several = alternatives(tested.expression(parent.get("condition") or {}, f"{path}.condition"))
        except (Unknown, TooMany) as fault:
            words = fault.words if isinstance(fault, Unknown) else "has too many alternatives"
            self._unknown(f"{path}.condition", words, n)
            return
        fitting = [
            key for key, value in self.values[name].found.items()
            if any(all(_holds(one, value) for one in each) for each in several)
        ]  # fmt: skip
        if not fitting:
            self._warn(f"it needs a value of {name} that it never has: it stays off")
            config["enabled"] = False
            return
        self._warn("unmet prerequisites serve the off variant, where GrowthBook gives the default of the code")
        config["prerequisites"].append({"flag": self.keys(name), "variants": fitting})

    # --- Parts ----------------------------------------------------------------------------------
    def _by(self, rule: Mapping[str, Any], path: str, *, fallback: bool = False) -> list[str]:
        found = [self._attribute(rule.get("hashAttribute") or "id", f"{path}.hashAttribute")]
        if fallback and rule.get("fallbackAttribute"):
            found.append(self._attribute(rule["fallbackAttribute"], f"{path}.fallbackAttribute"))
        return list(dict.fromkeys(found))

    def _attribute(self, name: Any, path: str) -> str:
        if not isinstance(name, str):
            self.faults.add(path, "must be a text")
            return "targetingKey"
        return self.options.attribute(name, ATTRIBUTES)

    def _seed(self, rule: Mapping[str, Any], otherwise: str, path: str) -> str:
        seed = rule.get("seed") or otherwise
        if not isinstance(seed, str) or not seed:
            self.faults.add(f"{path}.seed", "must be a text")
            return "?"
        return seed

    def _version(self, rule: Mapping[str, Any], path: str, usual: int = 1) -> int:
        version = rule.get("hashVersion") or usual
        if type(version) is not int or version not in legacy.STEPS:
            self.faults.add(f"{path}.hashVersion", f"{version} is no version that is known: 1 or 2")
            return 1
        return version

    def _span(self, value: Any, version: int, path: str) -> tuple[int, int]:
        if not isinstance(value, list) or len(value) != 2 or not all(operators.is_number(one) for one in value):
            self.faults.add(path, "must be two numbers")
            return 0, 0
        return boundary(value[0], version), boundary(value[1], version)

    def _unknown(self, path: str, words: str, n: int) -> None:
        if self.options.unknown == REFUSE:
            self.faults.add(path, words)
        else:
            self._warn(f"rule {n + 1}: {words}: left out")

    def _warn(self, words: str) -> None:
        if words not in self.flag.warnings:
            self.flag.warnings.append(words)


def boundary(value: float, version: int) -> int:
    """The first part of a thousand (ten thousand) that is not below the value, compared as the SDKs compare."""
    steps = legacy.STEPS[version]
    value = min(1.0, max(0.0, value))
    found = max(0, int(value * steps) - 1)
    while found < steps and found / steps < value:
        found += 1
    return found


def _holds(condition: Fields, value: Any) -> bool:
    if condition["op"] == "segment":
        return False
    given = {name: condition[name] for name in ("negate", "ignore_case", "reading") if name in condition}
    return operators.condition("value", condition["op"], condition["values"], **given).test({"value": value}) is True


def _intent(rules: list[Fields]) -> str:
    if any(len(rule["serve"].get("bucketing", {}).get("ranges", ())) > 1 for rule in rules):
        return "ab_test"
    if any("bucketing" in rule["serve"] for rule in rules):
        return "percentage"
    return "user_group" if any(rule["all"] for rule in rules) else "boolean"
