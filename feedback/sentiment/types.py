"""An engine's answer."""

from dataclasses import dataclass
from enum import StrEnum


class Label(StrEnum):
    POSITIVE = "positive"
    NEUTRAL = "neutral"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class Sentiment:
    """`label` is None where the engine cannot tell (a language it does not know)."""

    label: Label | None
    score: float  # -1 (as bad as can be) to 1
    confidence: float  # 0 to 1: how often the engine is right when it is this sure
    engine: str  # name and version
    because: tuple[str, ...] = ()  # the words that decided, strongest first
