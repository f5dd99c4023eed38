"""What keeps an alert from being told: matchers of labels, and windows of time in a zone."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


@dataclass(frozen=True, slots=True)
class Matcher:
    """One condition on a label, as Alertmanager has it: a label that is missing is the empty text."""

    name: str
    value: str
    is_regex: bool = False
    is_equal: bool = True

    def matches(self, labels: Mapping[str, str]) -> bool:
        found = labels.get(self.name, "")
        same = re.fullmatch(self.value, found) is not None if self.is_regex else found == self.value
        return same is self.is_equal


def all_match(matchers: Iterable[Matcher], labels: Mapping[str, str]) -> bool:
    return all(one.matches(labels) for one in matchers)


@dataclass(frozen=True, slots=True)
class Recurrence:
    """From `opens` to `closes` by the wall clock, on these days; past midnight where it closes at or before it opens.

    On the night when clocks go forward a time that is left out counts as the same stretch later, and when they go back
    the first of two counts: a window from 22:00 to 06:00 lasts seven or nine hours then, as people there would expect.
    """

    days: frozenset[int]  # 0 is Monday
    opens: time
    closes: time
    zone: tzinfo

    def at(self, now: datetime) -> tuple[datetime, datetime] | None:
        """The occurrence that `now` lies in, from its start up to before its end."""
        today = now.astimezone(self.zone).date()
        # One that opened yesterday may reach into today.
        for day in (today, today - timedelta(days=1)):
            span = self._on(day)
            if span is not None and span[0] <= now < span[1]:
                return span
        return None

    def following(self, now: datetime) -> tuple[datetime, datetime] | None:
        """The first occurrence that begins after `now`."""
        today = now.astimezone(self.zone).date()
        spans = (self._on(today + timedelta(days=ahead)) for ahead in range(9))
        return next((span for span in spans if span is not None and span[0] > now), None)

    def _on(self, day: date) -> tuple[datetime, datetime] | None:
        if day.weekday() not in self.days:
            return None
        start = datetime.combine(day, self.opens, self.zone)
        last = day if self.closes > self.opens else day + timedelta(days=1)
        end = datetime.combine(last, self.closes, self.zone)
        utc = start.astimezone(_UTC), end.astimezone(_UTC)
        # Both may fall into the hour that is left out.
        return utc if utc[0] < utc[1] else None


_UTC = datetime.fromisoformat("2000-01-01T00:00:00+00:00").tzinfo


@dataclass(frozen=True, slots=True)
class Mute:
    """A silence or an occurrence of a maintenance window, while it holds."""

    words: str  # as in: silence 7 (deploying), until 12:00
    matchers: Sequence[Matcher]


@dataclass(frozen=True, slots=True)
class Inhibition:
    """Alerts like `target` are not told while another one like `source` fires that has the same `equal` labels."""

    name: str
    source: Sequence[Matcher]
    target: Sequence[Matcher]
    equal: Sequence[str]

    def wanted(self, target: Mapping[str, str]) -> Mapping[str, str]:
        """The labels that the source must share with this target."""
        return {name: target.get(name, "") for name in self.equal}

    def holds(self, source: Mapping[str, str], target: Mapping[str, str]) -> bool:
        return (
            all_match(self.target, target)
            and all_match(self.source, source)
            and all(source.get(name, "") == value for name, value in self.wanted(target).items())
        )


def muting(mutes: Iterable[Mute], labels: Mapping[str, str]) -> str:
    """What mutes an alert of these labels, in words; "" when nothing does."""
    return next((one.words for one in mutes if all_match(one.matchers, labels)), "")
