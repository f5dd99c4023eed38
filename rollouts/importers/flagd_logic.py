"""flagd's targeting, which is JSONLogic, as conditions of rules. What they cannot express is refused by name."""

from collections.abc import Callable, Mapping
from typing import Any

from rollouts.engine import operators
from rollouts.importers.logic import ALWAYS, NEVER, Expression, Leaf, every, negated, some

ORDER = {"<": "lt", "<=": "lte", ">": "gt", ">=": "gte"}
TURNED = {"<": ">", "<=": ">=", ">": "<", ">=": "<="}
SEMVER = {"=": "semver_eq", "<": "semver_lt", "<=": "semver_lte", ">": "semver_gt", ">=": "semver_gte"}
LOGIC = frozenset({
    "and", "or", "!", "!!", "==", "===", "!=", "!==", "in", "starts_with", "ends_with", "sem_ver", "var", *ORDER,
})  # fmt: skip
LEAST_VERSION = "0.0.0-0"


class Unknown(ValueError):
    """What cannot be expressed: (path, words)."""

    def __init__(self, path: str, words: str) -> None:
        super().__init__(words)
        self.path, self.words = path, words


class Attribute(str):
    """The name of an attribute, as `{"var": …}` gives it."""


class Logic:
    """Conditions of one document, with the evaluators that it names."""

    def __init__(self, evaluators: Mapping[str, Any], attribute: Callable[[str], str]) -> None:
        self.evaluators, self.attribute = evaluators, attribute

    def opened(self, node: Any, path: str) -> Any:
        """What a reference refers to, whatever number of them."""
        for _ in range(20):
            if not (isinstance(node, Mapping) and node.keys() == {"$ref"}):
                return node
            name = node["$ref"]
            if not isinstance(name, str) or name not in self.evaluators:
                raise Unknown(f"{path}.$ref", f"there is no evaluator {name}")
            node = self.evaluators[name]
        raise Unknown(f"{path}.$ref", "leads back to itself")

    def expression(self, node: Any, path: str, depth: int = 0) -> Expression:
        """Raises Unknown, naming the field and the operator."""
        node = self.opened(node, path)
        if type(node) is bool:
            return ALWAYS if node else NEVER
        op, given = operator_of(node, path)
        args = given if isinstance(given, list) else [given]
        at = f"{path}.{op}"
        if depth > 50:
            raise Unknown(at, "is nested too deep")
        if op in ("and", "or"):
            parts = [self.expression(one, f"{at}[{n}]", depth + 1) for n, one in enumerate(args)]
            return every(parts) if op == "and" else some(parts)
        if op == "!":
            return negated(self.expression(args[0] if args else None, at, depth + 1))
        if op == "!!":
            return self.expression(args[0] if args else None, at, depth + 1)
        if op == "var":
            return self._truthy(self.operand(node, path))
        if op == "if":
            raise Unknown(at, "if within a condition cannot be translated")
        values = [self.operand(one, f"{at}[{n}]") for n, one in enumerate(args)]
        if op in ("==", "===", "!=", "!=="):
            found = self._equals(values, at, strict=len(op) == 3)
            return negated(found) if op.startswith("!") else found
        if op in ORDER:
            return self._ordered(op, values, at)
        if op == "in":
            return self._in(values, at)
        if op in ("starts_with", "ends_with"):
            attr, text = self._pair(values, at)
            if not isinstance(text, str) or not text:
                raise Unknown(at, f"{op} needs a text that is not empty")
            return _leaf(attr, op, [text])
        if op == "sem_ver":
            return self._version(values, at)
        raise Unknown(at, f"the operator {op} cannot be translated")

    # --- Operators ------------------------------------------------------------------------------
    def _equals(self, values: list[Any], path: str, *, strict: bool) -> Expression:
        attr, value = self._pair(values, path)
        if value is None:
            return negated(_exists(attr))
        if isinstance(value, list | Mapping):
            raise Unknown(path, "compares a list or an object, which cannot be translated")
        reading = operators.LOOSE if strict or type(value) is bool else operators.TEXTS
        found = _leaf(attr, "equals", [value], reading)
        # Compared with a number, nothing counts as 0 there.
        return _or_missing(found, attr) if not strict and operators.is_number(value) and value == 0 else found

    def _ordered(self, op: str, values: list[Any], path: str) -> Expression:
        if len(values) == 3 and op in ("<", "<="):
            return every((self._ordered(op, values[:2], path), self._ordered(op, values[1:], path)))
        attr, value = self._pair(values, path)
        if not isinstance(values[0], Attribute):
            op = TURNED[op]
        if not operators.is_number(value):
            raise Unknown(path, f"{op} compares what is no number, which cannot be translated")
        found = _leaf(attr, ORDER[op], [value], operators.TEXTS)
        nothing = {"<": value > 0, "<=": value >= 0, ">": value < 0, ">=": value <= 0}[op]
        return _or_missing(found, attr) if nothing else found

    def _in(self, values: list[Any], path: str) -> Expression:
        if len(values) != 2:
            raise Unknown(path, "needs two values")
        needle, hay = values
        if isinstance(needle, Attribute) and isinstance(hay, list):
            if not all(isinstance(one, str | bool) or operators.is_number(one) for one in hay):
                raise Unknown(path, "lists what is neither text, number, true nor false")
            return _leaf(needle, "in", hay) if hay else NEVER
        if isinstance(hay, Attribute) and isinstance(needle, str) and needle and not isinstance(needle, Attribute):
            return _leaf(hay, "contains", [needle])
        raise Unknown(path, "in needs an attribute and a list, or a text and an attribute")

    def _version(self, values: list[Any], path: str) -> Expression:
        if not (
            len(values) == 3 and isinstance(values[0], Attribute) and isinstance(values[1], str)
            and isinstance(values[2], str | int | float)
        ):  # fmt: skip
            raise Unknown(path, "sem_ver needs an attribute, an operator and a version")
        attr, op, version = values[0], values[1], str(values[2]).removeprefix("v").removeprefix("V")
        key = operators.semver(version)
        if key is None:
            raise Unknown(path, f"{version} is no version such as 2.1.0")
        major, minor = key[0], key[1]
        if op in SEMVER:
            return _leaf(attr, SEMVER[op], [version], operators.TEXTS)
        if op == "!=":
            known = _leaf(attr, "semver_gte", [LEAST_VERSION], operators.TEXTS)
            return every((known, negated(_leaf(attr, "semver_eq", [version], operators.TEXTS))))
        if op == "^":
            bounds = f"{major}.0.0-0", f"{major + 1}.0.0-0"
        elif op == "~":
            bounds = f"{major}.{minor}.0-0", f"{major}.{minor + 1}.0-0"
        else:
            raise Unknown(path, f"sem_ver knows no {op}")
        return every(
            (
                _leaf(attr, "semver_gte", [bounds[0]], operators.TEXTS),
                _leaf(attr, "semver_lt", [bounds[1]], operators.TEXTS),
            )
        )

    def _truthy(self, operand: Any) -> Expression:
        falsy = _leaf(operand, "in", ["", 0, False])
        return every((_exists(operand), negated(falsy)))

    # --- Operands -------------------------------------------------------------------------------
    def operand(self, node: Any, path: str) -> Any:
        """An Attribute, or a plain value."""
        node = self.opened(node, path)
        if not isinstance(node, Mapping):
            return node
        op, given = operator_of(node, path)
        if op != "var":
            raise Unknown(f"{path}.{op}", f"the operator {op} cannot be translated here")
        name = given[0] if isinstance(given, list) and len(given) == 1 else given
        if not isinstance(name, str) or not name:
            raise Unknown(f"{path}.var", "must be the name of an attribute, without a default")
        if name.startswith("$flagd"):
            raise Unknown(f"{path}.var", f"{name} cannot be translated: use a time window or a schedule for times")
        return Attribute(self.attribute(name))

    def _pair(self, values: list[Any], path: str) -> tuple[str, Any]:
        """The attribute and the value that it is compared with."""
        if len(values) == 2 and isinstance(values[0], Attribute) != isinstance(values[1], Attribute):
            first, second = values
            return (first, second) if isinstance(first, Attribute) else (second, first)
        raise Unknown(path, "needs one attribute and one value")


def operator_of(node: Any, path: str) -> tuple[str, Any]:
    if not isinstance(node, Mapping) or len(node) != 1:
        raise Unknown(path, "must be an object with one operator")
    return next(iter(node.items()))


def _exists(attr: str) -> Expression:
    return Leaf({"attr": str(attr), "op": "exists", "values": []})


def _or_missing(one: Expression, attr: str) -> Expression:
    return some((one, negated(_exists(attr))))


def _leaf(attr: str, op: str, values: list[Any], reading: str = operators.LOOSE) -> Expression:
    return Leaf({"attr": str(attr), "op": op, "values": values, "reading": reading})
