"""How a document is to be translated: for which environment, with which attributes, and what of what is unknown."""

from collections.abc import Mapping
from dataclasses import dataclass, field

REFUSE, LEAVE_OUT = "refuse", "leave_out"
UNKNOWN = (REFUSE, LEAVE_OUT)


@dataclass(frozen=True, slots=True)
class Options:
    """`environment` takes what a document says of one environment; `environments` maps its own names to ours.

    `attributes` renames attributes of the context: {"userId": "targetingKey"}. What cannot be translated is refused,
    or left out with a warning: the condition, strategy or rule then holds for nobody.
    """

    environment: str = ""
    environments: Mapping[str, str] = field(default_factory=dict)
    attributes: Mapping[str, str] = field(default_factory=dict)
    unknown: str = REFUSE
    flagd_encoding: str = "cbor"

    def attribute(self, name: str, default: Mapping[str, str]) -> str:
        return self.attributes.get(name) or default.get(name) or name
