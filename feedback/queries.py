"""Which entries a reader asks for."""

from dataclasses import dataclass, fields
from datetime import datetime

from django.db.models import Q, QuerySet

from feedback.models import Entry
from portal import permissions
from portal.audit import Actor

UNTOLD = "unknown"  # sentiment=unknown: the entries whose sentiment could not be told


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for; empty means any."""

    service: str = ""
    environment: str = ""
    kind: str = ""
    sentiment: str = ""
    priority: str = ""
    rating: int | None = None
    release: str = ""
    flag: str = ""
    variant: str = ""
    since: datetime | None = None  # inclusive
    until: datetime | None = None  # exclusive
    search: str = ""  # somewhere in the text

    def __bool__(self) -> bool:
        """Whether anything is asked for."""
        return any(getattr(self, field.name) not in ("", None) for field in fields(self))


def find(search: Search, *, by: Actor) -> QuerySet[Entry]:
    """The entries that `by` may view and that fit, newest first."""
    fits = Q()
    for name, field in (("service", "service__key"), ("environment", "environment__key")):
        if getattr(search, name):
            fits &= Q(**{field: getattr(search, name)})
    for name in ("kind", "priority", "release", "flag", "variant"):
        if getattr(search, name):
            fits &= Q(**{name: getattr(search, name)})
    if search.sentiment:
        fits &= Q(sentiment=None) if search.sentiment == UNTOLD else Q(sentiment=search.sentiment)
    if search.rating is not None:
        fits &= Q(rating=search.rating)
    if search.since is not None:
        fits &= Q(created_at__gte=search.since)
    if search.until is not None:
        fits &= Q(created_at__lt=search.until)
    if search.search:
        fits &= Q(text__icontains=search.search)
    return visible(by).filter(fits)


def visible(by: Actor) -> QuerySet[Entry]:
    """The entries that `by` may view, with their places."""
    return permissions.visible(by, Entry.objects.with_places())


def may_see_address(entry: Entry, *, by: Actor) -> bool:
    """Whether `by` may see who wrote it: an e-mail address is for those who may act on the entry."""
    return permissions.can(by, "operate", environment=entry.environment, service=entry.service)
