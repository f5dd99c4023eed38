"""What a judgement answers: an outcome, always with its reason in words."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    PENDING = "pending"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One judgement. Missing data is never `passed`."""

    outcome: Outcome
    reason: str
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.reason:
            raise ValueError("a verdict needs its reason in words")

    @property
    def passed(self) -> bool:
        return self.outcome is Outcome.PASSED
