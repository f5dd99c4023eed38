"""The kinds of sources that the portal asks by itself, and what one of them brought."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from monitoring.sources.remote_write import Written

MOST_SAMPLES: Final = 20_000  # of one pull


@dataclass(frozen=True, slots=True)
class Asked:
    """One pull. `time` is when it began, in Unix seconds by the database's clock."""

    config: Mapping[str, Any]
    time: float
    timeout: float  # seconds, for all of it
    secret: str = field(default="", repr=False)


@dataclass(slots=True)
class Pulled:
    """What a pull brought. `error` says in words why it failed; what it brought before that is kept."""

    written: Written = field(default_factory=Written)
    error: str = ""
    skew: float | None = None  # seconds that the source's clock is ahead of ours
    # What is measured of the asking itself, by the names that Prometheus and its blackbox exporter gave it.
    measured: dict[str, float] = field(default_factory=dict)


class Kind(Protocol):
    """One kind of source. It touches no database: it is called from a thread, outside any transaction."""

    name: str
    # A probe's failing is what it measures: it is asked at its own pace all the same.
    probes: bool
    # Whose samples are the source's own; those of a query belong to whom they are about.
    own: bool

    def clean(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The configuration as it is kept; raises Invalid naming the field, relative to the configuration."""
        ...

    def instance(self, config: Mapping[str, Any]) -> str:
        """Who is asked, for the label of this name."""
        ...

    def pull(self, asked: Asked) -> Pulled: ...


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    if kind.name in _kinds:
        raise ValueError(f"two kinds of sources are named {kind.name}")
    _kinds[kind.name] = kind


def find(name: str) -> Kind | None:
    return _kinds.get(name)


def names() -> list[str]:
    return sorted(_kinds)
