"""The kinds of gates: each checks its parameters when a plan is written, and its condition while a stage is served."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from portal.verdicts import Verdict
from rollouts.models import Deployment, Stage


@dataclass(frozen=True, slots=True)
class Answer:
    """What a gate says, and how many units of evidence it counted; None for a gate that counts nothing."""

    verdict: Verdict
    count: int | None = None


class Kind(Protocol):
    """One kind of gate. Register an instance with `register`, in a module that `rollouts.gates` imports."""

    name: str
    # Only people can open it: when nothing else is missing the deployment pauses for them.
    waits_for_people: bool
    # It counts evidence, so a stage's minimum sample can be judged by it.
    measures: bool

    def clean(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as they are kept; raises Invalid naming the field, relative to the gate."""
        ...

    def check(self, deployment: Deployment, stage: Stage, params: Mapping[str, Any], *, now: datetime) -> Answer:
        """Is the condition met now? Missing data is never passed."""
        ...


_kinds: dict[str, Kind] = {}


def register(kind: Kind) -> None:
    if kind.name in _kinds:
        raise ValueError(f"two kinds of gates are named {kind.name}")
    _kinds[kind.name] = kind


def find(name: str) -> Kind | None:
    return _kinds.get(name)


def names() -> list[str]:
    return sorted(_kinds)
