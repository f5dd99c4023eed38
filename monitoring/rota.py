"""Who is on call: people that take turns by the wall clock of a zone, in layers, with overrides."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

from monitoring.suppressing import Recurrence


@dataclass(frozen=True, slots=True)
class Layer:
    """People who take turns; the first begins on `starts_on`. Outside its `hours` nobody of it is on call.

    A hand-over lies at `handover` by the wall clock, every so many `days`. On the night when clocks go forward a
    time that is left out counts as the same stretch later, and when they go back the first of two counts: a turn that
    spans such a night is an hour shorter or longer, and the clock on the wall says the same at every hand-over.
    """

    people: Sequence[str]
    starts_on: date
    handover: time
    zone: tzinfo
    days: int = 7
    hours: Sequence[Recurrence] = ()

    def begins(self, turn: int) -> datetime:
        """When a turn begins, in UTC; the first is 0."""
        on = self.starts_on + timedelta(days=turn * self.days)
        return datetime.combine(on, self.handover, self.zone).astimezone(UTC)

    def turn(self, at: datetime) -> int:
        """The turn that `at` lies in; below 0 before the first."""
        turn = (at.astimezone(self.zone).date() - self.starts_on).days // self.days
        # The date may have changed before or after the hand-over.
        while self.begins(turn) > at:
            turn -= 1
        while self.begins(turn + 1) <= at:
            turn += 1
        return turn

    def on_call(self, at: datetime) -> str | None:
        if not self.people or (self.hours and not any(span.at(at) for span in self.hours)):
            return None
        turn = self.turn(at)
        return None if turn < 0 else self.people[turn % len(self.people)]

    def edges(self, since: datetime, until: datetime) -> Iterator[datetime]:
        """Every moment between the two at which somebody else of it may be on call."""
        turn = max(self.turn(since), -1) + 1
        while (at := self.begins(turn)) < until:
            yield at
            turn += 1
        for span in self.hours:
            # One that is under way ends, too; then those that follow.
            found = span.at(since) or span.following(since)
            while found is not None and found[0] < until:
                yield from found
                found = span.following(found[0])


@dataclass(frozen=True, slots=True)
class Override:
    """Somebody stands in for whoever would be on call, from `starts_at` up to before `ends_at`."""

    person: str
    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Shift:
    """A stretch in which the same person is on call, or nobody (None)."""

    person: str | None
    starts_at: datetime
    ends_at: datetime
    is_override: bool = False


@dataclass(frozen=True, slots=True)
class Rota:
    """The first layer that has somebody at a moment decides; an override, the last made of several, goes before all."""

    layers: Sequence[Layer]
    overrides: Sequence[Override] = ()

    def on_call(self, at: datetime) -> str | None:
        return self._at(at)[0]

    def shifts(self, since: datetime, until: datetime) -> list[Shift]:
        """Who is on call between the two, without gap or overlap; neighbours differ."""
        edges = {since.astimezone(UTC)}
        for layer in self.layers:
            edges.update(layer.edges(since, until))
        for one in self.overrides:
            edges.update((one.starts_at.astimezone(UTC), one.ends_at.astimezone(UTC)))
        inside = sorted(edge for edge in edges if since <= edge < until)
        found: list[Shift] = []
        for start, end in zip(inside, [*inside[1:], until.astimezone(UTC)], strict=True):
            person, is_override = self._at(start)
            if found and (found[-1].person, found[-1].is_override) == (person, is_override):
                start = found.pop().starts_at
            found.append(Shift(person, start, end, is_override))
        return found

    def _at(self, at: datetime) -> tuple[str | None, bool]:
        for one in reversed(self.overrides):
            if one.starts_at <= at < one.ends_at:
                return one.person, True
        return next((person for layer in self.layers if (person := layer.on_call(at)) is not None), None), False
