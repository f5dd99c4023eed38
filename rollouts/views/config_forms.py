"""What a flag does in an environment, as a form: from what is stored to what is typed, and back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rollouts.engine import documents, reading
from rollouts.models import Flag, FlagConfig
from rollouts.views import condition_forms, typed
from rollouts.views.condition_forms import Line
from rollouts.views.serve_forms import UTC_NAME, ServeForm, instant, local
from rollouts.views.typed import Faults, Typed

RULE_FIELDS = frozenset({"id", "all", "segments", "serve"})


@dataclass(slots=True)
class RuleForm:
    """One rule. `number` is its place, from 1."""

    name: str
    token: str
    id: str
    lines: list[Line]
    segments: list[str]
    serve: ServeForm
    number: int = 0
    path: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)

    @property
    def cond(self) -> str:
        """What the field is called that names its conditions' rows."""
        return f"{self.name}-cond"

    def document(self, n: int, held: Mapping[str, Any]) -> dict[str, Any]:
        self.path, self.number = f"rules[{n}]", n + 1
        rule = {name: value for name, value in held.items() if name not in RULE_FIELDS}
        if self.id:
            rule["id"] = self.id
        rule["all"] = condition_forms.documents(self.lines, f"{self.path}.all", held.get("all", ()))
        if self.segments:
            rule["segments"] = self.segments
        rule["serve"] = self.serve.document(f"{self.path}.serve", held.get("serve", {}))
        return rule

    def place(self, faults: Faults) -> None:
        for line in self.lines:
            line.place(faults)
        self.serve.place(faults)
        self.errors = {"segments": faults.take(f"{self.path}.segments"), "rule": faults.take(self.path)}


@dataclass(slots=True)
class NeedForm:
    """A prerequisite: another flag, and the variants of it that will do."""

    name: str
    token: str
    flag: str = ""
    variants: str = ""
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class UnitsForm:
    """The units that get this variant whatever the rules say, one a line."""

    variant: str
    text: str
    errors: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        return len(self.units)

    @property
    def units(self) -> list[str]:
        return typed.lines(self.text)


@dataclass(slots=True)
class ConfigForm:
    """The whole of it."""

    flag: Flag
    enabled: bool
    off_variant: str
    rules: list[RuleForm]
    fallthrough: ServeForm
    units: list[UnitsForm]
    needs: list[NeedForm]
    opens: str
    closes: str
    errors: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def variants(self) -> list[str]:
        return self.flag.variant_keys()

    @property
    def named(self) -> int:
        return sum(one.count for one in self.units)

    @property
    def ramps(self) -> bool:
        """Whether a share is reached over time somewhere."""
        return any(serve.ramp for serve in (self.fallthrough, *(rule.serve for rule in self.rules)))

    def used(self) -> set[str]:
        """The parts of the form where something stands, or something is wrong."""
        held = {
            "window": bool(self.opens or self.closes),
            "needs": bool(self.needs),
            "units": bool(self.named),
            "rules": bool(self.rules),
        }
        return {name for name, is_used in held.items() if is_used or self.errors.get(name)}

    # --- Where it comes from ----------------------------------------------------------------------
    @classmethod
    def held(cls, config: FlagConfig) -> Self:
        flag, variants = config.flag, config.flag.variant_keys()
        shown = documents.show_config(config.document())
        window = config.window or {}
        fallthrough = first_serve(config) if config.is_new else shown["fallthrough"]
        made = cls(
            flag,
            config.enabled,
            config.off_variant,
            [_held_rule(n, rule, variants) for n, rule in enumerate(shown["rules"], 1)],
            ServeForm.held("else", fallthrough, variants),
            [UnitsForm(key, "\n".join(config.overrides.get(key, ()))) for key in variants],
            [
                NeedForm(f"need-{n}", str(n), one["flag"], ", ".join(one["variants"]))
                for n, one in enumerate(config.prerequisites, 1)
            ],
            local(window.get("from") or "", UTC_NAME),
            local(window.get("until") or "", UTC_NAME),
        )
        if flag.type == Flag.Type.USER_GROUP and config.is_new:
            made.add_rule()
        return made

    @classmethod
    def typed(cls, flag: Flag, given: Typed) -> Self:
        variants = flag.variant_keys()
        return cls(
            flag,
            given.ticked("enabled"),
            given.text("off_variant"),
            [_typed_rule(token, given, variants) for token in given.tokens("rule", documents.MOST_RULES)],
            ServeForm.typed("else", given, variants),
            [UnitsForm(key, given.text(f"units-{key}")) for key in variants],
            [
                NeedForm(f"need-{token}", token, given.text(f"need-{token}-flag"), given.text(f"need-{token}-variants"))
                for token in given.tokens("need", documents.MOST_PREREQUISITES)
            ],
            given.text("from"),
            given.text("until"),
        )

    # --- Where it goes ----------------------------------------------------------------------------
    def document(self, config: FlagConfig) -> dict[str, Any]:
        """As the API takes it. What was not touched stays exactly as it is held."""
        shown = documents.show_config(config.document())
        by_id = {rule["id"]: rule for rule in shown["rules"]}
        window = config.window or {}
        known = [one for one in window.values() if one]
        moments = {
            "from": instant(self.opens, UTC_NAME, known) if self.opens else None,
            "until": instant(self.closes, UTC_NAME, known) if self.closes else None,
        }
        return {
            "enabled": self.enabled,
            "off_variant": self.off_variant,
            "rules": [rule.document(n, by_id.get(rule.id, {})) for n, rule in enumerate(self.rules)],
            "fallthrough": self.fallthrough.document("fallthrough", shown["fallthrough"]),
            "overrides": {one.variant: one.units for one in self.units if one.units},
            "prerequisites": [
                {"flag": one.flag, "variants": [key.strip() for key in one.variants.split(",") if key.strip()]}
                for one in self.needs
            ],
            "window": moments if any(moments.values()) else None,
        }

    def own_faults(self) -> dict[str, str]:
        """What the engine would take, and nobody means."""
        return {
            f"rules[{n}].segments": "name a segment or add a condition: as it is, the rule is for everyone"
            for n, rule in enumerate(self.rules)
            if self.flag.type == Flag.Type.USER_GROUP and not rule.segments and not rule.lines
        }

    def place(self, errors: Mapping[str, str]) -> None:
        """Say each fault beside its field."""
        faults = Faults(errors)
        self.count = faults.count
        for rule in self.rules:
            rule.place(faults)
        self.fallthrough.place(faults)
        for units in self.units:
            units.errors = faults.take(f"overrides.{units.variant}")
        for n, need in enumerate(self.needs):
            need.errors = faults.take(f"prerequisites[{n}]")
        self.errors = {
            "enabled": faults.take("enabled"),
            "off_variant": faults.take("off_variant"),
            "from": faults.take("window.from"),
            "until": faults.take("window.until"),
            "window": faults.take("window"),
            "rules": faults.take("rules"),
            "needs": faults.take("prerequisites"),
            "units": faults.take("overrides"),
        }
        self.rest = faults.rest()

    # --- Rows that come and go ----------------------------------------------------------------------
    def press(self, pressed: str) -> tuple[str, str]:
        """One of the form's own buttons: (what has happened, in words; where the focus goes)."""
        verb, _, rest = pressed.partition(":")
        token, _, inner = rest.partition(":")
        if verb == "add-rule":
            rule = self.add_rule()
            return f"Rule {len(self.rules)} added", f"{rule.name}-segment"
        if verb == "add-need":
            need = NeedForm(*_named("need", [one.token for one in self.needs]))
            self.needs.append(need)
            return "Prerequisite added", f"{need.name}-flag"
        if verb == "drop-need":
            self.needs = [one for one in self.needs if one.token != token]
            return "Prerequisite removed", "add-need"
        if verb in ("add-point", "drop-point"):
            return self._press_point(verb, token, inner)
        at = next((n for n, rule in enumerate(self.rules) if rule.token == token), None)
        if at is None:
            return "", ""
        return self._press_rule(verb, at, inner)

    def _press_rule(self, verb: str, at: int, inner: str) -> tuple[str, str]:
        rule = self.rules[at]
        if verb == "drop-rule":
            del self.rules[at]
            return f"Rule {at + 1} removed", "add-rule"
        if verb in ("up", "down"):
            to = min(max(at + (-1 if verb == "up" else 1), 0), len(self.rules) - 1)
            self.rules.insert(to, self.rules.pop(at))
            return f"Rule {at + 1} is now rule {to + 1}", f"{rule.name}-{verb}"
        if verb == "add-cond":
            line = condition_forms.one_more(rule.cond, rule.lines)
            rule.lines.append(line)
            return "Condition added", f"{line.name}-attr"
        if verb == "drop-cond":
            rule.lines = [line for line in rule.lines if line.token != inner]
            return "Condition removed", f"{rule.name}-add-cond"
        if verb == "drop-segment":
            rule.segments = [key for key in rule.segments if key != inner]
            return f"Segment {inner} removed", f"{rule.name}-segment"
        return ("", f"{rule.name}-segment") if verb == "add-segment" else ("", "")

    def _press_point(self, verb: str, name: str, inner: str) -> tuple[str, str]:
        serve = next((one for one in (self.fallthrough, *(r.serve for r in self.rules)) if one.name == name), None)
        if serve is None:
            return "", ""
        if verb == "add-point":
            point = serve.add_point()
            return "Time added", f"{serve.name}-at-{point.token}"
        serve.points = [one for one in serve.points if one.token != inner]
        return "Time removed", f"{serve.name}-add-point"

    def add_rule(self) -> RuleForm:
        name, token = _named("rule", [rule.token for rule in self.rules])
        on = next((key for key in self.variants if key != self.off_variant), self.off_variant)
        serve = ServeForm.held(f"{name}-serve", {"variant": on}, self.variants)
        rule = RuleForm(name, token, "", [], [], serve, number=len(self.rules) + 1)
        self.rules.append(rule)
        return rule

    def number_rules(self) -> None:
        for n, rule in enumerate(self.rules, 1):
            rule.number = n


def first_serve(config: FlagConfig) -> dict[str, Any]:
    """What a form proposes for everyone once the flag is on, where nobody has said anything yet."""
    variants = config.flag.variant_keys()
    on = next((key for key in variants if key != config.off_variant), config.off_variant)
    if config.flag.type == Flag.Type.AB_TEST and len(variants) > 1:
        return {"split": {key: reading.percentage(100_000 // len(variants)) for key in variants}}
    if config.flag.type == Flag.Type.USER_GROUP:
        return {"variant": config.off_variant}
    if config.flag.type == Flag.Type.PERCENTAGE:
        return {"variant": on, "rollout": 0}
    return {"variant": on}


def _held_rule(n: int, rule: Mapping[str, Any], variants: Sequence[str]) -> RuleForm:
    name = f"rule-{n}"
    return RuleForm(
        name,
        str(n),
        rule["id"],
        condition_forms.held_lines(f"{name}-cond", rule.get("all", ())),
        list(rule.get("segments", ())),
        ServeForm.held(f"{name}-serve", rule["serve"], variants),
        number=n,
    )


def _typed_rule(token: str, given: Typed, variants: Sequence[str]) -> RuleForm:
    name = f"rule-{token}"
    segments = [*given.all(f"{name}-in"), *given.all(f"{name}-segment")]
    return RuleForm(
        name,
        token,
        given.text(f"{name}-id"),
        condition_forms.typed_lines(f"{name}-cond", given),
        list(dict.fromkeys(segments)),
        ServeForm.typed(f"{name}-serve", given, variants),
    )


def _named(prefix: str, taken: Sequence[str]) -> tuple[str, str]:
    token = typed.fresh(taken)
    return f"{prefix}-{token}", token
