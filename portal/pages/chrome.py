"""What stands around every page: sections, open incidents, and whether anything is being judged at all."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils import timezone
from django.utils.functional import SimpleLazyObject

from monitoring.models import Incident
from portal import jobs, permissions
from portal.models import Seat, User

# (name, URL name) in the order of the header.
SECTIONS = (
    ("Mission control", "home"),
    ("Deployments", "deployments"),
    ("Flags", "flags"),
    ("Changes", "change-requests"),
    ("Incidents", "incidents"),
    ("Sources", "sources"),
    ("Feedback", "feedback"),
)
DELIVERY = ("/channels/", "/dead-letters/", "/rejections/")
# Pages that belong to a section and have addresses of their own.
BENEATH = {
    "flags": ("/segments/",),
    "incidents": (
        "/on-call/",
        "/action-items/",
        "/alerts/",
        "/errors/",
        "/thresholds/",
        "/slos/",
        "/browsers/",
        "/silences/",
        "/library/",
        *DELIVERY,
    ),
}


@dataclass(frozen=True, slots=True)
class Section:
    name: str
    url: str
    here: bool
    count: int = 0


class Chrome:
    """Asked by the base template; a part of a page that is re-fetched asks nothing."""

    def __init__(self, request: HttpRequest) -> None:
        self.request = request
        self.person = request.user if isinstance(request.user, User) else None

    @cached_property
    def open_incidents(self) -> int:
        return permissions.visible(self.person, Incident.objects.open()).count() if self.person else 0

    @cached_property
    def stale(self) -> list[str]:
        """The sweeps that have stopped: nothing is being judged, whatever the page says."""
        return jobs.stale_sweeps(timezone.now())

    @cached_property
    def _roles(self) -> set[str]:
        return {grant.role for grant in self.person.grants.all()} if self.person else set()

    @property
    def roles(self) -> str:
        if self.person is None:
            return ""
        return ", ".join(sorted(self._roles)) or ("superuser" if self.person.is_superuser else "without any role")

    @property
    def configures(self) -> bool:
        """Whether the pages of what is set up are worth a link; the pages ask for themselves."""
        may = permissions.ROLES_THAT_MAY["configure"]
        return self.person is not None and (self.person.is_superuser or bool(may & self._roles))

    @property
    def sections(self) -> list[Section]:
        path = self.request.path
        found = []
        for name, url_name in SECTIONS:
            url = reverse(url_name)
            here = path == url if url_name == "home" else path.startswith((url, *BENEATH.get(url_name, ())))
            found.append(Section(name, url, here, self.open_incidents if url_name == "incidents" else 0))
        if self.person and Seat.objects.exists():
            url = reverse("demo")
            found.append(Section("Demo", url, path.startswith(url)))
        if self.person and self.person.is_staff:
            url = reverse("admin:index")
            found.append(Section("Admin", url, path.startswith(url)))
        return found


def chrome(request: HttpRequest) -> dict[str, Any]:
    """The context processor. Nothing is asked of the database until a template prints it."""
    return {"chrome": SimpleLazyObject(lambda: Chrome(request))}
