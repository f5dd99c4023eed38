"""Who has joined and left audiences, as the sets of units that compiled segments hold."""

from collections.abc import Iterable, Mapping
from dataclasses import replace

from rollouts.engine.types import LiveUnits, SegmentSource
from rollouts.models import Audience, AudienceMember

AT_ONCE = 5000  # rows
FEW = 50  # questions that are asked one by one


class Members:
    """The members of every audience, read once and kept up to date: each change costs what has changed."""

    def __init__(self) -> None:
        self._rolls: dict[str, Roll] = {}  # by the key of the segment

    def read(self, since: int) -> set[str]:
        """Take over what is newer than `since` (negative: everything); the segments whose members have moved."""
        rolls = {} if since < 0 else self._rolls
        there = dict(Audience.objects.values_list("id", "segment__key"))
        self._rolls = {
            # One that was made anew for the same segment has other members.
            key: rolls[key] if key in rolls and rolls[key].audience == audience else Roll(audience)
            for audience, key in there.items()
        }
        moved = set()
        rows = (
            AudienceMember.objects.filter(changed_in__gt=since).order_by().values_list("audience_id", "unit", "joined")
        )
        for audience, unit, joined in rows.iterator(chunk_size=AT_ONCE):
            if audience in there:
                key = there[audience]
                self._rolls[key].move(unit, joined)
                moved.add(key)
        return moved

    def with_members(self, sources: Mapping[str, SegmentSource]) -> dict[str, SegmentSource]:
        """The segments with the sets of their audiences. The sets are shared: who joins later is in them."""
        return {key: self._rolls[key].over(one) if key in self._rolls else one for key, one in sources.items()}


class Roll:
    """One audience: who has joined, who has left, and both over what the team has listed."""

    def __init__(self, audience: int) -> None:
        self.audience = audience
        self.joined: set[str] = set()
        self.left: set[str] = set()
        self.source: SegmentSource | None = None
        self.included, self.excluded = LiveUnits(), LiveUnits()
        self._listed: tuple[frozenset[str], frozenset[str]] = (frozenset(), frozenset())

    def over(self, source: SegmentSource) -> SegmentSource:
        if source is not self.source:
            # Other lists: the flags that use the segment are compiled anew, so they get sets of their own.
            self.source = source
            self._listed = frozenset(source.included), frozenset(source.excluded)
            self.included = LiveUnits(self._listed[0] | self.joined)
            self.excluded = LiveUnits(self._listed[1] | self.left)
        return replace(source, included=self.included, excluded=self.excluded)

    def move(self, unit: str, joined: bool) -> None:
        """In place: whoever holds the sets sees it at once. What the team has excluded stays out all the same."""
        if joined:
            self.left.discard(unit)
            self.joined.add(unit)
            self.included.add(unit)
            if unit not in self._listed[1]:
                self.excluded.discard(unit)
        else:
            self.joined.discard(unit)
            self.left.add(unit)
            self.excluded.add(unit)
            if unit not in self._listed[0]:
                self.included.discard(unit)


class AskedUnits(LiveUnits):
    """The units of an audience for a snapshot that is made for a few questions: read as far as they are asked for."""

    def __init__(self, listed: Iterable[str], audience: int, joined: bool) -> None:
        super().__init__(listed)
        self.said = AudienceMember.objects.filter(audience=audience, joined=joined).order_by().values_list("unit")
        self.questions = 0

    def __contains__(self, unit: object) -> bool:
        if super().__contains__(unit):
            return True
        self.questions += 1
        if self.questions <= FEW:
            return self.said.filter(unit=unit).exists()
        if self.questions == FEW + 1:
            self.update(one for (one,) in self.said.iterator(chunk_size=AT_ONCE))
        return super().__contains__(unit)


def asked(sources: Mapping[str, SegmentSource]) -> dict[str, SegmentSource]:
    """The segments with their audiences, for one question."""
    audiences = dict(Audience.objects.values_list("segment__key", "id"))
    return {
        key: replace(
            one,
            included=AskedUnits(one.included, audiences[key], joined=True),
            excluded=AskedUnits(one.excluded, audiences[key], joined=False),
        )
        if key in audiences
        else one
        for key, one in sources.items()
    }
