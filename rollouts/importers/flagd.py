"""flagd: a file of flag definitions, as flags whose users all stay where they are."""

from collections.abc import Mapping
from typing import Any

from rollouts.engine import legacy
from rollouts.engine.reading import Faults
from rollouts.importers.flagd_logic import LOGIC, Attribute, Logic, Unknown, operator_of
from rollouts.importers.logic import ALWAYS, Expression, TooMany, alternatives, every
from rollouts.importers.naming import Keys
from rollouts.importers.options import REFUSE, Options
from rollouts.importers.values import type_of
from rollouts.importers.wanted import Fields, Wanted, WantedFlag

ATTRIBUTES: Mapping[str, str] = {}
STATES = ("ENABLED", "DISABLED")


def translate(document: Any, options: Options) -> Wanted:
    wanted = Wanted()
    flags = document.get("flags") if isinstance(document, Mapping) else None
    if isinstance(flags, list):  # as the schema allows, each with its key
        flags = {one.get("key"): one for one in flags if isinstance(one, Mapping) and isinstance(one.get("key"), str)}
    if not isinstance(flags, Mapping):
        wanted.faults.add("flags", "must be an object")
    if not options.environment:
        wanted.faults.add("environment", "is needed: the document is about one environment, without its name")
    if options.flagd_encoding not in ("cbor", "text"):
        wanted.faults.add("flagd_encoding", "choose from cbor, text")
    if wanted.faults or not isinstance(flags, Mapping):
        return wanted
    evaluators = document.get("$evaluators") or {}
    if not isinstance(evaluators, Mapping):
        wanted.faults.add("$evaluators", "must be an object")
        return wanted
    keys = Keys("flag")
    logic = Logic(evaluators, lambda name: options.attribute(name, ATTRIBUTES))
    for name, flag in flags.items():
        if not isinstance(flag, Mapping):
            wanted.faults.add(f"flags.{name}", "must be an object")
            continue
        wanted.flags.append(_Flag(name, flag, keys(name), logic, options, wanted.faults).translated())
    return wanted


class _Flag:
    def __init__(
        self, name: str, flag: Mapping[str, Any], key: str, logic: Logic, options: Options, faults: Faults
    ) -> None:
        self.name, self.flag, self.logic, self.options, self.faults = name, flag, logic, options, faults
        self.path = f"flags.{name}"
        self.wanted = WantedFlag(key)
        self.rules: list[Fields] = []
        self.variants = Keys("variant")
        self.default = ""

    def translated(self) -> WantedFlag:
        values = self.flag.get("variants")
        if not isinstance(values, Mapping) or not values:
            self.faults.add(f"{self.path}.variants", "must be an object with at least one")
            return self.wanted
        kind = type_of(values.values())
        if not kind:
            self.faults.add(f"{self.path}.variants", "values of one type are needed, without null and lists")
        definition: Fields = {
            "value_type": kind, "variants": [{"key": self.variants(key), "value": one} for key, one in values.items()],
        }  # fmt: skip
        state = self.flag.get("state")
        if state not in STATES:
            self.faults.add(f"{self.path}.state", f"choose from {', '.join(STATES)}")
        self.default = self._default(values)
        if self.wanted.key != self.name:
            self._warn(f"its name in flagd, {self.name}, is no key here: it is {self.wanted.key}")
            definition["description"] = f"(in flagd: {self.name})"
        targeting = self.flag.get("targeting")
        if targeting:
            try:
                self._targeting(targeting, ALWAYS, f"{self.path}.targeting", 0)
            except Unknown as unknown:
                self._unknown(unknown.path, unknown.words)
            except TooMany:
                self._unknown(f"{self.path}.targeting", "has too many alternatives")
        definition["type"] = _intent(self.rules)
        if state == "DISABLED":
            self._warn(f"it is disabled: here it serves {self.default}, where flagd gives the default of the code")
        self.wanted.definition = definition
        self.wanted.configs[self.options.environment] = {
            "enabled": state != "DISABLED", "off_variant": self.default, "rules": self.rules,
            "fallthrough": {"variant": self.default}, "prerequisites": [], "overrides": {}, "window": None,
        }  # fmt: skip
        return self.wanted

    def _default(self, values: Mapping[str, Any]) -> str:
        default = self.flag.get("defaultVariant")
        name = str(default).lower() if type(default) is bool else default
        if isinstance(name, str) and name in values:
            return self.variants(name)
        if default is None or default == "":
            false = next((key for key, value in values.items() if value is False), next(iter(values)))
            self._warn(f"it has no defaultVariant: here it serves {false}, where flagd gives the default of the code")
            return self.variants(false)
        self.faults.add(f"{self.path}.defaultVariant", f"is none of its variants: {', '.join(map(str, values))}")
        return self.variants(next(iter(values)))

    # --- Targeting ------------------------------------------------------------------------------
    def _targeting(self, node: Any, asked: Expression, path: str, depth: int) -> None:
        """The rules of one branch. All who come here get an answer of it: later rules are not for them."""
        node = self.logic.opened(node, path)
        if node is None or isinstance(node, str) or type(node) is bool:
            self._serve(asked, self._variant(node, path))
            return
        op, given = operator_of(node, path)
        if depth > 50:
            raise Unknown(path, "is nested too deep")
        if op == "if":
            args = given if isinstance(given, list) else [given]
            for n in range(0, len(args) - 1, 2):
                whom = every((asked, self.logic.expression(args[n], f"{path}.if[{n}]")))
                self._targeting(args[n + 1], whom, f"{path}.if[{n + 1}]", depth + 1)
            last = args[-1] if len(args) % 2 else None
            self._targeting(last, asked, f"{path}.if[{len(args) - 1}]", depth + 1)
        elif op == "fractional":
            self._fractional(given, asked, f"{path}.fractional")
        elif op in LOGIC and op != "var":
            self._serve(every((asked, self.logic.expression(node, path))), self._variant(True, path))
            self._serve(asked, self._variant(False, path))
        else:
            raise Unknown(f"{path}.{op}", f"the operator {op} cannot be translated here")

    def _fractional(self, given: Any, asked: Expression, path: str) -> None:
        args = list(given) if isinstance(given, list) else [given]
        first = self.logic.opened(args[0], f"{path}[0]") if args else None
        bucketing: Fields = {"algo": legacy.FLAGD, "encoding": self.options.flagd_encoding}
        if isinstance(first, list):
            bucketing |= {"value": [{"text": self.name}, {"attr": "targetingKey"}], "joined": False}
        else:
            value, joined = self._value(first, f"{path}[0]")
            bucketing |= {"value": value, "joined": joined}
            args = args[1:]
        weights: list[list[Any]] = []
        for n, one in enumerate(args, 1 if len(args) != len(given) else 0):
            at = f"{path}[{n}]"
            if not isinstance(one, list) or not 1 <= len(one) <= 2:
                raise Unknown(at, "must be a variant and its weight")
            weight = one[1] if len(one) == 2 else 1
            if type(weight) is not int:
                raise Unknown(f"{at}[1]", "must be a whole number")
            weights.append([self._variant(one[0], f"{at}[0]"), max(0, weight)])
        if not 0 < sum(weight for _, weight in weights) < 2**31:
            raise Unknown(path, "needs weights with a sum from 1 to 2147483647")
        self._rule(asked, {"bucketing": bucketing | {"weights": weights}})
        # Without anything to hash everyone here gets the default.
        self._serve(asked, self.default)

    def _value(self, node: Any, path: str) -> tuple[list[Fields], bool]:
        """What is hashed: one attribute or text, or several joined."""
        if isinstance(node, str):
            return [{"text": node}], True
        op, given = operator_of(node, path)
        if op == "var":
            return [self._part(node, path)], False
        if op == "cat":
            parts = given if isinstance(given, list) else [given]
            return [self._part(one, f"{path}.cat[{n}]") for n, one in enumerate(parts)], True
        raise Unknown(f"{path}.{op}", f"the operator {op} cannot be translated here")

    def _part(self, node: Any, path: str) -> Fields:
        if isinstance(node, Mapping) and node.get("var") in ("$flagd.flagKey", ["$flagd.flagKey"]):
            return {"text": self.name}
        operand = self.logic.operand(node, path)
        if isinstance(operand, Attribute):
            return {"attr": str(operand)}
        if isinstance(operand, str | int) and type(operand) is not bool and operand != "":
            return {"text": str(operand)}
        raise Unknown(path, "must be an attribute or a text")

    # --- Rules ----------------------------------------------------------------------------------
    def _variant(self, node: Any, path: str) -> str:
        name = str(node).lower() if type(node) is bool else node
        if name is None:
            return self.default
        if not isinstance(name, str) or name not in self.flag["variants"]:
            raise Unknown(path, f"{name} is none of its variants")
        return self.variants(name)

    def _serve(self, asked: Expression, variant: str) -> None:
        if asked == ALWAYS and variant == self.default:
            return  # the fallthrough says so
        self._rule(asked, {"variant": variant})

    def _rule(self, asked: Expression, serve: Fields) -> None:
        for conditions in alternatives(asked):
            rule = {"id": f"rule-{len(self.rules) + 1}", "all": conditions, "serve": serve}
            self.rules.append(rule)

    def _unknown(self, path: str, words: str) -> None:
        if self.options.unknown == REFUSE:
            self.faults.add(path, words)
        else:
            self.rules = []
            self._warn(f"{path}: {words}: its targeting is left out")

    def _warn(self, words: str) -> None:
        if words not in self.wanted.warnings:
            self.wanted.warnings.append(words)


def _intent(rules: list[Fields]) -> str:
    if any(len(rule["serve"].get("bucketing", {}).get("weights", ())) > 1 for rule in rules):
        return "ab_test"
    return "user_group" if any(rule["all"] for rule in rules) else "boolean"
