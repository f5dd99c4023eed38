"""A condition as a line of a form: attribute, operator in words, values one a line."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rollouts.engine import operators
from rollouts.engine.reading import MOST_CONDITIONS
from rollouts.views import flag_words, typed
from rollouts.views.typed import Faults, Typed

NOT = "not:"
# The operators in the order in which one looks for them.
GROUPS = (
    ("Any value", ("in", "equals", "exists")),
    ("Texts", ("contains", "starts_with", "ends_with", "regex")),
    ("Numbers", ("gt", "gte", "lt", "lte", "modulo")),
    ("Dates", ("before", "after")),
    ("Versions", ("semver_eq", "semver_gt", "semver_gte", "semver_lt", "semver_lte")),
    ("Networks", ("cidr",)),
    ("Segments", ("segment",)),
)
OF_NUMBERS = frozenset({"gt", "gte", "lt", "lte", "modulo"})
OF_ANYTHING = frozenset({"equals", "in"})
TEXT, NUMBER, TRUTH, JSON = "text", "number", "truth", "json"
KINDS = ((TEXT, "as texts"), (NUMBER, "as numbers"), (TRUTH, "as true or false"), (JSON, "as JSON, one a line"))
HINTS = {
    "modulo": "the divisor, then the remainder",
    "before": "such as 2026-03-01T09:00:00Z",
    "after": "such as 2026-03-01T09:00:00Z",
    "cidr": "such as 10.0.0.0/8",
    "segment": "the segments' keys, one a line",
}


def _choices() -> tuple[tuple[str, tuple[tuple[str, str], ...]], ...]:
    found = []
    for group, names in GROUPS:
        pairs: list[tuple[str, str]] = []
        for name in names:
            positive, negative = flag_words.OPERATORS.get(name, ("modulo … is", "modulo … is not"))
            pairs += [(name, positive), (NOT + name, negative)]
        found.append((group, tuple(pairs)))
    return tuple(found)


CHOICES = _choices()


@dataclass(slots=True)
class Line:
    """One condition. `name` begins the names of its fields; `path` is where a fault of it is said to be."""

    name: str
    token: str
    attr: str = ""
    op: str = "in"
    values: str = ""
    kind: str = TEXT
    ignore_case: bool = False
    missing: bool = False
    path: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def choices(self) -> Any:
        return CHOICES

    @property
    def kinds(self) -> Any:
        return KINDS

    @property
    def hint(self) -> str:
        return HINTS.get(self.op.removeprefix(NOT), "one a line")

    @classmethod
    def typed(cls, name: str, token: str, given: Typed) -> Self:
        return cls(
            name,
            token,
            attr=given.text(f"{name}-attr"),
            op=given.text(f"{name}-op") or "in",
            values=given.text(f"{name}-values"),
            kind=given.text(f"{name}-kind") or TEXT,
            ignore_case=given.ticked(f"{name}-case"),
            missing=given.ticked(f"{name}-missing"),
        )

    @classmethod
    def held(cls, name: str, token: str, one: Mapping[str, Any]) -> Self:
        values = list(one.get("values", ()))
        kind = _kind(values)
        if kind == TEXT:
            lines = [str(value) for value in values]
        elif kind == NUMBER:
            lines = [typed.shown(value) for value in values]
        else:
            lines = [json.dumps(value, ensure_ascii=False) for value in values]
        return cls(
            name,
            token,
            attr=str(one.get("attr", "")),
            op=(NOT if one.get("negate") else "") + one["op"],
            values="\n".join(lines),
            kind=kind,
            ignore_case=bool(one.get("ignore_case")),
            missing=bool(one.get("missing")),
        )

    def document(self, path: str, held: Mapping[str, Any]) -> dict[str, Any]:
        """As the API takes it. `held` is what stood here: what it said needlessly is said again."""
        self.path = path
        op = self.op.removeprefix(NOT)
        one: dict[str, Any] = {"op": op, "values": self._values(op)}
        if op != operators.SEGMENT:
            one["attr"] = self.attr
        elif "attr" in held:
            one["attr"] = held["attr"]
        for name, said in (
            ("negate", self.op.startswith(NOT)),
            ("ignore_case", self.ignore_case),
            # These two have their own answer to it.
            ("missing", self.missing and op not in (operators.EXISTS, operators.SEGMENT)),
        ):
            if said or held.get(name) is False:
                one[name] = said
        if "reading" in held and held.get("attr") == self.attr and op not in (operators.EXISTS, operators.SEGMENT):
            one["reading"] = held["reading"]
        return one

    def place(self, faults: Faults) -> None:
        self.errors = {
            "attr": faults.take(f"{self.path}.attr"),
            "op": faults.take(f"{self.path}.op"),
            # The operator stands beside it already.
            "values": [
                message.removeprefix(f"{self.op.removeprefix(NOT)} ") for message in faults.take(f"{self.path}.values")
            ],
            "line": faults.take(self.path),
        }

    def _values(self, op: str) -> list[Any]:
        lines = typed.lines(self.values)
        if op == operators.EXISTS:
            return []
        kind = NUMBER if op in OF_NUMBERS else self.kind if op in OF_ANYTHING else TEXT
        if op in ("before", "after") and self.kind == NUMBER:
            kind = NUMBER
        if kind == NUMBER:
            return [typed.number(line) for line in lines]
        if kind == TRUTH:
            return [{"true": True, "yes": True, "false": False, "no": False}.get(line.lower(), line) for line in lines]
        if kind == JSON:
            return [_json(line) for line in lines]
        return list(lines)


def typed_lines(prefix: str, given: Typed) -> list[Line]:
    """The conditions of a form whose rows are named in the field `prefix`."""
    return [Line.typed(f"{prefix}-{token}", token, given) for token in given.tokens(prefix, MOST_CONDITIONS)]


def held_lines(prefix: str, conditions: Sequence[Mapping[str, Any]]) -> list[Line]:
    return [Line.held(f"{prefix}-{n}", str(n), one) for n, one in enumerate(conditions, 1)]


def one_more(prefix: str, lines: Sequence[Line]) -> Line:
    token = typed.fresh(line.token for line in lines)
    return Line(f"{prefix}-{token}", token)


def documents(lines: Sequence[Line], path: str, held: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [line.document(f"{path}[{n}]", held[n] if n < len(held) else {}) for n, line in enumerate(lines)]


def _kind(values: Sequence[Any]) -> str:
    """How these values are typed, so that reading them gives the same again."""
    if all(isinstance(value, str) and value and value == value.strip() and "\n" not in value for value in values):
        return TEXT
    if all(operators.is_number(value) for value in values):
        return NUMBER
    return TRUTH if all(type(value) is bool for value in values) else JSON


def _json(line: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError):
        return line
