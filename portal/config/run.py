"""One pass over a document: what it changes and what is wrong with it, everything told at once."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction

from portal.audit import Actor
from portal.errors import Invalid, Refused

CREATE, CHANGE, KEEP = "create", "change", "keep"
MOST_FAULTS = 200


@dataclass(frozen=True, slots=True)
class Change:
    """One thing, by its path in the document: `fields` says {field: [before, after]}."""

    path: str
    does: str
    fields: dict[str, list[Any]] = field(default_factory=dict)


@dataclass(slots=True)
class Run:
    by: Actor
    because: str = ""
    changes: list[Change] = field(default_factory=list)
    warnings: list[tuple[str, str]] = field(default_factory=list)  # (path, words)
    faults: dict[str, str] = field(default_factory=dict)
    refusals: list[str] = field(default_factory=list)
    # What has to come when everything else is in its place.
    last: list[tuple[str, Callable[[], None]]] = field(default_factory=list)

    def attempt(self, path: str, act: Callable[[], None]) -> bool:
        """Do it; a fault or refusal is taken down, and nothing of it stays."""
        if len(self.faults) + len(self.refusals) >= MOST_FAULTS:
            return False
        try:
            with transaction.atomic():
                act()
        except Invalid as invalid:
            for at, words in invalid.errors.items():
                self.faults.setdefault(f"{path}.{at}" if path and at else path or at, words)
            return False
        except Refused as refused:
            self.refusals.append(str(refused))
            return False
        return True

    def told(self, path: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        fields = {name: [before.get(name), value] for name, value in after.items() if before.get(name) != value}
        self.changes.append(Change(path, KEEP if not fields else CHANGE if before else CREATE, fields))

    def counts(self) -> dict[str, int]:
        counted = Counter(one.does for one in self.changes)
        return {does: counted[does] for does in (CREATE, CHANGE, KEEP)}
