"""What the engine reads and what it answers: definitions in, compiled flags, results."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from rollouts.engine.operators import Condition

Context = Mapping[str, Any]
Trace = list[dict[str, Any]]

TARGETING_KEY = "targetingKey"
FULL = 100_000  # a percentage is kept as thousandths of a percent


class Reason(StrEnum):
    """Why, in the words of OFREP."""

    STATIC = "STATIC"
    TARGETING_MATCH = "TARGETING_MATCH"
    SPLIT = "SPLIT"
    DISABLED = "DISABLED"
    UNKNOWN = "UNKNOWN"


class ErrorCode(StrEnum):
    """What kept a flag from being evaluated, in the words of OFREP."""

    FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
    TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
    GENERAL = "GENERAL"


# --- Definitions, as the database keeps them ----------------------------------------------------
class LiveUnits(set[str]):
    """Units that come and go while a snapshot is held. Shared, not copied: each of thousands would cost a compile."""


@dataclass(frozen=True, slots=True)
class SegmentSource:
    key: str
    conditions: list[dict[str, Any]] = field(default_factory=list)
    included: list[str] | LiveUnits = field(default_factory=list)
    excluded: list[str] | LiveUnits = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class FlagSource:
    """A flag in one environment. Without config it is off."""

    key: str
    salt: str
    value_type: str
    variants: list[dict[str, Any]]
    off_variant: str
    enabled: bool = False
    rules: list[dict[str, Any]] = field(default_factory=list)
    fallthrough: dict[str, Any] = field(default_factory=dict)
    overrides: dict[str, list[str]] = field(default_factory=dict)
    prerequisites: list[dict[str, Any]] = field(default_factory=list)
    window: dict[str, str | None] | None = None
    reserved: list[dict[str, Any]] = field(default_factory=list)
    revision: int = 0
    environment: str = ""
    service: str | None = None


# --- Compiled -----------------------------------------------------------------------------------
class Result:
    """One outcome of one flag. Made once when the flag is compiled, and shared by every evaluation that ends there."""

    __slots__ = (
        "detail", "environment", "error", "flag", "message", "reason", "revision", "rule", "value", "variant", "wire",
    )  # fmt: skip

    def __init__(
        self,
        flag: str,
        *,
        variant: str | None = None,
        value: Any = None,
        reason: Reason = Reason.UNKNOWN,
        detail: str = "",
        rule: str | None = None,
        error: ErrorCode | None = None,
        message: str = "",
        environment: str = "",
        revision: int = 0,
    ) -> None:
        self.flag = flag
        self.variant = variant
        self.value = value
        self.reason = reason
        self.detail = detail
        self.rule = rule
        self.error = error
        self.message = message
        self.environment = environment
        self.revision = revision
        # The protocol's bytes for this outcome, kept by the door that made them.
        self.wire: bytes | None = None

    @property
    def metadata(self) -> dict[str, bool | int | float | str]:
        """What a client is told beside the value."""
        told: dict[str, bool | int | float | str] = {
            "reasonDetail": self.detail,
            "revision": self.revision,
            "environment": self.environment,
        }
        return told if self.rule is None else told | {"ruleId": self.rule}

    def outcome(self) -> tuple[Any, ...]:
        """What two equal evaluations have in common."""
        return (self.flag, self.variant, self.value, self.reason, self.detail, self.rule, self.error)

    def __repr__(self) -> str:
        return f"Result{self.outcome()}"


# Answers of a share that are no result: the hash put the unit outside; nothing could be hashed.
OUTSIDE: Final = Result("", message="outside of the share")
SKIPPED: Final = Result("", message="skipped")


class Legacy(Protocol):
    """How another system buckets, kept for what came from it."""

    def decide(self, serve: "Serve", context: Context, told: dict[str, Any] | None) -> Result: ...


@dataclass(frozen=True, slots=True)
class Choice:
    """A variant of a weighted split."""

    variant: str
    weight: int
    seed: bytes
    result: Result


@dataclass(frozen=True, slots=True)
class Serve:
    """What a rule or the fallthrough serves: one result or a split, to everyone or to a share."""

    by: str
    rollout: int
    bound: bytes | None  # of the rollout, as digests are compared with it; None where no hash decides about a share
    seed: bytes
    result: Result | None
    choices: tuple[Choice, ...]
    # The answer when the unit is missing and a hash would decide.
    unitless: Result
    # Attributes that are the unit when `by` is missing, the first that is present.
    otherwise_by: tuple[str, ...] = ()
    # With one, what is served at each moment is in it.
    schedule: "Schedule | None" = None
    # With one, it decides, and there is neither result nor choice.
    legacy: Legacy | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """What is served from when on."""

    linear: bool
    times: tuple[float, ...]
    serves: tuple[Serve, ...]  # at each of these times
    before: Serve
    between: Serve  # a share of any size


@dataclass(frozen=True, slots=True)
class Rule:
    id: str
    conditions: tuple[Condition, ...]
    segments: tuple["Segment", ...]
    serve: Serve
    deployment: int | str | None = None


@dataclass(frozen=True, slots=True)
class Segment:
    """A compiled segment. Broken ones (missing, or part of a cycle) hold nobody."""

    key: str
    included: frozenset[str] | LiveUnits = frozenset()
    excluded: frozenset[str] | LiveUnits = frozenset()
    conditions: tuple[Condition, ...] = ()
    depth: int = 1
    asks: int = 0  # conditions in all, those of the segments that it refers to too
    broken: str = ""


@dataclass(frozen=True, slots=True)
class Prerequisite:
    flag: str
    variants: frozenset[str]
    unmet: Result


@dataclass(frozen=True, slots=True)
class Flag:
    """A flag of one environment, compiled. Every result that it can have is made in advance."""

    key: str
    enabled: bool
    off: Result
    prerequisites: tuple[Prerequisite, ...]
    opens: float | None
    closes: float | None
    outside_window: Result
    overrides: Mapping[str, Result]
    rules: tuple[Rule, ...]
    fallthrough: Serve
    # What the fallthrough gives everybody, whenever; None when a hash or the clock has a say.
    otherwise: Result | None
    # The fallthrough's answers when a hash kept the unit out of an earlier rule, and out of the fallthrough itself;
    # and when it is for nobody.
    fallthrough_after_hash: Result | None
    fallthrough_outside: Result
    fallthrough_nobody: Result
    cyclic: Result | None  # where there are prerequisites
    segments: frozenset[str]
    service: str | None
    revision: int
    # Nothing comes before its rules: it is on, without window, prerequisites and overrides.
    plain: bool
    # The one result of a flag on which neither context nor clock has any influence.
    always: Result | None
    turns: tuple[float, ...] = ()  # the moments at which the clock changes it


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Every flag of one environment, immutable: a change makes another snapshot."""

    environment: str
    version: int
    flags: Mapping[str, Flag]  # in the order of their keys
    cycles: Mapping[str, str] = field(default_factory=dict)  # guilty flag: the cycle in words
    turns: tuple[float, ...] = ()  # the moments at which the clock changes a flag, in their order
