"""What a document wants there to be: flags, what they do where, and segments; with what is wrong in it."""

from dataclasses import dataclass, field
from typing import Any

from rollouts.engine.reading import Faults

Fields = dict[str, Any]


@dataclass(slots=True)
class WantedSegment:
    """A segment as the API takes it: `fields` may hold name, description, conditions, included, excluded."""

    key: str
    fields: Fields = field(default_factory=dict)


@dataclass(slots=True)
class WantedFlag:
    """A flag as the API takes it. A field of the definition, or of a config, that is left out keeps its value."""

    key: str
    definition: Fields = field(default_factory=dict)
    configs: dict[str, Fields] = field(default_factory=dict)  # by the key of the environment
    warnings: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Wanted:
    """Everything that a document wants. With faults nothing of it is written."""

    segments: list[WantedSegment] = field(default_factory=list)
    flags: list[WantedFlag] = field(default_factory=list)
    faults: Faults = field(default_factory=Faults)  # {path in the document: what is wrong}
    warnings: list[str] = field(default_factory=list)  # about the document as a whole
