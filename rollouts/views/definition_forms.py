"""What a flag is, as a form: its type first, then its variants with their values, and what people should know of it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from rollouts.engine import documents
from rollouts.models import Flag
from rollouts.views import typed
from rollouts.views.typed import Faults, Typed

# Each type of flag in one sentence, as one would ask for it.
TYPES = (
    (Flag.Type.BOOLEAN, "On or off, for everyone at once: a switch that is turned without a deployment."),
    (Flag.Type.PERCENTAGE, "For a share of the people, who stay the same while it grows."),
    (Flag.Type.USER_GROUP, "For named people and groups, such as a beta or one country, and nobody else."),
    (Flag.Type.AB_TEST, "Two or more variants side by side, dealt out by shares, to find out which does better."),
    (Flag.Type.TIME_BASED, "From one moment to another, such as a sale: nobody has to be awake for it."),
)
VALUE_TYPES = (
    (Flag.ValueType.BOOL, "true or false"),
    (Flag.ValueType.STRING, "a text"),
    (Flag.ValueType.INT, "a whole number"),
    (Flag.ValueType.FLOAT, "a number"),
    (Flag.ValueType.JSON, "a JSON object"),
)
SWITCH = [{"key": "on", "value": True}, {"key": "off", "value": False}]
ARMS = [{"key": "control", "value": "control"}, {"key": "treatment", "value": "treatment"}]
TRUTHS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


@dataclass(slots=True)
class VariantForm:
    """A variant, as typed."""

    token: str
    key: str = ""
    value: str = ""
    key_errors: list[str] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)


@dataclass(slots=True)
class DefinitionForm:
    """All of a definition."""

    type: str
    key: str = ""
    value_type: str = Flag.ValueType.BOOL
    variants: list[VariantForm] = field(default_factory=list)
    purpose: str = Flag.Purpose.RELEASE
    owner: str = ""
    service: str = ""
    risk: str = Flag.Risk.LOW
    tags: str = ""
    expires: str = ""
    permanent: bool = False
    description: str = ""
    because: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    count: int = 0

    @property
    def value_types(self) -> Any:
        return VALUE_TYPES

    @property
    def type_words(self) -> str:
        return str(Flag.Type(self.type).label)

    @property
    def sentence(self) -> str:
        return dict(TYPES)[Flag.Type(self.type)]

    # --- Where it comes from ----------------------------------------------------------------------
    @classmethod
    def new(cls, kind: str) -> Self:
        """What this type mostly is."""
        if kind == Flag.Type.AB_TEST:
            return cls(
                kind, value_type=Flag.ValueType.STRING, variants=_rows(ARMS, "string"), purpose=Flag.Purpose.EXPERIMENT
            )
        return cls(kind, variants=_rows(SWITCH, "bool"))

    @classmethod
    def held(cls, flag: Flag) -> Self:
        return cls(
            flag.type,
            flag.key,
            flag.value_type,
            _rows(flag.variants, flag.value_type),
            purpose=flag.purpose,
            owner=flag.owner,
            service=flag.service.key if flag.service else "",
            risk=flag.risk,
            tags=", ".join(flag.tags),
            expires=flag.expires_at.date().isoformat() if flag.expires_at else "",
            permanent=flag.permanent,
            description=flag.description,
        )

    @classmethod
    def typed(cls, given: Typed, *, kind: str, key: str, value_type: str) -> Self:
        return cls(
            kind,
            key,
            value_type,
            [
                VariantForm(token, given.text(f"variant-{token}-key"), given.raw(f"variant-{token}-value"))
                for token in given.tokens("variant", documents.MOST_VARIANTS + 1)
            ],
            purpose=given.text("purpose"),
            owner=given.text("owner"),
            service=given.text("service"),
            risk=given.text("risk"),
            tags=given.text("tags"),
            expires=given.text("expires"),
            permanent=given.ticked("permanent"),
            description=given.text("description"),
            because=given.because(),
        )

    # --- Where it goes ----------------------------------------------------------------------------
    def document(self, flag: Flag | None = None) -> dict[str, Any]:
        """As the action takes it, but for the service. What was not touched stays exactly as it is held."""
        known = {one["key"]: one["value"] for one in flag.variants} if flag else {}
        given: dict[str, Any] = {
            "type": self.type,
            "variants": [
                {"key": one.key, "value": _value(one.value, self.value_type, known.get(one.key))}
                for one in self.variants
            ],
            "purpose": self.purpose,
            "owner": self.owner,
            "risk": self.risk,
            "tags": [one.strip() for one in self.tags.split(",") if one.strip()],
            "permanent": self.permanent,
            "description": self.description,
        }
        held = flag.expires_at.date().isoformat() if flag and flag.expires_at else ""
        if self.expires != held:
            given["expires_at"] = self.expires or None
        return given

    def place(self, errors: Mapping[str, str]) -> None:
        """Say each fault beside its field."""
        faults = Faults(errors)
        self.count = faults.count
        for n, one in enumerate(self.variants):
            one.key_errors = faults.take(f"variants[{n}].key")
            one.errors = faults.take(f"variants[{n}]")
        self.errors = {
            name: faults.take(path)
            for name, path in (
                ("key", "key"), ("value_type", "value_type"), ("variants", "variants"), ("purpose", "purpose"),
                ("owner", "owner"), ("service", "service"), ("risk", "risk"), ("tags", "tags"),
                ("expires", "expires_at"), ("permanent", "permanent"), ("description", "description"),
            )
        }  # fmt: skip
        self.rest = faults.rest()

    def press(self, pressed: str) -> tuple[str, str]:
        """One of the form's own buttons: (what has happened, in words; where the focus goes)."""
        verb, _, token = pressed.partition(":")
        if verb == "add-variant":
            one = VariantForm(typed.fresh(row.token for row in self.variants))
            self.variants.append(one)
            return "Variant added", f"variant-{one.token}-key"
        if verb == "drop-variant":
            self.variants = [row for row in self.variants if row.token != token]
            return "Variant removed", "add-variant"
        return "", ""


def _rows(variants: list[dict[str, Any]], value_type: str) -> list[VariantForm]:
    return [VariantForm(str(n), one["key"], _shown(one["value"], value_type)) for n, one in enumerate(variants, 1)]


def _shown(value: Any, value_type: str) -> str:
    if value_type == Flag.ValueType.STRING and isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2 if isinstance(value, dict) and value else None)


def _value(text: str, value_type: str, known: Any) -> Any:
    """What was typed as a value of this type; what is none stays the text, for the action to say so."""
    if known is not None and _shown(known, value_type).replace("\r\n", "\n") == text:
        return known
    if value_type == Flag.ValueType.STRING:
        return text
    if value_type == Flag.ValueType.BOOL:
        return TRUTHS.get(text.strip().lower(), text)
    if value_type in (Flag.ValueType.INT, Flag.ValueType.FLOAT):
        return typed.number(text.strip())
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
