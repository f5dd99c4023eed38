"""The kinds of channels, and what a receiver may answer."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be sent. The dedupe key is the same at every attempt: receivers drop what they have seen."""

    kind: str
    dedupe_key: str
    payload: Mapping[str, Any]
    config: Mapping[str, Any]
    secret: str
    # What the kind remembered of this thread (an incident) when it last sent something of it.
    mark: Mapping[str, Any] = field(default_factory=dict)
    # Whether an earlier attempt may have arrived after all.
    again: bool = False
    channel: int = 0


@dataclass(frozen=True, slots=True)
class Sent:
    """The receiver has it. `mark`: what is to be remembered of the message's thread from now on."""

    mark: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """Not this time. `after`: the seconds that the receiver asks for; `away`: nobody answered at all."""

    reason: str
    after: float | None = None
    away: bool = False


@dataclass(frozen=True, slots=True)
class Permanent:
    """Never: the same message would be turned down again."""

    reason: str


Answer = Sent | Retry | Permanent


class Kind(Protocol):
    """One kind of channel. It touches no database: it is called from a thread, outside any transaction."""

    name: str
    pace: float  # seconds that lie between two messages of one channel at the least
    folds_after: int  # messages a minute of one channel; what goes beyond becomes one. 0: never

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration as it is kept; raises Invalid naming the field, relative to the configuration."""
        ...

    def send(self, message: Message) -> Answer: ...


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    if kind.name in _kinds:
        raise ValueError(f"two kinds of channels are named {kind.name}")
    _kinds[kind.name] = kind


def find(name: str) -> Kind | None:
    return _kinds.get(name)


def names() -> list[str]:
    return sorted(_kinds)
