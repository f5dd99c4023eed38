"""A segment as a form, and what an edit of it changes, in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

from rollouts.models import Segment
from rollouts.views import condition_forms, flag_words, typed
from rollouts.views.condition_forms import Line
from rollouts.views.config_changes import Change, some
from rollouts.views.typed import Faults, Typed


@dataclass(slots=True)
class SegmentForm:
    """What is typed of a segment."""

    key: str = ""
    name: str = ""
    description: str = ""
    lines: list[Line] = field(default_factory=list)
    included: str = ""
    excluded: str = ""
    errors: dict[str, list[str]] = field(default_factory=dict)
    rest: list[str] = field(default_factory=list)
    count: int = 0

    @classmethod
    def held(cls, segment: Segment) -> Self:
        return cls(
            segment.key,
            segment.name,
            segment.description,
            condition_forms.held_lines("cond", segment.conditions),
            "\n".join(segment.included),
            "\n".join(segment.excluded),
        )

    @classmethod
    def typed(cls, given: Typed, key: str) -> Self:
        return cls(
            key,
            given.text("name"),
            given.text("description"),
            condition_forms.typed_lines("cond", given),
            given.text("included"),
            given.text("excluded"),
        )

    def document(self, held: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """As the action takes it."""
        return {
            "name": self.name,
            "description": self.description,
            "conditions": condition_forms.documents(self.lines, "conditions", held),
            "included": typed.lines(self.included),
            "excluded": typed.lines(self.excluded),
        }

    def place(self, errors: Mapping[str, str]) -> None:
        faults = Faults(errors)
        self.count = faults.count
        for line in self.lines:
            line.place(faults)
        names = ("key", "name", "description", "conditions", "included", "excluded")
        self.errors = {name: faults.take(name) for name in names}
        self.rest = faults.rest()

    def press(self, pressed: str) -> tuple[str, str]:
        """One of the form's own buttons: (what has happened, in words; where the focus goes)."""
        verb, _, token = pressed.partition(":")
        if verb == "add-cond":
            line = condition_forms.one_more("cond", self.lines)
            self.lines.append(line)
            return "Condition added", f"{line.name}-attr"
        if verb == "drop-cond":
            self.lines = [line for line in self.lines if line.token != token]
            return "Condition removed", "add-cond"
        return "", ""


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """From one document of a segment to another."""
    found = [
        Change("Name", before["name"], after["name"]),
        Change("What it is for", before["description"], after["description"]),
        Change("Who belongs", words(before["conditions"]), words(after["conditions"])),
    ]
    for field_name, what in (("included", "Belong in any case"), ("excluded", "Never belong")):
        had, has = set(before[field_name]), set(after[field_name])
        gone = [one for one in before[field_name] if one not in has]
        found.append(Change(what, some(gone), some([one for one in after[field_name] if one not in had])))
    return [change for change in found if change.before != change.after]


def words(conditions: Sequence[Mapping[str, Any]]) -> str:
    """Whom the conditions are about."""
    return flag_words.who({"all": conditions}) if conditions else "only who is named"
