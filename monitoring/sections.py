"""What reports are made of: sections, registered by whoever can tell them; plain values, for pages and letters."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeVar
from zoneinfo import ZoneInfo

from django.db.models import Model, QuerySet

from portal import permissions
from portal.models import Environment, Service, User

M = TypeVar("M", bound=Model)
LISTED = 10  # of each; the rest is a number
ALIKE = 0.02  # a figure that changed by less, as a share of what it was, is where it was


@dataclass(frozen=True, slots=True)
class Scope:
    """Whom a report is for, and what it tells of: [since, until), beside the period before it.

    `services`: those that the person may see and has asked for. `previous`: the data that each section left in the
    last report of this subscription.
    """

    person: User
    services: Sequence[Service]
    environment: Environment | None
    since: datetime
    until: datetime
    zone: ZoneInfo
    now: datetime
    previous: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    @property
    def before(self) -> datetime:
        """Where the period before it began; by the wall clock, so that a day of 23 hours has a whole one before it."""
        days = round((self.until - self.since) / timedelta(days=1))
        return self.since.astimezone(self.zone) - timedelta(days=days)

    def rows(self, rows: "QuerySet[M]", *, environment: str | None = "environment") -> "QuerySet[M]":
        """Of these rows those that it tells of: of its services and environment, and of them what the person may see.

        `environment`: the rows' foreign key; None where they have none.
        """
        chosen: dict[str, Any] = {"service__in": [one.pk for one in self.services]}
        if self.environment and environment:
            chosen[environment] = self.environment
        return permissions.visible(self.person, rows.filter(**chosen), environment=environment)


@dataclass(frozen=True, slots=True)
class Figure:
    """One number in words, with what it was. trend: rising, falling, stable; effect: better, worse, neutral."""

    label: str
    value: str
    before: str = ""
    trend: str = ""
    effect: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One thing worth a line. `address`: of its page, without the host."""

    text: str
    state: str = ""
    note: str = ""
    address: str = ""


@dataclass(frozen=True, slots=True)
class Section:
    """Without figures and items, `empty` says what there was not. `data`: for the next report's comparison."""

    title: str
    figures: Sequence[Figure] = ()
    items: Sequence[Item] = ()
    more: int = 0  # items that are not listed
    empty: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        return asdict(self)


Teller = Callable[[Scope], Section | None]
_tellers: dict[str, tuple[int, Teller]] = {}


def register(key: str, *, rank: int) -> Callable[[Teller], Teller]:
    """Names a section; those of a lower rank stand first. It answers None where it has nothing to do with the scope."""

    def add(teller: Teller) -> Teller:
        if key in _tellers:
            raise ValueError(f"two sections are named {key}")
        _tellers[key] = (rank, teller)
        return teller

    return add


def known() -> list[tuple[str, Teller]]:
    """Every section, in its order."""
    return [(key, teller) for key, (_, teller) in sorted(_tellers.items(), key=lambda one: one[1][0])]


def figure(
    label: str,
    value: float | None,
    before: float | None,
    *,
    words: Callable[[float], str],
    better: str = "",
    note: str = "",
    without: str = "not known",
) -> Figure:
    """`better`: "lower" or "higher"; of what is not known (`without` says so) neither trend nor effect is said."""
    if value is None:
        return Figure(label, without, "" if before is None else words(before), note=note)
    if before is None:
        return Figure(label, words(value), note=note)
    change = value - before
    if abs(change) <= ALIKE * abs(before):
        return Figure(label, words(value), words(before), "stable", "neutral", note)
    trend = "rising" if change > 0 else "falling"
    effect = "neutral"
    if better:
        effect = "better" if (change > 0) == (better == "higher") else "worse"
    return Figure(label, words(value), words(before), trend, effect, note)


def count(number: float) -> str:
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def share(number: float) -> str:
    return f"{number:.2%}"


def span(seconds: float) -> str:
    """A length of time in words."""
    whole = round(seconds)
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    return f"{whole // 3600} h {whole % 3600 // 60} min"
