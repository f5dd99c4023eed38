"""The filters of the flags' list: read from the address, offered with what there is to choose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Self

from django.db.models import Exists, F, Func, OuterRef, Q, QuerySet, TextField
from django.utils import timezone

from portal.models import Environment
from rollouts.models import Flag, FlagConfig
from rollouts.queries import usage

STATES = (("on", "on"), ("serving", "served by a deployment"), ("off", "off"))
EXACT = ("type", "purpose", "service", "owner", "tag")
LONGEST = 200
MOST_OFFERED = 200


@dataclass(frozen=True, slots=True)
class Filter:
    """One select: its name in the address, what it is called, and (value, words) to choose from."""

    name: str
    label: str
    every: str
    choices: Sequence[tuple[str, str]]
    chosen: str


@dataclass(slots=True)
class Asked:
    """What is asked for."""

    words: str = ""
    place: Environment | None = None
    state: str = ""
    archived: bool = False
    expired: bool = False
    stale: bool = False
    exact: dict[str, str] = field(default_factory=dict)

    @property
    def is_anything(self) -> bool:
        return bool(self.words or self.place or self.state or self.more)

    @property
    def more(self) -> bool:
        """Whether one of the filters that wait behind a line is used."""
        return any(self.exact.values()) or self.archived or self.expired or self.stale

    @classmethod
    def read(cls, query: Mapping[str, str], environments: Sequence[Environment]) -> Self:
        """Lenient: an unknown choice is none."""
        kept = {name: query.get(name, "").strip()[:LONGEST] for name in (*EXACT, "q", "state", "environment", "life")}
        return cls(
            kept["q"],
            next((one for one in environments if one.key == kept["environment"]), None),
            kept["state"] if kept["state"] in dict(STATES) else "",
            archived=query.get("archived") == "yes" or kept["life"] == "archived",
            expired=kept["life"] == "expired",
            stale=kept["life"] == "stale",
            exact={name: kept[name] for name in EXACT},
        )

    def narrow(self, rows: "QuerySet[Flag]", shown: Sequence[Environment]) -> "QuerySet[Flag]":
        rows = rows.filter(archived_at__isnull=not self.archived)
        if self.words:
            rows = rows.filter(_says(self.words))
        named = {"type": "type", "purpose": "purpose", "service": "service__key", "owner": "owner"}
        rows = rows.filter(**{path: self.exact[name] for name, path in named.items() if self.exact[name]})
        if self.exact["tag"]:
            rows = rows.filter(tags__contains=[self.exact["tag"]])
        if self.expired:
            rows = rows.filter(expires_at__lte=timezone.now())
        if self.state:
            on = FlagConfig.objects.filter(flag=OuterRef("pk"), environment__in=shown, enabled=True)
            kind = {"on": Exists(on), "off": ~Exists(on), "serving": Exists(on.exclude(reserved=[]))}
            rows = rows.filter(kind[self.state])
        if self.stale:
            rows = rows.filter(pk__in=usage.stale(rows, shown, now=timezone.now()))
        return rows

    def filters(self, rows: "QuerySet[Flag]") -> list[Filter]:
        """What there is to choose, in three queries however many flags there are."""
        owners = rows.exclude(owner="").order_by("owner").values_list("owner", flat=True).distinct()
        services = rows.exclude(service=None).order_by("service__key").values_list("service__key", flat=True).distinct()
        each = rows.annotate(tag=Func(F("tags"), function="unnest", output_field=TextField()))
        tags = each.order_by("tag").values_list("tag", flat=True).distinct()
        return [
            Filter(
                "type", "Type", "Every type", [(one.value, str(one.label)) for one in Flag.Type], self.exact["type"]
            ),
            Filter("purpose", "Purpose", "Every purpose", _plain(Flag.Purpose.values), self.exact["purpose"]),
            Filter("service", "Service", "Every service", _plain(services[:MOST_OFFERED]), self.exact["service"]),
            Filter("owner", "Owner", "Every owner", _plain(owners[:MOST_OFFERED]), self.exact["owner"]),
            Filter("tag", "Tag", "Every tag", _plain(tags[:MOST_OFFERED]), self.exact["tag"]),
            Filter(
                "life",
                "Lifecycle",
                "In use",
                [("stale", "stale"), ("expired", "past their date"), ("archived", "archived")],
                "archived" if self.archived else "expired" if self.expired else "stale" if self.stale else "",
            ),
        ]

    @property
    def states(self) -> Sequence[tuple[str, str]]:
        return STATES


def _plain(values: "Sequence[str] | QuerySet[Flag, str]") -> list[tuple[str, str]]:
    return [(str(value), str(value)) for value in values]


def _says(asked: str) -> Q:
    words = Q(key__icontains=asked) | Q(description__icontains=asked) | Q(owner__icontains=asked)
    return words | Q(service__key=asked) | Q(tags__contains=[asked])
