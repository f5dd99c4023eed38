"""The sections that a document may have. A later kind of thing registers here and is applied and exported with them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from portal.audit import Actor
from portal.config.run import Run

Things = dict[str, Any]  # by key


@dataclass(frozen=True, slots=True)
class Scope:
    """What of the portal is exported: what `by` may see, of one environment or all, by section only these keys."""

    by: Actor
    environment: str | None = None
    only: Mapping[str, set[str]] | None = None

    def wants(self, section: str, key: str) -> bool:
        return self.only is None or key in self.only.get(section, ())


@dataclass(frozen=True, slots=True)
class Kind:
    """Sections that are applied together. `export` may say, in words, what it leaves out."""

    sections: tuple[str, ...]
    apply: Callable[[Run, dict[str, Things]], None]
    export: Callable[[Scope], tuple[dict[str, Things], list[str]]]
    templates: Mapping[str, str]


_kinds: list[Kind] = []


def register(kind: Kind) -> Kind:
    """Applied after those that are registered already."""
    taken = set(sections()) & set(kind.sections)
    if taken:
        raise ValueError(f"registered twice: {', '.join(taken)}")
    _kinds.append(kind)
    return kind


def registered() -> Iterable[Kind]:
    return tuple(_kinds)


def sections() -> list[str]:
    return [section for kind in _kinds for section in kind.sections]


def template(section: str) -> str:
    return next(kind.templates[section] for kind in _kinds if section in kind.sections)
